"""A campaign over two served sites, one of them in front of Slurm: everybody's books agree, Slurm's too."""

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from cluster import Cluster

from renkei.ledger import LedgerReader
from renkei.model.records import RunEnded
from served.pair import Pair, pair

pytestmark = pytest.mark.slurm

SLURM = """[executor]
kind = "slurm"
workers = 8
queue = "short"
poll = "500 ms"
"""


def finished_jobs() -> dict[str, str]:
    """Return the state of every job that Slurm finished, by number: one a run, arrays taken apart."""
    argv = ["sacct", "-c", "-n", "-P", "-o", "JobID,State"]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
    return dict(line.split("|")[:2] for line in said.stdout.splitlines() if "|" in line)


def ended_runs(two: Pair, name: str) -> dict[str, RunEnded]:
    """Return how each run ended at a site."""
    with LedgerReader(two.folder / f"data-{name}" / "ledger.db") as reader:
        return {r.body.run: r.body for r in reader.records() if r.kind == "run.ended"}


def test_a_joint_campaign_over_a_local_site_and_slurm(tmp_path: Path, cluster: Cluster) -> None:
    queues = {"west": 'resources = { queue = "long", memory = "100 MB" }'}
    before = finished_jobs()
    with pair(tmp_path, trials=40, executors={"west": SLURM}, resources=queues) as two:
        text = (tmp_path / "lab.py").read_text().replace("time.sleep(0.02)", "time.sleep(0.2)")
        (tmp_path / "lab.py").write_text(text)
        two.serve("east")
        two.serve("west")
        out, _ = two.campaign().communicate(timeout=120)
        assert two.processes["campaign"].returncode == 0, (tmp_path / "campaign.err").read_text()
        said = json.loads(out)
        assert (said["state"], said["trials"]["observed"]) == ("exhausted", 40)
        assert all(ledger["verified"] for ledger in said["ledgers"]), said["ledgers"]
        west, finished = ended_runs(two, "west"), finished_jobs()
        assert len(west) > 0
        assert {ended.outcome for ended in west.values()} == {"succeeded"}
        assert all(ended.evidence is not None and ended.evidence.job for ended in west.values())
        assert Counter(state for number, state in finished.items() if number not in before) == {"COMPLETED": len(west)}
        assert Counter(two.executions()) == Counter([*west, *ended_runs(two, "east")])
        assert [two.stop(name) for name in ("east", "west")] == [0, 0]


def test_runs_go_on_in_slurm_while_their_site_is_down(tmp_path: Path, cluster: Cluster) -> None:
    with pair(tmp_path, trials=24, executors={"west": SLURM, "east": SLURM}) as two:
        text = (tmp_path / "lab.py").read_text().replace("time.sleep(0.02)", "time.sleep(1.0)")
        (tmp_path / "lab.py").write_text(text)
        two.serve("east")
        two.serve("west")
        two.campaign()
        two.wait_for_executions(2)
        two.kill("west")
        assert two.stop("east") == 0
        two.serve("west")
        two.serve("east")
        out, _ = two.processes["campaign"].communicate(timeout=180)
        assert two.processes["campaign"].returncode == 0, (tmp_path / "campaign.err").read_text()
        said = json.loads(out)
        assert said["trials"]["observed"] == 24
        assert max(Counter(two.executions()).values()) == 1, "no run was executed twice"
        assert all(ledger["verified"] for ledger in said["ledgers"]), said["ledgers"]
