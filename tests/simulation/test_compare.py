"""Searches alone and joint: how they are compared, and what is said of it."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from renkei.cli import main
from renkei.errors import UsageError
from renkei.sim import _compare, load_scenario, parse_scenario
from renkei.sim._compare import Arm, Comparison, Search, TeamComparison, compare, ways_alone
from renkei.sim._compare_figures import cost_table, time_table, verdict
from renkei.sim._scenario import SHIPPED, Scenario

TWO_TEAMS = """
[scenario]
name = "two-teams"
time = "4 d"
[parties]
us = { name = "United States" }
jp = { name = "Japan" }
[institutions]
east = { name = "East", party = "us" }
west = { name = "West", party = "jp" }
[procedures]
scan = { parameters = 2, one_in = 6, run = "30 min", spread = 0.1, time_limit = "2 h" }
grow = { parameters = 1, one_in = 3, run = "1 h", spread = 0.1, time_limit = "4 h" }
[teams]
imaging = { name = "Imaging", institutions = ["east", "west"] }
growers = { name = "Growers", institutions = ["west", "east"] }
[sites.east]
institution = "east"
procedures = ["scan", "grow"]
slots = 1
queue = "10 min"
poll = "60 s"
charge = { unit = "instrument-hour", per_hour = 1.0 }
gives = { imaging = "60 instrument-hour", growers = "60 instrument-hour" }
[sites.west]
institution = "west"
procedures = ["scan", "grow"]
slots = 2
speed = 0.9
queue = "10 min"
charge = { unit = "instrument-hour", per_hour = 1.0 }
gives = { imaging = "60 instrument-hour", growers = "60 instrument-hour" }
[[campaign]]
name = "scan"
team = "imaging"
procedure = "scan"
planner = "random"
parallel = 4
trials = 40
[[campaign]]
name = "grow"
team = "growers"
procedure = "grow"
planner = "random"
parallel = 4
trials = 20
goes_on = true
"""


SEEDS = [1, 2, 3]


@pytest.fixture(scope="module")
def two_teams() -> Scenario:
    return parse_scenario(TWO_TEAMS)


@pytest.fixture(scope="module")
def comparison(two_teams: Scenario) -> Comparison:
    return compare(two_teams, SEEDS)


def team(alone: list[float | None], joint: list[float | None]) -> TeamComparison:
    arms = [
        Arm(sites, 2, tuple(Search(found is not None, found or 60.0, 3, {"run": 3.0}) for found in times))
        for sites, times in ((("a",), alone), (("a", "b"), joint))
    ]
    return TeamComparison("t", "s", "random", arms[0], arms[1], (arms[0],), 2.0)


def test_every_site_is_tried_alone_and_the_one_with_the_lowest_median_is_what_joint_work_is_compared_with(
    comparison: Comparison,
) -> None:
    for each in comparison.teams:
        assert {arm.sites for arm in each.tried} == {("east",), ("west",)}
        assert each.alone.median_s == min(arm.median_s for arm in each.tried)
        assert each.joint.sites == ("east", "west")
        assert each.capacity == pytest.approx({"east": 2.8 / 1.0, "west": 2.8 / 1.8}[each.alone.sites[0]])
        assert len(each.alone.searches) == len(each.joint.searches) == 3


def test_searches_end_with_their_discovery_and_are_charged_for_what_was_at_work_too(comparison: Comparison) -> None:
    grow = comparison.teams[1]
    assert grow.alone.n_found == 3
    assert all(search.n_trials <= 20 for search in grow.alone.searches)
    assert min(search.n_trials for search in grow.joint.searches) < 20
    assert grow.joint.cost().keys() == {"instrument-hour"}


def test_the_same_seeds_give_the_same_result_on_other_processes_too(
    two_teams: Scenario, comparison: Comparison
) -> None:
    assert compare(two_teams, SEEDS, n_processes=2) == comparison
    assert Comparison.from_json(json.dumps(comparison.to_json())) == comparison


def test_what_is_slow_alone_in_the_pilot_gets_no_more_seeds(
    two_teams: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_compare, "PILOT", 2)
    told: list[tuple[int, int]] = []
    found = compare(two_teams, [*SEEDS, 4], on_progress=lambda n, total: told.append((n, total)))
    for each in found.teams:
        assert len(each.alone.searches) == 4
        best, *others = sorted(each.tried, key=lambda arm: -len(arm.searches))
        assert best.sites == each.alone.sites
        for arm in others:
            is_near = Arm(arm.sites, 4, arm.searches[:2]).median_s <= _compare.NEAR * min(
                Arm(a.sites, 4, a.searches[:2]).median_s for a in each.tried
            )
            assert len(arm.searches) == (4 if is_near else 2)
    assert [n for n, _ in told] == list(range(1, len(told) + 1))
    assert told[-1][0] == told[-1][1]


def test_a_planner_that_learns_is_tried_alone_with_as_many_trials_as_there_are_slots(two_teams: Scenario) -> None:
    learning = two_teams.campaign[0].model_copy(update={"planner": "bayesian"})
    ways = ways_alone(two_teams, learning)
    assert [(way.sites[0], way.parallel) for way in ways] == [("east", 1), ("east", 4), ("west", 2), ("west", 4)]
    assert [way.parallel for way in ways_alone(two_teams, two_teams.campaign[0])] == [4, 4]


def test_a_comparison_that_was_stopped_goes_on(
    two_teams: Scenario, comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = tmp_path / "notes"

    def stop(n_done: int, total: int) -> None:
        if n_done == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(two_teams, SEEDS, notes=notes, on_progress=stop)
    notes.write_bytes(notes.read_bytes()[:-5])  # killed while it wrote
    assert len(notes.read_bytes().splitlines()) == 13
    n_made = 0
    make = _compare.make_search

    def count(task: _compare.Task) -> Search:
        nonlocal n_made
        n_made += 1
        return make(task)

    monkeypatch.setattr(_compare, "make_search", count)
    assert compare(two_teams, SEEDS, notes=notes) == comparison
    assert n_made == 18 - 11
    with pytest.raises(UsageError, match="another scenario"):
        compare(two_teams.with_scale(time_s=1e6), SEEDS, notes=notes)


def test_a_search_without_a_discovery_counts_as_the_least_that_it_can_be() -> None:
    each = team([80.0, None, 40.0, None], [40.0, 50.0, None, None])
    assert each.ratios == [2.0, 60.0 / 50.0, 0.0, 0.0]
    assert each.alone.median_s == math.inf
    assert each.joint.n_found == 2
    assert each.alone.cost() == {"run": 6.0}
    assert team([None] * 3, [None] * 3).alone.cost() == {}


def test_ratios_are_those_of_the_same_seed_and_intervals_shrink_with_seeds() -> None:
    few = team([10.0, 30.0, 50.0, 90.0], [10.0, 15.0, 20.0, 30.0])
    assert few.ratios == [1.0, 2.0, 2.5, 3.0]
    assert few.ratio == 2.25
    many = replace(few, alone=Arm(("a",), 2, few.alone.searches * 25), joint=Arm(("b",), 2, few.joint.searches * 25))
    assert few.ratio_interval == (1.0, 3.0)
    low, high = many.ratio_interval
    assert 1.0 < low <= 2.25 <= high < 3.0


def test_what_is_said_follows_from_the_figures() -> None:
    twice = team([80.0, 90.0, 99.0], [40.0, 45.0, 33.0])
    slower = team([10.0, 10.0, None], [20.0, 40.0, None])
    found = Comparison("s", "Two", True, (1, 2, 3), (twice, slower), ("lone",))
    text = " ".join(verdict(found))
    assert found.ratio == (2.0 + 0.5) / 2
    assert "1.25 times sooner" in text
    assert "is not halved" in text
    assert "for 1 of 2 teams, for 1 of them with all of the interval; 1 is slower together" in text
    assert "nothing to compare: lone" in text
    assert "discovery is halved" not in text
    assert "the time to discovery is halved." in " ".join(verdict(replace(found, teams=(twice,))))
    heads, rows = time_table(found)
    assert all(len(row) == len(heads) for row in rows)
    assert rows[0][-1] == "0% / 0%"
    assert rows[1][-1] == "33% / 33%"
    assert rows[1][6] == "40 s (20 s to never)"
    assert cost_table(found)[1][1] == ("t", "4", "4", "4.5 run", "4.5 run")


def test_bad_input_is_said(two_teams: Scenario, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="two seeds"):
        compare(two_teams, [1])
    lone = two_teams.model_copy(update={"sites": {"east": two_teams.sites["east"]}})
    with pytest.raises(UsageError, match="two sites"):
        compare(lone, [1, 2])
    with pytest.raises(UsageError, match="no comparison"):
        Comparison.from_json('{"scenario": 1}')
    file = tmp_path / "wrong.toml"
    file.write_text(TWO_TEAMS.replace('planner = "random"', "planer = 1"))
    assert main(["sim", "compare", str(file)]) == 2
    assert "planer" in capsys.readouterr().err


def test_the_command_writes_what_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, folder = tmp_path / "two.toml", tmp_path / "out"
    file.write_text(TWO_TEAMS)
    assert main(["sim", "compare", str(file), "--seeds", "2", "--out", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "times sooner than the best single site" in said
    assert "instrument-hour" in said
    assert {path.name for path in folder.iterdir()} == {"two-teams.json", "two-teams.svg"}
    kept = Comparison.from_json((folder / "two-teams.json").read_bytes())
    assert f"{kept.ratio:.2f} times sooner" in said
    assert "</svg>" in (folder / "two-teams.svg").read_text()


def test_the_shipped_comparison_has_two_nations_for_every_team() -> None:
    scenario = load_scenario(SHIPPED / "productivity.toml")
    assert scenario.scenario.illustrative
    for series in scenario.campaign:
        sites = [scenario.sites[name] for name in scenario.sites_for(series)]
        assert {scenario.institutions[site.institution].party for site in sites} == {"us", "jp"}
        given = sum(
            site.gives[series.team].value / ((site.charge.per_run or 0.0) + (site.charge.per_hour or 0.0) * hours)
            for site in sites
            for hours in [scenario.procedures[series.procedure].run_s / site.speed / 3600]
        )
        assert math.isfinite(given)
        assert given >= scenario.trials(series)  # what a team has is enough for all of its trials


@pytest.mark.parametrize("name", ["complementary", "laboratories"])
def test_the_shipped_simulations_are_never_right_about_the_discovery(name: str) -> None:
    scenario = load_scenario(SHIPPED / f"{name}.toml")
    assert scenario.scenario.illustrative
    for series in scenario.campaign:
        [simulation] = series.approximations
        wrong = scenario.approximations[simulation].off / scenario.procedures[series.procedure].radius
        assert wrong == pytest.approx(1.5, rel=0.03)
        instruments = scenario.sites_for(series)
        assert {scenario.institutions[scenario.sites[site].institution].party for site in instruments} == {"us", "jp"}
        assert not {*instruments} & {*scenario.sites_for(series, simulation)}
        assert series.parallel == sum(scenario.sites[site].slots for site in instruments)


def test_capacity_is_that_of_the_sites_that_measure(two_teams: Scenario) -> None:
    """A computer that only simulates makes no measurement sooner."""
    sites = dict(two_teams.sites)
    sites["west"] = sites["west"].model_copy(update={"procedures": ("grow",), "approximations": ("model",)})
    scenario = two_teams.model_copy(update={"sites": sites})
    scan = two_teams.campaign[0]
    assert _compare._capacity(scenario, scan, Arm(("east", "west"), 4)) == 1.0
    assert _compare._capacity(two_teams, scan, Arm(("east", "west"), 4)) == pytest.approx(2.8)


def test_simulations_import_nothing_heavy() -> None:
    code = "import sys, renkei.sim, renkei.sim._compare_figures; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert not {"torch", "numpy", "scipy", "matplotlib"} & set(loaded.split())
