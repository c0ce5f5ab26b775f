"""When a campaign ends: at the first of its rules that holds, with everything that left accounted for."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from fakes import (
    FakeExecutor,
    RunningClock,
    Wire,
    balance,
    campaign_file,
    federation,
    kinds,
    offered,
    open_campaign,
    records,
    runner_over,
    settled,
    site,
    succeed,
    until,
)
from hand_clock import HandClock
from renkei.campaign import Campaign, Runner
from renkei.errors import ConfigError, LedgerError, PlanningError, Unreachable
from renkei.executors import Job, JobEnd
from renkei.home._session import first_error
from renkei.model.rule import Rule

pytestmark = pytest.mark.anyio


async def run(runner: Runner) -> tuple[str, str]:
    with anyio.fail_after(10):
        return await runner.run()


def fates(campaign: Campaign) -> Counter[str]:
    return Counter(trial.state for trial in campaign.trials.rows.values())


async def test_it_ends_when_its_time_is_used_up_and_waits_for_what_runs(tmp_path: Path, clock: HandClock) -> None:
    executor = FakeExecutor(capacity=2)
    async with site(tmp_path, clock, executor).opened() as here:
        campaign = open_campaign(campaign_file('wall = "60 s"', parallel=2), tmp_path, clock)
        runner = await runner_over(campaign, here)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, runner)
            await until(lambda: len(executor.jobs) == 2)
            clock.time += 59.0
            await executor.succeed(*executor.jobs)
            await until(lambda: len(executor.jobs) == 2)
            clock.time += 1.5
            await anyio.sleep(0.03)
            await executor.succeed(*executor.jobs)
        assert campaign.status.row.why == "its time of 60 s is used up"
        assert fates(campaign) == {"observed": 4}
        assert len(executor.taken) == 4
        await campaign.ledger.close()


async def test_parked_runs_are_called_off_when_it_ends_by_itself(tmp_path: Path, clock: HandClock) -> None:
    rule = Rule("ask", "ask")
    async with site(tmp_path, clock, FakeExecutor(), rules=[rule]).opened() as here:
        campaign = open_campaign(campaign_file('wall = "60 s"', parallel=3), tmp_path, clock)
        runner = await runner_over(campaign, here)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, runner)
            await until(lambda: len(here.runs.parked) == 3)
            await settled()
            clock.time += 61
        assert campaign.status.row.state == "exhausted"
        assert not here.runs.parked
        assert fates(campaign) == {"abandoned": 3}
        assert {r.body.code for r in records(here, "run.refused")} == {"cancelled"}
        await campaign.ledger.close()


async def test_its_cost_is_never_exceeded_even_for_a_moment(tmp_path: Path, clock: HandClock) -> None:
    """A run holds one node-hour and takes a quarter: at most three are held, and ten are paid in all."""
    spent: list[float] = []

    def answer(job: Job) -> JobEnd:
        row = here.books.rows["fusion node-hour"]
        spent.append((row.reserved + row.spent) / 1e6)
        return JobEnd(job.run, "succeeded", 900.0, {"value": 1.0})

    offer = offered(unit="node-hour", per_run=0.0, per_hour=1.0, time_limit_s=3600.0)
    options = {"offers": [offer], "allocations": [("fusion", "90 node-hour")]}
    async with site(tmp_path, clock, FakeExecutor(answer=answer), **options).opened() as here:  # type: ignore[arg-type]
        campaign = open_campaign(campaign_file('cost = "3.2 node-hour"', parallel=8), tmp_path, clock)
        runner = await runner_over(campaign, here)
        assert await run(runner) == ("exhausted", "its cost of 3.2 node-hour is used up")
        assert max(spent) <= 3.2
        assert balance(here, unit="node-hour")[2] == 0.25 * fates(campaign)["observed"]
        assert 3.2 - 1.0 < balance(here, unit="node-hour")[2] <= 3.2
        await campaign.ledger.close()


async def test_the_cost_of_every_unit_counts_and_closed_sites_do_not(tmp_path: Path, clock: HandClock) -> None:
    """One site takes runs but costs too much, the other costs nothing but is closed: there is nothing to wait for."""
    offers = {"us_offers": [offered(unit="sample")], "jp_offers": [offered(unit="run")]}
    allocations = {"us_allocations": [("fusion", "90 sample")], "jp_allocations": []}
    us, jp = FakeExecutor(answer=succeed), FakeExecutor(answer=succeed)
    async with federation(tmp_path, clock, us, jp, **offers, **allocations) as sites:  # type: ignore[arg-type]
        campaign = open_campaign(campaign_file('cost = "5 sample"', parallel=3), tmp_path, clock)
        runner = await runner_over(campaign, *sites)
        assert await run(runner) == ("exhausted", "its cost of 5 sample is used up")
        assert fates(campaign)["observed"] == 5
        await campaign.ledger.close()


@pytest.mark.parametrize("ends_then", [True, False])
async def test_a_discovery_ends_it_unless_it_shall_go_on(ends_then: bool, tmp_path: Path, clock: HandClock) -> None:
    stop = "trials = 40" if ends_then else "trials = 40, reached = false"
    executor = FakeExecutor(capacity=2, answer=succeed)
    async with site(tmp_path, clock, executor).opened() as here:
        campaign = open_campaign(campaign_file(stop, objective="reach = 0.01"), tmp_path, clock)
        state, why = await run(await runner_over(campaign, here))
        reached = [t for t in campaign.trials.rows.values() if campaign.has_reached(t)]
        assert reached
        if ends_then:
            assert (state, why) == ("reached", f"trial {reached[0].n + 1} made the discovery")
            assert len(campaign.trials.rows) < 40
        else:
            assert (state, len(campaign.trials.rows)) == ("exhausted", 40)
        assert fates(campaign).keys() <= {"observed", "abandoned"}
        await campaign.ledger.close()


async def test_what_runs_when_it_is_reached_still_counts(tmp_path: Path, clock: HandClock) -> None:
    executor = FakeExecutor(capacity=3)
    async with site(tmp_path, clock, executor).opened() as here:
        file = campaign_file("trials = 40", objective="reach = 0.01")
        campaign = open_campaign(file, tmp_path, clock)
        runner = await runner_over(campaign, here)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, runner)
            await until(lambda: len(executor.jobs) == 3)
            first, *others = executor.jobs
            await executor.succeed(first, value=0.001)
            await settled()
            await executor.succeed(*others, value=0.5)
        assert campaign.status.row.state == "reached"
        assert (fates(campaign), len(executor.taken)) == ({"observed": 3}, 3)
        await campaign.ledger.close()


@pytest.mark.parametrize("planner", ["random", "sobol"])
async def test_a_pool_that_is_used_up_ends_it(planner: str, tmp_path: Path, clock: HandClock) -> None:
    (tmp_path / "pool.csv").write_text("x\n" + "".join(f"{n / 10}\n" for n in range(7)))
    file = campaign_file("", space='pool = "pool.csv"', planner=planner, folder=tmp_path)
    async with site(tmp_path, clock, FakeExecutor(answer=succeed)).opened() as here:
        campaign = open_campaign(file, tmp_path, clock)
        assert await run(await runner_over(campaign, here)) == ("exhausted", "no untried point is left")
        assert sorted(float(t.parameters["x"]) for t in campaign.trials.rows.values()) == [n / 10 for n in range(7)]
        assert fates(campaign) == {"observed": 7}
        await campaign.ledger.close()


async def test_a_planner_that_had_to_wait_is_asked_again_though_the_last_trial_ended_while_it_thought(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = FakeExecutor(answer=lambda job: succeed(job) if job.parameters["x"] == 0 else None)

    class Thoughtful(HandClock):
        """The planner's answer that it has no point now comes after the trial that it waits for has ended."""

        async def blocking(self, call: Callable[[], Any], *, is_brief: bool = False) -> Any:
            answer = call()
            if answer == []:
                await until(lambda: bool(executor.jobs))
                await executor.succeed(*executor.jobs)
                await until(lambda: not campaign.trials.pending)
            return answer

    def ask(n: int, pending: Sequence[Any]) -> list[Any]:
        return [] if pending else [{"x": float(i), "y": 0.5} for i in range(n)]

    clock = Thoughtful()
    monkeypatch.setattr("renkei.campaign._runner.QUICK_PLANNERS", frozenset[str]())
    async with site(tmp_path, clock, executor).opened() as here:
        campaign = open_campaign(campaign_file("trials = 5", parallel=2), tmp_path, clock)
        monkeypatch.setattr(campaign, "_planner", SimpleNamespace(ask=ask, tell=lambda told: None))
        assert await run(await runner_over(campaign, here)) == ("exhausted", "all 5 trials were made")
        await campaign.ledger.close()


