"""The audit finds what was altered, and says where."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import anyio
import msgspec
import pytest
from homes import search

from renkei.accounts import Books
from renkei.campaign import Status, TrialRuns, Trials
from renkei.errors import LedgerError
from renkei.home._home import Home
from renkei.ledger import Ledger, LedgerReader, Projection
from renkei.model.records import Body, CampaignResumed, CheckpointSeen, RunEnded, RunReported, TrialObserved
from renkei.report import LedgerAudit, _audit, audit_campaign, summarize, view_campaign
from renkei.site import Runs
from renkei.trust.keys import Key
from renkei.trust.note import Checkpoint, sign_checkpoint

CAMPAIGN, SITE = "campaign/hard-alloy", "site/us-lab"


def audits(home: Home) -> dict[str, LedgerAudit]:
    return {audit.owner: audit for audit in audit_campaign(view_campaign(home, "hard-alloy"))}


def flip(path: Path, kind: str) -> int:
    """Change one byte of the first record of a kind, in the file itself; return the record's number."""
    with LedgerReader(path) as ledger:
        record = next(record for record in ledger.records() if record.kind == kind)
    content = path.read_bytes()
    assert content.count(record.raw) == 1
    at = content.index(record.raw) + len(record.raw) - 10
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    return record.seq


def rewrite(path: Path, key: Key, clock, projections: list[Projection], change: Callable[[int, Body], Body]) -> None:
    """Write a ledger anew as its keeper could: every record, hash, table and signature fits again."""
    with LedgerReader(path) as old:
        owner, records = old.owner, list(old.records())
    for file in path.parent.glob("ledger.db*"):
        file.unlink()

    async def main() -> None:
        ledger = Ledger(path, owner, key, clock, projections)
        for record in records:
            clock.time = record.at
            ledger.append(change(record.seq, record.body))
        await ledger.checkpoint()
        await ledger.close()

    anyio.run(main)


def test_nothing_is_wrong_with_what_nobody_touched(joint: Home) -> None:
    found = audits(joint)
    assert all(audit.verified for audit in found.values())
    assert found[CAMPAIGN].n_reports > 20
    assert found[CAMPAIGN].n_seen == 2
    assert found[SITE].covered == found[SITE].records > 0


def test_one_byte_of_a_site_is_found_in_the_site_and_against_the_campaign(copy: Home) -> None:
    seq = flip(copy.site_ledger("us-lab"), "run.ended")
    found = audits(copy)
    assert not found[SITE].verified
    assert f"record {seq} does not match its hash" in found[SITE].problems[0]
    assert any(
        f"is not what site/us-lab has as its record {seq}" in p for each in found.values() for p in each.problems
    )
    said = {ledger["owner"]: ledger for ledger in summarize(copy, "hard-alloy")["ledgers"]}
    assert said[SITE]["verified"] is False
    assert said["site/jp-lab"]["verified"] is True


def test_one_byte_of_a_campaign_is_found(copy: Home) -> None:
    seq = flip(copy.campaign_ledger("hard-alloy"), "trial.observed")
    problems = audits(copy)[CAMPAIGN].problems
    assert any(f"record {seq} does not match its hash" in problem for problem in problems)


def test_a_site_that_rewrote_its_ledger_and_signed_it_again_is_found_out(copy: Home, clock) -> None:
    path = copy.site_ledger("us-lab")
    changed: list[int] = []

    def better(seq: int, body: Body) -> Body:
        if isinstance(body, RunEnded) and body.outputs and not changed:
            changed.append(seq)
            return msgspec.structs.replace(body, outputs={**body.outputs, "hardness": 99.0})
        return body

    rewrite(path, copy.key("us-lab"), clock, [Runs(), Books()], better)
    found = audits(copy)
    assert found[SITE].verified  # by itself it is perfect
    problems = [problem for audit in found.values() for problem in audit.problems]
    assert any(f"is not what site/us-lab has as its record {changed[0]}" in problem for problem in problems)
    assert any("a checkpoint of site/us-lab: the first" in p and "another root" in p for p in problems)


