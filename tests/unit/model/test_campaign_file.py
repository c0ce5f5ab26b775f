"""campaign.toml: what a campaign says, and what it may not say."""

import hashlib
import math
from dataclasses import replace
from pathlib import Path

import pytest
from file_keys import changed, keys_of, mistakes_of

from renkei.errors import ConfigError
from renkei.model.campaign import Baseline, Campaign, LocalSite, PlannerChoice, Source, Stop
from renkei.model.campaign_file import CampaignFile, ParameterTables, PoolTable, load_campaign, parse_campaign
from renkei.model.pool import PoolReference
from renkei.model.quantity import Quantity
from renkei.model.site_file import Charge
from renkei.model.space import Choice, Constraint, Integer, Objective, ParameterConstraint, Real, Space

FOLDER = Path("/home/lab")

TEXT = """
[campaign]
name = "stellarator-qs"
title = "Quasisymmetry"
team = "fusion-energy"
seed = 7
purpose = "industry"
release = "team"
retries = 2
stop = { trials = 80, wall = "2h", cost = "40 node-hour", reached = false }

[space]
aspect_ratio = { type = "real", low = 4.0, high = 12.0, unit = "1" }
coil_current = { type = "real", low = 1.0, high = 20.0, unit = "kA", scale = "log" }
n_periods    = { type = "integer", low = 2, high = 5 }
blanket      = { type = "choice", values = ["HCPB", "WCLL"] }

[[parameter_constraint]]
terms = { aspect_ratio = 1.0, n_periods = 2.0 }
lower = 9.0
upper = 20.0

[[parameter_constraint]]
terms = { aspect_ratio = 1.0, n_periods = -1.0 }
equal = 3.0

[[objective]]
output = "quasisymmetry_error"
goal = "minimize"
reach = 0.02

[[objective]]
output = "iota"
target = 0.3
unit = "percent"

[[constraint]]
output = "aspect"
lower = 2.0
upper = 10.0
unit = "m"

[[source]]
procedure = "fusion.shot"
price = 40.0

[[source]]
procedure = "fusion.stellarator-equilibrium"
name = "code"
counts = true
price = 2.0
parallel = 3
version = "1.0"
sites = ["us-fusion-lab", "jp-fusion-institute"]
fixed = { resolution = 5 }
rename = { blanket = "cover" }

[planner]
name = "bayesian"
parallel = 8
warm = ["other-campaign", "./past/campaign"]
options = { acquisition = "ei" }

[baseline]
planner = "sobol"
sites = "all"
when = "after"
trials = 40
replicates = 5

[sites.local]
procedures = ["mylab.py", "renkei.science.fusion"]
workers = 3
allocation = "100 run"
charge = { unit = "node-hour", per_hour = 1.0 }
policy = "policy.cedar"
time_limit = "60 s"
memory = "1 GB"

[sites.own]
site = "site.toml"
"""

