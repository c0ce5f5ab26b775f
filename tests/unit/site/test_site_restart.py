"""A site that opens again: what was accepted waits again, what was started is settled by evidence, grants follow."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from fakes import FakeExecutor, agreement, balance, offered, records, request, said, settled, site, succeed
from hand_clock import HandClock
from renkei.errors import LedgerError
from renkei.executors import JobEnd
from renkei.ledger import verify
from renkei.site import Runs, Site

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def opened(
    folder: Path, clock: HandClock, executor: FakeExecutor | None = None, **options: object
) -> AsyncGenerator[tuple[Site, FakeExecutor]]:
    executor = executor or FakeExecutor()
    async with site(folder, clock, executor, **options).opened() as here:  # type: ignore[arg-type]
        yield here, executor


async def test_accepted_runs_wait_again_and_started_ones_are_settled_by_evidence(
    tmp_path: Path, clock: HandClock
) -> None:
    asked = {name: request() for name in ("done", "infeasible", "gone", "alive", "ended", "waiting", "last")}
    runs = {name: a.run for name, a in asked.items()}
    async with opened(tmp_path, clock, FakeExecutor(capacity=5)) as (here, executor):
        await said(here, *asked.values())
        executor.capacity = 4
        await executor.succeed(runs["ended"])
    before = FakeExecutor(capacity=2)
    before.evidence = {
        runs["done"]: JobEnd(runs["done"], "succeeded", 3.0, {"value": 7.0}),
        runs["infeasible"]: JobEnd(runs["infeasible"], "infeasible", 2.0),
    }
    before.survivors = {runs["alive"]}
    async with opened(tmp_path, clock, before) as (here, executor):
        states = {name: here.runs.rows[run].state for name, run in runs.items()}
        assert states == {
            "done": "succeeded",
            "infeasible": "infeasible",
            "gone": "lost",
            "alive": "started",
            "ended": "succeeded",
            "waiting": "started",
            "last": "accepted",
        }
        assert executor.taken == [runs["waiting"]]
        assert balance(here) == (94, 3, 3)
        await executor.succeed(runs["alive"], runs["waiting"])
        assert executor.taken == [runs["waiting"], runs["last"]]
        await executor.succeed(runs["last"])
        assert balance(here) == (94, 0, 6)
        ends = [r.body.run for r in records(here, "run.ended")]
    assert sorted(ends) == sorted(runs.values())
    finding = verify(tmp_path / "us-site" / "ledger.db", None, [Runs()])
    assert finding.is_sound, finding.problem


async def test_the_queue_keeps_its_order_over_a_restart(tmp_path: Path, clock: HandClock) -> None:
    asked = [request() for _ in range(6)]
    async with opened(tmp_path, clock, FakeExecutor(capacity=0)) as (here, _):
        await said(here, *asked)
    async with opened(tmp_path, clock) as (_, executor):
        assert executor.taken == [a.run for a in asked]


@pytest.mark.parametrize("offer", [offered("lab.other"), offered(version="2.0")])
async def test_runs_of_what_is_no_longer_offered_fail_at_no_cost(
    offer: object, tmp_path: Path, clock: HandClock
) -> None:
    started, waiting = request(), request()
    async with opened(tmp_path, clock, FakeExecutor(capacity=1)) as (here, _):
        await said(here, started, waiting)
    async with opened(tmp_path, clock, offers=[offer]) as (here, executor):
        ends = records(here, "run.ended")
        assert [(r.body.outcome, r.body.fault, r.body.retryable) for r in ends] == [("failed", "facility", True)] * 2
        assert "no longer offers 'lab.measure' 1.0" in ends[0].body.message
        assert balance(here) == (100, 0, 0)
        assert executor.taken == []


async def test_prices_that_changed_meanwhile_never_charge_more_than_was_reserved(
    tmp_path: Path, clock: HandClock
) -> None:
    asked = request()
    async with opened(tmp_path, clock, FakeExecutor(capacity=0)) as (here, _):
        await said(here, asked)
    async with opened(tmp_path, clock, offers=[offered(per_run=5.0)]) as (here, executor):
        await executor.succeed(asked.run)
        assert balance(here) == (99, 0, 1)


async def test_an_opening_is_written_down_with_key_agreement_and_version(tmp_path: Path, clock: HandClock) -> None:
    terms = agreement()
    for n in (1, 2):
        async with opened(tmp_path, clock, terms=terms) as (here, _):
            openings = records(here, "site.opened")
            assert len(openings) == n
            assert (openings[-1].body.site, openings[-1].body.agreement) == ("us-site", terms.digest)
            assert len(records(here, "allocation.granted")) == 2  # of the first opening alone


@pytest.mark.parametrize(
    ("granted", "available", "reserved", "spent"),
    [
        ("100 run", 96, 3, 1),
        ("200 run", 196, 3, 1),
        ("50 run", 46, 3, 1),
        ("4 run", 0, 3, 1),
        ("2 run", 0, 3, 1),  # what is reserved or spent is not taken back
        ("0 run", 0, 3, 1),
        (None, 0, 3, 1),
    ],
)
async def test_grants_follow_the_sites_file_and_never_overdraw(
    granted: str | None, available: float, reserved: float, spent: float, tmp_path: Path, clock: HandClock
) -> None:
    asked = [request() for _ in range(4)]
    async with opened(tmp_path, clock) as (here, executor):
        await said(here, *asked)
        await executor.succeed(asked[0].run)
    still = FakeExecutor()
    still.survivors = {a.run for a in asked}
    allocations = [("fusion", granted)] if granted else []
    async with opened(tmp_path, clock, still, allocations=allocations) as (here, executor):
        assert balance(here) == (available, reserved, spent)
        (answer,) = await said(here, request())
        assert answer.kind == ("run.accepted" if available else "run.refused")


async def test_what_was_taken_back_stays_away_once_the_runs_that_held_it_ended(
    tmp_path: Path, clock: HandClock
) -> None:
    asked = [request() for _ in range(4)]
    async with opened(tmp_path, clock) as (here, _):
        await said(here, *asked)
    async with opened(tmp_path, clock, allocations=[("fusion", "2 run")]) as (here, _):  # all four are lost
        await settled()
    async with opened(tmp_path, clock, allocations=[("fusion", "2 run")]) as (here, _):
        assert balance(here) == (2, 0, 0)


async def test_a_site_whose_disk_is_full_stops_and_goes_on_when_there_is_room(tmp_path: Path, clock: HandClock) -> None:
    executor = FakeExecutor(answer=succeed)
    with pytest.raises(BaseExceptionGroup) as stopped, anyio.fail_after(10):
        async with site(tmp_path, clock, executor).opened() as here:
            (kept,) = await said(here, request())
            here.ledger._db.execute("PRAGMA max_page_count = 1")
            with pytest.raises(LedgerError, match="disk is full"):
                while True:
                    await said(here, request())
            await anyio.sleep_forever()  # nobody asks it for anything more
    assert stopped.group_contains(LedgerError, match="disk is full")
    async with site(tmp_path, clock, executor).opened() as again:
        assert await said(again, request(run="not an id"))
        assert kept.body.run in again.runs.rows, "what was acknowledged is kept"
        size = again.ledger.size
    assert verify(tmp_path / "us-site" / "ledger.db", None, [Runs()]).records >= size
