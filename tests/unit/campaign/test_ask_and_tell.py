"""A campaign without sites: ask for points, tell what they gave, and pick up later where it stood."""

from pathlib import Path

import pytest

from fakes import campaign_file, key_of, kinds, open_campaign, records
from hand_clock import HandClock
from renkei.campaign import Campaign, Status, TrialRow, TrialRuns, Trials, best_of
from renkei.errors import UsageError
from renkei.ledger import LedgerReader, verify

pytestmark = pytest.mark.anyio

GOALS = 'reach = 0.01\n[[constraint]]\noutput = "mass"\nupper = 10.0'


def ask(campaign: Campaign, n: int) -> list[TrialRow]:
    return campaign.propose(campaign.question(n)())


async def test_a_search_by_hand_keeps_everything_over_sessions(tmp_path: Path, clock: HandClock) -> None:
    file = campaign_file(objective=GOALS)
    campaign = open_campaign(file, tmp_path, clock)
    first, second, third = ask(campaign, 3)
    assert [row.n for row in (first, second, third)] == [0, 1, 2]
    campaign.observe(first.trial, {"value": 0.5, "mass": 3.0})
    campaign.rule_out(second.trial, "it melted")
    await campaign.sync()
    await campaign.ledger.close()

    campaign = open_campaign(file, tmp_path, clock)
    assert list(campaign.trials.pending) == [third.trial]
    assert campaign.trials.rows[first.trial].outputs == {"value": 0.5, "mass": 3.0}
    assert campaign.trials.rows[second.trial].why == "it melted"
    campaign.observe(third.trial, {"value": 0.005, "mass": 4.0})
    assert campaign.has_reached(campaign.trials.rows[third.trial])
    (fourth,) = ask(campaign, 1)
    assert fourth.n == 3
    assert all(fourth.parameters != row.parameters for row in (first, second, third))
    campaign.abandon(fourth.trial, "no time left")
    campaign.end("reached", "found it")
    await campaign.ledger.close()
    finding = verify(tmp_path / "campaign" / "ledger.db", key_of("us-lab").public, [Trials(), TrialRuns(), Status()])
    assert finding.is_sound, finding.problem


async def test_a_resumed_search_proposes_what_an_uninterrupted_one_would(tmp_path: Path, clock: HandClock) -> None:
    points: dict[bool, list[object]] = {}
    for interrupted in (False, True):
        folder = tmp_path / str(interrupted)
        campaign = open_campaign(campaign_file(planner="sobol"), folder, clock)
        found: list[object] = []
        for n in range(6):
            (row,) = ask(campaign, 1)
            found.append(row.parameters)
            campaign.observe(row.trial, {"value": float(n)})
            if interrupted:
                await campaign.ledger.close()
                campaign = open_campaign(campaign_file(planner="sobol"), folder, clock)
        points[interrupted] = found
        await campaign.ledger.close()
    assert points[True] == points[False]


async def test_the_best_holds_every_constraint(tmp_path: Path, clock: HandClock) -> None:
    file = campaign_file(objective=GOALS)
    campaign = open_campaign(file, tmp_path, clock)
    assert campaign.best is None
    heavy, good, worse, unknown = ask(campaign, 4)
    campaign.observe(heavy.trial, {"value": 0.001, "mass": 11.0})
    assert campaign.best is None
    assert not campaign.has_reached(heavy)
    campaign.observe(worse.trial, {"value": 0.9, "mass": 1.0})
    campaign.observe(good.trial, {"value": 0.2, "mass": 10.0})
    campaign.observe(unknown.trial, {"mass": 1.0})
    assert campaign.best is good
    assert best_of([worse, heavy], file) is worse
    await campaign.ledger.close()


async def test_a_trial_has_one_fate(tmp_path: Path, clock: HandClock) -> None:
    campaign = open_campaign(campaign_file(), tmp_path, clock)
    (row,) = ask(campaign, 1)
    campaign.observe(row.trial, {"value": 1.0})
    for wrong, state in ((row.trial, "observed"), ("nothing", "unknown here")):
        with pytest.raises(UsageError, match=f"is {state}, not pending"):
            campaign.observe(wrong, {"value": 2.0})
        with pytest.raises(UsageError, match="not pending"):
            campaign.rule_out(wrong, "")
        with pytest.raises(UsageError, match="not pending"):
            campaign.abandon(wrong, "")
    await campaign.sync()
    assert kinds(campaign) == ["campaign.opened", "trial.proposed", "trial.observed"]
    assert row.outputs == {"value": 1.0}
    await campaign.ledger.close()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
async def test_what_is_no_number_is_not_written_down(value: float, tmp_path: Path, clock: HandClock) -> None:
    campaign = open_campaign(campaign_file(), tmp_path, clock)
    (row,) = ask(campaign, 1)
    with pytest.raises(UsageError, match=r"'value' is .*, not a finite number"):
        campaign.observe(row.trial, {"value": value})
    assert row.state == "pending"
    await campaign.ledger.close()
    again = open_campaign(campaign_file(), tmp_path, clock)
    assert list(again.trials.pending) == [row.trial]
    await again.ledger.close()


async def test_a_planner_that_there_is_not_leaves_nothing_behind(tmp_path: Path, clock: HandClock) -> None:
    with pytest.raises(UsageError, match="No planner is named 'oracle'"):
        open_campaign(campaign_file(planner="oracle"), tmp_path, clock)
    assert list(tmp_path.iterdir()) == []


async def test_nothing_is_on_disk_before_sync(tmp_path: Path, clock: HandClock) -> None:
    campaign = open_campaign(campaign_file(), tmp_path, clock)
    ask(campaign, 2)
    with LedgerReader(tmp_path / "campaign" / "ledger.db") as reader:
        assert reader.size == 0
        await campaign.sync()
        assert reader.size == 3
    assert [r.body.n for r in records(campaign, "trial.proposed")] == [0, 1]
    await campaign.ledger.close()
