"""What `import renkei` gives, and how little it takes."""

import subprocess
import sys
from pathlib import Path

import pytest

import renkei as rk

HEAVY = {
    "torch",
    "pandas",
    "matplotlib",
    "numpy",
    "scipy",
    "jax",
    "pint",
    "pydantic",
    "sqlite3",
    "cryptography",
    "rich",
}


def test_every_exported_name_is_there() -> None:
    assert {name for name in rk.__all__ if getattr(rk, name, None) is None} == set()
    assert rk.__all__ == sorted(rk.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = rk.nonsense  # type: ignore[attr-defined]


def test_importing_renkei_loads_nothing_heavy() -> None:
    code = "import sys, renkei; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert HEAVY & set(loaded) == set()


def test_a_served_site_does_without_what_only_campaigns_and_issuers_need() -> None:
    code = "import sys, renkei.home._serving; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "renkei.api" in loaded
    assert not {"renkei.campaign", "renkei.planning", "httpx", "joserfc", "numpy"}.intersection(loaded)


CAMPAIGN = """
[campaign]
name = "by-hand"
stop = { trials = 20 }
[space]
x = { type = "real", low = 0.0, high = 1.0 }
[[objective]]
output = "y"
goal = "minimize"
[planner]
name = "random"
"""


def test_asking_and_telling_goes_on_where_it_stopped(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(CAMPAIGN)
    with rk.AskTell(tmp_path / "c.toml", home=tmp_path / "home") as campaign:
        first, second = campaign.ask(2)
        campaign.tell(first, {"y": 1.0})
    with rk.AskTell(tmp_path / "c.toml", home=tmp_path / "home") as campaign:
        assert [trial.trial for trial in campaign.ask(1)] == [second.trial]
        campaign.tell(second.trial, None, "it burnt")
        third = campaign.ask()[0]
        assert third.parameters not in (first.parameters, second.parameters)
        campaign.tell(third, {"y": 0.5})
        assert campaign.best is not None
        assert campaign.best.trial == third.trial
        assert [trial.state for trial in campaign.trials] == ["observed", "infeasible", "observed"]
        with pytest.raises(rk.RenkeiError, match="not waiting"):
            campaign.tell(third, {"y": 0.5})
        with pytest.raises(rk.RenkeiError, match="Output 'y' is missing"):
            campaign.tell(campaign.ask()[0], {"yy": 0.5})
    assert rk.verify(tmp_path / "home" / "campaigns" / "by-hand" / "ledger.db").is_sound


def test_a_campaign_file_runs_and_runs_again_to_the_same_summary(tmp_path: Path) -> None:
    text = (
        CAMPAIGN + '[[source]]\nprocedure = "computing.echo"\n[sites.here]\nprocedures = "renkei.science.computing"\n'
    )
    (tmp_path / "c.toml").write_text(text.replace('"y"', '"value"'))
    summary = rk.run(tmp_path / "c.toml", home=tmp_path / "home")
    assert summary["state"] == "exhausted"
    assert summary["trials"]["observed"] == 20
    again = rk.run(tmp_path / "c.toml", home=tmp_path / "home")
    assert again["trials"] == summary["trials"]
    assert again["best"] == summary["best"]


def test_what_is_wrong_comes_as_one_error_of_ours(tmp_path: Path) -> None:
    text = (
        CAMPAIGN + '[[source]]\nprocedure = "computing.ehco"\n[sites.here]\nprocedures = "renkei.science.computing"\n'
    )
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(rk.RenkeiError, match=r"Did you mean 'computing\.echo'"):
        rk.run(tmp_path / "c.toml", home=tmp_path / "home")
    assert not (tmp_path / "home").exists()