CHANGES = {
    "campaign.name": ('"stellarator-qs"', '"other"'),
    "campaign.title": ('"Quasisymmetry"', '"Symmetry"'),
    "campaign.team": ('"fusion-energy"', '"other"'),
    "campaign.seed": ("seed = 7", "seed = 8"),
    "campaign.purpose": ('"industry"', '"other"'),
    "campaign.release": ('"team"', '"open"'),
    "campaign.retries": ("retries = 2", "retries = 0"),
    "campaign.stop.trials": ("trials = 80", "trials = 81"),
    "campaign.stop.wall": ("2h", "3h"),
    "campaign.stop.cost": ('"40 node-hour"', '["40 node-hour", "1 USD"]'),
    "campaign.stop.reached": ("reached = false", "reached = true"),
    "space.type": ('{ type = "integer", low = 2, high = 5 }', '{ type = "real", low = 2, high = 5 }'),
    "space.low": ("low = 4.0", "low = 4.5"),
    "space.high": ("high = 5", "high = 6"),
    "space.unit": ('"kA"', '"A"'),
    "space.scale": ('"log"', '"linear"'),
    "space.values": ('["HCPB", "WCLL"]', '["HCPB", "WCLL", "DCLL"]'),
    "parameter_constraint.terms": ("n_periods = 2.0", "n_periods = 1.5"),
    "parameter_constraint.equal": ("equal = 3.0", "equal = 2.0"),
    "parameter_constraint.lower": ("lower = 9.0", "lower = 8.0"),
    "parameter_constraint.upper": ("upper = 20.0", "upper = 21.0"),
    "objective.output": ('"iota"', '"well"'),
    "objective.goal": ('"minimize"', '"maximize"'),
    "objective.target": ("target = 0.3", "target = 0.4"),
    "objective.reach": ("reach = 0.02", "reach = 0.03"),
    "objective.unit": ('"percent"', '"1"'),
    "constraint.output": ('"aspect"', '"elongation"'),
    "constraint.lower": ("lower = 2.0", "lower = 3.0"),
    "constraint.upper": ("upper = 10.0", "upper = 11.0"),
    "constraint.unit": ('unit = "m"', 'unit = "mm"'),
    "source.procedure": ("fusion.stellarator-equilibrium", "fusion.other"),
    "source.name": ('name = "code"', 'name = "vmec"'),
    "source.counts": ("counts = true", "counts = false"),
    "source.price": ("price = 2.0", "price = 2.5"),
    "source.parallel": ("parallel = 3", "parallel = 2"),
    "source.version": ('version = "1.0"', 'version = "1.1"'),
    "source.sites": ('["us-fusion-lab", "jp-fusion-institute"]', '["us-fusion-lab"]'),
    "source.fixed": ("resolution = 5", "resolution = 6"),
    "source.rename": ('"cover"', '"wall"'),
    "planner.name": ('"bayesian"', '"sobol"\n'),
    "planner.parallel": ("parallel = 8", "parallel = 9"),
    "planner.warm": ('"other-campaign", ', ""),
    "planner.options": ('"ei"', '"ucb"'),
    "baseline.planner": ('planner = "sobol"', 'planner = "random"'),
    "baseline.sites": ('sites = "all"', 'sites = "single"'),
    "baseline.when": ('when = "after"', 'when = "beside"'),
    "baseline.trials": ("trials = 40", "trials = 41"),
    "baseline.replicates": ("replicates = 5", "replicates = 6"),
    "sites.procedures": ('"mylab.py", ', ""),
    "sites.workers": ("workers = 3", "workers = 4"),
    "sites.allocation": ("100 run", "101 run"),
    "sites.charge.unit": ('unit = "node-hour"', 'unit = "core-hour"'),
    "sites.charge.per_hour": ("per_hour = 1.0", "per_hour = 2.0"),
    "sites.charge.per_run": ("per_hour = 1.0", "per_run = 1.0"),
    "sites.policy": ("policy.cedar", "other.cedar"),
    "sites.time_limit": ("60 s", "61 s"),
    "sites.memory": ("1 GB", "2 GB"),
    "sites.site": ("site.toml", "other.toml"),
}

POOL_TEXT = """
[campaign]
name = "screening"
[space]
pool = "samples.csv"
units = { a = "K" }
[[objective]]
output = "yield"
goal = "maximize"
[[source]]
procedure = "chem.yield"
rename = { b = "catalyst" }
"""

SMALL_TEXT = """
campaign = { name = "small", stop = { trials = 1 } }
space.x = { type = "real", low = 0, high = 1 }
objective = [{ output = "y", goal = "maximize" }]
source = [{ procedure = "f" }]
"""


def parse(text: str) -> Campaign:
    return replace(parse_campaign(text, folder=FOLDER), text="", digest="")


def mistakes(text: str) -> list[str]:
    return mistakes_of(parse_campaign, text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "samples.csv").write_text("a,b\n1.5,x\n2.5,y\n")
    return tmp_path


@pytest.mark.parametrize(("old", "new"), CHANGES.values(), ids=CHANGES)
def test_every_key_changes_the_campaign(old: str, new: str) -> None:
    assert parse(changed(TEXT, old, new)) != parse(TEXT)


