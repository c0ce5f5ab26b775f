"""The local executor does what every executor must do."""

from pathlib import Path

import pytest

from renkei.clock import SystemClock
from renkei.executors.local import LocalExecutor
from renkei.testing.executors import ExecutorContract, ExecutorLab

pytestmark = pytest.mark.anyio


class TestLocal(ExecutorContract):
    @pytest.fixture
    def lab(self, tmp_path: Path) -> ExecutorLab:
        return ExecutorLab(
            tmp_path, lambda: LocalExecutor(2, tmp_path / "logs", SystemClock()), patience_s=30.0, outlives=False
        )
