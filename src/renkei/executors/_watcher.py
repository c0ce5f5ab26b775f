"""Watches the jobs in a batch system: polls it, reconciles what it shows with what they left, and ends them."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from renkei.clock import Clock
from renkei.errors import ExecutorError
from renkei.executors._evidence import Traces, read_traces
from renkei.executors._port import JobEnd, JobState
from renkei.executors._roster import Place, Roster, Tracked
from renkei.executors._scheduler import UNKNOWN, Meaning, Scheduler, Seen
from renkei.executors._submitter import MAX_SUBMITS
from renkei.executors._verdict import lost, verdict

_GIVEN_UP = "given-up"


class Patience(NamedTuple):
    """How long a watcher waits, in seconds.

    Args:
        poll_s: From one poll to the next.
        grace_s: How long a job may be missing, without any evidence, until it is given up as lost.
        settle_s: How long evidence may be late that the batch system's word calls for, or its word that evidence
            calls for.
        launch_s: How long a job may be said to run before its script begins, until it is given up.
        past_s: How often the accounts are asked about jobs that stay missing.
    """

    poll_s: float
    grace_s: float
    settle_s: float
    launch_s: float
    past_s: float


class Watcher:
    """Follows the jobs of a roster that were handed over, until each has ended.

    Args:
        scheduler: The batch system.
        roster: The jobs.
        patience: How long it waits for what.
        clock: Time, blocking calls.
    """

    def __init__(self, scheduler: Scheduler, roster: Roster, patience: Patience, clock: Clock) -> None:
        self._scheduler, self._roster, self._patience, self._clock = scheduler, roster, patience, clock
        self._past_at = -patience.past_s

    async def serve(self) -> None:
        """Poll, for ever."""
        while True:
            await self._clock.sleep(self._patience.poll_s)
            if not self._roster.places:
                continue
            began = self._clock.monotonic()
            try:
                rows = await self._scheduler.poll()
                await self._take(rows, began)
                await self._cancel_unwanted(rows)
            except ExecutorError:
                continue  # nothing is known: nothing changes

    async def _take(self, rows: Sequence[Seen], began: float) -> None:
        """Bring every job to what the batch system shows, in a poll that began at `began`."""
        shown = self._by_place(rows)
        missing: list[Tracked] = []
        for place, tracked in list(self._roster.places.items()):
            if tracked.phase not in ("handed", "unsure") or tracked.handed_at >= began:
                continue  # it may have come too late for this poll
            seen = shown.get(place)
            if seen is None:
                missing.append(tracked)
            else:
                tracked.phase, tracked.missing_since = "handed", None
                await self._take_one(tracked, seen)
        if missing:
            await self._miss(missing)

    def _by_place(self, rows: Sequence[Seen]) -> dict[Place, Seen]:
        """Return the row of every job; of several with its name, one that is alive, else the one that came last."""
        shown: dict[Place, Seen] = {}
        for seen in rows:
            place = seen.name, seen.index
            other = shown.get(place)
            if place in self._roster.places and (other is None or self._rank(seen) >= self._rank(other)):
                shown[place] = seen
        return shown

    def _rank(self, seen: Seen) -> tuple[bool, float]:
        return self._meaning(seen).state != "ended", seen.submitted_at or 0.0

    def _meaning(self, seen: Seen) -> Meaning:
        return self._scheduler.states.get(seen.raw, UNKNOWN)

    async def _take_one(self, tracked: Tracked, seen: Seen) -> None:
        meaning = self._meaning(seen)
        now = self._clock.monotonic()
        tracked.seen = seen
        if meaning.state == "unknown":
            tracked.state = JobState(tracked.state.state, seen.raw, seen.number)
            return
        if meaning.state == "ended":
            tracked.over_since = tracked.over_since or now
            await self._settle(tracked, meaning, is_late=now - tracked.over_since >= self._patience.settle_s)
            return
        tracked.over_since = None
        state = "held" if meaning.state == "queued" and seen.is_held else meaning.state
        tracked.state = JobState(state, seen.raw, seen.number)
        if now - tracked.probed_at >= self._patience.settle_s / 2:
            tracked.probed_at = now
            await self._probe(tracked, is_queued=state != "active")

    async def _probe(self, tracked: Tracked, *, is_queued: bool) -> None:
        """Look for what a job that is said to be alive may have left: a scheduler that crashed can be wrong.

        It may show a job as running that is over or that it never launched, or as queued that ran: that one would
        not run again.
        """
        traces = await self._traces(tracked)
        now = self._clock.monotonic()
        if traces.is_over:
            limit_s = self._patience.settle_s
        elif is_queued and traces.number:
            limit_s = self._patience.grace_s
        elif not is_queued and not traces.number:
            limit_s = self._patience.launch_s
        else:
            tracked.odd_since = None
            return
        tracked.odd_since = tracked.odd_since or now
        if now - tracked.odd_since < limit_s:
            return
        if tracked.seen is not None:
            try:
                await self._scheduler.cancel([tracked.seen])
            except ExecutorError:
                pass  # it cannot run again: its script finds that it began, or was given up
        if traces.number:
            await self._settle(tracked, Meaning("ended"), is_late=True)
        else:
            await self._give_up(tracked)

    async def _miss(self, missing: list[Tracked]) -> None:
        """Find out about jobs that the batch system does not show: by their evidence, then by its accounts."""
        left: list[Tracked] = []
        for tracked in missing:
            traces = await self._traces(tracked)
            if traces.is_over:
                await self._settle(tracked, Meaning("ended"), is_late=True)
            else:
                left.append(tracked)
        now = self._clock.monotonic()
        for tracked in left:
            if tracked.missing_since is None:
                tracked.missing_since = now
        if not left or now - self._past_at < self._patience.past_s:
            return
        self._past_at = now
        since = min(tracked.asked_at for tracked in left) - 60
        found = self._by_place(await self._numbered(await self._scheduler.past(since), left))
        for tracked in left:
            limit_s = self._patience.settle_s if tracked.is_told else self._patience.grace_s
            seen = found.get((tracked.name, tracked.index))
            if seen is not None and self._meaning(seen).state == "ended":
                await self._take_one(tracked, seen)
            elif now - (tracked.missing_since or now) >= limit_s:
                await self._give_up(tracked)
            elif tracked.phase == "unsure" and tracked.n_submits < MAX_SUBMITS and not tracked.is_unwanted:
                self._repeat(tracked, now)

    async def _numbered(self, rows: Sequence[Seen], left: Sequence[Tracked]) -> list[Seen]:
        """Return rows of accounts with their index, where those have only the number of an array's member."""
        index: dict[tuple[str, str], int] = {}
        for tracked in left:
            if tracked.index is not None and (number := (await self._traces(tracked)).number):
                index[tracked.name, number] = tracked.index
        return [
            msgspec.structs.replace(row, index=index[row.name, row.number])
            if row.index is None and (row.name, row.number) in index
            else row
            for row in rows
        ]

    def _repeat(self, tracked: Tracked, now: float) -> None:
        """Submit a job again that the batch system certainly did not get: nothing was seen of it for a while."""
        if tracked.missing_since is not None and now - tracked.missing_since >= self._patience.settle_s:
            tracked.phase, tracked.missing_since = "waiting", None
            self._roster.wait([tracked])

    async def _give_up(self, tracked: Tracked) -> None:
        """Make sure that a job that is nowhere cannot begin any more, and end it; one that began is settled."""

        def take_its_place() -> bool | None:
            try:
                with open(Path(tracked.job.directory) / "started", "x") as file:
                    file.write(_GIVEN_UP)
            except FileExistsError:
                return False
            except FileNotFoundError:
                return True  # without its directory there is nothing that could begin
            except OSError:
                return None  # a full disk, for one: the next poll tries again
            return True

        is_taken = await self._clock.blocking(take_its_place)
        if is_taken is None:
            return
        if not is_taken:
            await self._settle(tracked, Meaning("ended"), is_late=True)
        elif tracked.is_unwanted:
            self._roster.end(tracked, JobEnd(tracked.job.run, "cancelled", message="cancelled before it began"))
        else:
            says = "says that it runs"
            if tracked.over_since:
                says = "cancelled it on its nodes"
            elif tracked.phase == "unsure" or tracked.missing_since:
                says = "does not have it"
            never = f"{self._scheduler.title} {says}, and it never began"
            self._roster.end(tracked, lost(tracked.job, f"{never}{': ' * bool(tracked.note)}{tracked.note}"))

    async def _cancel_unwanted(self, rows: Sequence[Seen]) -> None:
        shown = self._by_place(rows)
        now = self._clock.monotonic()
        doomed = [
            (tracked, seen)
            for place, seen in shown.items()
            if (tracked := self._roster.places[place]).is_unwanted
            and now - tracked.unwanted_at >= self._patience.settle_s
            and self._meaning(seen).state != "ended"
        ]
        if doomed:
            await self._scheduler.cancel([seen for _, seen in doomed])
            for tracked, _ in doomed:
                tracked.unwanted_at = now

    async def _traces(self, tracked: Tracked) -> Traces:
        return await self._clock.blocking(lambda: read_traces(Path(tracked.job.directory)))

    async def _settle(self, tracked: Tracked, meaning: Meaning, *, is_late: bool) -> None:
        """End a job that is over, when its evidence is there or will not come any more.

        One that had nodes, was cancelled and never began was not started by its batch system, unless it is unwanted.
        """
        traces = await self._traces(tracked)
        if meaning.end == "cancelled" and not traces.number and _had_nodes(tracked):
            if is_late:
                await self._give_up(tracked)
            return
        end = verdict(tracked, traces, meaning, self._scheduler.title, self._clock.now(), is_late=is_late)
        if end is not None:
            self._roster.end(tracked, end)


def _had_nodes(tracked: Tracked) -> bool:
    return tracked.seen is not None and tracked.seen.has_nodes
