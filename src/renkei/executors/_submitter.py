"""Hands jobs over to a batch system: writes what they need, and puts those that ask for the same into one array."""

import sys
from collections.abc import Sequence
from pathlib import Path

import anyio
import msgspec

from renkei.clock import Clock
from renkei.errors import ExecutorError, SubmitRejected
from renkei.executors._command import write_whole
from renkei.executors._port import JobEnd, JobState
from renkei.executors._roster import Roster, Tracked
from renkei.executors._scheduler import Scheduler, Submission
from renkei.executors._script import array_script, job_script
from renkei.executors._single import Request
from renkei.model.records import Evidence
from renkei.model.site_file import ExecutorTable

MAX_SUBMITS = 3
"""How often a job is handed over that the batch system did not have each time."""
N_AT_ONCE = 4
"""How many commands that submit run at the same time."""

_PREFIX = "renkei-"


class _Group:
    """Jobs that go to the batch system together."""

    def __init__(self, name: str, members: list[Tracked] | None = None) -> None:
        self.name, self.members = name, members or []


class Submitter:
    """Hands over the jobs of a roster that wait.

    Args:
        scheduler: The batch system.
        table: [executor] of site.toml.
        roster: The jobs.
        clock: Time, blocking calls.
    """

    def __init__(self, scheduler: Scheduler, table: ExecutorTable, roster: Roster, clock: Clock) -> None:
        self._scheduler, self._table, self._roster, self._clock = scheduler, table, roster, clock

    async def serve(self) -> None:
        """Hand over what waits, for ever."""
        limiter = anyio.CapacityLimiter(N_AT_ONCE)
        async with anyio.create_task_group() as tasks:
            while True:
                for group in self._grouped(await self._roster.next_waiting()):
                    await limiter.acquire_on_behalf_of(group)
                    tasks.start_soon(self._hand_over, group, limiter)

    def _grouped(self, waiting: Sequence[Tracked]) -> list[_Group]:
        """Return what waits, in groups that go together: those to be repeated, then those that ask for the same."""
        again: dict[str, _Group] = {}
        alike: dict[bytes, list[Tracked]] = {}
        for tracked in waiting:
            tracked.phase = "submitting"
            if tracked.name:
                again.setdefault(tracked.name, _Group(tracked.name)).members.append(tracked)
            else:
                job = tracked.job
                memory_bytes = job.resources.memory_bytes or job.memory_bytes
                asks = msgspec.msgpack.encode((job.resources, job.time_limit_s, memory_bytes))
                alike.setdefault(asks, []).append(tracked)
        groups = list(again.values())
        longest = max(1, self._scheduler.array_limit)
        for members in alike.values():
            for i in range(0, len(members), longest):
                part = members[i : i + longest]
                groups.append(_Group(f"{_PREFIX}{part[0].job.run}", part))
        return groups

    async def _hand_over(self, group: _Group, limiter: anyio.CapacityLimiter) -> None:
        try:
            await self._submit_group(group)
        finally:
            limiter.release_on_behalf_of(group)

    async def _submit_group(self, group: _Group) -> None:
        members = group.members
        try:
            if members[0].name:  # it is repeated: an array as one, even if only a part of it is missing
                submission = await self._clock.blocking(lambda: self._repeated(members))
            else:
                for index, tracked in enumerate(members):
                    self._roster.place(tracked, group.name, index if len(members) > 1 else None)
                submission = await self._clock.blocking(lambda: self._prepare(group))
        except OSError as error:
            for tracked in members:
                message = f"its directory cannot be written: {error}"
                self._roster.end(tracked, JobEnd(tracked.job.run, "failed", 0.0, {}, {}, "facility", True, message))
            return
        for tracked in members:
            tracked.n_submits += 1
        try:
            number = await self._scheduler.submit(submission)
        except SubmitRejected as error:
            for tracked in members:
                evidence = Evidence(directory=tracked.job.directory)
                message = f"{self._scheduler.title} refused it: {error.message}"
                end = JobEnd(tracked.job.run, "failed", 0.0, {}, {}, "facility", True, message, evidence)
                self._roster.end(tracked, end)
        except ExecutorError as error:
            for tracked in members:
                tracked.phase, tracked.note = "unsure", error.message
                tracked.handed_at = self._clock.monotonic()
        else:
            for tracked in members:
                tracked.phase, tracked.handed_at = "handed", self._clock.monotonic()
                shown = number if tracked.index is None else f"{number}_{tracked.index}"
                tracked.state = JobState("queued", number=shown)

    def _prepare(self, group: _Group) -> Submission:
        """Write what the jobs of a group need, and return what the batch system is asked for."""
        is_array = len(group.members) > 1
        folder = self._roster.batches / group.name
        if is_array:
            folder.mkdir(parents=True, exist_ok=True)
        for tracked in group.members:
            job = tracked.job
            directory = Path(job.directory)
            directory.mkdir(parents=True, exist_ok=True)
            target = job.target if isinstance(job.target, str) else ""
            request = Request(
                job.run, job.procedure, job.parameters, target, job.memory_bytes, tracked.asked_at, group.name,
                tracked.index,
            )  # fmt: skip
            script = job_script(
                job, self._scheduler.number_variable, self._table.modules, self._table.before, self._table.after,
                self._table.python or sys.executable,
            )  # fmt: skip
            (directory / "job.sh").write_text(script)
            if is_array:
                (folder / str(tracked.index)).symlink_to(directory)
            write_whole(
                directory / "request.json", msgspec.json.format(msgspec.json.encode(request), indent=1).decode()
            )
        if is_array:
            script_file = self._roster.batches / f"{group.name}.sh"
            script_file.write_text(array_script(folder, self._scheduler.index_variable))
        return self._submission(group.members[0], len(group.members) if is_array else 0)

    def _repeated(self, members: Sequence[Tracked]) -> Submission:
        """Return the submission of jobs once more: an array in full, since what began does not begin again."""
        first = members[0]
        if first.index is None:
            return self._submission(first, 0)
        links = [int(link.name) for link in (self._roster.batches / first.name).iterdir() if link.name.isdecimal()]
        return self._submission(first, max(links) + 1)

    def _submission(self, tracked: Tracked, size: int) -> Submission:
        job, name = tracked.job, tracked.name
        resources = job.resources
        if not resources.memory_bytes and job.memory_bytes:
            resources = msgspec.structs.replace(resources, memory_bytes=job.memory_bytes)
        if size:
            script, log = self._roster.batches / f"{name}.sh", str(self._roster.batches / name / "{index}" / "job.log")
        else:
            script, log = Path(job.directory) / "job.sh", f"{job.directory}/job.log"
        return Submission(name, script, log, resources, job.time_limit_s, size, f"{name} {job.procedure}")
