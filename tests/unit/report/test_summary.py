"""The summary says what the ledgers hold, in the form that outside programs rely on."""

import json
from collections import Counter

from renkei.home._home import Home
from renkei.ledger import LedgerReader
from renkei.ledger.merkle import leaf_hash, root_of
from renkei.model.records import RunReported, RunRequested, TrialProposed, read_record
from renkei.report import CampaignView, summarize

FORM = {
    "campaign": str, "state": str, "why": str, "trials": dict, "runs": dict, "best": dict, "acceleration": dict,
    "charges": list, "baseline_charges": list, "ledgers": list,
}  # fmt: skip


def test_it_has_the_promised_form(joint: Home) -> None:
    said = summarize(joint, "hard-alloy")
    assert json.loads(json.dumps(said, allow_nan=False)) == said
    assert {key: type(said[key]) for key in FORM} == FORM
    assert set(said) == {*FORM, "report", "crate"}
    assert {"total", "observed", "infeasible", "abandoned"} <= set(said["trials"])
    assert set(said["runs"]) == {
        "requested", "accepted", "refused", "succeeded", "infeasible", "failed", "lost", "cancelled"
    }  # fmt: skip
    assert set(said["best"]) == {"trial", "parameters", "outputs", "site"}
    assert {"baseline", "trials", "hours", "cost"} <= set(said["acceleration"])
    assert all({"factor", "ci95"} <= set(said["acceleration"][by]) for by in ("trials", "hours", "cost"))
    assert all(set(charge) == {"site", "team", "quantity", "unit"} for charge in said["charges"])
    assert all({"owner", "records", "root", "verified"} <= set(ledger) for ledger in said["ledgers"])


def test_counts_are_those_of_the_records(joint: Home) -> None:
    said = summarize(joint, "hard-alloy")
    with LedgerReader(joint.campaign_ledger("hard-alloy")) as ledger:
        bodies = [record.body for record in ledger.records()]
    reports = [read_record(body.record) for body in bodies if isinstance(body, RunReported)]
    outcomes = Counter(report.body.outcome for report in reports if report.kind == "run.ended")
    assert said["state"] == "exhausted"
    assert said["trials"]["total"] == sum(isinstance(body, TrialProposed) for body in bodies) == 12
    assert said["runs"]["requested"] == sum(isinstance(body, RunRequested) for body in bodies)
    assert said["runs"]["accepted"] == sum(report.kind == "run.accepted" for report in reports)
    assert {name: n for name, n in said["runs"].items() if name in outcomes} == outcomes
    ended = [report.body for report in reports if report.kind == "run.ended"]
    assert sum(charge["quantity"] for charge in said["charges"]) * 1e6 == sum(end.charge for end in ended)


def test_the_best_trial_is_told_with_its_site(joint: Home, view: CampaignView) -> None:
    said = summarize(joint, "hard-alloy")["best"]
    assert view.best is not None
    assert said["trial"] == view.best.trial
    assert said["outputs"] == view.best.outputs
    assert said["site"] == view.runs[view.best.run].row.site


def test_every_ledger_is_verified_and_has_its_merkle_root(joint: Home) -> None:
    ledgers = summarize(joint, "hard-alloy")["ledgers"]
    assert [ledger["owner"] for ledger in ledgers][:3] == [
        "campaign/hard-alloy", "campaign/hard-alloy.baseline-1", "campaign/hard-alloy.baseline-2"
    ]  # fmt: skip
    assert {ledger["owner"] for ledger in ledgers[3:]} == {"site/us-lab", "site/jp-lab"}
    assert all(ledger["verified"] is True and not ledger["problems"] for ledger in ledgers)
    for ledger, path in ((ledgers[0], joint.campaign_ledger("hard-alloy")), (ledgers[3], None)):
        place = path or joint.site_ledger(ledger["owner"].removeprefix("site/"))
        with LedgerReader(place) as reader:
            raws = [record.raw for record in reader.records()]
        assert (ledger["records"], ledger["root"]) == (len(raws), root_of(map(leaf_hash, raws)).hex())


def test_without_the_audit_nothing_is_called_verified(joint: Home) -> None:
    audited, quick = summarize(joint, "hard-alloy"), summarize(joint, "hard-alloy", verify_ledgers=False)
    assert all(ledger["verified"] is None for ledger in quick["ledgers"])
    same = ("owner", "records", "root")
    assert {tuple(each[key] for key in same) for each in quick["ledgers"]} == {
        tuple(each[key] for key in same) for each in audited["ledgers"]
    }


def test_report_and_crate_are_told_once_they_are_there(copy: Home) -> None:
    assert summarize(copy, "hard-alloy", verify_ledgers=False)["report"] is None
    directory = copy.campaign_directory("hard-alloy")
    (directory / "report.html").write_text("")
    (directory / "crate").mkdir()
    said = summarize(copy, "hard-alloy", verify_ledgers=False)
    assert (said["report"], said["crate"]) == (str(directory / "report.html"), str(directory / "crate"))