async def test_with_no_site_at_all_there_is_nothing_to_drive(tmp_path: Path, clock: HandClock) -> None:
    campaign = open_campaign(campaign_file(), tmp_path, clock)
    with pytest.raises(ConfigError, match="expected one that a site offers"):
        Runner(campaign, {}, {})
    await campaign.ledger.close()


@pytest.mark.parametrize("when", ["before it begins", "while runs wait", "while runs are at work"])
async def test_somebody_may_stop_it_and_what_runs_is_cancelled(when: str, tmp_path: Path, clock: HandClock) -> None:
    executor = FakeExecutor(capacity=0 if when == "while runs wait" else 2)
    async with site(tmp_path, clock, executor).opened() as here:
        campaign = open_campaign(campaign_file("trials = 40", parallel=4), tmp_path, clock)
        runner = await runner_over(campaign, here)
        async with anyio.create_task_group() as tasks:
            if when == "before it begins":
                runner.stop("enough")
            tasks.start_soon(run, runner)
            if when != "before it begins":
                await until(lambda: len(here.runs.live) == 4)
                runner.stop("enough")
        status = campaign.status.row
        assert (status.state, status.why) == ("stopped", "enough")
        assert not here.runs.live
        assert not campaign.runs.open
        assert fates(campaign) == ({} if when == "before it begins" else {"pending": 4})
        assert {r.body.by for r in records(here, "run.cancel-asked")} <= {"campaign search"}
        await campaign.ledger.close()