def test_every_key_is_among_those_that_are_changed() -> None:
    assert set(CHANGES) == keys_of(CampaignFile[ParameterTables])
    pool = {key for key in keys_of(CampaignFile[PoolTable]) if key.startswith("space.")}
    assert pool == {"space.pool", "space.units"}


def test_a_campaign_says_what_its_file_says() -> None:
    assert parse(TEXT) == Campaign(
        name="stellarator-qs",
        title="Quasisymmetry",
        team="fusion-energy",
        seed=7,
        purpose="industry",
        release="team",
        retries=2,
        stop=Stop(trials=80, wall_s=7200.0, cost=(Quantity.parse("40 node-hour"),), reached=False),
        space=Space(
            (
                Real("aspect_ratio", 4.0, 12.0),
                Real("coil_current", 1.0, 20.0, "kA", log=True),
                Integer("n_periods", 2, 5),
                Choice("blanket", ("HCPB", "WCLL")),
            ),
            constraints=(
                ParameterConstraint((("aspect_ratio", 1.0), ("n_periods", 2.0)), 9.0, 20.0),
                ParameterConstraint((("aspect_ratio", 1.0), ("n_periods", -1.0)), 3.0, 3.0),
            ),
        ),
        objectives=(
            Objective("quasisymmetry_error", "minimize", reach=0.02),
            Objective("iota", "target", 0.3, None, "percent"),
        ),
        constraints=(Constraint("aspect", 2.0, 10.0, "m"),),
        sources=(
            Source(procedure="fusion.shot", price=40.0),
            Source(
                procedure="fusion.stellarator-equilibrium",
                name="code",
                price=2.0,
                parallel=3,
                version="1.0",
                sites=("us-fusion-lab", "jp-fusion-institute"),
                fixed={"resolution": 5},
                rename={"blanket": "cover"},
            ),
        ),
        planner=PlannerChoice(
            parallel=8, warm=("other-campaign", FOLDER / "past/campaign"), options={"acquisition": "ei"}
        ),
        baseline=Baseline(planner="sobol", trials=40, replicates=5),
        sites={
            "local": LocalSite(
                procedures=(FOLDER / "mylab.py", "renkei.science.fusion"),
                workers=3,
                allocation=Quantity.parse("100 run"),
                charge=Charge(unit="node-hour", per_hour=1.0),
                policy=FOLDER / "policy.cedar",
                time_limit_s=60.0,
                memory_bytes=10**9,
            ),
            "own": LocalSite(site=FOLDER / "site.toml"),
        },
    )


def test_what_may_be_left_out_has_a_default() -> None:
    campaign = parse(SMALL_TEXT + 'sites.here.procedures = "lab.py"\n')
    assert campaign == Campaign(
        name="small",
        space=Space((Real("x", 0.0, 1.0),)),
        objectives=(Objective("y", "maximize"),),
        sources=(Source(procedure="f"),),
        stop=Stop(trials=1),
        sites={"here": LocalSite(procedures=(FOLDER / "lab.py",))},
    )
    assert (campaign.title, campaign.team, campaign.seed, campaign.retries) == ("", "local", 0, 3)
    assert (campaign.purpose, campaign.release) == ("open-research", "open")
    assert (campaign.planner.name, campaign.planner.parallel, campaign.baseline) == ("bayesian", 4, None)
    assert campaign.stop.reached
    assert campaign.sources[0].model_dump() == {
        "procedure": "f", "name": None, "counts": True, "price": None, "parallel": None, "version": None, "sites": (),
        "fixed": {}, "rename": {},
    }  # fmt: skip
    here = campaign.sites["here"]
    assert (here.workers, here.allocation, here.charge, here.time_limit_s, here.memory_bytes) == (
        2, None, Charge(unit="run", per_run=1.0), 600.0, None,
    )  # fmt: skip


def test_an_empty_baseline_is_sobol_with_as_many_trials() -> None:
    assert parse(SMALL_TEXT + "baseline = {}").baseline == Baseline(planner="sobol", trials=None, replicates=None)


