"""Commands that only read, on a home with a campaign that has ended."""

import base64
import json
import sqlite3
from pathlib import Path

import pytest
from cli_example import Ended, Renkei

from renkei.ledger import LedgerReader
from renkei.trust.keys import Key


def test_a_campaign_ends_with_its_summary_alone_on_stdout(ended: Ended) -> None:
    [summary] = ended.said.records
    assert (summary["campaign"], summary["state"], summary["trials"]["total"]) == ("cast", "exhausted", 6)
    assert "cast: 6 of 6 trials" in ended.said.err


def test_campaigns_are_listed_with_their_best(renkei: Renkei, ended: Ended) -> None:
    said = renkei("campaign", "list", "--home", ended.home)
    assert said.code == 0
    assert "cast" in said.out
    assert "exhausted" in said.out
    assert " MPa" in said.out


def test_the_home_may_come_from_the_environment(renkei: Renkei, ended: Ended, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RENKEI_HOME", str(ended.home))
    assert renkei("campaign", "list", "--json").records[0]["campaign"] == "cast"


def test_a_campaign_is_shown_with_units_charges_and_verified_ledgers(renkei: Renkei, ended: Ended) -> None:
    said = renkei("campaign", "show", "cast", "--home", ended.home)
    assert said.code == 0
    for part in ("maximize strength", " MPa at osaka", " K", "osaka 3 instrument-hour", "2 verified"):
        assert part in said.out


def test_every_run_can_be_shown_from_request_to_charge(renkei: Renkei, ended: Ended) -> None:
    rows = renkei("run", "list", "--home", ended.home, "--json").records
    assert len(rows) == 6
    succeeded = next(row for row in rows if row["state"] == "succeeded")
    said = renkei("run", "show", succeeded["run"][-10:], "--home", ended.home)
    for part in ("lowest score", "open-research", "MPa", "0.5 instrument-hour of 0.5", "run.ended", "trace"):
        assert part in said.out
    [record] = renkei("run", "show", succeeded["run"], "--home", ended.home, "--json").records
    assert [each["kind"] for each in record["records"]] == ["run.accepted", "run.started", "run.ended"]
    assert record["requested"]["site"] == "osaka"


def test_runs_can_be_narrowed_down(renkei: Renkei, ended: Ended) -> None:
    assert renkei("run", "list", "--state", "lost", "--home", ended.home, "--json").records == []
    assert len(renkei("run", "list", "--last", "2", "--home", ended.home, "--json").records) == 2
    said = renkei("run", "list", "--last", "2", "--home", ended.home)
    assert "The newest 2 of 6 runs" in said.err
    assert "Did you mean 'lost'?" in renkei("run", "list", "--state", "lsot", "--home", ended.home).err


def test_a_site_shows_offers_books_and_policies(renkei: Renkei, ended: Ended) -> None:
    said = renkei("site", "show", "osaka", "--home", ended.home)
    for part in ("lab.cast", "0.5 instrument-hour a run", "10 min", "no limit", "3 instrument-hour", "open-research"):
        assert part in said.out
    [record] = renkei("site", "show", "osaka", "--home", ended.home, "--json").records
    assert record["policies"] == ["site.agreement-allows"]
    assert sum(record["runs"].values()) == 6
    assert renkei("site", "list", "--home", ended.home, "--json").records[0]["site"] == "osaka"
    assert "6 succeeded" in renkei("site", "list", "--home", ended.home).out


def test_a_procedure_shows_units_bounds_defaults_and_who_offers_it(renkei: Renkei, ended: Ended) -> None:
    said = renkei("procedure", "show", "lab.cast", "--home", ended.home)
    for part in ("Cast a bar", "300 to 900", "K", "MPa", "trace", "osaka", "0.5 instrument-hour a run"):
        assert part in said.out
    assert "lab.cast" in renkei("procedure", "list", "--home", ended.home).out


def test_a_file_of_ones_own_can_be_looked_at_without_any_site(renkei: Renkei, ended: Ended) -> None:
    [record] = renkei("procedure", "list", "--file", ended.home.parent / "lab.py", "--json").records
    assert (record["name"], record["site"]) == ("lab.cast", "")


def test_a_dataset_is_fetched_and_never_overwrites(renkei: Renkei, ended: Ended, tmp_path: Path) -> None:
    kept = renkei("dataset", "list", "--home", ended.home, "--json").records
    target = tmp_path / "trace.txt"
    fetch = ("dataset", "fetch", kept[0]["digest"][:12], "-o", target, "--home", ended.home)
    assert renkei(*fetch).code == 0
    assert target.read_text().endswith(" 3")
    assert kept[0]["digest"][:16] in renkei("dataset", "list", "--home", ended.home).out
    again = renkei(*fetch)
    assert (again.code, "exists already" in again.err) == (2, True)


def test_a_ledger_is_verified_by_its_own_key_an_agreement_or_a_given_key(
    renkei: Renkei, ended: Ended, tmp_path: Path
) -> None:
    ledger, agreement = ended.home / "sites/osaka/ledger.db", ended.home / "agreement.toml"
    said = renkei("ledger", "verify", ledger)
    assert said.code == 0
    assert "which it names itself" in said.out
    [finding] = renkei("ledger", "verify", ledger, "--agreement", agreement, "--json").records
    assert finding["sound"]
    assert "osaka" in finding["key_from"]
    (tmp_path / "public").write_text(finding["key"] + "\n")
    assert renkei("ledger", "verify", ledger, "--key", tmp_path / "public").code == 0
    assert renkei("ledger", "verify", ended.home / "campaigns/cast/ledger.db", "--agreement", agreement).code == 0


def test_a_ledger_that_somebody_else_signed_is_not_sound(renkei: Renkei, ended: Ended, tmp_path: Path) -> None:
    (tmp_path / "other").write_text(Key.generate("other").public.text)
    said = renkei("ledger", "verify", ended.home / "sites/osaka/ledger.db", "--key", tmp_path / "other")
    assert said.code == 1
    assert "NO" in said.out
    assert "signature" in said.err
    wrong = renkei("ledger", "verify", ended.home / "sites/osaka/ledger.db", "--key", tmp_path / "nothing")
    assert (wrong.code, "is no public key" in wrong.err) == (2, True)
    assert renkei("agreement", "new", tmp_path / "a.toml").code == 0
    outside = renkei("ledger", "verify", ended.home / "campaigns/cast/ledger.db", "--agreement", tmp_path / "a.toml")
    assert (outside.code, "No institution of agreement 'a'" in outside.err) == (3, True)


def test_a_changed_record_is_named(renkei: Renkei, ended: Ended, tmp_path: Path) -> None:
    with LedgerReader(ended.home / "sites/osaka/ledger.db") as ledger, sqlite3.connect(tmp_path / "l.db") as copy:
        ledger._db.backup(copy)
        copy.execute("UPDATE record SET bytes = replace(bytes, 'osaka', 'kyoto') WHERE seq = 1")
        copy.execute(
            "UPDATE record SET bytes = CAST(replace(CAST(bytes AS TEXT), 'local', 'other') AS BLOB) WHERE seq = 3"
        )
    copy.close()
    said = renkei("ledger", "verify", tmp_path / "l.db")
    assert said.code == 1
    assert "Error: record " in said.err
    assert "Traceback" not in said.err


def test_records_are_printed_byte_for_byte(renkei: Renkei, ended: Ended) -> None:
    path = ended.home / "campaigns/cast/ledger.db"
    with LedgerReader(path) as ledger:
        written = [raw.decode() for _, raw, _ in ledger.rows()]
    assert renkei("ledger", "show", path, "--json").out.splitlines() == written
    some = renkei("ledger", "show", path, "--kind", "trial.proposed", "--from", "2", "--json").records
    assert {each["kind"] for each in some} == {"trial.proposed"}


def test_every_kind_of_record_has_a_line_for_people(renkei: Renkei, ended: Ended) -> None:
    for path in (ended.home / "campaigns/cast/ledger.db", ended.home / "sites/osaka/ledger.db"):
        said = renkei("ledger", "show", path)
        assert said.code == 0
        assert "does not know" not in said.out


def test_one_record_is_proved_and_checked_without_its_ledger(renkei: Renkei, ended: Ended, tmp_path: Path) -> None:
    proof, agreement = tmp_path / "proof.json", ended.home / "agreement.toml"
    assert renkei("ledger", "prove", ended.home / "sites/osaka/ledger.db", "3", "-o", proof).code == 0
    said = renkei("ledger", "check-proof", proof, "--agreement", agreement)
    assert said.code == 0
    assert "It is in the ledger of site/osaka" in said.out
    content = json.loads(proof.read_text())
    [record] = renkei("ledger", "check-proof", proof, "--json").records
    assert record["seq"] == content["seq"] == 3
    content["record"] = base64.b64encode(base64.b64decode(content["record"]).replace(b"osaka", b"kyoto")).decode()
    content["seq"] = 4
    proof.write_text(json.dumps(content))
    forged = renkei("ledger", "check-proof", proof, "--agreement", agreement)
    assert (forged.code, "does not hold" in forged.err) == (1, True)


def test_a_record_that_no_checkpoint_covers_is_not_proved(renkei: Renkei, ended: Ended) -> None:
    said = renkei("ledger", "prove", ended.home / "sites/osaka/ledger.db", "99999")
    assert (said.code, "cannot be proved" in said.err) == (2, True)


def test_report_and_crate_are_written(renkei: Renkei, ended: Ended) -> None:
    [summary] = ended.said.records
    assert Path(summary["report"]).is_file()
    assert Path(summary["crate"]).exists()
