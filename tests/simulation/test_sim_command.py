import json
import subprocess
import sys
from pathlib import Path

import pytest

from renkei.cli import main
from renkei.sim import Outcome


def test_seeds_are_run_and_summed_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", "seeds", "2", "3", "--jobs", "1"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("2 seeds, 0 broke a promise; ")
    assert " runs" in said


def test_the_ledgers_of_a_seed_are_kept_and_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "kept"
    assert main(["sim", "seeds", "5", "--keep", str(place), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["seed"] == 5
    assert {path.parent.name for path in place.glob("*/ledger.db")} == told["digests"].keys()
    assert main(["sim", "seeds", "1", "2", "--keep", str(place)]) == 2
    assert "single seed" in capsys.readouterr().err


def test_a_broken_promise_is_told_with_the_command_that_replays_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = Outcome(7, problem="Run 1 was executed 2 times.")
    monkeypatch.setattr("renkei.cli.sim.run_seed", lambda seed, folder: broken)
    assert main(["sim", "seeds", "7", "--keep", str(tmp_path / "kept")]) == 1
    said = capsys.readouterr().out
    assert "seed 7  Run 1 was executed 2 times." in said
    assert "renkei sim seeds 7 --keep seed-7" in said


def test_trio_is_only_imported_by_simulations() -> None:
    code = "import sys, renkei, renkei.home, renkei.federation.http; print('trio' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout == "False\n"