def test_a_campaign_keeps_the_text_and_the_digest_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "campaign.toml"
    path.write_bytes(TEXT.encode())
    campaign = load_campaign(path)
    assert campaign.text == TEXT
    assert campaign.digest == hashlib.sha256(TEXT.encode()).hexdigest()
    assert campaign.sites["own"].site == tmp_path / "site.toml"


def test_a_pool_s_rows_are_its_points(folder: Path) -> None:
    campaign = parse_campaign(POOL_TEXT, folder=folder)
    assert campaign.space == Space(
        (Real("a", 1.5, 2.5, "K"), Choice("b", ("x", "y"))), ({"a": 1.5, "b": "x"}, {"a": 2.5, "b": "y"})
    )
    assert campaign.pool is None
    assert campaign.resolved() is campaign
    assert parse_campaign(changed(POOL_TEXT, '"K"', '"mK"'), folder=folder).space != campaign.space


def test_mistakes_in_a_pool_and_in_the_file_are_reported_together(folder: Path) -> None:
    (folder / "samples.csv").write_text("a,b\n1.5,\nnan,x\n2,3,4\n")
    text = changed(POOL_TEXT, 'goal = "maximize"', 'goal = "most"')
    assert mistakes_of(parse_campaign, text, folder=folder) == [
        "space.pool: samples.csv: row 2, b: found an empty cell, expected a value",
        "space.pool: samples.csv: row 4: found 3 cells, expected 2",
        "space.pool: samples.csv: row 3, a: found nan, expected a finite number or a text",
        "objective#1.goal: found 'most', expected one of minimize, maximize, target",
    ]


def test_a_pool_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    found = mistakes_of(parse_campaign, POOL_TEXT, folder=tmp_path)
    assert found == ["space.pool: samples.csv: it cannot be read: No such file or directory"]


def test_what_is_renamed_is_a_parameter_of_the_pool(folder: Path) -> None:
    text = changed(POOL_TEXT, 'b = "catalyst"', 'bb = "catalyst"')
    assert mistakes_of(parse_campaign, text, folder=folder) == [
        "source#1.rename: bb: found an unknown parameter, expected one of [space]. Did you mean 'b'?"
    ]


CONSTRAINED = """
[campaign]
name = "alloy"
stop = { trials = 5 }
[space]
copper = { type = "real", low = 0.0, high = 1.0 }
nickel = { type = "real", low = 0.0, high = 1.0 }
time   = { type = "real", low = 1.0, high = 10.0, scale = "log" }
steps  = { type = "integer", low = 1, high = 3 }
acid   = { type = "choice", values = ["a", "b"] }
[[objective]]
output = "y"
goal = "maximize"
[[parameter_constraint]]
"""


@pytest.mark.parametrize(
    ("table", "mistake"),
    [
        ("upper = 1.0", ".terms: found nothing, expected factors by the names of real and integer parameters: "),
        ("terms = {}\nupper = 1.0", ".terms: found a table, expected at least 1 of them"),
        ("terms = { copper = 1.0 }", ".upper: found nothing, expected lower, upper, both, or equal"),
        ("terms = { copper = 1.0 }\nlower = 1.0\nupper = 0.5", ".upper: found 0.5, expected lower (1) or more"),
        ("terms = { copper = 1.0 }\nequal = 1.0\nupper = 0.5", ".upper: found 0.5, expected no bound beside equal"),
        (
            "terms = { coper = 1.0 }\nupper = 0.5",
            ".terms: coper: found an unknown parameter, expected one of [space]. Did",
        ),
        (
            "terms = { acid = 1.0 }\nupper = 0.5",
            ".terms: acid: found a choice, expected a real or an integer parameter",
        ),
        ("terms = { copper = 0.0 }\nupper = 0.5", ".terms: copper: found 0, expected another factor"),
        ("terms = { copper = inf }\nupper = 0.5", ".terms.copper: found inf, expected a finite number"),
        (
            "terms = { copper = 1.0 }\nupper = 0.5\nunit = 'K'",
            ".unit: found an unknown key, expected one of terms, equal",
        ),
        ("terms = { time = 1.0 }\nequal = 5.0", ": time: found a parameter on a log scale in an equation, expected"),
        ("terms = { time = 1.0 }\nlower = 5.0\nupper = 5", ": time: found a parameter on a log scale in an equation, "),
        (
            "terms = { copper = 1.0, nickel = -2.0 }\nlower = 1.5",
            ": found nothing possible: copper + -2 nickel lies between -2 and 1",
        ),
        (
            "terms = { steps = 1, time = 2.0 }\nupper = 2",
            ": found nothing possible: steps + 2 time lies between 3 and 23",
        ),
    ],
)
def test_a_constraint_that_cannot_be_is_a_mistake(table: str, mistake: str) -> None:
    [found] = mistakes(CONSTRAINED + table)
    assert found.startswith(f"parameter_constraint#1{mistake}")


