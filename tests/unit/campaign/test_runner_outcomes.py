"""What the campaign makes of every outcome of a run: learn, try elsewhere, or give the trial up."""

from collections import Counter
from datetime import date
from pathlib import Path

import anyio
import pytest

from fakes import (
    FakeExecutor,
    RunningClock,
    Wire,
    agreement,
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
from renkei.campaign import Campaign, Runner, Status, TrialRow, TrialRuns, Trials
from renkei.executors import Job, JobEnd
from renkei.ledger import verify
from renkei.model.rule import Rule
from renkei.site import Site

pytestmark = pytest.mark.anyio


def one(campaign: Campaign) -> TrialRow:
    (trial,) = campaign.trials.rows.values()
    return trial


def sites_of(campaign: Campaign, trial: TrialRow) -> list[str]:
    return [campaign.runs.rows[run].site for run in trial.runs]


def ends_as(outcome: str, fault: str = "", *, retryable: bool = True) -> FakeExecutor:
    return FakeExecutor(
        answer=lambda job: JobEnd(job.run, outcome, 1.0, fault=fault, retryable=retryable, message="so it went")
    )


async def drive(campaign: Campaign, *sites: Site | Wire) -> tuple[str, str]:
    runner = await runner_over(campaign, *sites)
    with anyio.fail_after(10):
        return await runner.run()


async def test_every_trial_is_observed_once_and_paid_once(tmp_path: Path, clock: HandClock) -> None:
    us, jp = FakeExecutor(capacity=2, answer=succeed), FakeExecutor(capacity=2, answer=succeed)
    async with federation(tmp_path, clock, us, jp) as sites:
        campaign = open_campaign(campaign_file("trials = 20", parallel=6), tmp_path, clock)
        state = await drive(campaign, *sites)
        assert state == ("exhausted", "all 20 trials were made")
        assert len(us.taken) + len(jp.taken) == 20
        assert us.taken
        assert jp.taken
        for trial in campaign.trials.rows.values():
            assert (trial.state, len(trial.runs)) == ("observed", 1)
            x = trial.parameters["x"]
            assert trial.outputs == {"value": (float(x) - 0.3) ** 2}
        assert campaign.best is min(campaign.trials.rows.values(), key=lambda row: row.outputs["value"])
        assert balance(sites[0])[2] + balance(sites[1])[2] == 20
        assert [r.body.site for r in records(campaign, "checkpoint.seen")] == ["jp-site", "us-site"]
        assert campaign.status.row.state == "exhausted"
        await campaign.ledger.close()
    finding = verify(tmp_path / "campaign" / "ledger.db", None, [Trials(), TrialRuns(), Status()])
    assert finding.is_sound, finding.problem


async def test_points_are_converted_and_requests_say_which_campaign_and_trial(tmp_path: Path, clock: HandClock) -> None:
    jobs: list[Job] = []

    def answer(job: Job) -> JobEnd:
        jobs.append(job)
        return succeed(job)

    async with site(tmp_path, clock, FakeExecutor(answer=answer)).opened() as here:
        campaign = open_campaign(campaign_file("trials = 3"), tmp_path, clock)
        await drive(campaign, here)
        rows = list(campaign.trials.rows.values())
        for job, accepted in zip(jobs, records(here, "run.accepted"), strict=True):
            trial = campaign.trials.rows[accepted.body.trial]
            assert job.parameters["x"] == trial.parameters["x"]
            assert job.parameters["y"] == pytest.approx(10 * float(trial.parameters["y"]))  # cm at home, mm there
            assert (accepted.body.team, accepted.body.campaign) == ("fusion", "search")
        assert [row.n for row in rows] == [0, 1, 2]
        await campaign.ledger.close()


async def test_an_infeasible_point_is_learned_and_not_tried_again(tmp_path: Path, clock: HandClock) -> None:
    async with federation(tmp_path, clock, ends_as("infeasible"), ends_as("infeasible")) as sites:
        campaign = open_campaign(campaign_file("trials = 1"), tmp_path, clock)
        await drive(campaign, *sites)
        trial = one(campaign)
        assert (trial.state, trial.why, trial.outputs, len(trial.runs)) == ("infeasible", "so it went", {}, 1)
        assert campaign.best is None
        assert balance(sites[0])[2] + balance(sites[1])[2] == 1
        await campaign.ledger.close()


@pytest.mark.parametrize(("outcome", "fault"), [("failed", "facility"), ("failed", "requester"), ("lost", "")])
async def test_a_run_that_gave_nothing_is_tried_elsewhere(
    outcome: str, fault: str, tmp_path: Path, clock: HandClock
) -> None:
    async with federation(tmp_path, clock, ends_as(outcome, fault), FakeExecutor(answer=succeed)) as sites:
        campaign = open_campaign(campaign_file("trials = 1"), tmp_path, clock)
        await drive(campaign, *sites)
        assert one(campaign).state == "observed"
        assert sites_of(campaign, one(campaign)) == ["us-site", "jp-site"]
        assert balance(sites[0])[2] == (1 if fault == "requester" else 0)
        assert balance(sites[1])[2] == 1
        await campaign.ledger.close()


async def test_a_trial_that_fails_everywhere_is_abandoned_at_the_campaigns_limit(tmp_path: Path) -> None:
    clock = RunningClock()
    async with federation(tmp_path, clock, ends_as("failed", "facility"), ends_as("failed", "facility")) as sites:
        campaign = open_campaign(campaign_file("trials = 1", retries=2), tmp_path, clock)
        await drive(campaign, *sites)
        trial = one(campaign)
        assert (trial.state, len(trial.runs)) == ("abandoned", 3)
        assert "failed at us-site: so it went" in trial.why
        assert Counter(sites_of(campaign, trial)) == {"us-site": 2, "jp-site": 1}
        await campaign.ledger.close()


async def test_a_fault_that_no_retry_can_help_gives_the_trial_up_at_once(tmp_path: Path, clock: HandClock) -> None:
    async with federation(tmp_path, clock, ends_as("failed", "requester", retryable=False), FakeExecutor()) as sites:
        campaign = open_campaign(campaign_file("trials = 1"), tmp_path, clock)
        await drive(campaign, *sites)
        assert (one(campaign).state, len(one(campaign).runs)) == ("abandoned", 1)
        await campaign.ledger.close()


async def test_losses_do_not_count_as_failures(tmp_path: Path) -> None:
    clock = RunningClock()
    n_lost = 0

    def answer(job: Job) -> JobEnd:
        nonlocal n_lost
        n_lost += 1
        return JobEnd(job.run, "lost", retryable=True) if n_lost <= 4 else succeed(job)

    async with site(tmp_path, clock, FakeExecutor(answer=answer)).opened() as here:
        campaign = open_campaign(campaign_file("trials = 1", retries=0), tmp_path, clock)
        await drive(campaign, here)
        assert (one(campaign).state, len(one(campaign).runs)) == ("observed", 5)
        assert balance(here) == (99, 0, 1)
        await campaign.ledger.close()


async def test_a_run_that_somebody_cancelled_gives_its_trial_up(tmp_path: Path, clock: HandClock) -> None:
    executor = FakeExecutor()
    async with site(tmp_path, clock, executor).opened() as here:
        campaign = open_campaign(campaign_file("trials = 1"), tmp_path, clock)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(drive, campaign, here)
            await until(lambda: executor.jobs)
            await here.cancel_run(next(iter(executor.jobs)), "ada")
        assert one(campaign).state == "abandoned"
        assert "cancelled at us-site" in one(campaign).why
        await campaign.ledger.close()


NO_HEAT = """
@id("us.cold-only")
forbid (principal, action == Action::"lab.measure", resource)
when { context.parameters.x.greaterThan(decimal("0.3")) };
"""


async def test_a_site_that_refused_a_trial_is_not_asked_for_it_again(tmp_path: Path) -> None:
    """Even where every other site backs off: the trial waits for them."""
    clock = RunningClock()
    n_failed = 0

    def answer(job: Job) -> JobEnd:
        nonlocal n_failed
        n_failed += 1
        return JobEnd(job.run, "failed", fault="facility", retryable=True) if n_failed % 3 else succeed(job)

    us, jp = FakeExecutor(answer=succeed), FakeExecutor(answer=answer)
    async with federation(tmp_path, clock, us, jp, us_policy=NO_HEAT) as sites:
        campaign = open_campaign(campaign_file("trials = 12", retries=50, parallel=2), tmp_path, clock)
        await drive(campaign, *sites)
        assert {t.state for t in campaign.trials.rows.values()} == {"observed"}
        refused = [r for r in campaign.runs.rows.values() if r.state == "refused"]
        assert refused
        assert all(r.code == "denied" and "us.cold-only" in r.message for r in refused)
        assert max(Counter(r.trial for r in refused).values()) == 1
        await campaign.ledger.close()


async def test_what_every_site_refuses_is_abandoned_and_the_campaign_ends(tmp_path: Path, clock: HandClock) -> None:
    rule = Rule("no", "deny", procedures=("lab.*",), reason="Not now.")
    async with federation(tmp_path, clock, FakeExecutor(), FakeExecutor(), rules=[rule]) as sites:
        campaign = open_campaign(campaign_file("trials = 40"), tmp_path, clock)
        state, why = await drive(campaign, *sites)
        assert state == "exhausted"
        assert "no site takes its runs any more" in why
        assert "jp-site: Not now." in why
        assert all(t.state == "abandoned" for t in campaign.trials.rows.values())
        assert len(campaign.runs.rows) <= 8
        await campaign.ledger.close()


async def test_a_trial_that_the_only_open_site_refuses_is_abandoned(tmp_path: Path, clock: HandClock) -> None:
    """One site is closed, the other refuses this point and takes others: the campaign does not wait for ever."""
    us, jp = FakeExecutor(answer=succeed), FakeExecutor(answer=succeed)
    rule = Rule("no", "deny", sites=("jp-site",))
    async with federation(tmp_path, clock, us, jp, us_policy=NO_HEAT.replace("0.3", "0.8"), rules=[rule]) as sites:
        campaign = open_campaign(campaign_file("trials = 25", parallel=5), tmp_path, clock)
        state, _ = await drive(campaign, *sites)
        assert state == "exhausted"
        states = {t.state for t in campaign.trials.rows.values() if float(t.parameters["x"]) > 0.8}
        assert states == {"abandoned"}
        good = [t.state for t in campaign.trials.rows.values() if float(t.parameters["x"]) <= 0.8]
        assert set(good) == {"observed"}
        assert len(campaign.trials.rows) == 25
        await campaign.ledger.close()


@pytest.mark.parametrize("approved", [True, False])
async def test_a_parked_run_waits_for_a_person_and_then_goes_on_or_elsewhere(
    approved: bool, tmp_path: Path, clock: HandClock
) -> None:
    rule = Rule("ask", "ask", sites=("us-site",))
    us, jp = FakeExecutor(answer=succeed), FakeExecutor(answer=succeed)
    async with federation(tmp_path, clock, us, jp, rules=[rule]) as (first, second):
        campaign = open_campaign(campaign_file("trials = 1"), tmp_path, clock)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(drive, campaign, first, second)
            await until(lambda: any(run.state == "parked" for run in campaign.runs.rows.values()))
            await settled()
            assert len(campaign.runs.rows) == 1
            await first.decide(next(iter(first.runs.parked)), "ada", approved)
        assert one(campaign).state == "observed"
        assert sites_of(campaign, one(campaign)) == (["us-site"] if approved else ["us-site", "jp-site"])
        assert [r.kind for r in records(campaign, "run.reported")] == ["run.reported"] * (3 if approved else 4)
        await campaign.ledger.close()


async def test_an_allocation_that_is_used_up_closes_one_site_and_then_the_campaign(
    tmp_path: Path, clock: HandClock
) -> None:
    us, jp = FakeExecutor(answer=succeed), FakeExecutor(answer=succeed)
    options = {"us_allocations": [("fusion", "3 run")], "jp_allocations": [("fusion", "5 run")]}
    async with federation(tmp_path, clock, us, jp, **options) as sites:
        campaign = open_campaign(campaign_file("trials = 40", parallel=4), tmp_path, clock)
        state, why = await drive(campaign, *sites)
        assert state == "exhausted"
        assert "no site takes its runs any more" in why
        assert "team 'fusion' has 0 run left here" in why
        assert Counter(t.state for t in campaign.trials.rows.values())["observed"] == 8
        assert (balance(sites[0]), balance(sites[1])) == ((0, 0, 3), (0, 0, 5))
        await campaign.ledger.close()


async def test_reservations_that_come_back_are_used_and_few_requests_are_refused(
    tmp_path: Path, clock: HandClock
) -> None:
    """Each run reserves one node-hour of four and uses a hundredth: four at a time, far more in all."""
    executor = FakeExecutor(
        answer=lambda job: JobEnd(job.run, "succeeded", 36.0, {"value": 1.0}),
    )
    offer = offered(unit="node-hour", per_run=0.0, per_hour=1.0, time_limit_s=3600.0)
    options = {"offers": [offer], "allocations": [("fusion", "4 node-hour")]}
    async with site(tmp_path, clock, executor, **options).opened() as here:  # type: ignore[arg-type]
        campaign = open_campaign(campaign_file("trials = 60", parallel=30), tmp_path, clock)
        await drive(campaign, here)
        assert Counter(t.state for t in campaign.trials.rows.values()) == {"observed": 60}
        assert balance(here, unit="node-hour")[2] == pytest.approx(0.6)
        assert len(campaign.runs.rows) <= 70
        await campaign.ledger.close()


async def test_a_batch_that_a_site_refuses_is_withdrawn_and_goes_elsewhere(tmp_path: Path, clock: HandClock) -> None:
    us, jp = FakeExecutor(answer=succeed), FakeExecutor(answer=succeed)
    old = agreement(ends=date(2026, 2, 1))
    async with federation(tmp_path, clock, us, jp, us_terms=old) as sites:
        campaign = open_campaign(campaign_file("trials = 6"), tmp_path, clock)
        await drive(campaign, *sites)
        assert {t.state for t in campaign.trials.rows.values()} == {"observed"}
        assert us.taken == []
        withdrawn = records(campaign, "run.withdrawn")
        assert withdrawn
        assert "not in its term" in withdrawn[0].body.why
        assert kinds(sites[0]).count("request.refused") == 1
        await campaign.ledger.close()


async def test_a_site_speaks_of_its_own_runs_alone(tmp_path: Path, clock: HandClock) -> None:
    us, jp = FakeExecutor(capacity=1), FakeExecutor(capacity=1)
    async with federation(tmp_path, clock, us, jp) as (first, second):
        campaign = open_campaign(campaign_file("trials = 2", parallel=2), tmp_path, clock)
        runner = await runner_over(campaign, first, second)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runner.run)
            await until(lambda: us.jobs and jp.jobs)
            (run,) = us.jobs
            await us.succeed(run, value=0.25)
            (ended,) = records(first, "run.ended")
            other = next(iter(jp.jobs))
            forged = ended.raw.replace(run.encode(), other.encode())
            (feed,) = first._feeds._feeds["fusion", "search"]
            feed.put([forged])
            await settled()
            assert campaign.runs.rows[other].state == "accepted"
            await jp.succeed(other, value=0.75)
        assert sorted(t.outputs["value"] for t in campaign.trials.rows.values()) == [0.25, 0.75]
        await campaign.ledger.close()


async def test_two_sources_that_run_the_same_procedure_are_counted_apart(tmp_path: Path, clock: HandClock) -> None:
    space = 'x = { type = "real", low = 0.0, high = 1.0 }'
    more = '[[source]]\nprocedure = "lab.measure"\nfixed = { y = 9.0 }\n'
    file = campaign_file("trials = 12", space=space, parallel=4, more=more)
    executor = FakeExecutor(capacity=4, answer=succeed)
    async with site(tmp_path, clock, executor).opened() as here:
        campaign = open_campaign(file, tmp_path, clock)
        runner: Runner = await runner_over(campaign, here)
        with anyio.fail_after(10):
            await runner.run()
        assert [route.in_flight for route in runner.routes.broker.routes] == [0, 0]
        charged: Counter[str] = Counter()
        for row in campaign.runs.rows.values():
            charged[row.unit] += row.micro
        assert runner.spending.committed == charged
        assert charged.total() > 0
        used = Counter(r.body.parameters["y"] for r in records(campaign, "run.requested"))
        assert set(used) == {5.0, 9.0}
        await campaign.ledger.close()
