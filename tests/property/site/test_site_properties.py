"""Whatever is asked of a site, in whatever order, and however commits and tasks interleave: the books add up."""

import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskGroup
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes import FakeExecutor, HeldClock, batch, cancellation, offered, records, request, settled, site
from renkei.accounts import Books
from renkei.errors import Expired, UsageError
from renkei.executors import JobEnd
from renkei.federation import RunRequest
from renkei.ledger import verify
from renkei.model.rule import Rule
from renkei.site import Runs, Site

OFFERS = [
    offered(),
    offered("lab.anneal", unit="node-hour", per_run=0.25, per_hour=1.5, time_limit_s=1800.0),
]
GRANTS = {("fusion", "run"): 5, ("fusion", "node-hour"): 2, ("quantum", "run"): 2, ("quantum", "node-hour"): 1}
ALLOCATIONS = [(team, f"{amount} {unit}") for (team, unit), amount in GRANTS.items()]
HOT = Rule("hot", "ask", purposes=("hot",))
FAST = "/dev/shm" if Path("/dev/shm").is_dir() else None  # the disk is not what is tested here

asked = st.builds(
    lambda team, procedure, purpose: {"team": team, "procedure": procedure, "purpose": purpose},
    st.sampled_from(["fusion", "quantum"]),
    st.sampled_from(["lab.measure", "lab.anneal"]),
    st.sampled_from(["open-research", "open-research", "hot", "weapons"]),
)
which = st.integers(0, 30)
ways_to_end = st.sampled_from(
    [("succeeded", ""), ("infeasible", ""), ("failed", "facility"), ("failed", "requester"), ("lost", "")]
)
submits = st.tuples(st.just("submit"), st.lists(asked, min_size=1, max_size=8))
ends = st.tuples(st.just("end"), which, ways_to_end, st.floats(0, 4000))
steps = st.lists(
    st.tuples(
        st.one_of(
            submits,
            submits,
            submits,
            ends,
            ends,
            ends,
            st.tuples(st.just("submit_again"), which),
            st.tuples(st.just("cancel"), which),
            st.tuples(st.just("decide"), which, st.booleans()),
            st.tuples(st.just("hang_up"), which),
            st.tuples(st.just("hold")),
            st.tuples(st.just("release")),
            st.tuples(st.just("capacity"), st.integers(0, 4)),
            st.tuples(st.just("give_up")),
            st.tuples(st.just("restart"), st.sets(which), st.sets(which)),
        ),
        st.sampled_from([15, 0, 1, 2, 4]),  # how many turns the other tasks then have
    ),
    min_size=6,
    max_size=40,
)