def test_an_inequality_may_hold_whole_numbers_and_log_scales() -> None:
    space = parse(CONSTRAINED + "terms = { steps = 1, time = 2 }\nlower = 5").space
    assert space.constraints == (ParameterConstraint((("steps", 1.0), ("time", 2.0)), 5.0, math.inf),)
    assert space.problems({"copper": 0.5, "nickel": 0.5, "time": 1.0, "steps": 2, "acid": "a"}) == [
        "steps + 2 time: 4 is outside [5, inf]"
    ]


@pytest.mark.parametrize("is_package", [False, True])
def test_points_of_a_pool_that_break_a_constraint_are_left_out(tmp_path: Path, is_package: bool) -> None:
    (tmp_path / "samples.csv").write_text("a,b\n1,2\n3,5\n4,1\n")
    pool = f"python:{__name__}:three_points" if is_package else "samples.csv"
    head, _, tail = changed(POOL_TEXT, "samples.csv", pool).partition("[[source]]")
    text = f"{head}[[parameter_constraint]]\nterms = {{ a = 1.0, b = 1.0 }}\nupper = %s\n[[source]]{tail}"
    space = parse_campaign(text % 5.0, folder=tmp_path).resolved().space
    assert space.pool == ({"a": 1, "b": 2}, {"a": 4, "b": 1})
    assert space.parameters == (Integer("a", 1, 4, "K"), Integer("b", 1, 5))

    def parsed(text: str) -> Campaign:
        return parse_campaign(text, folder=tmp_path).resolved()

    [found] = mistakes_of(parsed, text % 4.0)
    assert found == "parameter_constraint: found 1 of 3 points that satisfy it, expected at least two"
    [found] = mistakes_of(parsed, (text % 4.0).replace("{ a = 1.0,", "{ aa = 1.0,"))
    assert found.startswith("parameter_constraint#1")
    assert "aa: found an unknown parameter" in found


def three_points() -> list[dict[str, int]]:
    return [{"a": 1, "b": 2}, {"a": 3, "b": 5}, {"a": 4, "b": 1}]


def points() -> list[dict[str, float]]:
    return [{"a": 1.0, "b": 2}, {"a": 3.0, "b": 5}]


def test_a_pool_of_a_package_is_left_alone_until_the_campaign_is_resolved(tmp_path: Path) -> None:
    text = changed(POOL_TEXT, "samples.csv", f"python:{__name__}:points")
    campaign = parse_campaign(text)
    assert campaign.pool == PoolReference(f"python:{__name__}:points", {"a": "K"})
    assert campaign.space == Space((), ())
    resolved = campaign.resolved()
    assert resolved.space == Space(
        (Real("a", 1.0, 3.0, "K"), Integer("b", 2, 5)), ({"a": 1.0, "b": 2}, {"a": 3.0, "b": 5})
    )
    assert resolved.resolved() is resolved
    (tmp_path / "campaign.toml").write_text(text)
    assert load_campaign(tmp_path / "campaign.toml").space == resolved.space


