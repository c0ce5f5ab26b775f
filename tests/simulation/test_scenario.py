import json
import math
import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from renkei.cli import main
from renkei.errors import ConfigError
from renkei.ledger import verify
from renkei.model.space import Value
from renkei.sim import Result, Scenario, load_scenario, parse_scenario, run_scenario
from renkei.sim._federation import _World
from renkei.sim._keys import sim_key
from renkei.sim._plots import draw_result
from renkei.sim._tables import allocation_table, event_table, site_table, summary, team_table

TEXT = """
[scenario]
name = "two-nations"
time = "3 d"
runs = 240

[parties]
us = { name = "United States" }
jp = { name = "Japan" }
ca = { name = "Canada", accedes = "20 h" }

[institutions]
us-lab = { name = "US lab", party = "us" }
jp-lab = { name = "JP lab", party = "jp" }
ca-lab = { name = "CA lab", party = "ca" }

[procedures]
"materials.screening" = { parameters = 2, one_in = 60, infeasible = 0.1, run = "10 min", time_limit = "1 h" }

[teams]
materials = { name = "Materials", institutions = ["us-lab", "jp-lab", "ca-lab"] }

[sites.us-lab]
institution = "us-lab"
procedures = ["materials.screening"]
slots = 10
queue = "10 min"
poll = "5 min"
charge = { unit = "node-hour", per_hour = 1.0 }
gives = { materials = "500 node-hour" }

[sites.jp-lab]
institution = "jp-lab"
procedures = ["materials.screening"]
slots = 20
speed = 2.0
poll = "5 min"
charge = { unit = "gpu-hour", per_hour = 4.0 }
gives = { materials = "400 gpu-hour" }

[sites.ca-lab]
institution = "ca-lab"
procedures = ["materials.screening"]
slots = 10
charge = { unit = "run", per_run = 1.0 }
gives = { materials = "100 run" }

[[campaign]]
name = "survey"
team = "materials"
procedure = "materials.screening"
planner = "random"
parallel = 24
share = 1.0
times = 2
every = "1 d"
goes_on = true

[[campaign]]
name = "search"
team = "materials"
procedure = "materials.screening"
planner = "random"
parallel = 4
trials = 100
"""
LOSS = """
[[loss]]
site = "us-lab"
at = "20 min"
lasts = "3 h"
"""


def scenario(text: str = TEXT, **changes: str) -> Scenario:
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return parse_scenario(text)


