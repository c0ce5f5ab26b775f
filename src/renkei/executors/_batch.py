"""Runs jobs in a batch system: what is common to all of them; what each has to bring is a `Scheduler`."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio
import msgspec

from renkei.clock import Clock
from renkei.executors._evidence import read_traces
from renkei.executors._port import Job, JobEnd, JobState, Report
from renkei.executors._roster import Roster, Tracked
from renkei.executors._scheduler import Meaning, Scheduler
from renkei.executors._submitter import MAX_SUBMITS, Submitter
from renkei.executors._verdict import lost, verdict
from renkei.executors._watcher import Patience, Watcher
from renkei.model.site_file import ExecutorTable

GRACE_S = 60.0
"""How long a job may be missing, without any evidence, until it is given up as lost; file systems take their time."""
SETTLE_S = 10.0
"""How long evidence may be late that the batch system's word calls for, or its word that evidence calls for."""
LAUNCH_S = 600.0
"""How long a job may be said to run before its script begins, until it is given up: prologs take their time."""
PAST_S = 5.0
"""How often the accounts are asked about jobs that stay missing."""


class BatchExecutor:
    """An `Executor` in front of a batch system.

    Each module of a batch system has one function that makes it, `slurm_executor(table, data, clock)`, which
    `renkei.site` calls; its scheduler takes from the table what it needs (`options` go to the command that submits).

    A job is never run twice, whatever the batch system does: its script begins by making the file `started` in its
    directory, which only one can make. Who gives a job up makes it first, so that it cannot begin any more.

    Args:
        scheduler: The batch system.
        table: [executor] of site.toml.
        data: The site's folder; it and the runs' directories are there on the nodes too, under the same path.
        clock: Time, blocking calls.
        grace_s: How long a job may be missing, without any evidence, until it is given up as lost.
        settle_s: How long evidence may be late.
        launch_s: How long a job may be said to run before its script begins.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        table: ExecutorTable,
        data: Path,
        clock: Clock,
        *,
        grace_s: float = GRACE_S,
        settle_s: float = SETTLE_S,
        launch_s: float = LAUNCH_S,
    ) -> None:
        self.name = scheduler.name
        self._scheduler, self._table, self._clock = scheduler, table, clock
        self._roster = Roster(data.absolute() / "batches")
        self._submitter = Submitter(scheduler, table, self._roster, clock)
        patience = Patience(table.poll_s, grace_s, settle_s, launch_s, PAST_S)
        self._watcher = Watcher(scheduler, self._roster, patience, clock)

    @property
    def slots(self) -> int:
        """See `Executor.slots`."""
        return self._table.workers

    def room(self, procedure: str) -> int:
        """See `Executor.room`."""
        return max(0, self._table.workers - len(self._roster.jobs))

    async def submit(self, jobs: Sequence[Job]) -> None:
        """See `Executor.submit`. They reach the batch system a moment later, many of them in one array."""
        now = self._clock.now()
        self._roster.wait([Tracked(_absolute(job), now) for job in jobs])

    async def cancel(self, run: str) -> None:
        """See `Executor.cancel`."""
        tracked = self._roster.jobs.get(run)
        if tracked is None:
            return
        tracked.is_unwanted = True
        if self._roster.withdraw(tracked):
            self._roster.end(tracked, JobEnd(run, "cancelled", message="cancelled before it was submitted"))

    def look(self, run: str) -> JobState | None:
        """See `Executor.look`."""
        tracked = self._roster.jobs.get(run)
        return None if tracked is None else tracked.state

    async def check(self) -> Sequence[str]:
        """See `Executor.check`."""
        wrong = list(await self._scheduler.check())
        folder = self._roster.batches

        def write() -> None:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f".check-{os.getpid()}"
            probe.write_text("")
            probe.unlink()

        try:
            await self._clock.blocking(write)
        except OSError as error:
            wrong.append(f"{folder} cannot be written: {error.strerror}.")
        python = self._table.python
        if not python and not os.access(sys.executable, os.X_OK):
            wrong.append(f"{sys.executable} cannot be started: say which python the nodes have.")
        return wrong

    async def settle(self, jobs: Sequence[Job]) -> Sequence[JobEnd]:
        """See `Executor.settle`. The batch system is not asked here: jobs that it may still have are taken up."""
        ends: list[JobEnd] = []
        for job in jobs:
            job = _absolute(job)
            traces = await self._clock.blocking(lambda job=job: read_traces(Path(job.directory)))
            request = traces.request
            if request is None or not request.name:
                ends.append(JobEnd(job.run, "lost", retryable=True, message="the site stopped before it was submitted"))
                continue
            tracked = Tracked(job, request.asked_at)
            if traces.is_over:
                end = verdict(tracked, traces, Meaning("ended"), self._scheduler.title, self._clock.now())
                ends.append(end or lost(job, "it left no evidence"))
                await self._clock.blocking(lambda request=request: self._roster.unlink(request.name, request.index))
                continue
            self._roster.place(tracked, request.name, request.index)
            tracked.phase = "unsure"
            tracked.n_submits = MAX_SUBMITS  # it is looked for, and not submitted again
        return ends

    async def serve(self, report: Report) -> None:
        """See `Executor.serve`."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._submitter.serve)
            tasks.start_soon(self._watcher.serve)
            while True:
                await report(await self._roster.next_ended())


def _absolute(job: Job) -> Job:
    """Return a job whose directory can be found from everywhere."""
    return msgspec.structs.replace(job, directory=str(Path(job.directory).absolute()))