def test_a_reference_is_spelt_with_a_module_and_a_function() -> None:
    assert mistakes(changed(POOL_TEXT, "samples.csv", "python:points")) == [
        "space.pool: found 'python:points', expected a CSV file, or 'python:module:function'"
    ]


def test_a_space_with_a_pool_has_no_parameters_of_its_own(folder: Path) -> None:
    text = changed(POOL_TEXT, "[[objective]]", "x = { type = 'real' }\n[[objective]]")
    assert mistakes_of(parse_campaign, text, folder=folder) == [
        "space.x: found an unknown key, expected one of units, pool"
    ]


def test_a_campaign_needs_an_end_unless_it_has_a_pool(folder: Path) -> None:
    end = "expected at least one of trials, wall and cost"
    text = changed(SMALL_TEXT, ", stop = { trials = 1 }", "")
    assert mistakes(text) == [f"campaign.stop: found nothing, {end}"]
    text = changed(SMALL_TEXT, "{ trials = 1 }", "{ reached = true }")
    assert mistakes(text) == [f"campaign.stop: found a table, {end}"]
    assert not parse_campaign(POOL_TEXT, folder=folder).stop.is_bounded
    for stop in ('wall = "1 h"', 'cost = "1 run"', "trials = 1"):
        assert parse(changed(SMALL_TEXT, "trials = 1", stop)).stop.is_bounded


def test_all_mistakes_are_reported_at_once() -> None:
    text = """
[campaign]
name = "Stell"
sed = 7
stop = { trials = 0, cost = ["1 run", "2 run"] }
[space]
a = { type = "real", low = 4.0, high = 4.0 }
b = { type = "real", low = 0, high = 20.0, unit = "kAx", scale = "log" }
c = { type = "integer", low = 2.0, high = 5 }
d = { type = "choice", values = ["HCPB"] }
e = 5
f = { type = "real", lo = 4.0, high = inf }
g = { type = "choice", values = [1, 2026-01-01] }
h = { type = "integer", low = 5, high = 2, scale = "logg" }
[[objective]]
output = "q"
unit = "K"
target = 1
goal = "minimise"
[[objective]]
output = "q"
[[objective]]
output = "r"
target = 3
reach = -1
[[objective]]
output = "s"
goal = "maximize"
target = 1
[[objective]]
output = "t"
goal = "target"
[[constraint]]
output = "q"
unit = "mm"
[[constraint]]
output = "z"
upper = 1
lower = 2
[[constraint]]
output = "z"
upper = 1
[[source]]
procedure = "fusion.stellarator-equilibrium"
sites = ["a", "a"]
rename = { aa = "x", b = "y", c = "y" }
fixed = { x = 1, y = [1] }
[[source]]
procedure = "f"
rename = { aa = "x", b = "y", c = "y" }
fixed = { x = 1 }
[planner]
parallel = 5000
warm = ["X"]
[baseline]
planner = "sobl"
replicates = 0
[sites.a]
workers = 1
[sites.b]
site = "site.toml"
procedures = "m.py"
workers = 9
[sites.c]
procedures = []
"""
    fixed = "what never changes is no parameter; give it to every source of the campaign as fixed = { … }"
    assert mistakes(text) == [
        "campaign.name: found 'Stell', expected a name: at most 100 lower-case letters, digits, '-' and '.', beginning"
        " with a letter",
        "campaign.stop.trials: found 0, expected a number of at least 1",
        "campaign.stop.cost: found ['1 run', '2 run'], expected one quantity for each unit",
        "campaign.sed: found an unknown key, expected one of name, title, team, seed, purpose, release, retries, stop."
        " Did you mean 'seed'?",
        f"space.a.high: found 4.0, expected more than low (4): {fixed}",
        "space.b.unit: found 'kAx', expected a unit such as 'K', 'kA', 'mmol/g/h' or '1'",
        "space.b.scale: found 'log', expected 'linear', or a low above 0 (low is 0)",
        "space.c.low: found 2.0, expected a whole number",
        "space.d.values: found ['HCPB'], expected two values or more",
        "space.e: found 5, expected a table",
        "space.f.low: found nothing, expected the lowest value",
        "space.f.high: found inf, expected a finite number",
        "space.f.lo: found an unknown key, expected one of type, low, high, unit, scale. Did you mean 'low'?",
        "space.g.values#2: found 2026-01-01, expected a text, a finite number, true or false",
        "space.h.high: found 2, expected more than low (5)",
        "space.h.scale: found 'logg', expected one of linear, log. Did you mean 'log'?",
        "objective#1.goal: found 'minimise', expected one of minimize, maximize, target. Did you mean 'minimize'?",
        "objective#2.output: found 'q', expected another one: there already is this objective",
        "objective#2.target: found nothing, expected a target, or goal = 'minimize' or 'maximize'",
        "objective#3.reach: found -1, expected a distance from the target, 0 or more",
        "objective#4.target: found 1, expected no target beside goal = 'minimize' or 'maximize'",
        "objective#5.target: found nothing, expected the value to come near to",
        "constraint#1.upper: found nothing, expected lower, upper or both",
        "constraint#1.unit: found 'mm', expected 'K', the unit of the objective on this output",
        "constraint#2.upper: found 1, expected lower (2) or more",
        "constraint#3.output: found 'z', expected another one: there already is this constraint",
        "source#1.sites: found ['a', 'a'], expected every entry once, but 'a' is there twice",
        "source#1.fixed.y: found [1], expected a text, a finite number, true or false",
        "source#1.rename: aa: found an unknown parameter, expected one of [space]. Did you mean 'a'?",
        "source#1.rename: c: found 'y', expected another name for each parameter",
        "source#2.rename: aa: found an unknown parameter, expected one of [space]. Did you mean 'a'?",
        "source#2.rename: aa: found 'x', expected one that is not fixed, too",
        "source#2.rename: c: found 'y', expected another name for each parameter",
        "planner.parallel: found 5000, expected a number of at most 4096",
        "planner.warm#1: found 'X', expected the name of a campaign, or a path with a '/' in it",
        "baseline.planner: found 'sobl', expected one of sobol, random, same. Did you mean 'sobol'?",
        "baseline.replicates: found 0, expected a number of at least 1",
        "sites.a.site: found nothing, expected either procedures or a site.toml",
        "sites.b.site: found 'site.toml', expected no other key beside it, but there is procedures, workers",
        "sites.c.site: found nothing, expected either procedures or a site.toml",
    ]