async def test_a_stop_while_requests_are_on_their_way_reaches_their_runs(tmp_path: Path, clock: HandClock) -> None:
    executor = FakeExecutor()
    async with site(tmp_path, clock, executor).opened() as here:
        wire = Wire(here)
        campaign = open_campaign(campaign_file("trials = 4"), tmp_path, clock)
        runner = await runner_over(campaign, wire)
        wire.gates["submit"] = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, runner)
            await until(lambda: campaign.runs.open)
            runner.stop("enough")
            await settled(60)
            wire.gates["submit"].set()
        assert campaign.status.row.state == "stopped"
        assert not here.runs.live
        assert not campaign.runs.open
        await campaign.ledger.close()


async def test_a_stop_while_it_waits_for_its_last_runs_cancels_them(tmp_path: Path, clock: HandClock) -> None:
    executor = FakeExecutor()
    async with site(tmp_path, clock, executor).opened() as here:
        campaign = open_campaign(campaign_file('wall = "60 s"'), tmp_path, clock)
        runner = await runner_over(campaign, here)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, runner)
            await until(lambda: len(executor.jobs) == 3)
            clock.time += 61
            await until(lambda: runner._over is not None)
            runner.stop("enough")
        assert campaign.status.row.state == "stopped"
        assert len(executor.cancels) == 3
        await campaign.ledger.close()


async def test_a_stop_after_the_discovery_does_not_wait_for_the_rest(tmp_path: Path, clock: HandClock) -> None:
    executor = FakeExecutor()
    async with site(tmp_path, clock, executor).opened() as here:
        campaign = open_campaign(campaign_file("trials = 9", objective="reach = 0.01"), tmp_path, clock)
        runner = await runner_over(campaign, here)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, runner)
            await until(lambda: len(executor.jobs) == 3)
            await executor.succeed(next(iter(executor.jobs)), value=0.001)
            await until(lambda: runner._over is not None)
            assert executor.cancels == []
            runner.stop("enough")
        assert campaign.status.row.state == "reached"
        assert len(executor.cancels) == 2
        await campaign.ledger.close()


async def test_a_stop_reaches_a_site_that_cannot_be_reached_at_first(tmp_path: Path, clock: HandClock) -> None:
    executor = FakeExecutor()
    n_cut = 0

    def cut(method: str) -> None:
        nonlocal n_cut
        if method in ("cancel", "checkpoint") and n_cut < 5:
            n_cut += 1
            raise Unreachable("The line is down.")

    async with site(tmp_path, clock, executor).opened() as here:
        wire = Wire(here)
        campaign = open_campaign(campaign_file(), tmp_path, clock)
        runner = await runner_over(campaign, wire)
        wire.before = cut
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, runner)
            await until(lambda: len(executor.jobs) == 3)
            runner.stop("enough")
        assert campaign.status.row.state == "stopped"
        assert wire.calls.count("cancel") == 6
        assert len(executor.cancels) == 3
        await campaign.ledger.close()