def mistakes(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_scenario(text)
    return str(caught.value)


@pytest.fixture(scope="module")
def joint() -> Result:
    return run_scenario(scenario())


def test_every_trial_ends_and_every_charge_is_in_the_books(joint: Result) -> None:
    surveys = [each for each in joint.campaigns if each.series == "survey"]
    assert [each.state for each in surveys] == ["exhausted", "exhausted"]
    assert sum(each.n_trials for each in surveys) == 240
    assert all(tally.outcomes["open"] == 0 for tally in joint.sites.values())
    assert joint.n_runs == sum(tally.outcomes.total() for tally in joint.sites.values())
    spent: dict[str, float] = {}
    for each in joint.allocations:
        assert each.reserved == 0.0
        assert 0.0 <= each.spent <= each.granted
        spent[each.unit] = spent.get(each.unit, 0.0) + each.spent
    for unit, quantity in spent.items():
        assert quantity == pytest.approx(sum(each.charges.get(unit, 0.0) for each in joint.campaigns))
    assert joint.ended_s < joint.time_s


def test_the_same_seed_gives_the_same_ledgers_and_another_others(joint: Result) -> None:
    again, other = run_scenario(scenario()), run_scenario(scenario(), seed=5)
    assert again.to_json() == joint.to_json()
    assert set(other.digests.values()).isdisjoint(joint.digests.values())


def test_ledgers_that_are_kept_verify(tmp_path: Path) -> None:
    result = run_scenario(scenario(), folder=tmp_path)
    ledgers = [*tmp_path.glob("*/*/ledger.db")]
    owners = {f"{path.parent.parent.name.removesuffix('s')}/{path.parent.name}" for path in ledgers}
    assert owners == result.digests.keys()
    for path in ledgers:
        home = path.parent.name if path.parent.parent.name == "sites" else "us-lab"
        assert verify(path, sim_key(home).public).is_sound


def test_a_discovery_is_as_rare_as_the_scenario_says(joint: Result) -> None:
    found = [each for each in joint.campaigns if each.discovered_s is not None]
    assert found
    search = next(each for each in joint.campaigns if each.series == "search")
    assert search.state == "reached"
    assert 0.0 < (search.discovered_s or 0.0) <= search.ended_s - search.began_s
    radius = scenario().procedures["materials.screening"].radius
    assert math.pi * radius**2 == pytest.approx(1 / 60)


def test_a_party_that_accedes_is_used_from_then_on(joint: Result) -> None:
    first, second = (each for each in joint.campaigns if each.series == "survey")
    assert "ca-lab" not in first.sites
    assert second.sites["ca-lab"] > 0
    calm = run_scenario(scenario().without_events())
    assert not calm.sites["ca-lab"].outcomes


def test_campaigns_that_work_alone_have_one_site_and_all_that_was_given() -> None:
    result = run_scenario(scenario(), joint=False)
    assert all(each.sites.keys() == {"jp-lab"} for each in result.campaigns)
    (use,) = result.allocations
    work = math.exp(0.3**2 / 2) / 6  # hours of a run at a site of speed 1
    runs = 500 / work + 400 / (4 * work / 2) + 100
    assert use.granted == pytest.approx(runs * 4 * work / 2)
    moved = run_scenario(scenario(), joint=False, alone_at={"search": "us-lab"})
    assert {each.series: [*each.sites] for each in moved.campaigns} == {"survey": ["jp-lab"], "search": ["us-lab"]}


def test_a_lost_site_ends_its_runs_and_its_campaigns_go_on() -> None:
    result = run_scenario(scenario(TEXT + LOSS))
    assert result.sites["us-lab"].outcomes["lost"] > 0
    assert all(each.state in ("exhausted", "reached") for each in result.campaigns)
    lost = [each for each in result.allocations if each.site == "us-lab"]
    assert lost[0].reserved == 0.0


def test_maintenance_keeps_runs_waiting() -> None:
    closed = '\nmaintenance = [{ at = "30 min", lasts = "6 h" }]\n'
    result = run_scenario(scenario(**{"slots = 20\n": f"slots = 20{closed}"}))
    ends = [at for at in result.sites["jp-lab"].ended_s if 30 * 60 + 600 < at < 6.5 * 3600]
    assert not ends
    assert result.sites["jp-lab"].outcomes["failed"] > 0  # those that ran when it was closed


def test_what_is_open_when_the_time_is_over_is_told() -> None:
    result = run_scenario(scenario().with_scale(time_s=1500.0))
    assert result.ended_s == 1500.0
    assert {each.state for each in result.campaigns} == {"running"}
    assert sum(tally.outcomes["open"] for tally in result.sites.values()) > 0


def test_the_number_of_runs_is_shared_among_those_with_a_share() -> None:
    bigger = scenario().with_scale(runs=1000)
    assert {series.name: bigger.trials(series) for series in bigger.campaign} == {"survey": 500, "search": 100}


def test_progress_is_told() -> None:
    told: list[tuple[float, int]] = []
    run_scenario(scenario(), on_progress=lambda time_s, n: told.append((time_s, n)))
    assert told == sorted(told)
    assert len(told) > 5


def test_mistakes_are_told_at_once() -> None:
    said = mistakes(TEXT.replace('"500 node-hour"', '"500 gpu-hour"').replace('team = "materials"', 'team = "fusion"'))
    assert "sites.us-lab.gives" in said
    assert "expected quantities in node-hour" in said
    assert "campaign#1.team: found 'fusion'" in said
    assert "either trials or a share" in mistakes(TEXT.replace("share = 1.0", "share = 1.0\ntrials = 3"))
    assert "does not fit into the cube" in mistakes(TEXT.replace("one_in = 60", "one_in = 1"))
    assert "'survey-2' is there twice" in mistakes(TEXT.replace('"search"', '"survey-2"'))
    assert "expected one that is there from the beginning" in mistakes(
        TEXT.replace('["us-lab", "jp-lab", "ca-lab"]', '["ca-lab", "us-lab"]')
    )


def test_the_shipped_scenario_is_the_reference_partnership() -> None:
    shipped = load_scenario()
    assert shipped.scenario.illustrative
    there = [name for name in shipped.institutions if shipped.joins_s(name) == 0.0]
    assert len(there) == 25
    assert len(shipped.teams) == 11
    assert sum(shipped.trials(each) * each.times for each in shipped.campaign if each.share) >= 1_000_000
    assert len({site.charge.unit for site in shipped.sites.values()}) == 8
    for series in shipped.campaign:
        assert len(shipped.sites_for(series)) > 1
        assert shipped.best_site(series) in shipped.sites_for(series)


def test_tables_and_plots_show_the_result(joint: Result, tmp_path: Path) -> None:
    about = scenario()
    assert summary(about, joint)[0] == "two-nations. Its institutions, teams and figures are made up."
    titled = scenario(TEXT.replace('"two-nations"', '"two-nations"\ntitle = "Two labs"\nillustrative = false'))
    assert summary(titled, joint)[0] == "Two labs."
    heads = [head for head, rows in (site_table(joint), team_table(joint), allocation_table(joint)) if rows]
    assert len(heads) == 3
    _, events = event_table(about, joint)
    assert [row[1] for row in events] == ["Canada accedes"]
    paths = draw_result(about, joint, tmp_path / "plots")
    assert {path.name for path in paths} == {"throughput.svg", "waiting.svg", "allocations.svg", "discoveries.svg"}
    assert all(path.read_text().startswith("<?xml") for path in paths)


def test_the_command_prints_tables_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "scenario.toml"
    file.write_text(TEXT)
    plots = tmp_path / "plots"
    assert main(["sim", "run", str(file), "--runs", "40", "--days", "2", "--effect", "--out", str(plots)]) == 0
    said = capsys.readouterr().out
    assert "two-nations. Its institutions" in said
    assert "Canada accedes" in said
    assert "discoveries, calm" in said
    assert len([*plots.glob("*.svg")]) == 4


def test_the_command_confines_calms_keeps_and_prints_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "scenario.toml"
    file.write_text(TEXT.replace("times = 2", "times = 1") + LOSS)
    given = ["--runs", "40", "--seed", "3", "--alone", "--calm", "--keep", str(tmp_path / "kept"), "--json"]
    assert main(["sim", "run", str(file), *given]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["seed"], told["joint"], told["sites"]["ca-lab"]["outcomes"]) == (3, False, {})
    assert (tmp_path / "kept" / "sites" / "jp-lab" / "ledger.db").exists()


def test_ends_come_in_groups_where_an_engine_is_polled() -> None:
    result = run_scenario(scenario().without_events())
    ends = list(result.sites["us-lab"].ended_s)
    assert all(at % 300.0 < 2.0 for at in ends)  # the way back to the campaign is a fraction of a second
    assert len({int(at // 300.0) for at in ends}) < len(ends)


SIMULATED = """
[scenario]
name = "simulated-and-measured"
time = "20 d"
[parties]
us = { name = "United States" }
jp = { name = "Japan" }
[institutions]
us-lab = { name = "US lab", party = "us" }
jp-lab = { name = "JP lab", party = "jp" }
[procedures]
measure = { parameters = 2, one_in = 200, infeasible = 0.1, run = "3 h", time_limit = "9 h" }
[approximations]
simulate = { of = "measure", off = 0.1, price = 0.05, run = "10 min", time_limit = "1 h" }
[teams]
both = { name = "Both", institutions = ["us-lab", "jp-lab"] }
[sites.instrument]
institution = "us-lab"
procedures = ["measure"]
slots = 2
charge = { unit = "sample", per_run = 1.0 }
gives = { both = "100 sample" }
[sites.computer]
institution = "jp-lab"
approximations = ["simulate"]
slots = 4
charge = { unit = "node-hour", per_hour = 2.0 }
gives = { both = "60 node-hour" }
[[campaign]]
name = "search"
team = "both"
procedure = "measure"
approximations = ["simulate"]
planner = "bayesian"
parallel = 2
trials = 80
"""


def test_a_simulation_informs_and_a_measurement_discovers() -> None:
    result = run_scenario(parse_scenario(SIMULATED), seed=3)
    (found,) = result.campaigns
    assert found.state == "reached"
    assert found.sites["computer"] > 0
    assert found.sites["instrument"] > 0
    assert found.charges["sample"] == result.sites["instrument"].outcomes.total()
    assert found.discovered_s is not None
    assert found.discovered_s > 3600.0  # no simulation takes so long


def test_alone_there_is_no_simulation_and_what_it_is_worth_is_measured_instead() -> None:
    alone = run_scenario(parse_scenario(SIMULATED), seed=3, joint=False)
    (found,) = alone.campaigns
    assert found.sites.keys() == {"instrument"}
    granted = {(use.site, use.unit): use.granted for use in alone.allocations}
    simulated_h = 2.0 * math.exp(0.3**2 / 2) / 6
    assert granted == {("instrument", "sample"): pytest.approx(100 + 60 / simulated_h * 0.05, rel=1e-3)}


def test_a_simulation_is_off_by_what_the_scenario_says_and_works_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, float, float, float | None]] = []
    measure = _World._measure

    def watch(
        self: _World, procedure: str, point: Mapping[str, Value], chance: random.Random
    ) -> dict[str, float] | None:
        outputs = measure(self, procedure, point, chance)
        truth = measure(self, "measure", {**point, "x1": min(float(point["x1"]), 0.9)}, chance)
        assert truth is not None
        seen.append((procedure, float(point["x1"]), truth["distance"], outputs and outputs["distance"]))
        return outputs

    monkeypatch.setattr(_World, "_measure", watch)
    run_scenario(parse_scenario(SIMULATED.replace("off = 0.1", "off = 0.3")), seed=3)
    for procedure, x1, truth, told in seen:
        if procedure == "simulate":
            assert told is not None
        else:
            assert (told is None) == (x1 > 0.9)
        if told is not None and x1 <= 0.9:
            assert abs(told - truth) <= (0.3 + 1e-9 if procedure == "simulate" else 0.0)
    assert {procedure for procedure, *_ in seen} == {"simulate", "measure"}


def test_a_power_bends_the_landscape_and_moves_no_discovery(monkeypatch: pytest.MonkeyPatch) -> None:
    measure = _World._measure
    seen: list[float] = []

    def watch(
        self: _World, procedure: str, point: Mapping[str, Value], chance: random.Random
    ) -> dict[str, float] | None:
        outputs = measure(self, procedure, point, chance)
        seen.append(outputs["distance"] if outputs else math.nan)
        return outputs

    monkeypatch.setattr(_World, "_measure", watch)
    blind = SIMULATED.replace('planner = "bayesian"', 'planner = "random"').replace("one_in = 200", "one_in = 12")
    found: list[tuple[float | None, list[float]]] = []
    for power in (1, 2):
        seen.clear()
        result = run_scenario(
            parse_scenario(blind.replace("infeasible", f"power = {power}, infeasible")), seed=3, joint=False
        )
        found.append((result.campaigns[0].discovered_s, [*seen]))
    (plain_s, plain), (bent_s, bent) = found
    assert plain_s == bent_s is not None
    assert bent == pytest.approx([distance**2 for distance in plain], nan_ok=True)


def test_mistakes_about_approximations_are_told() -> None:
    assert "an approximation of 'other'" in mistakes(
        SIMULATED.replace('procedure = "measure"', 'procedure = "other"')
        .replace(
            "[approximations]",
            'other = { parameters = 1, one_in = 9, run = "1 h", time_limit = "2 h" }\n[approximations]',
        )
        .replace('procedures = ["measure"]', 'procedures = ["measure", "other"]')
    )
    assert "procedures or approximations that the site offers" in mistakes(
        SIMULATED.replace('approximations = ["simulate"]\nslots', "slots")
    )
    assert "a site that offers 'simulate'" in mistakes(
        SIMULATED.replace('approximations = ["simulate"]\nslots', 'procedures = ["measure"]\nslots')
    )
    assert "the name of an approximation in this file" in mistakes(SIMULATED.replace('["simulate"]', '["simulates"]'))
