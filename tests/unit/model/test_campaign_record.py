"""The record of a campaign and its JSON."""

import dataclasses
import json
from pathlib import Path

from renkei.model.campaign import Baseline, Campaign, LocalSite, Source, Stop, space_from_json, space_to_json
from renkei.model.pool import PoolReference
from renkei.model.quantity import Quantity
from renkei.model.space import Choice, Constraint, Objective, ParameterConstraint, Real, Space


def test_a_campaign_as_json_has_everything_but_its_text() -> None:
    campaign = Campaign(
        name="c",
        space=Space((Real("x", 0.0, 1.0, "K"),)),
        objectives=(Objective("y", "target", 1.0, 0.5, "m"),),
        constraints=(Constraint("z", lower=1.0),),
        sources=(Source(procedure="f", sites=("a",), fixed={"k": True}, rename={"x": "t"}),),
        stop=Stop(trials=3, wall_s=60.0, cost=(Quantity.parse("1.5 USD"),)),
        baseline=Baseline(trials=4),
        sites={"a": LocalSite(procedures=(Path("/lab.py"), "mylab"), allocation=Quantity.parse("2 run"))},
        pool=PoolReference("python:a:b", {"x": "K"}),
        text="secret",
        digest="abc",
    )
    data = campaign.to_json()
    assert json.loads(json.dumps(data, allow_nan=False)) == data == {
        "name": "c",
        "title": "",
        "team": "local",
        "seed": 0,
        "purpose": "open-research",
        "release": "open",
        "retries": 3,
        "stop": {"trials": 3, "wall_s": 60.0, "cost": ["1.5 USD"], "reached": True},
        "space": {
            "parameters": [{"type": "real", "name": "x", "low": 0.0, "high": 1.0, "unit": "K", "log": False}],
            "pool": None,
            "constraints": [],
        },
        "objectives": [{"output": "y", "goal": "target", "target": 1.0, "reach": 0.5, "unit": "m"}],
        "constraints": [{"output": "z", "lower": 1.0, "upper": None, "unit": "1"}],
        "sources": [
            {
                "procedure": "f", "name": None, "counts": True, "price": None, "parallel": None, "version": None,
                "sites": ["a"], "fixed": {"k": True}, "rename": {"x": "t"},
            }
        ],
        "planner": {"name": "bayesian", "parallel": 4, "warm": [], "options": {}},
        "baseline": {"planner": "sobol", "sites": "all", "when": "after", "trials": 4, "replicates": None},
        "sites": {
            "a": {
                "procedures": ["/lab.py", "mylab"],
                "workers": 2,
                "allocation": "2 run",
                "charge": {"unit": "run", "per_hour": None, "per_run": 1.0},
                "policy": None,
                "time_limit_s": 600.0,
                "memory_bytes": None,
                "site": None,
            }
        },
        "pool": {"reference": "python:a:b", "units": {"x": "K"}},
        "digest": "abc",
    }  # fmt: skip


def test_what_a_campaign_does_without_is_null_in_json() -> None:
    space = Space((Choice("x", (1, 2)),))
    campaign = Campaign(name="c", space=space, objectives=(Objective("y"),), sources=(Source(procedure="f"),))
    data = campaign.to_json()
    assert (data["baseline"], data["pool"], data["sites"], data["constraints"]) == (None, None, {}, [])


def test_a_pool_as_json_is_rows_in_the_order_of_the_parameters() -> None:
    space = Space(
        (Real("x", 0.0, 1.0), Choice("c", (True, "a"))), ({"c": "a", "x": 0.0}, {"x": 1.0, "c": True})
    )  # fmt: skip
    data = space_to_json(space)
    assert data["pool"] == [[0.0, "a"], [1.0, True]]
    assert space_from_json(json.loads(json.dumps(data))) == space


def test_a_space_as_json_has_its_constraints_and_one_of_an_earlier_version_has_none() -> None:
    free = Space((Real("x", 0.0, 1.0), Real("y", 0.0, 1.0)))
    constraint = ParameterConstraint((("x", 1.0), ("y", -2.0)), upper=0.5)
    data = json.loads(json.dumps(space_to_json(dataclasses.replace(free, constraints=(constraint,)))))
    assert data["constraints"] == [{"terms": {"x": 1.0, "y": -2.0}, "lower": None, "upper": 0.5}]
    assert space_from_json(data).constraints == (constraint,)
    del data["constraints"]
    assert space_from_json(data) == free
