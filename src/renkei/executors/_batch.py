"""Runs jobs in a batch system: what is common to all of them, and what each has to bring (`Scheduler`)."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import anyio
import msgspec

from renkei.clock import Clock
from renkei.errors import ExecutorError, SubmitRejected
from renkei.executors._command import write_whole
from renkei.executors._evidence import Traces, judge, over_limit, read_traces, without_evidence
from renkei.executors._port import Job, JobEnd, JobState, Report, Resources
from renkei.executors._script import array_script, job_script
from renkei.executors._single import Request
from renkei.model.records import Evidence
from renkei.model.site_file import ExecutorTable

# ---- what each batch system brings -------------------------------------------------------------------------------


class Submission(msgspec.Struct, frozen=True):
    """What a batch system is asked to run: one job, or an array of equal ones.

    Args:
        name: "renkei-" and the id of its first run, 43 characters; no other submission ever has it, but the same one
            that is repeated because nobody knows what became of it. It must come back as `Seen.name`.
        script: A bash script. It finds its way by itself, wherever it is started, also in an array.
        log: Where the system writes what the script says, both outputs in one; "{index}" in it stands for the index
            in an array.
        resources: What to ask for; queue and account are filled in as far as the site knows them.
        time_limit_s: The longest that each job may take, in seconds; round up to what the system can say.
        size: How many jobs the array has, with indices from 0 to size - 1; 0 is a job and not an array.
        comment: The same as `name` with the procedure's name after a blank, for systems that keep a comment.
    """

    name: str
    script: Path
    log: str
    resources: Resources
    time_limit_s: float
    size: int = 0
    comment: str = ""


class Seen(msgspec.Struct, frozen=True):
    """One of our jobs as the batch system shows it; of an array, one member.

    Args:
        name: `Submission.name`.
        number: The system's number of it, for people and for `Scheduler.cancel`: "123", "123_4", "123[4]".
        raw: The state in the system's own word, a key of `Scheduler.states`; another word counts as `UNKNOWN`.
        index: Its index in the array; None of a job that is not in one.
        reason: Why it is in that state, in the system's own words; "" when it does not say.
        is_held: Whether `reason`, and not the state alone, says that somebody holds it back.
        exit_code: Of its script, if the system tells; None if not, or if it has not ended.
        submitted_at: When the system took it, in seconds since 1970; None if it does not tell. So are the next two.
        started_at: When it began.
        ended_at: When it ended.
    """

    name: str
    number: str
    raw: str
    index: int | None = None
    reason: str = ""
    is_held: bool = False
    exit_code: int | None = None
    submitted_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None


class Meaning(msgspec.Struct, frozen=True):
    """What a state of a batch system means to us; the reference page prints it.

    Args:
        state: "queued", "held" or "active" of a job that is still there, "ended" of one that is over, "unknown".
        end: Of a job that is over: "" when the evidence in its directory alone decides, else what the state says
            where there is no evidence of success: "time" or "memory" (its limit), "cancelled", or "failed".
        fault: Of "failed": "facility" or "requester".
        is_retryable: Of "failed": whether another try may end otherwise.
        text: What the state is, in one line for people.
    """

    state: Literal["queued", "held", "active", "ended", "unknown"]
    end: Literal["", "time", "memory", "cancelled", "failed"] = ""
    fault: Literal["", "facility", "requester"] = ""
    is_retryable: bool = False
    text: str = ""


UNKNOWN = Meaning("unknown", text="A word that is not in the table: the job is left alone until another one comes.")
"""What a word means that is not in the table."""


class Scheduler(Protocol):
    """What each batch system brings to `BatchExecutor`.

    All methods are called from the event loop's thread, `submit` several at a time. Every outside command runs
    through `renkei.executors._tools.run_tool`, which limits its time. No method tries again by itself, none remembers
    jobs: `BatchExecutor` does.
    """

    name: str
    """The engine's name, as site.toml has it: "slurm"."""
    title: str
    """Its name for people: "Slurm"."""
    number_variable: str
    """The environment variable that holds the job's number inside the job: "SLURM_JOB_ID"."""
    index_variable: str
    """The one that holds the index in an array; "" where there are no arrays."""
    array_limit: int
    """The longest array that it takes; below 2 every job goes by itself."""

    @property
    def states(self) -> Mapping[str, Meaning]:
        """What its states mean, by its own word: the module's constant `STATES`, which the reference page prints."""
        ...

    async def submit(self, submission: Submission) -> str:
        """Hand over a job or an array and return its number; of an array, the whole array's.

        Raises:
            SubmitRejected: The system said no: it certainly does not have it. The message is its reason.
            ExecutorError: Nobody knows whether it has it: no answer, a lost connection, a text that cannot be read.
                `retryable` is not looked at. The job is then looked for by its name.
        """
        ...

    async def poll(self) -> Sequence[Seen]:
        """Return all of our jobs (by the name) that the system shows in its queue, with one outside command.

        Jobs that ended may be among them. A job that is missing is over, or was never there: `past` is asked next.

        Raises:
            ExecutorError: The system does not answer, or not in full: nothing is known then, not even that a job is
                missing.
        """
        ...

    async def past(self, since: float) -> Sequence[Seen]:
        """Return our jobs that ended, from the system's accounts, with one outside command.

        Called only when a job is missing in `poll`. A system without accounts returns nothing.

        Args:
            since: Jobs that were submitted before this time, in seconds since 1970, need not be returned.

        Raises:
            ExecutorError: The accounts do not answer.
        """
        ...

    async def cancel(self, jobs: Sequence[Seen]) -> None:
        """End jobs, queued or running. Returns when the system was told so; `poll` shows when they are over.

        A number alone is not to be trusted where the system can check the name with it: a scheduler that crashed may
        have given the number to another job. Jobs that are over already are no error.

        Raises:
            ExecutorError: The system does not answer. It is called again at the next poll.
        """
        ...

    async def check(self) -> Sequence[str]:
        """Return what is wrong, one clear sentence each: commands, the server's answer, the queue of the site."""
        ...


