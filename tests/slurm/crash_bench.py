"""What tests of crashes and the process that they kill have in common."""

import zlib
from pathlib import Path

from renkei.clock import SystemClock
from renkei.executors import Command, Job
from renkei.executors._batch import BatchExecutor
from renkei.executors.slurm import Slurm
from renkei.model.site_file import ExecutorTable

GRACE_S = 12.0


def executor_at(folder: Path, **table: object) -> BatchExecutor:
    """Return an executor that gives up sooner than a site's."""
    clock = SystemClock()
    file = ExecutorTable.model_validate({"kind": "slurm", "workers": 1000, "queue": "short"} | table)
    return BatchExecutor(
        Slurm(clock, queue="short"), file, folder, clock, grace_s=GRACE_S, settle_s=4.0, launch_s=GRACE_S
    )


def job_at(folder: Path, i: int, seconds: float = 0.0) -> Job:
    """Return the i-th run of a folder: it leaves a mark outside, then sleeps."""
    run = f"{zlib.crc32(str(folder).encode()):08x}-0000-7000-8000-{i:012x}"  # no other test has it
    marks = folder / "marks"
    script = f'echo {{run}} >> {marks}; sleep {seconds}; echo "{{{{\\"y\\": 1}}}}" > o.json'
    return Job(run, "t.mark", Command(("sh", "-c", script), "o.json"), {}, str(folder / "runs" / run), 60.0)


def marks_at(folder: Path) -> list[str]:
    """Return the runs that were executed, once for each time."""
    path = folder / "marks"
    return path.read_text().split() if path.exists() else []
