"""Batch systems that are not there, and executors in front of them."""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from renkei.clock import SystemClock
from renkei.executors import Command, Job, JobEnd, Resources, _batch, _tools
from renkei.executors._batch import BatchExecutor
from renkei.executors._scheduler import Scheduler
from renkei.executors.flux import FluxScheduler
from renkei.executors.pbs import PbsScheduler
from renkei.executors.pjm import PjmScheduler
from renkei.model.site_file import ExecutorTable
from renkei.testing.standins import StandIn

SCHEDULERS: dict[str, Callable[..., Scheduler]] = {"pbs": PbsScheduler, "pjm": PjmScheduler, "flux": FluxScheduler}
SUBMIT = {"pbs": "qsub", "pjm": "pjsub", "flux": "batch"}
POLL = {"pbs": "qstat", "pjm": "pjstat", "flux": "jobs"}
CANCEL = {"pbs": "qdel", "pjm": "pjdel", "flux": "cancel"}


class Bench:
    """A stand-in, a folder for a site, and executors in front of it."""

    def __init__(self, kind: str, folder: Path, system: StandIn) -> None:
        self.kind, self.folder, self.system = kind, folder, system
        self.done = folder / "done"

    def table(self, **more: Any) -> ExecutorTable:
        account = "hp000000" if self.kind == "pjm" else None
        options = {"kind": self.kind, "workers": 100, "poll_s": 0.1, "account": account} | more
        return ExecutorTable.model_validate(options)

    def executor(self, *, grace_s: float = 1.0, settle_s: float = 0.4, **more: Any) -> BatchExecutor:
        table, clock = self.table(**more), SystemClock()
        scheduler = SCHEDULERS[self.kind](table, clock)
        return BatchExecutor(scheduler, table, self.folder, clock, grace_s=grace_s, settle_s=settle_s)

    def job(self, run: str = "0", shell: str = "", *, limit_s: float = 30.0, **asked: Any) -> Job:
        """Return a job that notes that it ran, does `shell`, and gives y = 2."""
        run = f"01890000-0000-7000-8000-{int(run):012d}"
        script = f"echo {run} >>{self.done}\n{shell}\necho '{{\"y\": 2}}' >outputs.json"
        command = Command(("/bin/bash", "-ec", script), "outputs.json", is_literal=True)
        directory = str(self.folder / "runs" / run)
        return Job(run, "t.command", command, {}, directory, limit_s, resources=Resources(**asked))

    def n_ran(self) -> int:
        return len(self.done.read_text().split()) if self.done.exists() else 0

    @asynccontextmanager
    async def serving(self, executor: BatchExecutor) -> AsyncGenerator["Ends"]:
        ends = Ends()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(executor.serve, ends.report)
            yield ends
            tasks.cancel_scope.cancel()

    async def run(self, *jobs: Job, within_s: float = 20.0, **more: Any) -> list[JobEnd]:
        """Run jobs to their end."""
        executor = self.executor(**more)
        async with self.serving(executor) as ends:
            await executor.submit(jobs)
            return await ends.all(len(jobs), within_s)


class Ends:
    """What an executor reported."""

    def __init__(self) -> None:
        self.got: list[JobEnd] = []

    async def report(self, ends: Sequence[JobEnd]) -> None:
        self.got += ends

    async def all(self, n: int, within_s: float = 20.0) -> list[JobEnd]:
        with anyio.fail_after(within_s):
            while len(self.got) < n:
                await anyio.sleep(0.02)
        return sorted(self.got, key=lambda end: end.run)


def make_bench(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Yield a bench of one kind, with everything quicker than in earnest."""
    system = StandIn(kind, folder / "system", slots=8)
    monkeypatch.setenv("PATH", str(system.bin), prepend=":")
    monkeypatch.setattr(_batch, "PAST_S", 0.2)
    monkeypatch.setattr(_tools.run_tool, "__kwdefaults__", {**(_tools.run_tool.__kwdefaults__ or {}), "limit_s": 2.0})
    data = folder / "data"
    data.mkdir()
    yield Bench(kind, data, system)
    system.stop()


async def until(is_so: Callable[[], object], within_s: float = 10.0) -> None:
    """Wait until something is so."""
    with anyio.fail_after(within_s):
        while not is_so():
            await anyio.sleep(0.02)