# ---- what is common ----------------------------------------------------------------------------------------------

GRACE_S = 60.0
"""How long a job may be missing, without any evidence, until it is given up as lost; file systems take their time."""
SETTLE_S = 10.0
"""How long evidence may be late that the batch system's word calls for, or its word that evidence calls for."""
LAUNCH_S = 600.0
"""How long a job may be said to run before its script begins, until it is given up: prologs take their time."""
PAST_S = 5.0
"""How often the accounts are asked about jobs that stay missing."""
MAX_SUBMITS = 3
"""How often a job is handed over that the batch system did not have each time."""
N_AT_ONCE = 4
"""How many commands that submit run at the same time."""

_PREFIX = "renkei-"
_GIVEN_UP = "given-up"

_Place = tuple[str, int | None]
"""Where a job is in the batch system, for ever: the submission's name, and the index in it."""


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
        self._batches = data.absolute() / "batches"
        self._grace_s, self._settle_s, self._launch_s = grace_s, settle_s, launch_s
        self._jobs: dict[str, _Tracked] = {}
        self._places: dict[_Place, _Tracked] = {}
        self._waiting: list[_Tracked] = []
        self._has_work = anyio.Event()
        self._ended: list[JobEnd] = []
        self._has_ended = anyio.Event()
        self._past_at = -PAST_S

    @property
    def slots(self) -> int:
        """See `Executor.slots`."""
        return self._table.workers

    def room(self, procedure: str) -> int:
        """See `Executor.room`."""
        return max(0, self._table.workers - len(self._jobs))

    async def submit(self, jobs: Sequence[Job]) -> None:
        """See `Executor.submit`. They reach the batch system a moment later, many of them in one array."""
        for job in jobs:
            job = msgspec.structs.replace(job, directory=str(Path(job.directory).absolute()))
            tracked = self._jobs[job.run] = _Tracked(job, self._clock.now())
            self._waiting.append(tracked)
        self._has_work.set()

    async def cancel(self, run: str) -> None:
        """See `Executor.cancel`."""
        tracked = self._jobs.get(run)
        if tracked is None:
            return
        tracked.is_unwanted = True
        if tracked in self._waiting:
            self._waiting.remove(tracked)
            self._end(tracked, JobEnd(run, "cancelled", message="cancelled before it was submitted"))

    def look(self, run: str) -> JobState | None:
        """See `Executor.look`."""
        tracked = self._jobs.get(run)
        return None if tracked is None else tracked.state

    async def check(self) -> Sequence[str]:
        """See `Executor.check`."""
        wrong = list(await self._scheduler.check())
        folder = self._batches

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
            job = msgspec.structs.replace(job, directory=str(Path(job.directory).absolute()))
            traces = await self._clock.blocking(lambda job=job: read_traces(Path(job.directory)))
            request = traces.request
            if request is None or not request.name:
                ends.append(JobEnd(job.run, "lost", retryable=True, message="the site stopped before it was submitted"))
                continue
            tracked = _Tracked(job, request.asked_at)
            if traces.is_over:
                ends.append(self._verdict(tracked, traces, Meaning("ended")) or _lost(job, "it left no evidence"))
                await self._clock.blocking(lambda request=request: self._unlink(request.name, request.index))
                continue
            self._track(tracked, request.name, request.index)
            tracked.phase = "unsure"
            tracked.n_submits = MAX_SUBMITS  # it is looked for, and not submitted again
        return ends

    async def serve(self, report: Report) -> None:
        """See `Executor.serve`."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._serve_submissions)
            tasks.start_soon(self._serve_polls)
            while True:
                await self._has_ended.wait()
                self._has_ended = anyio.Event()
                ended, self._ended = self._ended, []
                if ended:
                    await report(ended)

    # ---- handing over --------------------------------------------------------------------------------------------

    async def _serve_submissions(self) -> None:
        limiter = anyio.CapacityLimiter(N_AT_ONCE)
        async with anyio.create_task_group() as tasks:
            while True:
                await self._has_work.wait()
                self._has_work = anyio.Event()
                for group in self._grouped():
                    await limiter.acquire_on_behalf_of(group)
                    tasks.start_soon(self._hand_over, group, limiter)

    def _grouped(self) -> "list[_Group]":
        """Return what waits, in groups that go together: those to be repeated, then those that ask for the same."""
        waiting, self._waiting = self._waiting, []
        again: dict[str, _Group] = {}
        alike: dict[bytes, list[_Tracked]] = {}
        for tracked in waiting:
            tracked.phase = "submitting"
            if tracked.name:
                again.setdefault(tracked.name, _Group(tracked.name)).members.append(tracked)
            else:
                asks = msgspec.msgpack.encode((tracked.job.resources, tracked.job.time_limit_s, _memory(tracked.job)))
                alike.setdefault(asks, []).append(tracked)
        groups = list(again.values())
        longest = max(1, self._scheduler.array_limit)
        for members in alike.values():
            for i in range(0, len(members), longest):
                part = members[i : i + longest]
                groups.append(_Group(f"{_PREFIX}{part[0].job.run}", part))
        return groups

    async def _hand_over(self, group: "_Group", limiter: anyio.CapacityLimiter) -> None:
        try:
            await self._submit_group(group)
        finally:
            limiter.release_on_behalf_of(group)

    async def _submit_group(self, group: "_Group") -> None:
        members = group.members
        try:
            if members[0].name:  # it is repeated: an array as one, even if only a part of it is missing
                submission = await self._clock.blocking(lambda: self._repeated(members))
            else:
                for index, tracked in enumerate(members):
                    self._track(tracked, group.name, index if len(members) > 1 else None)
                submission = await self._clock.blocking(lambda: self._prepare(group))
        except OSError as error:
            for tracked in members:
                message = f"its directory cannot be written: {error}"
                self._end(tracked, JobEnd(tracked.job.run, "failed", 0.0, {}, {}, "facility", True, message))
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
                self._end(tracked, end)
        except ExecutorError as error:
            for tracked in members:
                tracked.phase, tracked.note = "unsure", error.message
                tracked.handed_at = self._clock.monotonic()
        else:
            for tracked in members:
                tracked.phase, tracked.handed_at = "handed", self._clock.monotonic()
                shown = number if tracked.index is None else f"{number}_{tracked.index}"
                tracked.state = JobState("queued", number=shown)

    def _track(self, tracked: "_Tracked", name: str, index: int | None) -> None:
        tracked.name, tracked.index = name, index
        self._jobs[tracked.job.run] = self._places[name, index] = tracked

    def _prepare(self, group: "_Group") -> Submission:
        """Write what the jobs of a group need, and return what the batch system is asked for."""
        is_array = len(group.members) > 1
        folder = self._batches / group.name
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
            script_file = self._batches / f"{group.name}.sh"
            script_file.write_text(array_script(folder, self._scheduler.index_variable))
        return self._submission(group.members[0], len(group.members) if is_array else 0)

    def _repeated(self, members: "Sequence[_Tracked]") -> Submission:
        """Return the submission of jobs once more: an array in full, since what began does not begin again."""
        first = members[0]
        if first.index is None:
            return self._submission(first, 0)
        links = [int(link.name) for link in (self._batches / first.name).iterdir() if link.name.isdecimal()]
        return self._submission(first, max(links) + 1)

    def _submission(self, tracked: "_Tracked", size: int) -> Submission:
        job, name = tracked.job, tracked.name
        resources = job.resources
        if not resources.memory_bytes and job.memory_bytes:
            resources = msgspec.structs.replace(resources, memory_bytes=job.memory_bytes)
        if size:
            script, log = self._batches / f"{name}.sh", str(self._batches / name / "{index}" / "job.log")
        else:
            script, log = Path(job.directory) / "job.sh", f"{job.directory}/job.log"
        return Submission(name, script, log, resources, job.time_limit_s, size, f"{name} {job.procedure}")

    # ---- looking -------------------------------------------------------------------------------------------------

    async def _serve_polls(self) -> None:
        while True:
            await self._clock.sleep(self._table.poll_s)
            if not self._places:
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
        missing: list[_Tracked] = []
        for place, tracked in list(self._places.items()):
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

    def _by_place(self, rows: Sequence[Seen]) -> "dict[_Place, Seen]":
        """Return the row of every job; of several with its name, one that is alive, else the one that came last."""
        shown: dict[_Place, Seen] = {}
        for seen in rows:
            place = seen.name, seen.index
            other = shown.get(place)
            if place in self._places and (other is None or self._rank(seen) >= self._rank(other)):
                shown[place] = seen
        return shown

    def _rank(self, seen: Seen) -> tuple[bool, float]:
        return self._meaning(seen).state != "ended", seen.submitted_at or 0.0

    def _meaning(self, seen: Seen) -> Meaning:
        return self._scheduler.states.get(seen.raw, UNKNOWN)

    async def _take_one(self, tracked: "_Tracked", seen: Seen) -> None:
        meaning = self._meaning(seen)
        now = self._clock.monotonic()
        tracked.seen = seen
        if meaning.state == "unknown":
            tracked.state = JobState(tracked.state.state, seen.raw, seen.number)
            return
        if meaning.state == "ended":
            tracked.over_since = tracked.over_since or now
            await self._settle(tracked, meaning, is_late=now - tracked.over_since >= self._settle_s)
            return
        tracked.over_since = None
        state = "held" if meaning.state == "queued" and seen.is_held else meaning.state
        tracked.state = JobState(state, seen.raw, seen.number)
        if now - tracked.probed_at >= self._settle_s / 2:
            tracked.probed_at = now
            await self._probe(tracked, is_queued=state != "active")

    async def _probe(self, tracked: "_Tracked", *, is_queued: bool) -> None:
        """Look for what a job that is said to be alive may have left: a scheduler that crashed can be wrong.

        It may show a job as running that is over or that it never launched, or as queued that ran: that one would
        not run again.
        """
        traces = await self._traces(tracked)
        now = self._clock.monotonic()
        if traces.is_over:
            limit_s = self._settle_s
        elif is_queued and traces.number:
            limit_s = self._grace_s
        elif not is_queued and not traces.number:
            limit_s = self._launch_s
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

    async def _miss(self, missing: "list[_Tracked]") -> None:
        """Find out about jobs that the batch system does not show: by their evidence, then by its accounts."""
        left: list[_Tracked] = []
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
        if not left or now - self._past_at < PAST_S:
            return
        self._past_at = now
        since = min(tracked.asked_at for tracked in left) - 60
        found = self._by_place(await self._numbered(await self._scheduler.past(since), left))
        for tracked in left:
            seen = found.get((tracked.name, tracked.index))
            if seen is not None and self._meaning(seen).state == "ended":
                await self._take_one(tracked, seen)
            elif now - (tracked.missing_since or now) >= (self._settle_s if tracked.is_told else self._grace_s):
                await self._give_up(tracked)
            elif tracked.phase == "unsure" and tracked.n_submits < MAX_SUBMITS and not tracked.is_unwanted:
                self._repeat(tracked, now)

    async def _numbered(self, rows: Sequence[Seen], left: "Sequence[_Tracked]") -> list[Seen]:
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

    def _repeat(self, tracked: "_Tracked", now: float) -> None:
        """Submit a job again that the batch system certainly did not get: nothing was seen of it for a while."""
        if tracked.missing_since is not None and now - tracked.missing_since >= self._settle_s:
            tracked.phase, tracked.missing_since = "waiting", None
            self._waiting.append(tracked)
            self._has_work.set()

    async def _give_up(self, tracked: "_Tracked") -> None:
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
            self._end(tracked, JobEnd(tracked.job.run, "cancelled", message="cancelled before it began"))
        else:
            lacks = "does not have it" if tracked.phase == "unsure" or tracked.missing_since else "says that it runs"
            never = f"{self._scheduler.title} {lacks}, and it never began"
            self._end(tracked, _lost(tracked.job, f"{never}{': ' * bool(tracked.note)}{tracked.note}"))

    # ---- ending --------------------------------------------------------------------------------------------------

    async def _cancel_unwanted(self, rows: Sequence[Seen]) -> None:
        shown = self._by_place(rows)
        now = self._clock.monotonic()
        doomed = [
            (tracked, seen)
            for place, seen in shown.items()
            if (tracked := self._places[place]).is_unwanted
            and now - tracked.unwanted_at >= self._settle_s
            and self._meaning(seen).state != "ended"
        ]
        if doomed:
            await self._scheduler.cancel([seen for _, seen in doomed])
            for tracked, _ in doomed:
                tracked.unwanted_at = now

    async def _traces(self, tracked: "_Tracked") -> Traces:
        return await self._clock.blocking(lambda: read_traces(Path(tracked.job.directory)))

    async def _settle(self, tracked: "_Tracked", meaning: Meaning, *, is_late: bool) -> None:
        """End a job that is over, when its evidence is there or will not come any more."""
        end = self._verdict(tracked, await self._traces(tracked), meaning, is_late=is_late)
        if end is not None:
            self._end(tracked, end)

    def _verdict(self, tracked: "_Tracked", traces: Traces, meaning: Meaning, *, is_late: bool = True) -> JobEnd | None:
        """Return how a job ended; None while that cannot be said yet."""
        job, seen = tracked.job, tracked.seen
        began = traces.began_at or (seen.started_at if seen else None)
        over = traces.ended_at or (seen.ended_at if seen else None) or self._clock.now()
        seconds = 0.0 if began is None else max(0.0, over - began)
        queued_s = max(0.0, (over if began is None else began) - tracked.asked_at)
        end = judge(job, traces, seconds)
        if end is None or end.outcome not in ("succeeded", "infeasible"):
            evidence = (end.evidence if end else None) or Evidence(directory=job.directory)
            if tracked.is_unwanted and (meaning.end or (end is None and is_late)):
                end = JobEnd(job.run, "cancelled", seconds, message="cancelled", evidence=evidence)
            elif meaning.end in ("time", "memory") and not traces.number:
                message = f"{self._scheduler.title} says {meaning.text.lower().rstrip('.')}, but it never began"
                end = JobEnd(job.run, "failed", 0.0, {}, {}, "facility", True, message, evidence)
            elif meaning.end in ("time", "memory"):
                end = over_limit(job, meaning.end, seconds, evidence)
            elif meaning.end:
                message = f"{self._scheduler.title}: {meaning.text}"
                fault = meaning.fault
                end = JobEnd(job.run, meaning.end, seconds, {}, {}, fault, meaning.is_retryable, message, evidence)
            elif end is None and is_late:
                end = without_evidence(job, seen.exit_code if seen else None, seconds)
        if end is None:
            return None
        evidence = end.evidence or Evidence(directory=job.directory)
        raw, number = (seen.raw, seen.number) if seen else ("", tracked.state.number or traces.number)
        evidence = msgspec.structs.replace(evidence, raw_state=raw, job=number)
        return msgspec.structs.replace(end, evidence=evidence, queued_s=queued_s)

    def _end(self, tracked: "_Tracked", end: JobEnd) -> None:
        self._jobs.pop(tracked.job.run, None)
        self._places.pop((tracked.name, tracked.index), None)
        self._unlink(tracked.name, tracked.index)
        self._ended.append(end)
        self._has_ended.set()

    def _unlink(self, name: str, index: int | None) -> None:
        """Forget the place of a job in its array, and the array with its last one."""
        if index is None:
            return
        try:
            (self._batches / name / str(index)).unlink(missing_ok=True)
            (self._batches / name).rmdir()
            (self._batches / f"{name}.sh").unlink(missing_ok=True)
        except OSError:
            pass  # others of the array are still there


class _Tracked:
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


class _Group:
    """Jobs that go to the batch system together."""

    def __init__(self, name: str, members: list[_Tracked] | None = None) -> None:
        self.name, self.members = name, members or []


def _memory(job: Job) -> int:
    return job.resources.memory_bytes or job.memory_bytes


def _lost(job: Job, message: str) -> JobEnd:
    return JobEnd(job.run, "lost", retryable=True, message=message, evidence=Evidence(directory=job.directory))