def test_a_campaign_that_made_up_a_report_is_found_out(copy: Home, clock) -> None:
    def better(seq: int, body: Body) -> Body:
        if isinstance(body, RunReported) and b'"hardness":' in bytes(body.record):
            return replace_report(body)
        return body

    def replace_report(body: RunReported) -> RunReported:
        return RunReported(body.site, msgspec.Raw(bytes(body.record).replace(b'"hardness":', b'"hardness":1')))

    path = copy.campaign_ledger("hard-alloy")
    rewrite(path, copy.key("us-lab"), clock, [Trials(), TrialRuns(), Status()], better)
    found = audits(copy)
    assert "is not what site/" in found[CAMPAIGN].problems[0]
    assert found[SITE].verified


def test_a_forged_checkpoint_and_one_of_too_much_are_found_out(copy: Home, clock) -> None:
    stranger, keeper = Key.generate("us-lab"), copy.key("us-lab")
    forged = sign_checkpoint(stranger, Checkpoint("site/us-lab", 3, b"1" * 32))
    beyond = sign_checkpoint(keeper, Checkpoint("site/us-lab", 10**6, b"1" * 32))
    other = sign_checkpoint(keeper, Checkpoint("site/jp-lab", 3, b"1" * 32))

    async def main() -> None:
        path = copy.campaign_ledger("hard-alloy")
        ledger = Ledger(path, CAMPAIGN, copy.key("us-lab"), clock, [Trials(), TrialRuns(), Status()])
        for note in (forged, beyond, other):
            ledger.append(CheckpointSeen("us-lab", note))
        await ledger.close()

    anyio.run(main)
    first, second, third = audits(copy)[CAMPAIGN].problems
    assert "lacks the Ed25519 signature" in first
    assert "covers 1000000 records" in second
    assert "it is of site/jp-lab" in third


def test_a_saved_table_that_is_not_what_records_fold_to_is_found(copy: Home) -> None:
    with sqlite3.connect(copy.site_ledger("jp-lab")) as db:
        db.execute("UPDATE projection SET row = replace(row, '\"spent\":', '\"spent\":1') WHERE name = 'books'")
    db.close()
    assert "the saved table 'books' is not what the records fold to" in audits(copy)["site/jp-lab"].problems


def test_records_that_contradict_each_other_are_a_finding_and_no_crash(copy: Home, clock) -> None:
    path = copy.site_ledger("jp-lab")

    def strange(seq: int, body: Body) -> Body:
        return msgspec.structs.replace(body, run="another") if isinstance(body, RunEnded) else body

    rewrite(path, copy.key("jp-lab"), clock, [], strange)
    assert "contradicts the records before it" in audits(copy)["site/jp-lab"].problems[0]


def test_a_site_whose_ledger_is_not_there_is_not_called_verified(copy: Home) -> None:
    for file in copy.site_ledger("jp-lab").parent.glob("ledger.db*"):
        file.unlink()
    found = audits(copy)
    assert "could not be checked" in found["site/jp-lab"].problems[0]
    assert "of site/jp-lab could not be compared" in found[CAMPAIGN].problems[0]
    assert found[SITE].verified


def test_a_file_that_is_no_ledger_is_a_finding(copy: Home) -> None:
    copy.site_ledger("jp-lab").write_bytes(b"nothing" * 1000)
    assert not audits(copy)["site/jp-lab"].verified


@pytest.mark.parametrize("whose", ["site", "campaign"])
def test_a_damaged_file_is_a_finding_or_an_error_of_ours(copy: Home, whose: str) -> None:
    path = copy.site_ledger("jp-lab") if whose == "site" else copy.campaign_ledger("hard-alloy")
    content = bytearray(path.read_bytes())
    content[4096 * 2 :] = b"\xff" * (len(content) - 4096 * 2)
    path.write_bytes(content)
    if whose == "site":
        said = {ledger["owner"]: ledger for ledger in summarize(copy, "hard-alloy")["ledgers"]}
        assert said["site/jp-lab"]["verified"] is False
    else:
        with pytest.raises(LedgerError):
            summarize(copy, "hard-alloy")


