"""Runs that wait for a person: parked, then approved or denied once, and the campaign is told."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path

import pytest

from fakes import (
    FakeExecutor,
    agreement,
    balance,
    batch,
    cancellation,
    listening,
    offered,
    records,
    request,
    said,
    settled,
    site,
)
from hand_clock import HandClock
from renkei.errors import UsageError
from renkei.model.records import Record
from renkei.model.rule import Rule
from renkei.site import Site

pytestmark = pytest.mark.anyio

HOT = Rule("hot", "ask", purposes=("hot",), reason="Hot runs need the shift leader.")


@asynccontextmanager
async def parked(
    folder: Path, clock: HandClock, **options: object
) -> AsyncGenerator[tuple[Site, FakeExecutor, str, list[Record]]]:
    """Yield a site where one run is parked, its id, and what its campaign is told."""
    executor = FakeExecutor()
    async with site(folder, clock, executor, rules=[HOT], **options).opened() as here:  # type: ignore[arg-type]
        async with listening(here) as heard:
            (answer,) = await said(here, asked := request(purpose="hot"))
            assert (answer.kind, answer.body.reasons[0].id) == ("run.parked", "hot")
            yield here, executor, asked.run, heard


async def test_a_parked_run_reserves_nothing_and_does_not_start(tmp_path: Path, clock: HandClock) -> None:
    async with parked(tmp_path, clock) as (here, executor, run, heard):
        await said(here, request())
        assert list(here.runs.parked) == [run]
        assert run not in executor.taken
        assert balance(here) == (99, 1, 0)
        await settled()
        assert heard == []


async def test_an_approved_run_is_accepted_started_and_reported(tmp_path: Path, clock: HandClock) -> None:
    async with parked(tmp_path, clock) as (here, executor, run, heard):
        assert await here.decide(run, "ada", True, "go ahead") == "started"
        assert executor.taken == [run]
        assert balance(here) == (99, 1, 0)
        await executor.succeed(run)
        await settled()
        assert [r.kind for r in heard] == ["run.accepted", "run.ended"]
        assert [(r.id, r.text) for r in heard[0].body.reasons] == [("person.approved", "approved by ada: go ahead")]
        (decided,) = records(here, "run.decided")
        assert (decided.body.by, decided.body.approved, decided.body.note) == ("ada", True, "go ahead")
        assert not here.runs.parked
        assert not here._decided
        assert balance(here) == (99, 0, 1)


async def test_a_denied_run_is_refused_and_reported(tmp_path: Path, clock: HandClock) -> None:
    async with parked(tmp_path, clock) as (here, executor, run, heard):
        assert await here.decide(run, "ada", False) == "refused"
        await settled()
        (refused,) = heard
        assert (refused.kind, refused.body.code, refused.body.reasons[0].text) == (
            "run.refused",
            "denied",
            "denied by ada",
        )
        assert (executor.taken, balance(here)) == ([], (100, 0, 0))
        assert await here.find([run]) == [refused.raw]


@pytest.mark.parametrize("first", [True, False])
async def test_nobody_decides_twice(first: bool, tmp_path: Path, clock: HandClock) -> None:
    async with parked(tmp_path, clock) as (here, executor, run, heard):
        await here.decide(run, "ada", first)
        for second in (True, False):
            with pytest.raises(UsageError, match="not waiting for approval"):
                await here.decide(run, "bob", second)
        with pytest.raises(UsageError, match="unknown here"):
            await here.decide("nothing", "bob", True)
        assert len(records(here, "run.decided")) == 1
        await settled()
        assert len(heard) == 1
        assert len(executor.taken) == first


async def test_no_run_is_approved_once_the_agreement_is_over(tmp_path: Path, clock: HandClock) -> None:
    terms = agreement(HOT, ends=date(2027, 1, 31))
    async with parked(tmp_path, clock, terms=terms) as (here, executor, run, _):
        clock.time = terms.ends
        assert await here.decide(run, "ada", True) == "refused"
        (refused,) = records(here, "run.refused")
        assert [reason.id for reason in refused.body.reasons] == ["person.approved", "agreement.term"]
        assert executor.taken == []


async def test_an_approved_run_that_nobody_can_pay_is_refused(tmp_path: Path, clock: HandClock) -> None:
    async with parked(tmp_path, clock, allocations=[("fusion", "1 run")]) as (here, executor, run, heard):
        await said(here, other := request())
        assert await here.decide(run, "ada", True) == "refused"
        await settled()
        assert [(r.kind, r.body.code) for r in heard] == [("run.refused", "allocation")]
        assert executor.taken == [other.run]


async def test_a_parked_run_can_be_cancelled_by_its_team(tmp_path: Path, clock: HandClock) -> None:
    async with parked(tmp_path, clock) as (here, executor, run, heard):
        await here.cancel(cancellation(here, run, signer="outsider"))
        assert list(here.runs.parked) == [run]
        await here.cancel(cancellation(here, run))
        await settled()
        assert [(r.kind, r.body.code) for r in heard] == [("run.refused", "cancelled")]
        with pytest.raises(UsageError, match="is refused"):
            await here.decide(run, "ada", True)
        assert executor.taken == []


async def test_a_parked_run_asked_for_again_gets_the_same_record(tmp_path: Path, clock: HandClock) -> None:
    executor, asked = FakeExecutor(), request(purpose="hot")
    async with site(tmp_path, clock, executor, rules=[HOT]).opened() as here:
        first = await here.submit(batch(here, asked))
        assert await here.submit(batch(here, asked, asked)) == [*first, *first]
    assert len(here.runs.parked) == 1


async def test_a_parked_run_outlives_a_restart(tmp_path: Path, clock: HandClock) -> None:
    async with parked(tmp_path, clock) as (_, _, run, _):
        pass
    executor = FakeExecutor()
    async with site(tmp_path, clock, executor, rules=[HOT]).opened() as here, listening(here) as heard:
        assert executor.taken == []
        assert await here.decide(run, "ada", True) == "started"
        assert executor.jobs[run].parameters == {"x": 0.5, "y": 1.0}
        await settled()
        assert [r.kind for r in heard] == ["run.accepted"]


@pytest.mark.parametrize("offer", [offered("lab.other"), offered(version="2.0")])
async def test_what_is_no_longer_on_offer_is_not_approved(offer: object, tmp_path: Path, clock: HandClock) -> None:
    async with parked(tmp_path, clock) as (_, _, run, _):
        pass
    executor = FakeExecutor()
    changed = site(tmp_path, clock, executor, rules=[HOT], offers=[offer])  # type: ignore[list-item]
    async with changed.opened() as here, listening(here) as heard:
        assert await here.decide(run, "ada", True) == "refused"
        await settled()
        (refused,) = heard
    assert refused.body.code == "invalid"
    assert "no longer offers 'lab.measure' 1.0" in refused.body.reasons[-1].text
    assert executor.taken == []
