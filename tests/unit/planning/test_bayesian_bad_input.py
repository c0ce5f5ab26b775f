"""What a Bayesian planner does with trials and settings that a model cannot use as they are."""

import math
from typing import Any

import pytest
from planning_examples import LOW, number

from renkei.errors import UsageError
from renkei.model.space import Choice, Constraint, Objective, Observation, Real, Space
from renkei.planning.bayesian import BayesianPlanner
from renkei.planning.sobol import SobolPlanner

SPACE = Space((Real("x", 0.0, 1.0), Choice("c", ("a", "b"))))
POINTS = SobolPlanner(SPACE, LOW, seed=9).ask(8)


def observed(values: list[float], **noise: float) -> list[Observation]:
    return [Observation(p, outputs={"f": v}, noise=noise) for p, v in zip(POINTS, values, strict=False)]


@pytest.mark.parametrize(
    "history",
    [
        pytest.param(observed([2.0] * 8), id="constant objective"),
        pytest.param(observed([1.0]), id="one observation"),
        pytest.param([Observation(p, "infeasible") for p in POINTS], id="all infeasible"),
        pytest.param([Observation(p, "abandoned") for p in POINTS], id="all abandoned"),
        pytest.param(observed([1.0, 2.0, math.nan, 3.0, math.inf, 0.5, -math.inf, 4.0]), id="not finite"),
        pytest.param(observed([math.nan] * 8), id="never finite"),
        pytest.param([Observation(p) for p in POINTS], id="outputs missing"),
        pytest.param([Observation(POINTS[0], outputs={"f": float(i)}) for i in range(8)], id="one point, many values"),
        pytest.param([Observation(POINTS[0], outputs={"f": 1.0})] * 8, id="one point, one value"),
        pytest.param(observed([1e300, -1e300, 1e299, 0.0, 5e299, 1e290, 1.0, 2.0]), id="huge values"),
        pytest.param(observed([1e-300, 3e-300, 2e-300, 5e-300, 4e-300, 1e-299]), id="tiny values"),
        pytest.param(observed([1e-12, 1e3, 1.0, 1e9, 1e-6, 50.0, 2.0, 1e5]), id="many decades"),
        pytest.param(observed([1.0, 2.0, 3.0, 0.5, 0.2, 0.1], f=0.0), id="no noise at all"),
        pytest.param(observed([1.0, 2.0, 3.0, 0.5, 0.2, 0.1], f=1e12), id="nothing but noise"),
        pytest.param(observed([1.0, 2.0, 3.0, 0.5, 0.2, 0.1], f=math.nan), id="noise not finite"),
    ],
)
def test_legal_and_new_points_come_from_histories_that_say_little(history: list[Observation]):
    planner = BayesianPlanner(SPACE, LOW, seed=1)
    planner.tell(history)
    points = planner.ask(2, pending=[{"x": 0.123, "c": "a"}])
    assert len(points) == 2
    assert all(SPACE.problems(point) == [] for point in points)
    assert not any(point in [o.point for o in history] for point in points)
    assert points[0] != points[1]


def test_a_value_that_is_not_finite_counts_as_infeasible():
    def asked(bad: Observation) -> list[Any]:
        planner = BayesianPlanner(SPACE, LOW, seed=1)
        planner.tell([*observed([1.0, 2.0, 3.0, 0.5, 0.2, 0.1]), bad])
        return planner.ask(1)

    assert asked(Observation(POINTS[6], outputs={"f": math.nan})) == asked(Observation(POINTS[6], "infeasible"))


def test_an_unmeasurable_constraint_does_not_stop_the_search():
    planner = BayesianPlanner(SPACE, LOW, constraints=[Constraint("g", upper=1.0)])
    planner.tell(observed([1.0, 2.0, 3.0, 0.5, 0.2, 0.1]))
    assert SPACE.problems(planner.ask(1)[0]) == []


