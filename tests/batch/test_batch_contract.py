"""The contract of executors, on the stand-ins of PBS, PJM and Flux."""

import pytest
from batch_bench import Bench

from renkei.testing.executors import ExecutorContract, ExecutorLab

pytestmark = [pytest.mark.anyio, pytest.mark.long]


class TestBatchSystems(ExecutorContract):
    @pytest.fixture
    def lab(self, bench: Bench) -> ExecutorLab:
        bench.system.set(slots=2)
        return ExecutorLab(bench.folder, lambda: bench.executor(grace_s=5.0, settle_s=2.0), capacity=2)