async def test_it_ends_although_a_site_does_not_give_its_last_checkpoint(tmp_path: Path, clock: HandClock) -> None:
    def cut(method: str) -> None:
        if method == "checkpoint":
            raise Unreachable("The line is down.")

    async with site(tmp_path, clock, FakeExecutor(answer=succeed)).opened() as here:
        wire = Wire(here)
        wire.before = cut
        campaign = open_campaign(campaign_file(), tmp_path, clock)
        assert (await run(await runner_over(campaign, wire)))[0] == "exhausted"
        assert kinds(campaign)[-1] == "campaign.ended"
        await campaign.ledger.close()


async def test_a_planner_that_gives_up_stops_it_with_its_reason(
    tmp_path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(n: int, pending: Any) -> list[Any]:
        raise PlanningError("The model cannot be fitted.")

    monkeypatch.setattr("renkei.campaign._runner.QUICK_PLANNERS", frozenset[str]())
    async with site(tmp_path, clock, FakeExecutor(answer=succeed)).opened() as here:
        campaign = open_campaign(campaign_file(), tmp_path, clock)
        monkeypatch.setattr(campaign, "_planner", SimpleNamespace(ask=ask))
        assert await run(await runner_over(campaign, here)) == ("stopped", "The model cannot be fitted.")
        await campaign.ledger.close()


async def test_it_waits_while_every_site_backs_off(tmp_path: Path) -> None:
    clock = RunningClock()
    n = 0

    def answer(job: Job) -> JobEnd:
        nonlocal n
        n += 1
        return JobEnd(job.run, "failed", fault="facility", retryable=True) if n <= 12 else succeed(job)

    async with federation(tmp_path, clock, FakeExecutor(answer=answer), FakeExecutor(answer=answer)) as sites:
        campaign = open_campaign(campaign_file("trials = 4", retries=20), tmp_path, clock)
        runner = await runner_over(campaign, *sites)
        assert (await run(runner))[0] == "exhausted"
        assert fates(campaign) == {"observed": 4}
        assert max(route.blocked_until for route in runner.routes.broker.routes) > clock.monotonic() - 10_000
        await campaign.ledger.close()


async def test_a_ledger_of_its_own_that_breaks_ends_it_with_that_error(tmp_path: Path, clock: HandClock) -> None:
    executor = FakeExecutor(capacity=1)
    async with site(tmp_path, clock, executor).opened() as here:
        campaign = open_campaign(campaign_file(), tmp_path, clock)
        runner = await runner_over(campaign, here)
        with pytest.raises(BaseExceptionGroup) as group:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run, runner)
                await until(lambda: executor.jobs)
                campaign.ledger._db.execute("PRAGMA query_only = 1")
                await executor.succeed(*executor.jobs)
                await anyio.sleep(5)
        assert isinstance(first_error(group.value), LedgerError)
        assert not here._feeds, "the campaign no longer follows"
        await campaign.ledger.close()


async def test_a_sites_ledger_that_breaks_ends_the_campaign_with_that_error(tmp_path: Path, clock: HandClock) -> None:
    executor = FakeExecutor(capacity=1)
    campaign = open_campaign(campaign_file(), tmp_path, clock)
    with pytest.raises(BaseExceptionGroup) as group:
        async with site(tmp_path, clock, executor).opened() as here:
            runner = await runner_over(campaign, here)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run, runner)
                await until(lambda: executor.jobs)
                here.ledger._db.execute("PRAGMA query_only = 1")
                executor._end(succeed(next(iter(executor.jobs.values()))))
                await anyio.sleep(5)
    error = first_error(group.value)
    assert isinstance(error, LedgerError)
    assert "us-site" in error.message
    assert not executor.is_serving
    await campaign.ledger.close()


async def test_a_parked_run_that_is_approved_while_it_is_called_off_leaves_no_trial_without_a_fate(
    tmp_path: Path, clock: HandClock
) -> None:
    executor = FakeExecutor()
    async with site(tmp_path, clock, executor, rules=[Rule("ask", "ask")]).opened() as here:
        wire = Wire(here)
        wire.gates["cancel"] = anyio.Event()
        campaign = open_campaign(campaign_file('wall = "60 s"', parallel=1), tmp_path, clock)
        runner = await runner_over(campaign, wire)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, runner)
            await until(lambda: len(here.runs.parked) == 1)
            (parked,) = here.runs.parked
            await settled()
            clock.time += 61
            await until(lambda: runner._over is not None)
            await here.decide(parked, "anna", True)
            wire.gates["cancel"].set()
        assert campaign.status.row.state == "exhausted"
        assert campaign.runs.rows[parked].state == "cancelled"
        assert fates(campaign) == {"abandoned": 1}
        await campaign.ledger.close()
