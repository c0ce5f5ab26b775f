"""A process at work in a home, and what other commands have to do with it."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_example import CAMPAIGN, Renkei, finish, start, write_campaign

WITH_APPROVAL = CAMPAIGN.replace("trials = 6", "trials = 60") + 'policy = "asking.cedar"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Have a campaign whose hotter half of trials waits for a person."""
    write_campaign(tmp_path, WITH_APPROVAL)
    return tmp_path


@pytest.fixture
def process(folder: Path) -> "Iterator[subprocess.Popen[str]]":
    started = start("campaign", "run", "campaign.toml", "--home", "home", cwd=folder)
    yield started
    started.kill()
    if started.stdout is not None and not started.stdout.closed:
        started.communicate()


def parked(renkei: Renkei, home: Path, n: int = 1) -> list[str]:
    """Wait until so many runs wait for a person and return their ids."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        runs: list[str] = []
        if (home / "sites/osaka/ledger.db").exists():
            runs = [row["run"] for row in renkei("run", "list", "--state", "parked", "--home", home, "--json").records]
        if len(runs) >= n:
            return runs
        time.sleep(0.05)
    raise AssertionError("no run waits for a person")


def state_of(renkei: Renkei, home: Path, run: str) -> str:
    return renkei("run", "show", run, "--home", home, "--json").records[0]["run"]["state"]


def test_a_process_at_work_is_asked_and_never_pushed_aside(
    renkei: Renkei, folder: Path, process: "subprocess.Popen[str]"
) -> None:
    home = folder / "home"
    runs = parked(renkei, home, 3)
    second = renkei(
        "campaign", "run", write_campaign(folder / "2", WITH_APPROVAL.replace("cast", "cost", 1)), "--home", home
    )
    assert (second.code, f"in use by process {process.pid}" in second.err) == (1, True)
    assert renkei("campaign", "list", "--home", home, "--json").records[0]["state"] == "running"

    denied = renkei("run", "deny", runs[0][-12:], "--home", home, "--as", "Dr. Sato", "--note", "not today")
    assert denied.code == 0
    assert "refused" in denied.out
    shown = renkei("run", "show", runs[0], "--home", home)
    assert "denied by Dr. Sato: not today" in shown.out
    approved = renkei("run", "approve", runs[1], "--home", home)
    assert approved.code == 0
    assert renkei("run", "cancel", runs[2], "--site", "osaka", "--home", home).code == 0
    again = renkei("run", "approve", runs[0], "--home", home)
    assert (again.code, "is refused: there is nothing to approve" in again.err) == (2, True)

    stopped = renkei("campaign", "stop", "cast", "--home", home)
    assert (stopped.code, stopped.out) == (0, "Campaign 'cast' is stopping.\n")
    ended = finish(process)
    assert ended.code == 1
    assert "stopped" in ended.out
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_cleanly_and_says_how_to_go_on(
    renkei: Renkei, folder: Path, process: "subprocess.Popen[str]", number: int, code: int
) -> None:
    parked(renkei, folder / "home", 3)
    process.send_signal(number)
    said = finish(process)
    assert (said.code, said.out) == (code, "")
    assert "Go on with: renkei campaign resume cast --home" in said.err
    assert "Traceback" not in said.err
    assert renkei("campaign", "list", "--home", folder / "home", "--json").records[0]["state"] == "stopped"
    assert parked_now(renkei, folder / "home") == []


def parked_now(renkei: Renkei, home: Path) -> list[object]:
    return renkei("run", "list", "--state", "parked", "--home", home, "--json").records


def test_after_a_crash_a_person_decides_without_any_process_and_the_campaign_goes_on(
    renkei: Renkei, folder: Path, process: "subprocess.Popen[str]"
) -> None:
    home = folder / "home"
    runs = parked(renkei, home, 3)
    process.kill()
    process.communicate()
    assert renkei("campaign", "list", "--home", home, "--json").records[0]["state"] == "interrupted"
    stop = renkei("campaign", "stop", "cast", "--home", home)
    assert (stop.code, "is not running" in stop.err) == (2, True)

    approved = renkei("run", "approve", runs[0], "--home", home)
    assert approved.code == 0
    assert "is accepted. It starts when osaka works again" in approved.out
    assert renkei("run", "deny", runs[1], "--home", home).code == 0
    cancelled = renkei("run", "cancel", runs[2], "--home", home)
    assert (cancelled.code, state_of(renkei, home, runs[2])) == (0, "refused")

    resumed = start("campaign", "resume", "cast", "--home", "home", "--json", cwd=folder)
    end = time.monotonic() + 30
    while state_of(renkei, home, runs[0]) == "accepted" and time.monotonic() < end:
        time.sleep(0.05)
    assert state_of(renkei, home, runs[0]) in ("started", "succeeded", "infeasible")
    resumed.kill()
    resumed.communicate()


def test_a_reader_that_goes_away_is_no_error(folder: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(
        ["sh", "-c", 'exec "$0" -m renkei --help', os.sys.executable],
        cwd=folder,
        stdout=writing,
        stderr=subprocess.PIPE,
    )
    os.close(writing)
    assert process.communicate(timeout=30)[1] == b""