@pytest.mark.parametrize(
    ("old", "new", "mistake"),
    [
        ('name = "small"', f'name = "{"a" * 101}"', "campaign.name: found 'aaa"),
        ("trials = 1 }", f"trials = 1 }}, seed = {2**63}", f"campaign.seed: found {2**63}, expected a number below"),
        ("low = 0, high = 1", "low = -1e308, high = 1e308", "space.x.high: found 1e+308, expected a smaller one"),
        ('"real", low = 0', f'"integer", low = {-(2**63)}', f"space.x.low: found {-(2**63)}, expected a number above"),
        ('"real", low = 0, high = 1', f'"choice", values = [1, {2**63}]', f"space.x.values#2: found {2**63}, expected"),
    ],
)
def test_numbers_and_names_have_a_largest_size(old: str, new: str, mistake: str) -> None:
    found = mistakes(changed(SMALL_TEXT, old, new))
    assert len(found) == 1
    assert found[0].startswith(mistake)


def test_one_table_where_several_may_be_is_told_how_to_begin() -> None:
    text = changed(SMALL_TEXT, 'objective = [{ output = "y", goal = "maximize" }]', "objective.output = 'y'")
    assert mistakes(text) == ["objective: found a table, expected an array of tables, which begin with [[objective]]"]


def test_an_empty_file_says_what_a_campaign_needs() -> None:
    assert mistakes("") == [
        "campaign: found nothing, expected the table [campaign]",
        "space: found nothing, expected the table [space]",
        "objective: found nothing, expected tables [[objective]]",
    ]