class Play:
    """A site, and what was asked of it so far."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock, self.executor = folder, HeldClock(), FakeExecutor(capacity=3)
        self.requests: list[RunRequest] = []
        self.taken: list[str] = []
        self.calls: list[anyio.CancelScope] = []
        self.site: Site
        self.tasks: TaskGroup
        self._stack = AsyncExitStack()

    async def open(self) -> None:
        options: dict[str, Any] = {"offers": OFFERS, "allocations": ALLOCATIONS, "rules": [HOT]}
        self._stack = AsyncExitStack()
        self.site = await self._stack.enter_async_context(
            site(self.folder, self.clock, self.executor, **options).opened()
        )
        self.tasks = await self._stack.enter_async_context(anyio.create_task_group())

    async def close(self, *error: Any) -> None:
        self.clock.release()
        taken, self.executor.taken = self.executor.taken, []
        self.taken += taken
        await self._stack.__aexit__(*(error or (None, None, None)))  # waits for every task
        self.taken += self.executor.taken

    async def __aenter__(self) -> "Play":
        await self.open()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self.close(*error)

    async def submit(self, all_asked: list[dict[str, str]]) -> None:
        new = [request(**each) for each in all_asked]
        self.requests += new
        self._start(self.site.submit, batch(self.site, *new, signer="jp-lab"))

    async def submit_again(self, n: int) -> None:
        if self.requests:
            again = self.requests[n % len(self.requests)]
            self._start(self.site.submit, batch(self.site, again, again, signer="jp-lab"))

    async def end(self, n: int, how: tuple[str, str], seconds: float) -> None:
        jobs = list(self.executor.jobs)
        if jobs:
            outputs = {"value": 1.0} if how[0] == "succeeded" else {}
            self.executor._end(JobEnd(jobs[n % len(jobs)], how[0], seconds, outputs, fault=how[1]))

    async def cancel(self, n: int) -> None:
        if self.requests:
            run = self.requests[n % len(self.requests)].run
            self._start(self.site.cancel, cancellation(self.site, run, signer="jp-lab"))

    async def decide(self, n: int, approved: bool) -> None:
        if parked := list(self.site.runs.parked):
            self._start(self.site.decide, parked[n % len(parked)], "ada", approved)

    async def hang_up(self, n: int) -> None:
        """Cancel somebody who asked for something and may not have an answer yet."""
        if self.calls:
            self.calls[-1 - n % len(self.calls)].cancel()

    async def hold(self) -> None:
        self.clock.hold()

    async def release(self) -> None:
        self.clock.release()

    async def capacity(self, n: int) -> None:
        self.executor.capacity = n

    async def give_up(self) -> None:
        """Let every deadline pass."""
        self.clock.time += 100_000
        await anyio.sleep(0.008)

    async def restart(self, done: set[int], alive: set[int]) -> None:
        await self.close()
        started = [run for run, row in self.site.runs.live.items() if row.state == "started"]
        self.executor = FakeExecutor(capacity=2)
        self.executor.survivors = {run for n, run in enumerate(started) if n in alive}
        self.executor.evidence = {
            run: JobEnd(run, "succeeded", 60.0, {"value": 2.0}) for n, run in enumerate(started) if n in done
        }
        await self.open()

    def _start(self, call: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
        scope = anyio.CancelScope()
        self.calls.append(scope)

        async def start() -> None:
            try:
                with scope:
                    await call(*arguments)
            except (Expired, UsageError):
                pass  # the clock was moved on before it arrived; another one decided first

        self.tasks.start_soon(start)

    def check(self) -> None:
        assert self.executor.most <= 4, "more than there ever was room for"
        reserved: Counter[str] = Counter()
        for row in self.site.runs.live.values():
            reserved[f"{row.team} {row.unit}"] += row.micro
        for key, row in self.site.books.rows.items():
            assert row.granted + row.available + row.reserved + row.spent == 0
            assert row.available >= 0
            assert row.spent >= 0
            assert row.reserved == reserved[key]
            assert -row.granted == GRANTS[row.team, row.unit] * 1_000_000

    async def finish(self) -> None:
        """Let everything come to its end."""
        self.clock.release()
        self.executor.capacity = 4
        for _ in range(100):
            if not self.site.runs.live:
                break
            await self.executor.succeed(*self.executor.jobs, seconds=3600.0)
            await anyio.sleep(0.002 if self.site.runs.live else 0)
        self.check()


def check_ledger(play: Play) -> None:
    told = {
        kind: Counter(record.body.run for record in records(play.site, kind))
        for kind in ("run.accepted", "run.started", "run.ended")
    }
    assert told["run.accepted"] == told["run.ended"]
    assert all(n == 1 for counts in told.values() for n in counts.values())
    assert set(told["run.started"]) <= set(told["run.accepted"])
    for record in records(play.site, "run.ended"):
        body = record.body
        assert 0 <= body.charge <= body.reserved
        if body.outcome == "lost" or body.fault == "facility" or body.run not in told["run.started"]:
            assert body.charge == 0
    assert sum(row.spent for row in play.site.books.rows.values()) == sum(
        record.body.charge for record in records(play.site, "run.ended")
    )


@given(steps)
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
def test_nothing_is_overspent_doubled_or_forgotten(play_steps: list[tuple[tuple[Any, ...], int]]) -> None:
    async def main(folder: str) -> None:
        async with Play(Path(folder)) as play:
            for (name, *arguments), n_turns in play_steps:
                await getattr(play, name)(*arguments)
                await settled(n_turns)
                play.check()
            await settled()
            await play.finish()
            await play.site.checkpoint()
            check_ledger(play)
        assert max(Counter(play.taken).values(), default=1) == 1, "a run was handed over twice"
        finding = verify(Path(folder) / "us-site" / "ledger.db", None, [Runs(), Books()])
        assert finding.is_sound, finding.problem

    with tempfile.TemporaryDirectory(dir=FAST) as folder:
        anyio.run(main, folder)