def test_a_constraint_that_nothing_meets_is_searched_for():
    space = Space((Real("x", 0.0, 1.0),))
    planner = BayesianPlanner(space, LOW, constraints=[Constraint("f", upper=-1.0)])
    planner.tell([Observation({"x": x}, outputs={"f": 1.0 - x}) for x in (0.0, 0.1, 0.2, 0.3, 0.4)])
    assert number(planner.ask(1)[0], "x") > 0.5


def test_several_objectives_of_which_none_differs():
    planner = BayesianPlanner(SPACE, [Objective("f"), Objective("g", "maximize", reach=5.0)])
    planner.tell([Observation(p, outputs={"f": 1.0, "g": 1.0}) for p in POINTS])
    assert SPACE.problems(planner.ask(1)[0]) == []


def test_a_model_that_fails_gives_way_to_a_sobol_point(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def fail(*args: Any) -> None:
        raise RuntimeError("cholesky: not positive definite")

    planner = BayesianPlanner(SPACE, LOW, seed=1)
    planner.tell(observed([1.0, 2.0, 3.0, 0.5, 0.2, 0.1, 0.3]))
    assert planner.ask(1) != SobolPlanner(SPACE, LOW, seed=1).ask(8)[7:]
    planner = BayesianPlanner(SPACE, LOW, seed=1)
    planner.tell(observed([1.0, 2.0, 3.0, 0.5, 0.2, 0.1, 0.3]))
    monkeypatch.setattr("renkei.planning._surrogate.fit", fail)
    assert planner.ask(1) == SobolPlanner(SPACE, LOW, seed=1).ask(8)[7:]
    assert "not positive definite" in caplog.text


def test_a_fault_in_the_code_is_not_hidden_behind_a_sobol_point(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("renkei.planning._surrogate.fit", lambda: None)
    planner = BayesianPlanner(SPACE, LOW, seed=1)
    planner.tell(observed([1.0, 2.0, 3.0, 0.5, 0.2, 0.1]))
    with pytest.raises(TypeError):
        planner.ask(1)


def test_earlier_observations_beyond_the_bounds_are_of_use():
    narrow = Space((Real("x", 0.1, 0.2, log=True),))
    warm = [Observation({"x": x}, outputs={"f": x}) for x in (-1.0, 0.05, 0.1, 0.15, 0.2, 0.4)]
    [point] = BayesianPlanner(narrow, LOW, warm=warm).ask(1)
    assert narrow.problems(point) == []


@pytest.mark.parametrize(
    ("observation", "word"),
    [
        (Observation({"x": 0.5}, outputs={"f": 1.0}), "c: missing"),
        (Observation({"x": 0.5, "c": "z"}, outputs={"f": 1.0}), "expected one of"),
        (Observation({"x": "high", "c": "a"}, outputs={"f": 1.0}), "expected a number"),
        (Observation({"x": 0.5, "c": "a"}, "lost"), "outcome 'lost'"),
    ],
)
def test_an_observation_that_cannot_be_used_is_refused_as_a_whole(observation: Observation, word: str):
    planner = BayesianPlanner(SPACE, LOW)
    with pytest.raises(UsageError, match=word):
        planner.tell([*observed([1.0, 2.0]), observation])
    assert planner.ask(1) == SobolPlanner(SPACE, LOW).ask(1)
    with pytest.raises(UsageError, match=word):
        BayesianPlanner(SPACE, LOW, warm=[observation])


@pytest.mark.parametrize(
    ("objectives", "options", "word"),
    [
        ([], {}, "needs an objective"),
        ([Objective("f", "improve")], {}, "no goal"),
        ([Objective("f", "target")], {}, "needs its target"),
        (LOW, {"initial": 0}, "initial"),
        (LOW, {"initial": True}, "initial"),
        (LOW, {"initial": 2.5}, "initial"),
    ],
)
def test_settings_that_cannot_be_are_refused(objectives: list[Objective], options: dict[str, Any], word: str):
    with pytest.raises(UsageError, match=word):
        BayesianPlanner(SPACE, objectives, **options)
