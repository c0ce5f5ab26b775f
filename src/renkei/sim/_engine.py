"""A simulated batch system, and the executor of a site in front of it."""

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import anyio

from renkei.clock import Clock
from renkei.errors import ExecutorError
from renkei.executors import Job, JobEnd, JobState, Report
from renkei.model.space import Value

Model = Callable[[str, Mapping[str, Value], random.Random], "dict[str, float] | None"]
"""Outputs of a procedure at a point, with the noise of that run; None where the point cannot work."""


@dataclass(frozen=True)
class Machine:
    """What a simulated engine is like.

    Args:
        slots: How many jobs run at the same time.
        run_s: Median length of a job.
        run_spread: Spread of the logarithm of a job's length.
        queue_s: Median of what a job waits before it may take a slot; 0 for none.
        queue_spread: Spread of its logarithm.
        survives: Whether jobs go on when the site's process dies, as in a batch system.
        fails: Share of jobs that the facility fails.
        loses: Share of jobs of which no trace is left.
        refuses: Share of submissions that go wrong.
        maintenance: Pairs of begin and end in seconds, in which no job begins; those that run are ended at the begin.
        lengths: Of procedures whose jobs have a length of their own: its median and spread.
        limit: How many jobs it holds; None for twice its slots.
        poll_s: How often a site asks it what became of jobs; 0 where it tells at once.
    """

    slots: int = 4
    run_s: float = 60.0
    run_spread: float = 0.5
    queue_s: float = 0.0
    queue_spread: float = 1.0
    survives: bool = True
    fails: float = 0.0
    loses: float = 0.0
    refuses: float = 0.0
    maintenance: tuple[tuple[float, float], ...] = ()
    lengths: Mapping[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])
    limit: int | None = None
    poll_s: float = 0.0


class Engine:
    """A batch system: it knows nothing of sites, and outlives them.

    Args:
        machine: What it is like.
        model: What its jobs compute.
        chance: Where luck comes from.
    """

    def __init__(self, machine: Machine, model: Model, chance: random.Random) -> None:
        self.machine, self._model, self._chance = machine, model, chance
        self.jobs: dict[str, Job] = {}
        """Those that wait or run."""
        self.ends: dict[str, JobEnd] = {}
        """How jobs ended that nobody collected yet."""
        self.executions: dict[str, int] = {}
        """How often each run was begun."""
        self.seconds: dict[str, float] = {}
        """How long each run took."""
        self._ready: deque[str] = deque()
        self._running: dict[str, float] = {}
        self._taken_at: dict[str, float] = {}
        self._order = itertools.count()
        self._events: list[tuple[float, int, str, str]] = []
        self._wake = anyio.Event()
        self.on_end: Callable[[], None] = lambda: None
        for begin, end in machine.maintenance:
            self._at(begin, "close", "")
            self._at(end, "open", "")
        self._is_open = True

    def take(self, job: Job) -> None:
        """Take a job; whoever hands one over twice has it executed twice."""
        self.jobs[job.run] = job
        now = self._taken_at[job.run] = anyio.current_time()
        m = self.machine
        wait = m.queue_s * math.exp(self._chance.gauss(0.0, m.queue_spread)) if m.queue_s else 0.0
        self._at(now + wait, "ready", job.run)

    def is_refusing(self) -> bool:
        """Return whether a submission made now goes wrong."""
        return self._chance.random() < self.machine.refuses

    def cancel(self, run: str) -> None:
        """End a job early."""
        self.catch_up()
        if run in self.jobs:
            now = anyio.current_time()
            self._end(now, run, "cancelled", message="cancelled")
            self._start(now)

    def kill_all(self) -> None:
        """End every job without a trace: what happens to a pool's processes when the machine goes down."""
        for run in [*self.jobs]:
            self._forget(run)
        self.ends.clear()

    def state(self, run: str) -> str | None:
        """Return "queued" or "active", or None of a job that is not there."""
        return None if run not in self.jobs else "active" if run in self._running else "queued"

    async def serve(self) -> None:
        """Let time pass, for ever."""
        while True:
            if not self._events:
                await self._wake.wait()
            else:
                with anyio.move_on_at(self._events[0][0]):
                    await self._wake.wait()
            self._wake = anyio.Event()
            self.catch_up()

    @property
    def next_at(self) -> float:
        """When something happens next; infinite when nothing will."""
        return self._events[0][0] if self._events else math.inf

    def catch_up(self) -> None:
        """Have everything happen whose time has come, each at its own time."""
        now = anyio.current_time()
        while self._events and (at := self._events[0][0]) <= now:
            while self._events and self._events[0][0] == at:
                _, _, what, run = heapq.heappop(self._events)
                self._happen(at, what, run)
            self._start(at)

    def _happen(self, at: float, what: str, run: str) -> None:
        match what:
            case "ready" if run in self.jobs:
                self._ready.append(run)
            case "done" if run in self._running:
                self._finish(at, run)
            case "close":
                self._is_open = False
                for each in [*self._running]:
                    self._end(at, each, "failed", fault="facility", retryable=True, message="ended for maintenance")
            case "open":
                self._is_open = True
            case _:
                pass

    def _start(self, at: float) -> None:
        while self._is_open and self._ready and len(self._running) < self.machine.slots:
            run = self._ready.popleft()
            if run not in self.jobs:
                continue
            self.executions[run] = self.executions.get(run, 0) + 1
            self._running[run] = at
            job, m = self.jobs[run], self.machine
            median_s, spread = m.lengths.get(job.procedure, (m.run_s, m.run_spread))
            self._at(at + min(median_s * math.exp(self._chance.gauss(0.0, spread)), job.time_limit_s), "done", run)

    def _finish(self, at: float, run: str) -> None:
        job, chance = self.jobs[run], self._chance
        if chance.random() < self.machine.loses:
            self._forget(run)
            return
        if at - self._running[run] >= job.time_limit_s:
            self._end(at, run, job.exceeded, fault="requester", message=TOO_LONG)
        elif chance.random() < self.machine.fails:
            self._end(at, run, "failed", fault="facility", retryable=True, message="a node failed")
        elif (outputs := self._model(job.procedure, job.parameters, random.Random(run))) is None:  # noqa: S311
            self._end(at, run, "infeasible", message="it does not work there")
        else:
            self._end(at, run, "succeeded", outputs=outputs)

    def _end(
        self,
        at: float,
        run: str,
        outcome: str,
        *,
        outputs: dict[str, float] | None = None,
        fault: str = "",
        retryable: bool = False,
        message: str = "",
    ) -> None:
        began = self._running.get(run, at)
        waited, seconds = began - self._taken_at[run], at - began
        self._forget(run)
        self.seconds[run] = seconds
        self.ends[run] = JobEnd(run, outcome, seconds, outputs or {}, {}, fault, retryable, message, None, waited)
        self.on_end()

    def _forget(self, run: str) -> None:
        self.jobs.pop(run, None)
        self._running.pop(run, None)
        self._taken_at.pop(run, None)

    def _at(self, when: float, what: str, run: str) -> None:
        heapq.heappush(self._events, (when, next(self._order), what, run))
        self._wake.set()


