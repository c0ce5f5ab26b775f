"""What a view tells is what the ledgers hold."""

from collections import Counter
from pathlib import Path

import anyio
import pytest
from homes import propose, search

from renkei.accounts import Balance
from renkei.campaign import Campaign, RunRow, StatusRow, TrialRow
from renkei.errors import LedgerError, UsageError
from renkei.home._home import Home
from renkei.ledger import LedgerReader
from renkei.model.records import RunAccepted, RunEnded, read_record
from renkei.report import CampaignView, read_history, view_campaign


def test_trials_runs_and_status_are_the_saved_ones(joint: Home, view: CampaignView) -> None:
    with LedgerReader(joint.campaign_ledger("hard-alloy")) as ledger:
        assert {row.trial: row for row in view.trials} == ledger.table("trials", TrialRow)
        assert {run: each.row for run, each in view.runs.items()} == ledger.table("runs", RunRow)
        assert view.status == ledger.table("status", StatusRow)["campaign"]
        assert view.history.size == ledger.size
        assert view.history.notes == ledger.notes()


def test_baselines_come_in_order_and_hold_their_own_trials(view: CampaignView) -> None:
    assert [each.status.campaign for each in view.baselines] == ["hard-alloy.baseline-1", "hard-alloy.baseline-2"]
    assert [len(each.trials) for each in view.baselines] == [10, 10]


def test_a_run_holds_the_records_of_its_site_byte_for_byte(joint: Home, view: CampaignView) -> None:
    run = next(run for run in view.runs.values() if run.row.state == "succeeded")
    with LedgerReader(joint.site_ledger(run.row.site)) as ledger:
        kept = {record.seq: record.raw for record in ledger.records()}
    assert [record.raw for record in run.said] == [kept[record.seq] for record in run.said]
    assert isinstance(run.accepted, RunAccepted)
    assert isinstance(run.ended, RunEnded)
    assert run.worked is not None
    assert run.worked[1] - run.worked[0] == pytest.approx(run.row.run_s, abs=1e-6)


def test_sites_tell_outcomes_work_charges_and_balances_as_their_ledgers_do(joint: Home, view: CampaignView) -> None:
    assert {site.name for site in view.sites} == {"us-lab", "jp-lab"}
    for site in view.sites:
        with LedgerReader(joint.site_ledger(site.name)) as ledger:
            of = {r.body.run: r.body.campaign for r in ledger.records() if isinstance(r.body, RunAccepted)}
            ends = [r.body for r in ledger.records() if isinstance(r.body, RunEnded)]
            books = list(ledger.table("books", Balance).values())
        mine = [end for end in ends if of[end.run] == "hard-alloy"]
        assert site.outcomes == Counter(end.outcome for end in mine)
        assert site.work_s == pytest.approx(sum(end.run_s for end in mine))
        assert sum(charge.micro for charge in site.charges) == sum(end.charge for end in mine)
        beside = [end for end in ends if of[end.run] != "hard-alloy"]
        assert sum(charge.micro for charge in site.baseline_charges) == sum(end.charge for end in beside)
        assert list(site.balances) == books
        assert view.title_of(site.institution) != site.institution


def test_datasets_are_those_that_ended_runs_left(view: CampaignView) -> None:
    assert len(view.datasets) == sum(run.row.n_datasets for run in view.runs.values()) > 0
    assert all(dataset.name == "micrograph" for _, dataset in view.datasets)


def test_the_best_trial_holds_the_constraints_and_none_is_better(view: CampaignView) -> None:
    good = [r.outputs["hardness"] for r in view.trials if r.state == "observed" and r.outputs["density"] <= 8700.0]
    assert view.best is not None
    assert view.best.outputs["hardness"] == max(good)
    assert sorted(view.trials, key=view.rank)[0] is view.best


def test_every_checkpoint_that_the_campaign_saw_is_there(view: CampaignView) -> None:
    assert {seen.site for _, seen in view.history.seen} == {run.row.site for run in view.runs.values()}


def test_an_unknown_campaign_is_a_usage_error(joint: Home) -> None:
    with pytest.raises(UsageError, match="no campaign 'none'"):
        view_campaign(joint, "none")


def test_a_campaign_that_has_no_ledger_yet_cannot_be_viewed(copy: Home) -> None:
    for path in copy.campaign_directory("hard-alloy").glob("ledger.db*"):
        path.unlink()
    with pytest.raises(LedgerError, match="no ledger"):
        view_campaign(copy, "hard-alloy")


def test_a_history_is_read_while_the_campaign_goes_on(tmp_path: Path, clock, key) -> None:
    async def main() -> None:
        campaign = Campaign(search(), tmp_path, key, "", clock)
        first = propose(campaign)
        campaign.observe(first.trial, {"y": 1.0})
        await campaign.sync()
        assert [row.state for row in read_history(tmp_path / "ledger.db").trials] == ["observed"]
        propose(campaign)
        await campaign.sync()
        assert [row.state for row in read_history(tmp_path / "ledger.db").trials] == ["observed", "pending"]
        await campaign.ledger.close()

    anyio.run(main)


def test_time_counts_only_while_somebody_drives(tmp_path: Path, clock, key) -> None:
    async def session(pause: float) -> None:
        campaign = Campaign(search(), tmp_path, key, "", clock)
        campaign.take_up()
        trial = propose(campaign)
        clock.time += pause
        campaign.observe(trial.trial, {"y": 1.0})
        await campaign.ledger.close()

    anyio.run(session, 10.0)
    clock.time += 5000.0
    anyio.run(session, 7.0)
    assert list(read_history(tmp_path / "ledger.db").driven_s.values()) == pytest.approx([10.0, 17.0])


def test_a_campaign_that_nobody_drives_on_is_interrupted(copy: Home, key, clock) -> None:
    from renkei.model.campaign import Campaign as Definition

    async def main() -> None:
        directory = copy.campaign_directory("again")
        definition: Definition = search("again")
        copy.begin(definition, directory)
        campaign = Campaign(definition, directory, key, "", clock)
        await campaign.ledger.close()

    anyio.run(main)
    assert view_campaign(copy, "again").state == "interrupted"
    with copy.locked():
        assert view_campaign(copy, "again").state == "running"


def test_reported_records_read_the_same_as_they_lie(view: CampaignView) -> None:
    for run in view.runs.values():
        for record in run.said:
            assert read_record(record.raw).body == record.body
