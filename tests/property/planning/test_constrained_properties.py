"""What planners hold for random spaces with constraints between parameters, objectives and histories."""

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from renkei.model.space import (
    Choice,
    Constraint,
    Integer,
    Objective,
    Observation,
    Parameter,
    ParameterConstraint,
    Point,
    Real,
    Space,
)
from renkei.planning import Planner
from renkei.planning._codec import Codec
from renkei.planning.bayesian import BayesianPlanner
from renkei.planning.random import RandomPlanner
from renkei.planning.sobol import SobolPlanner

OUTCOMES = st.sampled_from(["observed", "observed", "observed", "infeasible", "abandoned"])
OUTPUTS = st.floats() | st.sampled_from([0.0, 1.0, 1e300, -1.7e308, 1e-300]) | st.integers(-(10**400), 10**400)
NOISES = st.floats() | st.just(0.0)


@st.composite
def parameters(draw: st.DrawFn, name: str) -> Parameter:
    kind = draw(st.sampled_from(["real", "real", "log", "integer", "log integer", "choice"]))
    low, width = draw(st.integers(-50, 50)), draw(st.integers(1, 100))
    if kind == "choice":
        return Choice(name, tuple(range(draw(st.integers(1, 5)))))
    if kind == "integer":
        return Integer(name, low, low + width)
    if kind == "log integer":
        return Integer(name, abs(low) + 1, abs(low) + 1 + width, log=True)
    scale = 10.0 ** draw(st.integers(-12, 12))
    if kind == "log":
        return Real(name, scale, scale * (1 + width), log=True)
    return Real(name, low * scale, (low + width) * scale)


@st.composite
def constrained(draw: st.DrawFn) -> Space:
    """Return a space with up to three constraints that one point of it, at least, holds."""
    free = tuple(draw(parameters(f"p{i}")) for i in range(draw(st.integers(1, 5))))
    numbers = [p for p in free if not isinstance(p, Choice)]
    [inside] = RandomPlanner(Space(free), [Objective("f")], seed=draw(st.integers(0, 99))).ask(1)
    found: list[ParameterConstraint] = []
    for _ in range(draw(st.integers(1, 3)) if numbers else 0):
        used = draw(st.lists(st.sampled_from(numbers), min_size=1, max_size=4, unique_by=lambda p: p.name))
        terms = tuple((p.name, draw(st.integers(1, 3)) * draw(st.sampled_from([-1.0, 1.0]))) for p in used)
        total = math.fsum(factor * float(inside[name]) for name, factor in terms)
        kind = draw(st.sampled_from(["below", "above", "between", "equal"]))
        flat = all(isinstance(p, Real) and not p.log for p in used)
        if kind == "equal" and flat:
            found.append(ParameterConstraint(terms, total, total))
        else:
            room = draw(st.floats(0.01, 1.0)) * (abs(total) or 1.0)
            lower = -math.inf if kind == "below" else total - room
            found.append(ParameterConstraint(terms, lower, math.inf if kind == "above" else total + room))
    return Space(free, constraints=tuple(found))


def asked(planner: Planner, space: Space, n: int, pending: list[Point]) -> list[Point]:
    points = planner.ask(n, pending)
    assert all(space.problems(point) == [] for point in points)
    keys = [Codec(space).key(point) for point in [*points, *pending]]
    assert len(set(keys)) == len(keys)
    return points


@pytest.mark.parametrize("kind", [RandomPlanner, SobolPlanner])
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(constrained(), st.integers(0, 99))
def test_designs_hold_constraints_and_are_one_order(kind: Any, space: Space, seed: int):
    planner = kind(space, [Objective("f")], seed=seed)
    points = asked(planner, space, 12, [])
    again = kind(space, [Objective("f")], seed=seed)
    again.tell([Observation(point) for point in points[:5]])
    assert again.ask(12, points[5:8])[: len(points) - 8] == points[8:]


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(constrained(), st.integers(0, 99), st.data())
def test_a_bayesian_planner_copes_with_any_history_of_any_constrained_space(space: Space, seed: int, data: Any):
    goals = [Objective("f", "maximize"), Objective("g", "target", 1.0)][: data.draw(st.integers(1, 2))]
    limits = [Constraint("h", upper=0.5)] if data.draw(st.booleans()) else []

    first, second = (BayesianPlanner(space, goals, constraints=limits, seed=seed, initial=3) for _ in range(2))
    history = [
        Observation(
            point,
            data.draw(OUTCOMES),
            {name: data.draw(OUTPUTS) for name in ("f", "g", "h")},
            {"f": data.draw(NOISES)} if data.draw(st.booleans()) else {},
        )
        for point in asked(first, space, data.draw(st.integers(1, 8)), [])
    ]
    history += history[: data.draw(st.integers(0, 3))]
    first.tell(history)
    pending = [o.point for o in history[:2]] if data.draw(st.booleans()) else []
    points = first.ask(2, pending)
    assert all(space.problems(point) == [] for point in points)
    known = {Codec(space).key(o.point) for o in history if o.outcome != "abandoned" or o.point in pending}
    assert len(known | {Codec(space).key(point) for point in points}) == len(known) + len(points)
    second.tell(history[:3])
    second.tell(history[3:])
    assert second.ask(2, pending) == points
