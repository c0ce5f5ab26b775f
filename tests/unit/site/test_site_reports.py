"""What a site tells: each campaign hears of its own runs, once, and who follows before it asks misses nothing."""

from pathlib import Path

import anyio
import pytest

from fakes import (
    FakeExecutor,
    HeldClock,
    batch,
    kinds,
    listening,
    request,
    said,
    settled,
    site,
    succeed,
    until,
)
from hand_clock import HandClock
from renkei.executors import Job, JobEnd
from renkei.model.records import read_record

pytestmark = pytest.mark.anyio


async def test_each_campaign_hears_of_its_own_runs_only(tmp_path: Path, clock: HandClock) -> None:
    executor = FakeExecutor()
    async with site(tmp_path, clock, executor).opened() as here:
        mine, theirs = request(), request(campaign="other")
        async with listening(here) as heard, listening(here, "other") as others, listening(here) as again:
            await said(here, mine, theirs)
            await executor.succeed(mine.run, theirs.run)
            await settled()
        assert [r.body.run for r in heard] == [mine.run]
        assert [r.body.run for r in others] == [theirs.run]
        assert [r.raw for r in again] == [r.raw for r in heard]
        assert not here._feeds, "followers who left are forgotten"


async def test_nobody_is_told_of_an_end_before_it_is_on_disk(tmp_path: Path) -> None:
    clock, executor = HeldClock(), FakeExecutor()
    async with site(tmp_path, clock, executor).opened() as here, listening(here) as heard:
        await said(here, asked := request())
        clock.hold()
        executor._end(JobEnd(asked.run, "succeeded", 1.0, {"value": 1.0}))
        await settled()
        assert here.runs.rows[asked.run].state == "succeeded"
        assert (heard, kinds(here)[-1]) == ([], "run.started")
        clock.release()
        await until(lambda: heard)
        assert [r.kind for r in heard] == ["run.ended"]


async def test_what_is_found_is_on_disk_and_what_comes_later_is_reported(tmp_path: Path) -> None:
    clock, executor = HeldClock(), FakeExecutor()
    found: list[bytes | None] = []
    async with site(tmp_path, clock, executor).opened() as here, listening(here) as heard:
        first = await here.submit(batch(here, asked := request()))

        async def find() -> None:
            found.extend(await here.find([asked.run, "unheard of"]))

        async def resubmit() -> None:
            found.extend(await here.submit(batch(here, asked)))

        async with anyio.create_task_group() as tasks:
            clock.hold()
            tasks.start_soon(here.submit, batch(here, request()))
            await settled()
            tasks.start_soon(find)
            tasks.start_soon(resubmit)
            await settled()
            executor._end(JobEnd(asked.run, "succeeded", 1.0, {"value": 1.0}))  # while the commit is under way
            await settled()
            clock.release()
        await until(lambda: heard)
        assert found == [*first, None, *first]
        assert [r.kind for r in heard] == ["run.ended"]
        assert await here.find([asked.run]) == [heard[0].raw]


async def test_who_follows_and_then_asks_misses_nothing_whenever_a_run_ends(tmp_path: Path) -> None:
    for n in range(12):  # the run ends after so many steps of the one who comes back
        clock, executor = HeldClock(), FakeExecutor()
        known: list[str] = []
        async with site(tmp_path / str(n), clock, executor).opened() as here:
            await said(here, asked := request())

            async def come_back(here=here, asked=asked, known=known) -> None:  # type: ignore[no-untyped-def]
                async with listening(here) as heard:
                    (raw,) = await here.find([asked.run])
                    assert raw is not None
                    known.append(read_record(raw).kind)
                    await settled(40)
                    known.extend(r.kind for r in heard)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(come_back)
                await settled(n)
                if n % 2:
                    clock.hold()
                executor._end(JobEnd(asked.run, "succeeded", 1.0, {"value": 1.0}))
                await settled(2)
                clock.release()
        assert "run.ended" in known, f"after {n} steps"


