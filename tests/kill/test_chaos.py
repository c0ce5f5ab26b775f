"""A minute of real faults: nothing is lost, doubled, overspent or charged wrongly."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.long
def test_twenty_kills_and_other_faults_break_no_promise(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    argv = [sys.executable, "-m", "benchmarks.chaos", "--kills", "20", "--minutes", "1", "--trials", "40"]
    argv += ["--bar", "30", "--json", str(result)]
    said = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=400, stdin=subprocess.DEVNULL)
    assert said.returncode == 0, said.stdout + said.stderr
    told = json.loads(result.read_text())
    assert told["killed"] >= 20
    assert not any(told["broken"].values())
    assert told["counts"]["executions"] >= told["counts"]["trials"] >= 40
    assert told["recovery"]["n"] + told["recovery_disturbed"]["n"] > 0
