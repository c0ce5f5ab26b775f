"""Sites served as processes of their own, and a campaign over them that survives every one being killed."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pair import Pair, pair

from renkei.errors import Unreachable
from renkei.federation.http import HttpSite
from renkei.home import Home, Session
from renkei.ledger import LedgerReader
from renkei.model.campaign_file import load_campaign
from renkei.report import summarize


def renkei(folder: Path, *words: object) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, "-m", "renkei", *map(str, words)]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def ended_runs(two: Pair) -> Counter[str]:
    """Return how often each run ended at either site."""
    found: Counter[str] = Counter()
    for name in ("east", "west"):
        with LedgerReader(two.folder / f"data-{name}" / "ledger.db") as reader:
            found.update(record.body.run for record in reader.records() if record.kind == "run.ended")
    return found


def require_sound(said: dict[str, Any], trials: int) -> None:
    assert said["state"] == "exhausted"
    assert (said["trials"]["total"], said["trials"]["observed"]) == (trials, trials)
    assert [ledger["problems"] for ledger in said["ledgers"]] == [[]] * 3
    assert {ledger["owner"] for ledger in said["ledgers"]} == {"campaign/joint", "site/east", "site/west"}
    assert all(ledger["verified"] for ledger in said["ledgers"])


def require_that_a_changed_witness_is_found(two: Pair) -> None:
    """Change what the campaign kept of a site's leaf hashes: every change is a problem of the audit."""
    witness = two.home / "campaigns" / "joint" / "witness" / "east.leaves"
    whole = witness.read_bytes()
    size = len(whole) // 32
    with LedgerReader(two.home / "campaigns" / "joint" / "ledger.db") as reader:
        told = [r.body.record for r in reader.records() if r.kind == "run.reported" and r.body.site == "east"]
    seq = json.loads(bytes(told[0]))["seq"]

    def problems() -> str:
        ledgers = {each["owner"]: each for each in summarize(Home(two.home), "joint")["ledgers"]}
        assert not (ledgers["site/east"]["verified"] and ledgers["campaign/joint"]["verified"])
        return " ".join(ledgers["site/east"]["problems"] + ledgers["campaign/joint"]["problems"])

    changed = bytearray(whole)
    changed[32 * seq] ^= 1
    witness.write_bytes(changed)
    assert f"is not what site/east has as its record {seq}" in problems()
    assert f"the first {size} records there have another root" in problems()
    witness.write_bytes(whole[:-32])
    assert f"it covers {size} records, which could not be read" in problems()
    witness.write_bytes(whole + b"\0" * 32)
    assert "no signed checkpoint covers its last 1 records" in problems()
    witness.write_bytes(whole + b"\0")
    assert "is not a row of hashes" in problems()
    witness.unlink()
    assert "could not be compared: no ledger to read" in problems()
    witness.write_bytes(whole)


def test_a_campaign_runs_over_served_sites_and_everybody_agrees(tmp_path: Path) -> None:
    with pair(tmp_path) as two:
        two.serve("east")
        two.serve("west")
        out, _ = two.campaign().communicate(timeout=60)
        assert two.processes["campaign"].returncode == 0, (tmp_path / "campaign.err").read_text()
        said = json.loads(out)
        require_sound(said, 60)
        require_that_a_changed_witness_is_found(two)
        assert {charge["site"]: charge["unit"] for charge in said["charges"]} == {"east": "run", "west": "run"}
        listed = renkei(tmp_path, "run", "list", "--home", "east.toml", "--json")
        runs = [json.loads(line) for line in listed.stdout.splitlines()]
        assert {run["state"] for run in runs} == {"succeeded"}
        assert [two.stop(name) for name in ("east", "west")] == [0, 0]
        assert Counter(two.executions()) == ended_runs(two)
        for name in ("east", "west"):
            verified = renkei(tmp_path, "ledger", "verify", f"data-{name}/ledger.db")
            assert verified.returncode == 0, verified.stdout


