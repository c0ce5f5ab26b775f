"""What becomes of an accepted run: it starts once its start is written down, ends once, and is charged what it used."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from fakes import (
    FakeExecutor,
    HeldClock,
    balance,
    batch,
    cancellation,
    kinds,
    listening,
    offered,
    records,
    request,
    said,
    settled,
    site,
    until,
)
from hand_clock import HandClock
from renkei.errors import Denied, LedgerError, SubmitRejected
from renkei.executors import Job, JobEnd
from renkei.home._session import first_error
from renkei.ledger import LedgerReader
from renkei.model.records import CancelAsked, Evidence
from renkei.site import Site

pytestmark = pytest.mark.anyio


async def later(clock: HeldClock) -> None:
    await settled()
    clock.release()


BY_RUN = offered()
BY_HOUR = offered("lab.anneal", unit="node-hour", per_run=0.0, per_hour=2.0, time_limit_s=1800.0)
BOTH = {"offers": [BY_RUN, BY_HOUR], "allocations": [("fusion", "10 run"), ("fusion", "10 node-hour")]}


@asynccontextmanager
async def opened(
    folder: Path, clock: HandClock, capacity: int = 1000, **options: object
) -> AsyncGenerator[tuple[Site, FakeExecutor]]:
    executor = FakeExecutor(capacity)
    async with site(folder, clock, executor, **options).opened() as here:  # type: ignore[arg-type]
        yield here, executor


@pytest.mark.parametrize(
    ("outcome", "fault", "seconds", "runs", "hours"),
    [
        ("succeeded", "", 900.0, 1, 0.5),
        ("succeeded", "", 0.0, 1, 0),
        ("succeeded", "", 7200.0, 1, 1),  # never more than it reserved
        ("infeasible", "", 900.0, 1, 0.5),
        ("failed", "facility", 900.0, 0, 0),
        ("failed", "requester", 900.0, 1, 0.5),
        ("lost", "", 900.0, 0, 0),
        ("cancelled", "", 900.0, 1, 0.5),
    ],
)
async def test_a_run_is_charged_by_its_outcome(
    outcome: str, fault: str, seconds: float, runs: float, hours: float, tmp_path: Path, clock: HandClock
) -> None:
    async with opened(tmp_path, clock, **BOTH) as (here, executor):
        asked = [request(), request(procedure="lab.anneal")]
        await said(here, *asked)
        assert balance(here) == (9, 1, 0)
        assert balance(here, unit="node-hour") == (9, 1, 0)
        clock.time += 10
        outputs = {"value": 0.5} if outcome == "succeeded" else {}
        await executor.end(*(JobEnd(a.run, outcome, seconds, outputs, fault=fault, message="so") for a in asked))
        assert balance(here) == (10 - runs, 0, runs)
        assert balance(here, unit="node-hour") == (10 - hours, 0, hours)
        first, second = records(here, "run.ended")
    assert (first.body.outcome, first.body.fault, first.body.message) == (outcome, fault, "so")
    assert (first.body.reserved, first.body.charge, first.body.unit) == (1_000_000, runs * 1_000_000, "run")
    assert (second.body.reserved, second.body.charge) == (1_000_000, hours * 1_000_000)
    assert first.body.run_s == seconds


async def test_a_run_may_cost_something_each_time_and_something_an_hour(tmp_path: Path, clock: HandClock) -> None:
    offer = offered(unit="USD", per_run=2.0, per_hour=6.0, time_limit_s=3600.0)
    async with opened(tmp_path, clock, offers=[offer], allocations=[("fusion", "20 USD")]) as (here, executor):
        await said(here, asked := request())
        assert balance(here, unit="USD") == (12, 8, 0)
        await executor.succeed(asked.run, seconds=1200)
        assert balance(here, unit="USD") == (16, 0, 4)


@pytest.mark.parametrize(
    ("per_run", "per_hour", "seconds", "micro"),
    [(1.0, 0.0, 0.0, 1_000_000), (0.0, 2.0, 0.0018, 1), (0.5, 2.0, 1800.0, 1_500_000), (0.5, 2.0, 99_999.0, 2_500_000)],
)
def test_a_charge_is_exact_to_the_millionth_and_never_above_the_reservation(
    per_run: float, per_hour: float, seconds: float, micro: int
) -> None:
    offer = offered(unit="node-hour", per_run=per_run, per_hour=per_hour, time_limit_s=3600.0)
    assert offer.charge(seconds, offer.reservation({}).micro) == micro
    assert offer.reservation({}).micro == round((per_run + per_hour) * 1_000_000)


async def test_an_end_carries_what_the_run_gave(tmp_path: Path, clock: HandClock) -> None:
    async with opened(tmp_path, clock) as (here, executor):
        await said(here, asked := request())
        evidence = Evidence(exit_code=3, tail="it broke")
        clock.time += 5
        await executor.end(JobEnd(asked.run, "failed", 5.0, fault="facility", retryable=True, evidence=evidence))
        (ended,) = records(here, "run.ended")
        assert here.runs.rows[asked.run].state == "failed"
        assert not here.runs.live
    assert (ended.body.retryable, ended.body.evidence, ended.body.run_s) == (True, evidence, 5.0)


async def test_waiting_in_the_queue_is_told_apart_from_running(tmp_path: Path, clock: HandClock) -> None:
    async with opened(tmp_path, clock, capacity=1) as (here, executor):
        first, second = request(), request()
        await said(here, first, second)
        clock.time += 30
        await executor.succeed(first.run, seconds=30.0)
        clock.time += 12
        await executor.succeed(second.run, seconds=12.0)
        ends = records(here, "run.ended")
    assert [(r.body.queue_s, r.body.run_s) for r in ends] == [(0.0, 30.0), (30.0, 12.0)]


async def test_waiting_in_the_engine_counts_as_waiting_too(tmp_path: Path, clock: HandClock) -> None:
    async with opened(tmp_path, clock, capacity=1) as (here, executor):
        first, second = request(), request()
        await said(here, first, second)
        clock.time += 30
        await executor.succeed(first.run, seconds=20.0, queued_s=10.0)
        await executor.succeed(second.run, seconds=3.0, queued_s=7.5)
        ends = records(here, "run.ended")
    assert [(r.body.queue_s, r.body.run_s) for r in ends] == [(10.0, 20.0), (37.5, 3.0)]


async def test_runs_start_in_the_order_in_which_they_came_and_only_where_there_is_room(
    tmp_path: Path, clock: HandClock
) -> None:
    async with opened(tmp_path, clock, capacity=2) as (here, executor):
        asked = [request() for _ in range(5)]
        await said(here, *asked)
        assert executor.taken == [a.run for a in asked[:2]]
        await executor.succeed(asked[1].run)
        assert executor.taken == [a.run for a in asked[:3]]
        await executor.succeed(asked[0].run, asked[2].run)
        assert executor.taken == [a.run for a in asked]


async def test_room_is_given_away_once_however_many_batches_come_at_the_same_time(tmp_path: Path) -> None:
    clock = HeldClock()
    async with opened(tmp_path, clock, capacity=3) as (here, executor):
        async with anyio.create_task_group() as tasks:
            clock.hold()
            for _ in range(4):
                tasks.start_soon(here.submit, batch(here, request(), request()))
                await settled()
            clock.release()
        assert len(executor.taken) == 3
        assert executor.room("lab.measure") == 0
        while executor.jobs:
            await executor.succeed(*executor.jobs)
        assert len(executor.taken) == len(set(executor.taken)) == 8
        assert len(records(here, "run.ended")) == 8


async def test_nothing_starts_before_its_start_is_on_disk(tmp_path: Path) -> None:
    clock = HeldClock()
    path = tmp_path / "us-site" / "ledger.db"
    on_disk: dict[str, list[str]] = {}

    def look(job: Job) -> None:
        with LedgerReader(path) as reader:
            on_disk[job.run] = [r.kind for r in reader.records() if getattr(r.body, "run", "") == job.run]

    async with opened(tmp_path, clock) as (here, executor):
        executor.answer = look
        asked = request()
        answers: list[object] = []

        async def ask() -> None:
            answers.extend(await here.submit(batch(here, asked)))

        async with anyio.create_task_group() as tasks:
            clock.hold()
            tasks.start_soon(ask)
            await settled()
            assert here.runs.rows[asked.run].state == "started"
            assert (executor.taken, answers) == ([], [])
            clock.release()
            await until(lambda: answers)
    assert on_disk == {asked.run: ["run.accepted", "run.started"]}


@pytest.mark.parametrize("who", ["whose commit it is", "who waits for another's commit"])
async def test_a_caller_who_is_cancelled_strands_nobodys_runs(who: str, tmp_path: Path) -> None:
    clock = HeldClock()
    async with opened(tmp_path, clock, capacity=1) as (here, executor):
        mine, theirs = request(), request(campaign="other")
        async with anyio.create_task_group() as others:
            clock.hold()
            if who == "who waits for another's commit":
                here.ledger.append(CancelAsked("", ""))
                others.start_soon(here.checkpoint)
                await settled()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(here.submit, batch(here, mine, theirs))
                await settled()
                tasks.cancel_scope.cancel()
                others.start_soon(later, clock)
        await settled()
        assert executor.taken == [mine.run]
        await executor.succeed(mine.run)
        assert executor.taken == [mine.run, theirs.run]


@pytest.mark.parametrize("where", ["in the queue", "being started", "at work"])
async def test_a_cancelled_run_ends_as_cancelled_and_pays_for_what_it_used(where: str, tmp_path: Path) -> None:
    clock = HeldClock()
    async with opened(tmp_path, clock, capacity=0 if where == "in the queue" else 1) as (here, executor):
        asked = request()
        async with listening(here) as heard, anyio.create_task_group() as tasks:
            if where == "being started":
                clock.hold()
            tasks.start_soon(here.submit, batch(here, asked))
            await settled()
            tasks.start_soon(here.cancel, cancellation(here, asked.run, by="ada"))
            await settled()
            clock.release()
            await until(lambda: heard)
        assert [(r.kind, r.body.outcome) for r in heard] == [("run.ended", "cancelled")]
        assert executor.taken == ([asked.run] if where == "at work" else [])
        assert balance(here) == ((99, 0, 1) if where == "at work" else (100, 0, 0))
        assert [r.body.by for r in records(here, "run.cancel-asked")] == ["ada"]
        executor.capacity = 1
        await said(here, after := request())
        assert executor.taken[-1] == after.run


async def test_a_run_that_is_cancelled_while_the_engine_takes_it_is_cancelled_there(
    tmp_path: Path, clock: HandClock
) -> None:
    async with opened(tmp_path, clock) as (here, executor), listening(here) as heard:
        executor.gate = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(here.submit, batch(here, asked := request(), request()))
            await settled()
            await here.cancel(cancellation(here, asked.run))
            executor.gate.set()
        await until(lambda: heard)
        assert [(r.body.run, r.body.outcome) for r in heard] == [(asked.run, "cancelled")]
        assert executor.cancels == [asked.run]
        assert len(executor.jobs) == 1


async def test_room_that_comes_back_without_a_word_is_noticed(tmp_path: Path, clock: HandClock) -> None:
    async with opened(tmp_path, clock, capacity=0) as (here, executor):
        await said(here, asked := request())
        assert executor.taken == []
        executor.capacity = 1
        await until(lambda: executor.taken)
        assert executor.taken == [asked.run]


async def test_nothing_is_handed_to_an_engine_that_is_gone(tmp_path: Path) -> None:
    clock, asked = HeldClock(), request()
    async with anyio.create_task_group() as outside:
        async with opened(tmp_path, clock) as (here, executor):
            clock.hold()
            outside.start_soon(here.submit, batch(here, asked))
            await settled()
            outside.start_soon(later, clock)
    assert executor.taken == []
    async with opened(tmp_path, clock) as (here, _):
        assert here.runs.rows[asked.run].state == "lost"
        assert balance(here) == (100, 0, 0)


async def test_only_an_institution_of_the_team_cancels(tmp_path: Path, clock: HandClock) -> None:
    async with opened(tmp_path, clock) as (here, executor):
        await said(here, asked := request())
        await here.cancel(cancellation(here, asked.run, signer="outsider"))
        await here.cancel(cancellation(here, "no such run"))
        assert executor.cancels == []
        assert not records(here, "run.cancel-asked")
        with pytest.raises(Denied):
            await here.cancel(cancellation(here, asked.run, signer="stranger"))
        await here.cancel(cancellation(here, asked.run, signer="jp-lab"))
        assert executor.cancels == [asked.run]
        await until(lambda: not here.runs.live)
        await here.cancel(cancellation(here, asked.run))
        assert len(records(here, "run.cancel-asked")) == 1
        assert records(here, "run.cancel-asked")[0].body.by == "jp-lab"


async def test_many_runs_are_cancelled_in_a_few_commits(tmp_path: Path, clock: HandClock) -> None:
    async with opened(tmp_path, clock, capacity=0) as (here, _):
        asked = [request() for _ in range(50)]
        await said(here, *asked)
        commits: list[int] = []
        here.ledger.follow(lambda appended: commits.append(len(appended)))
        await here.cancel(cancellation(here, *(a.run for a in asked)))
        assert sum(commits) == 100
        assert len(commits) <= 3
        assert balance(here) == (100, 0, 0)


async def test_a_run_past_its_deadline_is_lost_and_its_reservation_released(tmp_path: Path, clock: HandClock) -> None:
    async with opened(tmp_path, clock, capacity=1) as (here, executor):
        running, queued = request(), request()
        await said(here, running, queued)
        executor.ignores_cancels = True
        async with listening(here) as heard:
            clock.time += 86_400 + 2 * 600 - 1
            await anyio.sleep(0.03)
            assert not heard
            clock.time += 2
            await until(lambda: len(heard) == 2)
        assert {(r.body.run, r.body.outcome) for r in heard} == {(running.run, "lost"), (queued.run, "lost")}
        assert all(r.body.retryable for r in heard)
        assert balance(here) == (100, 0, 0)
        assert executor.taken == [running.run]
        assert running.run in executor.cancels
        await executor.succeed(running.run)  # too late: it is lost for good
        assert [r.body.outcome for r in records(here, "run.ended")] == ["lost", "lost"]
        assert balance(here) == (100, 0, 0)
        await said(here, after := request())
        assert executor.taken == [running.run, after.run]


async def test_runs_that_are_given_up_are_lost_however_quickly_the_engine_ends_them(
    tmp_path: Path, clock: HandClock
) -> None:
    async with opened(tmp_path, clock) as (here, executor):
        await said(here, *(request() for _ in range(4)))
        clock.time += 100_000
        await until(lambda: len(executor.cancels) == 4)
        await settled()
        assert not executor.jobs
        assert [r.body.outcome for r in records(here, "run.ended")] == ["lost"] * 4
        assert balance(here) == (100, 0, 0)


async def test_files_of_a_run_become_datasets_named_in_its_end(tmp_path: Path, clock: HandClock) -> None:
    picture = tmp_path / "p.png"
    picture.write_bytes(b"pixels")
    async with opened(tmp_path, clock) as (here, executor):
        await said(here, asked := request())
        await executor.succeed(asked.run, files={"picture": str(picture)})
        (ended,) = records(here, "run.ended")
        (dataset,) = ended.body.datasets
        assert (dataset.name, dataset.size_bytes) == ("picture", 6)
        here.datasets.fetch(dataset.digest, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"pixels"


async def test_a_run_whose_files_cannot_be_kept_failed_and_the_site_goes_on(tmp_path: Path, clock: HandClock) -> None:
    async with opened(tmp_path, clock) as (here, executor):
        bad, good = request(), request()
        await said(here, bad, good)
        await executor.succeed(bad.run, files={"picture": str(tmp_path / "gone.png")})
        await executor.succeed(good.run)
        first, second = records(here, "run.ended")
        assert (first.body.outcome, first.body.fault, first.body.retryable) == ("failed", "facility", True)
        assert "gone.png" in first.body.message
        assert second.body.outcome == "succeeded"
        assert balance(here) == (99, 0, 1)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"value": float("nan")}, "output 'value' is nan"),
        ({"value": float("-inf")}, "output 'value' is -inf"),
        ({"other": 1.0}, "output 'value' is missing"),
        ({"value": 1.0, "extra": float("inf")}, "output 'extra' is inf"),
    ],
)
async def test_a_success_without_its_numbers_is_a_failure(
    outputs: dict[str, float], message: str, tmp_path: Path, clock: HandClock
) -> None:
    async with opened(tmp_path, clock) as (here, executor):
        await said(here, asked := request())
        await executor.end(JobEnd(asked.run, "succeeded", 1.0, outputs))
        (ended,) = records(here, "run.ended")
    assert (ended.body.outcome, ended.body.fault, ended.body.outputs) == ("failed", "facility", {})
    assert message in ended.body.message
    async with opened(tmp_path, clock) as (here, _):
        assert here.runs.rows[asked.run].state == "failed"


async def test_jobs_that_the_engine_refuses_fail_and_the_site_goes_on(tmp_path: Path, clock: HandClock) -> None:
    async with opened(tmp_path, clock) as (here, executor):
        executor.problem = SubmitRejected("the queue is closed")
        asked = [request(), request()]
        assert [r.kind for r in await said(here, *asked)] == ["run.accepted"] * 2
        ends = records(here, "run.ended")
        assert [(r.body.outcome, r.body.fault, r.body.retryable) for r in ends] == [("failed", "facility", True)] * 2
        assert "the queue is closed" in ends[0].body.message
        assert balance(here) == (100, 0, 0)
        await said(here, after := request())
        assert executor.taken == [after.run]


async def test_a_ledger_that_cannot_be_written_ends_the_site_with_its_error(tmp_path: Path, clock: HandClock) -> None:
    executor = FakeExecutor()
    with pytest.raises(BaseExceptionGroup) as group:
        async with site(tmp_path, clock, executor).opened() as here:
            await said(here, asked := request())
            here.ledger._db.execute("PRAGMA query_only = 1")
            executor._end(JobEnd(asked.run, "succeeded", 1.0, {"value": 1.0}))
            await anyio.sleep_forever()  # whoever works at the site is ended with it
    error = first_error(group.value)
    assert isinstance(error, LedgerError)
    assert "cannot be written" in error.message
    assert not executor.is_serving
    async with opened(tmp_path, clock) as (here, executor):
        assert kinds(here)[-2:] == ["site.opened", "run.ended"]
        assert here.runs.rows[asked.run].state == "lost"


async def test_what_ended_while_the_site_closed_is_kept(tmp_path: Path) -> None:
    clock = HeldClock()
    async with opened(tmp_path, clock) as (here, executor):
        await said(here, asked := request())
        clock.hold()
        executor._end(JobEnd(asked.run, "succeeded", 1.0, {"value": 1.0}))
        await settled()
        clock.release()
    async with opened(tmp_path, clock) as (here, _):
        assert here.runs.rows[asked.run].state == "succeeded"
        assert balance(here) == (99, 0, 1)