def test_a_space_needs_a_parameter() -> None:
    assert mistakes(changed(SMALL_TEXT, 'space.x = { type = "real", low = 0, high = 1 }', "space = {}")) == [
        "space: found a table, expected at least 1 of them"
    ]


def test_toml_refuses_a_parameter_that_is_there_twice() -> None:
    with pytest.raises(ConfigError, match="line 4, column"):
        parse(changed(SMALL_TEXT, "objective =", 'space.x = { type = "real" }\nobjective ='))


def test_a_goal_may_be_left_out_where_a_target_is_given() -> None:
    for goal in ("target = 0.3", 'goal = "target", target = 0.3'):
        campaign = parse(changed(SMALL_TEXT, 'goal = "maximize"', f"{goal}, reach = 0"))
        assert campaign.objectives == (Objective("y", "target", 0.3, 0.0),)


def test_a_reach_may_be_negative_without_a_target() -> None:
    assert parse(changed(SMALL_TEXT, '"maximize"', '"maximize", reach = -2')).objectives[0].reach == -2.0


@pytest.mark.parametrize(
    ("bounds", "constraint"),
    [
        ("lower = 1", Constraint("z", 1.0, math.inf)),
        ("upper = 1", Constraint("z", -math.inf, 1.0)),
        ("lower = 1, upper = 1, unit = 'K'", Constraint("z", 1.0, 1.0, "K")),
    ],
)
def test_a_bound_that_is_left_out_is_open(bounds: str, constraint: Constraint) -> None:
    assert parse(SMALL_TEXT + f"constraint = [{{ output = 'z', {bounds} }}]").constraints == (constraint,)


def test_a_constraint_on_an_objective_s_output_has_its_unit() -> None:
    text = changed(SMALL_TEXT, 'goal = "maximize"', 'goal = "maximize", unit = "K"')
    assert parse(text + "constraint = [{ output = 'y', upper = 1 }]").constraints[0].unit == "K"
    assert parse(text + "constraint = [{ output = 'y', upper = 1, unit = 'K' }]").constraints[0].unit == "K"


def test_a_parameter_may_be_called_like_a_key_of_a_pool() -> None:
    assert parse(changed(SMALL_TEXT, "space.x", "space.pool")).space.names == ("pool",)


def test_a_parameter_may_have_any_name() -> None:
    campaign = parse(changed(SMALL_TEXT, "space.x", 'space."Pd loading (%)"'))
    assert campaign.space.names == ("Pd loading (%)",)
    assert mistakes(changed(SMALL_TEXT, "space.x", 'space.""'))[0] == (
        "space.\"\": found '', expected a text that is not empty"
    )


SOURCES = """
campaign = { name = "small", stop = { trials = 9 } }
space.x = { type = "real", low = 0, high = 1 }
objective = [{ output = "y", goal = "maximize" }]
"""


def test_a_planner_chooses_where_some_sources_do_not_count() -> None:
    assert not parse(SMALL_TEXT).chooses
    campaign = parse(SOURCES + 'source = [{ procedure = "f" }, { procedure = "f", name = "quick", counts = false }]')
    assert campaign.chooses
    assert [source.label for source in campaign.sources] == ["f", "quick"]


@pytest.mark.parametrize(
    ("sources", "wrong"),
    [
        (
            '{ procedure = "f" }, { procedure = "f", counts = false }',
            "source: found several of name 'f', expected another for each where some do not count",
        ),
        ('{ procedure = "f", counts = false }', "source: found none that counts, expected at least one"),
        (
            '{ procedure = "f", price = 1.0 }, { procedure = "g", counts = false }',
            "source: found no price of 'g', expected a price of each source, or of none",
        ),
    ],
)
def test_sources_that_a_planner_cannot_choose_among_are_refused(sources: str, wrong: str) -> None:
    assert mistakes(SOURCES + f"source = [{sources}]") == [wrong]


def test_a_price_is_above_zero() -> None:
    assert mistakes(SOURCES + 'source = [{ procedure = "f", price = 0.0 }]') == [
        "source#1.price: found 0.0, expected a number above 0"
    ]