async def test_a_slow_follower_gets_everything_in_order(tmp_path: Path, clock: HandClock) -> None:
    executor = FakeExecutor(answer=succeed)
    asked = [request() for _ in range(30)]
    heard: list[str] = []
    async with site(tmp_path, clock, executor).opened() as here, here.follow("fusion", "search") as stream:
        for a in asked:
            await said(here, a)
        await until(lambda: not here.runs.live)
        with anyio.fail_after(5):
            async for reports in stream:
                heard += [read_record(raw).body.run for raw in reports]
                if len(heard) == 30:
                    break
    assert heard == [a.run for a in asked]


async def test_the_history_of_a_campaign_holds_its_own_runs_only(tmp_path: Path, clock: HandClock) -> None:
    executor = FakeExecutor(answer=succeed)
    mine, other, denied = request(), request(campaign="other"), request(purpose="weapons")
    theirs = request(team="quantum")  # another team's campaign of the same name
    async with site(tmp_path, clock, executor).opened() as here:
        await said(here, mine, other, denied)
        await said(here, theirs, signer="jp-lab")
        await until(lambda: not here.runs.live)
        told = {
            key: [(record.kind, record.body.run) for record in map(read_record, here.history(*key, 0))]
            for key in (("fusion", "search"), ("fusion", "other"), ("quantum", "search"), ("quantum", "other"))
        }
    assert sorted(told["fusion", "search"]) == sorted(
        [("run.accepted", mine.run), ("run.refused", denied.run), ("run.ended", mine.run)]
    )
    assert told["fusion", "other"] == [("run.accepted", other.run), ("run.ended", other.run)]
    assert told["quantum", "search"] == [("run.accepted", theirs.run), ("run.ended", theirs.run)]
    assert told["quantum", "other"] == []


async def test_a_history_begins_where_it_is_asked_to(tmp_path: Path, clock: HandClock) -> None:
    executor = FakeExecutor()
    async with site(tmp_path, clock, executor).opened() as here:
        await said(here, first := request())
        await said(here, second := request())
        await executor.succeed(first.run, second.run)
        whole = here.history("fusion", "search", 0)
        seqs = [read_record(raw).seq for raw in whole]
        assert len(whole) == 4
        for n, seq in enumerate(seqs):
            assert here.history("fusion", "search", seq) == whole[n:]
            assert here.history("fusion", "search", seq + 1) == whole[n + 1 :]


async def test_a_conflict_is_no_part_of_the_history_of_the_run_whose_id_it_took(
    tmp_path: Path, clock: HandClock
) -> None:
    async with site(tmp_path, clock, FakeExecutor()).opened() as here:
        await said(here, asked := request())
        (conflict,) = await said(here, request(run=asked.run, team="quantum", campaign="thief"), signer="jp-lab")
        assert (conflict.kind, conflict.body.code) == ("run.refused", "conflict")
        assert [read_record(raw).kind for raw in here.history("fusion", "search", 0)] == ["run.accepted"]
        assert here.history("quantum", "thief", 0) == []


async def test_a_run_that_ends_before_its_receipt_is_returned_is_reported(tmp_path: Path, clock: HandClock) -> None:
    executor = FakeExecutor(answer=succeed)
    async with site(tmp_path, clock, executor).opened() as here, listening(here) as heard:
        asked = [request() for _ in range(10)]
        receipts = await said(here, *asked)
        await until(lambda: len(heard) == 10)
    assert [r.kind for r in receipts] == ["run.accepted"] * 10
    assert {r.body.run for r in heard} == {a.run for a in asked}


async def test_thousands_of_runs_leave_nothing_behind_but_their_rows(tmp_path: Path, clock: HandClock) -> None:
    def answer(job: Job) -> JobEnd:
        return JobEnd(job.run, "succeeded", 0.0, {"value": 0.0})

    executor = FakeExecutor(capacity=100, answer=answer)
    lots = [("fusion", "10000 run")]
    async with site(tmp_path, clock, executor, allocations=lots).opened() as here:
        for _ in range(4):
            await said(here, *(request() for _ in range(500)))
        await until(lambda: len(executor.taken) == 2000 and not here.runs.live)
        assert (len(here._queue), here._stopping, here._decided) == (0, set(), set())
        assert not here._launching
        assert all(not row.parameters for row in here.runs.rows.values())
