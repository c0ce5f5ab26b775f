"""Parameters, spaces, objectives and constraints."""

import math
from typing import Any

import pytest

from renkei.model.space import (
    Choice,
    Constraint,
    Integer,
    Objective,
    Parameter,
    Real,
    Space,
    dominates,
    feasible,
    parameter_from_json,
    parameter_to_json,
    reached,
)

REAL = Real("x", 4.0, 12.0, "kA")
INTEGER = Integer("n", 2, 5)
CHOICE = Choice("c", ("a", 1, True))


@pytest.mark.parametrize(
    ("parameter", "value"),
    [(REAL, 4.0), (REAL, 12.0), (REAL, 5), (INTEGER, 2), (INTEGER, 5), (CHOICE, "a"), (CHOICE, 1), (CHOICE, True)],
)
def test_a_value_within_a_parameter_is_no_problem(parameter: Parameter, value: object) -> None:
    assert parameter.problem(value) is None


@pytest.mark.parametrize(
    ("parameter", "value", "problem"),
    [
        (REAL, 12.0000001, "x: 12.0000001 is outside [4.0, 12.0] kA"),
        (REAL, math.nan, "x: nan is outside [4.0, 12.0] kA"),
        (REAL, -math.inf, "x: -inf is outside [4.0, 12.0] kA"),
        (REAL, True, "x: found True, expected a number"),
        (REAL, "5", "x: found '5', expected a number"),
        (REAL, None, "x: found None, expected a number"),
        (INTEGER, 6, "n: 6 is outside [2, 5]"),
        (INTEGER, 3.0, "n: found 3.0, expected a whole number"),
        (INTEGER, False, "n: found False, expected a whole number"),
        (CHOICE, "b", "c: found 'b', expected one of 'a', 1, True"),
        (CHOICE, 1.0, "c: found 1.0, expected one of 'a', 1, True"),
        (CHOICE, [], "c: found [], expected one of 'a', 1, True"),
    ],
)
def test_a_value_outside_a_parameter_is_a_problem(parameter: Parameter, value: object, problem: str) -> None:
    assert parameter.problem(value) == problem


def test_a_number_too_large_for_a_float_is_a_problem_and_no_crash() -> None:
    found = REAL.problem(10**400)
    assert found is not None
    assert found.endswith("is outside [4.0, 12.0] kA")


def test_a_point_is_checked_as_a_whole() -> None:
    space = Space((REAL, INTEGER))
    assert space.names == ("x", "n")
    assert space["n"] is INTEGER
    assert space.problems({"x": 5.0, "n": 3}) == []
    assert space.problems({"x": 1.0, "y": 2}) == [
        "y: no such parameter", "x: 1.0 is outside [4.0, 12.0] kA", "n: missing",
    ]  # fmt: skip
    with pytest.raises(KeyError):
        space["y"]


@pytest.mark.parametrize("parameter", [REAL, Real("x", 1.0, 2.0, log=True), Integer("n", 1, 2, "m", log=True), CHOICE])
def test_a_parameter_survives_json(parameter: Parameter) -> None:
    assert parameter_from_json(parameter_to_json(parameter)) == parameter


def test_a_parameter_s_unit_and_scale_may_be_missing_in_json() -> None:
    data: dict[str, Any] = {"name": "x", "low": 1, "high": 2}
    assert parameter_from_json({"type": "real", **data}) == Real("x", 1, 2)
    assert parameter_from_json({"type": "integer", **data}) == Integer("x", 1, 2)
    assert Choice("c", (1, 2)).unit == "1"


@pytest.mark.parametrize(
    ("objective", "value", "loss"),
    [
        (Objective("y"), 3.0, 3.0),
        (Objective("y", "maximize"), 3.0, -3.0),
        (Objective("y", "target", 5.0), 3.0, 2.0),
        (Objective("y", "target", 5.0), 7.0, 2.0),
    ],
)
def test_a_loss_is_what_is_to_be_minimised(objective: Objective, value: float, loss: float) -> None:
    assert objective.loss(value) == loss


@pytest.mark.parametrize(
    ("objective", "good", "bad"),
    [
        (Objective("y", reach=1.0), 1.0, 1.1),
        (Objective("y", "maximize", reach=1.0), 1.0, 0.9),
        (Objective("y", "target", 5.0, 0.5), 5.5, 5.6),
        (Objective("y", "target", 5.0, 0.0), 5.0, 5.1),
    ],
)
def test_a_discovery_is_made_at_the_reach(objective: Objective, good: float, bad: float) -> None:
    assert reached({"y": good}, [objective])
    assert not reached({"y": bad}, [objective])
    assert not reached({"y": math.nan}, [objective])
    assert not reached({}, [objective])


def test_without_a_reach_nothing_is_ever_reached() -> None:
    assert Objective("y").reach_loss is None
    assert not reached({"y": -1e9}, [Objective("y")])


def test_a_discovery_needs_every_reach_and_every_constraint() -> None:
    objectives = [Objective("y", reach=1.0), Objective("z", "maximize", reach=2.0), Objective("w")]
    constraint = Constraint("v", upper=1.0)
    assert reached({"y": 1.0, "z": 2.0, "v": 1.0}, objectives, [constraint])
    assert not reached({"y": 1.0, "z": 1.0, "v": 1.0}, objectives, [constraint])
    assert not reached({"y": 1.0, "z": 2.0, "v": 1.1}, objectives, [constraint])
    assert not reached({"y": 1.0, "z": 2.0}, objectives, [constraint])


def test_a_constraint_holds_between_its_bounds() -> None:
    constraint = Constraint("v", 1.0, 2.0)
    assert [constraint.holds(v) for v in (0.9, 1.0, 2.0, 2.1, math.nan)] == [False, True, True, False, False]
    assert Constraint("v").holds(-1e300)


def test_outputs_are_feasible_if_every_constraint_holds_on_a_finite_number() -> None:
    constraint = Constraint("v", lower=1.0)
    assert feasible({}, [])
    assert feasible({"v": 1.0}, [constraint])
    assert not feasible({"v": 0.0}, [constraint])
    assert not feasible({"v": math.inf}, [constraint])
    assert not feasible({}, [constraint])


def test_one_result_dominates_another_if_it_is_nowhere_worse_and_somewhere_better() -> None:
    objectives = [Objective("y"), Objective("z", "maximize")]
    assert dominates({"y": 1.0, "z": 1.0}, {"y": 2.0, "z": 1.0}, objectives)
    assert not dominates({"y": 1.0, "z": 1.0}, {"y": 1.0, "z": 1.0}, objectives)
    assert not dominates({"y": 1.0, "z": 0.0}, {"y": 2.0, "z": 1.0}, objectives)
