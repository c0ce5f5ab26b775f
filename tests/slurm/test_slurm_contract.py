"""The executor in front of a real Slurm does what every executor must do."""

from pathlib import Path

import pytest
from cluster import Cluster

from renkei.clock import SystemClock
from renkei.executors.slurm import slurm_executor
from renkei.model.site_file import ExecutorTable
from renkei.testing.executors import ExecutorContract, ExecutorLab

pytestmark = [pytest.mark.anyio, pytest.mark.slurm]


class TestSlurm(ExecutorContract):
    @pytest.fixture
    def lab(self, cluster: Cluster, tmp_path: Path) -> ExecutorLab:
        table = ExecutorTable(kind="slurm", workers=100, queue="short")
        return ExecutorLab(tmp_path, lambda: slurm_executor(table, tmp_path, SystemClock()), capacity=8)