@pytest.mark.anyio
async def test_what_sites_did_not_say_at_the_end_is_fetched_when_the_campaign_is_taken_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(self: HttpSite) -> str:
        raise Unreachable("silent")

    def wrong() -> list[str]:
        return [problem for ledger in summarize(home, "joint")["ledgers"] for problem in ledger["problems"]]

    with pair(tmp_path, trials=12) as two:
        two.serve("east")
        two.serve("west")
        home, file = Home(two.home), load_campaign(tmp_path / "campaign.toml")
        with home.locked():
            home.adopt(tmp_path / "agreement.toml", None, file.team)
            with monkeypatch.context() as patch:
                patch.setattr(HttpSite, "checkpoint", silent)
                async with Session(home).opened(["east", "west"], file.team) as session:
                    await session.drive(await session.begin(file, tmp_path))
            assert "no ledger to read" in " ".join(wrong())
            async with Session(home).opened(["east", "west"], file.team) as session:
                await session.drive(await session.resume("joint"))
            assert wrong() == []
            kept = home.witness("joint", "east")
            whole = kept.read_bytes()
            kept.write_bytes(whole[:-32])  # the process was killed while it wrote this
            assert wrong()
            async with Session(home).opened(["east", "west"], file.team) as session:
                await session.drive(await session.resume("joint"))
            assert (kept.read_bytes(), wrong()) == (whole, [])


def test_a_site_that_does_not_answer_is_gone_without_and_none_at_all_is_an_error(tmp_path: Path) -> None:
    with pair(tmp_path, trials=12) as two:
        out, _ = two.campaign().communicate(timeout=60)
        assert (two.processes["campaign"].returncode, out) == (4, "")
        assert "gives no answer" in (tmp_path / "campaign.err").read_text()
        assert not (two.home / "campaigns" / "joint" / "campaign.toml").exists(), "nothing was begun"
        two.serve("east")
        out, _ = two.campaign().communicate(timeout=60)
        assert two.processes["campaign"].returncode == 0
        assert "Going on without a site until it answers: Site 'west'" in (tmp_path / "campaign.err").read_text()
        assert {charge["site"] for charge in json.loads(out)["charges"]} == {"east"}


def test_killed_sites_and_a_killed_campaign_cost_nothing_and_double_nothing(tmp_path: Path) -> None:
    with pair(tmp_path, trials=150) as two:
        two.serve("east")
        two.serve("west")
        two.campaign()
        two.wait_for_executions(10)
        two.kill("east")
        two.wait_for_executions(25)
        two.serve("east")
        two.wait_for_executions(50)
        two.kill("campaign")
        two.kill("west")
        two.serve("west")
        two.campaign()
        two.wait_for_executions(80)
        two.kill("west")
        two.kill("east")
        two.serve("east")
        two.serve("west")
        out, _ = two.processes["campaign"].communicate(timeout=120)
        assert two.processes["campaign"].returncode == 0, (tmp_path / "campaign.err").read_text()
        require_sound(json.loads(out), 150)
        assert max(Counter(two.executions()).values()) == 1, "no run was executed twice"
        assert max(ended_runs(two).values()) == 1, "no run ended twice"


def test_a_site_with_mistakes_is_not_served_and_all_of_them_are_told(tmp_path: Path) -> None:
    with pair(tmp_path) as two:
        text = (tmp_path / "east.toml").read_text()
        (tmp_path / "broken.toml").write_text(text.replace("workers = 1", "workers = 0").replace('"1000 run"', '"9 x"'))
        said = renkei(tmp_path, "site", "serve", "broken.toml")
        assert (said.returncode, said.stdout) == (2, "")
        assert "executor.workers" in said.stderr
        assert "allocations#1.quantity" in said.stderr
        (tmp_path / "open.toml").write_text(text.replace("[serve]", '[serve]\nhost = "0.0.0.0"'))
        said = renkei(tmp_path, "site", "serve", "open.toml")
        assert (said.returncode, "without TLS" in said.stderr) == (2, True)
        two.serve("east")
        said = renkei(tmp_path, "site", "serve", "east.toml")
        assert said.returncode == 1
        assert f"in use by process {two.processes['east'].pid}" in said.stderr


def test_check_tells_what_is_wrong_before_anybody_else_does(tmp_path: Path) -> None:
    with pair(tmp_path):
        said = renkei(tmp_path, "site", "check", "east.toml", "--json")
        assert (said.returncode, said.stderr) == (0, "")
        findings = [json.loads(line) for line in said.stdout.splitlines()]
        assert [finding["problem"] for finding in findings] == [""] * len(findings)
        assert not (tmp_path / "data-east").exists(), "nothing is left behind"
        (tmp_path / "keys/us-lab.key").chmod(0o644)
        (tmp_path / "agreement.toml.sig").write_text("")
        (tmp_path / "lab.py").write_text("import nothing_of_that_name")
        said = renkei(tmp_path, "site", "check", "east.toml", "--json")
        wrong = {f["check"]: f["problem"] for f in map(json.loads, said.stdout.splitlines()) if f["problem"]}
        assert said.returncode == 1
        assert wrong.keys() == {"key", "agreement", "procedures", "policy"}
        assert "not in force" in wrong["agreement"]
