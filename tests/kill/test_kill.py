"""Kill everything at any instant, start again: no trial lost, no run executed twice, no charge made twice."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from renkei.campaign import RunRow as AskedRow
from renkei.errors import LedgerError
from renkei.ledger import LedgerReader
from renkei.site import RunRow

N_KILLS = 50
N_TRIALS = 500

LAB = '''
import os, time
from pathlib import Path
from typing import Annotated
from annotated_types import Interval
from renkei import Infeasible, current_run, procedure

@procedure("lab.measure", version="1.0")
def measure(x: Annotated[float, Interval(ge=0, le=1)], y: Annotated[float, Interval(ge=0, le=1)]) -> float:
    """Measure, and leave a mark of it outside that no crash takes back."""
    with open(Path(__file__).with_name("executions"), "a") as file:
        file.write(current_run().id + "\\n")
    time.sleep(0.03)
    if x > 0.95:
        raise Infeasible("too hot")
    return (x - 0.3) ** 2 + (y - 0.6) ** 2
'''

CAMPAIGN = f"""
[campaign]
name = "stubborn"
stop = {{ trials = {N_TRIALS} }}
retries = 50
[space]
x = {{ type = "real", low = 0.0, high = 1.0 }}
y = {{ type = "real", low = 0.0, high = 1.0 }}
[[objective]]
output = "value"
goal = "minimize"
[[source]]
procedure = "lab.measure"
[planner]
name = "random"
parallel = 4
[sites.east]
procedures = "lab.py"
workers = 1
[sites.west]
procedures = "lab.py"
workers = 1
allocation = "{N_TRIALS} run"
"""


def renkei(home: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    """Start the command line in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "renkei", *arguments, "--home", str(home), "--json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def wait_for_records(ledger: Path, process: "subprocess.Popen[bytes]") -> None:
    """Wait until the process has written some records of its own, or is gone."""
    n_before = n = None
    while process.poll() is None and (n is None or n_before is None or n < n_before + 4):
        time.sleep(0.02)
        with suppress(LedgerError), LedgerReader(ledger) as reader:  # it may have no tables yet
            n = reader.tree_size
            n_before = n if n_before is None else n_before


def test_fifty_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    (tmp_path / "lab.py").write_text(LAB)
    (tmp_path / "campaign.toml").write_text(CAMPAIGN)
    home = tmp_path / "home"
    chance = random.Random(20261122)
    ledger = home / "campaigns" / "stubborn" / "ledger.db"
    n_kills = n_in_flight = 0
    process = renkei(home, "campaign", "run", str(tmp_path / "campaign.toml"))
    try:
        while n_kills < N_KILLS:
            # The instants are spread from before the first record to well into the work; every third is at work.
            if n_kills % 3 == 2:
                wait_for_records(ledger, process)
                time.sleep(chance.uniform(0.0, 0.1))
            else:
                time.sleep(chance.uniform(0.05, 1.3))
            if process.poll() is not None:
                break
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            n_kills += 1
            is_begun = (home / "campaigns" / "stubborn" / "campaign.toml").exists()
            with suppress(LedgerError), LedgerReader(ledger) as reader:  # killed before it had tables
                rows = reader.table("runs", AskedRow).values()
                n_in_flight += any(row.state in ("requested", "accepted") for row in rows)
            process = (
                renkei(home, "campaign", "resume", "stubborn")
                if is_begun
                else renkei(home, "campaign", "run", str(tmp_path / "campaign.toml"))
            )
        out, err = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert process.returncode == 0, err.decode()
    assert n_kills == N_KILLS
    assert n_in_flight >= 10, "too few kills hit runs in flight to prove anything"

    summary = json.loads(out)
    assert summary["state"] == "exhausted"
    trials = summary["trials"]
    assert trials["total"] == N_TRIALS == trials["observed"] + trials["infeasible"] + trials["abandoned"]
    assert trials["abandoned"] == 0
    assert all(ledger["verified"] for ledger in summary["ledgers"])

    executed = Counter((tmp_path / "executions").read_text().split())
    assert max(executed.values()) == 1, "a run was executed twice"

    charged: dict[str, int] = {}
    spent = 0
    for site in ("east", "west"):
        with LedgerReader(home / "sites" / site / "ledger.db") as reader:
            for row in reader.table("runs", RunRow).values():
                assert row.state not in ("accepted", "started"), f"{row.run} never ended"
            for record in reader.records():
                if record.kind == "run.ended":
                    assert record.body.run not in charged, "a run ended twice"
                    charged[record.body.run] = record.body.charge
            for row in reader.saved("books").values():
                balance = json.loads(row)
                assert balance["granted"] + balance["available"] + balance.get("reserved", 0) + balance["spent"] == 0
                assert balance.get("reserved", 0) == 0
                spent += balance["spent"]
    done = {run for run, charge in charged.items() if charge}
    assert spent == sum(charged.values()) == 1_000_000 * len(done)
    assert len(done) == trials["observed"] + trials["infeasible"], "each trial was paid for exactly once"
    assert done <= set(executed)