def test_a_campaign_whose_records_contradict_each_other_is_an_error_of_ours(copy: Home, clock) -> None:
    path = copy.campaign_ledger("hard-alloy")

    def strange(seq: int, body: Body) -> Body:
        return msgspec.structs.replace(body, trial="another") if isinstance(body, TrialObserved) else body

    rewrite(path, copy.key("us-lab"), clock, [], strange)
    with pytest.raises(LedgerError, match="renkei ledger verify"):
        summarize(copy, "hard-alloy")


def test_a_campaign_that_has_only_just_begun_is_sound(copy: Home, clock) -> None:
    directory = copy.campaign_directory("new")
    copy.begin(search("new"), directory)

    async def main() -> None:
        ledger = Ledger(directory / "ledger.db", "campaign/new", copy.key("us-lab"), clock)
        assert [(a.owner, a.problems) for a in audit_campaign(view_campaign(copy, "new"))] == [("campaign/new", [])]
        await ledger.close()

    anyio.run(main)


def test_a_campaign_that_does_not_say_who_opened_it_is_found(copy: Home, clock) -> None:
    path = copy.campaign_ledger("hard-alloy")

    def silent(seq: int, body: Body) -> Body:
        return CampaignResumed("0", 0.0) if seq == 0 else body

    rewrite(path, copy.key("us-lab"), clock, [Trials(), TrialRuns(), Status()], silent)
    assert any("does not begin with who opened" in problem for problem in audits(copy)[CAMPAIGN].problems)


def test_an_institution_that_does_not_belong_to_the_team_is_found(copy: Home) -> None:
    path = copy.agreement_path
    text = path.read_text().replace('institutions = ["us-lab", "jp-lab"]', 'institutions = ["jp-lab"]')
    assert text != path.read_text()
    copy.put_agreement(text, [copy.key("us"), copy.key("jp")])
    assert "the agreement does not have 'us-lab' in team 'materials'" in audits(copy)[CAMPAIGN].problems


def test_an_agreement_that_nobody_signed_vouches_for_no_key(copy: Home) -> None:
    (copy.path / "agreement.toml.sig").unlink()
    found = audits(copy)
    assert all("nobody vouches for the key" in audit.problems[0] for audit in found.values())


def test_another_definition_than_the_ledger_has_is_found(copy: Home) -> None:
    path = copy.campaign_directory("hard-alloy") / "campaign.toml"
    path.write_text(path.read_text().replace("seed = 3", "seed = 4"))
    assert "campaign.toml is not what the ledger says" in audits(copy)[CAMPAIGN].problems[0]


def test_a_ledger_that_is_being_written_is_audited_at_one_moment(copy: Home, clock) -> None:
    async def main() -> None:
        path = copy.site_ledger("us-lab")
        ledger = Ledger(path, SITE, copy.key("us-lab"), clock, [Runs(), Books()])
        with LedgerReader(path) as reader:
            body = next(reader.records()).body
        ledger.append(body)
        await ledger.sync()
        assert audits(copy)[SITE].verified
        assert audits(copy)[SITE].records == ledger.size
        await ledger.close()

    anyio.run(main)


def test_many_problems_are_told_in_part(copy: Home, monkeypatch) -> None:
    monkeypatch.setattr(_audit, "PROBLEMS_MAX", 3)
    shutil.copy(copy.site_ledger("jp-lab"), copy.site_ledger("us-lab"))
    problems = audits(copy)[CAMPAIGN].problems
    assert len(problems) == 4
    assert problems[-1].startswith("and ")


@pytest.mark.parametrize("field", ["n_reports", "n_seen"])
def test_an_audit_of_a_site_claims_nothing_about_others(joint: Home, field: str) -> None:
    assert getattr(audits(joint)[SITE], field) == 0
