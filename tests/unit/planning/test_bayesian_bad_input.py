"""What a Bayesian planner does with trials and settings that a model cannot use as they are."""

import math
from typing import Any

import pytest
from planning_examples import LOW, number

from renkei.errors import UsageError
from renkei.model.space import Choice, Constraint, Integer, Objective, Observation, Point, Real, Space
from renkei.planning._codec import Codec
from renkei.planning.bayesian import BayesianPlanner
from renkei.planning.random import RandomPlanner
from renkei.planning.sobol import SobolPlanner

NOTHING: Any = None
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
        pytest.param(observed([1.7e308, -1.7e308] * 4), id="the largest values there are"),
        pytest.param(observed([10**400, 1, 2, 3, 4, 5]), id="a whole number beyond all floats"),
        pytest.param(observed([1.0, 2.0, 3.0, 1e300, 0.5, 0.2, 0.1]), id="one wild value"),
        pytest.param([Observation(POINTS[0], outputs={"f": 1.0})] * 2000, id="two thousand times the same"),
        pytest.param([Observation(POINTS[0], "infeasible")] * 2000, id="two thousand times infeasible"),
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


NEXT = math.nextafter(1.0, 2.0)
SPACES = {
    "one value": Space((Real("x", 1.0, 1.0), Real("y", 0.0, 1.0))),
    "one point": Space((Real("x", 1.0, 1.0),)),
    "two numbers": Space((Real("x", 1.0, NEXT),)),
    "few numbers and a real one": Space((Real("x", 1.0, 1.0 + 1e-15), Real("y", 0.0, 1.0))),
    "a hundred numbers": Space((Real("x", 1.0, 1.0 + 100 * (NEXT - 1.0)),)),
    "narrow": Space((Real("x", 1.0, 1.0 + 1e-12),)),
    "narrow on a log scale": Space((Real("x", 1.0, 1.0 + 1e-12, log=True),)),
    "the smallest numbers": Space((Real("x", 0.0, 5e-324), Real("y", 0.0, 1e-310))),
    "the smallest numbers on a log scale": Space((Real("x", 5e-324, 1e-320, log=True), Real("y", 0.0, 1.0))),
    "six hundred decades": Space((Real("x", 1e-300, 1e300, log=True), Real("y", 1e-300, 1e300))),
    "as wide as can be": Space((Real("x", -1.7e308, 1.7e308),)),
    "as many whole numbers as can be": Space((Integer("x", 0, 2**53 - 1), Integer("y", 1, 2**53, log=True))),
    "500 choices": Space((Choice("x", tuple(range(500))), Real("y", 0.0, 1.0))),
    "choices of one": Space((Choice("x", (1.0,)), Choice("y", (2.0,)), Real("z", 0.0, 1.0))),
    "27 million choices": Space(tuple(Choice(name, tuple(range(300))) for name in "xyz")),
    "a small pool": Space(
        (Real("x", 0.0, 3.0), Real("y", 2.0, 2.0)), tuple({"x": float(i), "y": 2.0} for i in range(4))
    ),
    "few whole numbers": Space((Integer("x", 0, 5),)),
}


@pytest.mark.parametrize("kind", [BayesianPlanner, RandomPlanner, SobolPlanner])
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_no_point_comes_twice_from_a_space_that_is_hard_to_measure(kind: Any, space: Space):
    planner, told = kind(space, LOW, seed=1), list[Point]()
    for n in (4, 1, 4):
        points = planner.ask(n)
        assert all(space.problems(point) == [] for point in points)
        told += points
        values = [math.fsum(float(v) / 2 for v in point.values()) for point in points]
        planner.tell([Observation(p, outputs={"f": v}) for p, v in zip(points, values, strict=True)])
    assert len({repr(point) for point in told}) == len(told)
    n_points = Codec(space).n_points() if space.pool is None else len(space.pool)
    assert len(told) == min(9, 9 if n_points is None else n_points)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 10, 20, 35, 50])
def test_three_trials_are_enough_to_go_on_from_in_any_number_of_dimensions(n: int):
    space = Space(tuple(Real(f"x{i}", 0.0, 1.0) for i in range(n)))
    planner = BayesianPlanner(space, LOW, seed=1, initial=3)
    first = planner.ask(3)
    planner.tell([Observation(p, outputs={"f": sum(number(p, name) for name in p)}) for p in first])
    second = planner.ask(2)
    assert second != SobolPlanner(space, LOW, seed=1).ask(5)[3:]  # a model's
    assert all(space.problems(point) == [] for point in second)
    assert len({repr(point) for point in [*first, *second]}) == 5


@pytest.mark.parametrize("is_one", [False, True])
def test_hundreds_of_points_may_be_on_their_way(is_one: bool):
    space = Space((Real("x", 0.0, 1.0), Real("y", 0.0, 1.0)))
    planner = BayesianPlanner(space, LOW, seed=1)
    planner.tell([Observation(p, outputs={"f": number(p, "x")}) for p in SobolPlanner(space, LOW, seed=3).ask(8)])
    waiting = SobolPlanner(space, LOW, seed=4).ask(1 if is_one else 300) * (300 if is_one else 1)
    points = planner.ask(2, waiting)
    assert all(space.problems(point) == [] for point in points)
    assert len({repr(point) for point in [*points, *waiting]}) == 2 + (1 if is_one else 300)


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
        (Observation({"x": 10**400, "c": "a"}), "is outside"),
        (Observation({"temperature": 0.5}), "temperature: no such parameter; x: missing; c: missing"),
        (Observation({"x": 0.5, "c": "a"}, outputs={"f": NOTHING}), "f: found None, expected a number"),
        (Observation({"x": 0.5, "c": "a"}, noise={"f": NOTHING}), "f: found None, expected a number"),
    ],
)
def test_an_observation_that_cannot_be_used_is_refused_as_a_whole(observation: Observation, word: str):
    planner = BayesianPlanner(SPACE, LOW)
    with pytest.raises(UsageError, match=word):
        planner.tell([*observed([1.0, 2.0]), observation])
    assert planner.ask(2)[1] == SobolPlanner(SPACE, LOW).ask(2)[1]
    with pytest.raises(UsageError, match=word):
        BayesianPlanner(SPACE, LOW, warm=[observation])


@pytest.mark.parametrize(
    ("objectives", "options", "word"),
    [
        ([], {}, "needs an objective"),
        ([Objective("f", "improve")], {}, "no goal"),
        ([Objective("f", "target")], {}, "needs its target"),
        ([Objective("f", "target", math.nan)], {}, "must be finite"),
        ([Objective("f", reach=math.inf)], {}, "must be finite"),
        (LOW, {"constraints": [Constraint("g", 2.0, 1.0)]}, "lower <= upper"),
        (LOW, {"constraints": [Constraint("g", upper=math.nan)]}, "lower <= upper"),
        (LOW, {"initial": 0}, "initial"),
        (LOW, {"initial": True}, "initial"),
        (LOW, {"initial": 2.5}, "initial"),
    ],
)
def test_settings_that_cannot_be_are_refused(objectives: list[Objective], options: dict[str, Any], word: str):
    with pytest.raises(UsageError, match=word):
        BayesianPlanner(SPACE, objectives, **options)