TOO_LONG = "it took too long"
"""What is said of a job that reached its time limit."""
LOST_AFTER_S = 30.0
"""How often an executor looks for jobs that vanished."""


class SimExecutor:
    """What a site's process knows of an engine; satisfies `renkei.executors.Executor`.

    Args:
        engine: The batch system.
        clock: Of the site's process.
    """

    name = "sim"

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine, self._clock = engine, clock
        self._mine: dict[str, Job] = {}
        self._wake = anyio.Event()

    @property
    def slots(self) -> int:
        """See `Executor.slots`."""
        return self._engine.machine.slots

    def room(self, procedure: str) -> int:
        """See `Executor.room`."""
        del procedure
        limit = self._engine.machine.limit
        return max(0, (2 * self.slots if limit is None else limit) - len(self._mine))

    async def submit(self, jobs: Sequence[Job]) -> None:
        """See `Executor.submit`."""
        if self._engine.is_refusing():
            raise ExecutorError("The batch system takes no jobs just now.")
        await self._clock.blocking(lambda: self._hand_over(jobs))

    def _hand_over(self, jobs: Sequence[Job]) -> None:
        if self._engine.machine.poll_s or not self._mine:
            self._wake.set()
        for job in jobs:
            self._engine.take(job)
            self._mine[job.run] = job

    async def cancel(self, run: str) -> None:
        """See `Executor.cancel`."""
        await self._clock.blocking(lambda: self._engine.cancel(run))

    async def settle(self, jobs: Sequence[Job]) -> Sequence[JobEnd]:
        """See `Executor.settle`."""
        found: list[JobEnd] = []
        self._engine.catch_up()
        for job in jobs:
            if job.run in self._engine.ends:
                found.append(self._engine.ends[job.run])
            elif job.run in self._engine.jobs:
                self._mine[job.run] = job
            else:
                found.append(_lost(job.run))
        return found

    async def serve(self, report: Report) -> None:
        """See `Executor.serve`."""
        poll_s = self._engine.machine.poll_s
        if not poll_s:
            self._engine.on_end = lambda: self._wake.set()
        self._wake.set()
        while True:
            await (self._next_poll(poll_s) if poll_s else self._next_end())
            await self._clock.sleep(0.0)
            ends = [self._engine.ends[run] for run in self._mine if run in self._engine.ends]
            ends += [_lost(run) for run in self._mine if run not in self._engine.jobs and run not in self._engine.ends]
            if ends:
                await report(ends)
                for end in ends:  # all of them are on disk now
                    del self._mine[end.run]
                    self._engine.ends.pop(end.run, None)

    async def _next_end(self) -> None:
        with anyio.move_on_after(LOST_AFTER_S if self._mine else math.inf):
            await self._wake.wait()
        self._wake = anyio.Event()

    async def _next_poll(self, poll_s: float) -> None:
        """Return at the first multiple of `poll_s` at which something happened; those between would tell nothing."""
        due = -1.0
        while due < 0.0 or anyio.current_time() < due:
            due = next_at = self._engine.next_at
            if next_at < math.inf:
                due = math.ceil(next_at / poll_s) * poll_s
                due += poll_s if due < next_at else 0.0  # rounded down
            with anyio.move_on_at(due):
                await self._wake.wait()  # new jobs
            self._wake = anyio.Event()
        self._engine.catch_up()

    def look(self, run: str) -> JobState | None:
        """See `Executor.look`."""
        state = self._engine.state(run)
        return None if state is None else JobState(state, state)

    async def check(self) -> Sequence[str]:
        """See `Executor.check`."""
        return []


def _lost(run: str) -> JobEnd:
    return JobEnd(run, "lost", retryable=True, message="no trace of it is left")
