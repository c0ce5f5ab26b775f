"""The jobs that a batch executor has: which wait, where each is in the batch system, and which ended."""

from collections.abc import Sequence
from pathlib import Path

import anyio

from renkei.executors._port import Job, JobEnd, JobState
from renkei.executors._scheduler import Seen

Place = tuple[str, int | None]
"""Where a job is in the batch system, for ever: the submission's name, and the index in it."""


class Tracked:
    """A job from `submit` to its end.

    `phase` is "waiting" (to be handed over), "submitting", "unsure" (nobody knows whether the batch system has it)
    or "handed". Times are monotonic, but for `asked_at`, which is in seconds since 1970.
    """

    def __init__(self, job: Job, asked_at: float) -> None:
        self.job, self.asked_at = job, asked_at
        self.name = ""
        self.index: int | None = None
        self.phase = "waiting"
        self.state = JobState("queued")
        self.seen: Seen | None = None
        self.note = ""
        self.n_submits = 0
        self.handed_at = self.probed_at = self.unwanted_at = float("-inf")
        self.missing_since: float | None = None
        self.over_since: float | None = None
        self.odd_since: float | None = None
        self.is_unwanted = False

    @property
    def is_told(self) -> bool:
        """Whether the batch system was told to end it."""
        return self.unwanted_at > float("-inf")


class Roster:
    """The jobs of a batch executor, each from when it was taken until its end is reported.

    Args:
        batches: The folder of arrays: in it each has a folder of its own, with a link to the directory of each member.
    """

    def __init__(self, batches: Path) -> None:
        self.batches = batches
        self.jobs: dict[str, Tracked] = {}
        self.places: dict[Place, Tracked] = {}
        self._waiting: list[Tracked] = []
        self._has_work = anyio.Event()
        self._ended: list[JobEnd] = []
        self._has_ended = anyio.Event()

    def wait(self, jobs: Sequence[Tracked]) -> None:
        """Have jobs wait to be handed over, for the first time or again."""
        self.jobs |= {tracked.job.run: tracked for tracked in jobs}
        self._waiting += jobs
        self._has_work.set()

    async def next_waiting(self) -> list[Tracked]:
        """Return the jobs that wait, which then are the caller's; wait where there are none."""
        while not self._waiting:
            await self._has_work.wait()
            self._has_work = anyio.Event()
        waiting, self._waiting = self._waiting, []
        return waiting

    def withdraw(self, tracked: Tracked) -> bool:
        """Take a job out of those that wait; return whether it was among them."""
        if tracked not in self._waiting:
            return False
        self._waiting.remove(tracked)
        return True

    def place(self, tracked: Tracked, name: str, index: int | None) -> None:
        """Say where a job is in the batch system, or will be."""
        tracked.name, tracked.index = name, index
        self.jobs[tracked.job.run] = self.places[name, index] = tracked

    def end(self, tracked: Tracked, end: JobEnd) -> None:
        """Forget a job; how it ended is to be reported."""
        self.jobs.pop(tracked.job.run, None)
        self.places.pop((tracked.name, tracked.index), None)
        self.unlink(tracked.name, tracked.index)
        self._ended.append(end)
        self._has_ended.set()

    async def next_ended(self) -> list[JobEnd]:
        """Return what ended since the last call; wait where nothing did."""
        while not self._ended:
            await self._has_ended.wait()
            self._has_ended = anyio.Event()
        ended, self._ended = self._ended, []
        return ended

    def unlink(self, name: str, index: int | None) -> None:
        """Forget the place of a job in its array, and the array with its last one."""
        if index is None:
            return
        try:
            (self.batches / name / str(index)).unlink(missing_ok=True)
            (self.batches / name).rmdir()
            (self.batches / f"{name}.sh").unlink(missing_ok=True)
        except OSError:
            pass  # others of the array are still there
