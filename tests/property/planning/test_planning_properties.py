"""What holds for all spaces, histories and fronts."""

import itertools
import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from renkei.model.space import (
    Choice,
    Constraint,
    Integer,
    Objective,
    Observation,
    Parameter,
    Point,
    Real,
    Space,
    dominates,
    feasible,
    reached,
)
from renkei.planning import Curve, Pool, Sampled, Step, Yardstick, accelerate, hypervolume, pareto_front
from renkei.planning._codec import Codec
from renkei.planning._rows import RowCodec
from renkei.planning.bayesian import BayesianPlanner
from renkei.planning.random import RandomPlanner
from renkei.planning.sobol import SobolPlanner

NUMBERS = st.floats(-1e6, 1e6)


@st.composite
def parameters(draw: st.DrawFn, name: str) -> Parameter:
    kind = draw(st.sampled_from(["real", "log", "integer", "log integer", "choice"]))
    if kind == "choice":
        values = st.one_of(st.booleans(), st.integers(-3, 3), st.sampled_from(["a", "b", ""]))
        return Choice(name, tuple(draw(st.lists(values, min_size=1, max_size=5, unique_by=lambda v: (type(v), v)))))
    if kind == "integer":
        low = draw(st.integers(-(10**12), 10**12))
        return Integer(name, low, low + draw(st.integers(0, 10**12)))
    if kind == "log integer":
        low = draw(st.integers(1, 10**9))
        return Integer(name, low, low + draw(st.integers(0, 10**9)), log=True)
    if kind == "log":
        low, high = sorted(draw(st.tuples(*[st.floats(1e-300, 1e300)] * 2)))
        return Real(name, low, high, log=True)
    low, high = sorted(draw(st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 2)))
    return Real(name, low, high)


@st.composite
def spaces(draw: st.DrawFn, may_pool: bool = True) -> Space:
    free = Space(tuple(draw(parameters(f"p{i}")) for i in range(draw(st.integers(1, 4)))))
    if not may_pool or not draw(st.booleans()):
        return free
    pool = RandomPlanner(free, [Objective("f")], seed=draw(st.integers(0, 9))).ask(draw(st.integers(1, 30)))
    return Space(free.parameters, tuple(pool))


def is_same(first: Point, second: Point) -> bool:
    return all(type(first[k]) is type(second[k]) and first[k] == second[k] for k in first)


@pytest.mark.parametrize("kind", [RandomPlanner, SobolPlanner])
@settings(max_examples=120, deadline=None)
@given(spaces(), st.integers(-(2**40), 2**40), st.integers(1, 40))
def test_every_proposed_point_is_of_the_space(kind: Any, space: Space, seed: int, n: int):
    points = kind(space, [Objective("f")], seed=seed).ask(n)
    assert all(space.problems(point) == [] for point in points)
    n_points = Codec(space).n_points()
    if space.pool is not None:
        assert all(any(is_same(point, sample) for sample in space.pool) for point in points)
    elif n_points is not None:
        assert len({Codec(space).key(point) for point in points}) == min(n, n_points)
    else:
        assert len(points) == n


@pytest.mark.parametrize("kind", [RandomPlanner, SobolPlanner])
@settings(max_examples=40, deadline=None)
@given(spaces(), st.integers(0, 99), st.lists(st.tuples(st.integers(1, 5), st.booleans()), max_size=6))
def test_how_a_campaign_asks_and_tells_does_not_change_the_points(kind: Any, space: Space, seed: int, moves: Any):
    planner, pending, asked = kind(space, [Objective("f")], seed=seed), [], []
    for n, tells in moves:
        found = planner.ask(n, pending)
        pending += found
        asked += found
        if tells:
            planner.tell([Observation(point, "infeasible") for point in pending[:2]])
            pending = pending[2:]
    assert asked == kind(space, [Objective("f")], seed=seed).ask(len(asked) or 1)[: len(asked)]


@settings(max_examples=150, deadline=None)
@given(spaces(may_pool=False), st.integers(0, 99))
def test_a_point_survives_being_a_row(space: Space, seed: int):
    codec = RowCodec(space)
    points = RandomPlanner(space, [Objective("f")], seed=seed).ask(20)
    rows = codec.rows(points)
    again = codec.points(rows)
    assert ((rows >= 0.0) & (rows <= codec.upper)).all()
    for parameter in space.parameters:
        for before, after in zip(points, again, strict=True):
            old, new = before[parameter.name], after[parameter.name]
            if isinstance(parameter, Real):
                assert isinstance(old, float)
                size = max(abs(parameter.low), abs(parameter.high))
                assert new == pytest.approx(old, rel=1e-9, abs=1e-12 * size)
            elif isinstance(parameter, Choice):
                assert new == old
                assert type(new) is type(old)
            else:
                assert abs(int(new) - int(old)) <= max(1e-3, 1e-12 * abs(int(old)))


@settings(max_examples=100, deadline=None)
@given(spaces(may_pool=False), st.integers(0, 2**31))
def test_any_row_stands_for_a_legal_point_and_so_do_its_neighbours(space: Space, seed: int):
    codec, chance = RowCodec(space), np.random.default_rng(seed)
    legal = codec.legal(chance.normal(0.5, 2.0, (8, codec.n_columns)))
    assert np.allclose(codec.legal(legal), legal, atol=1e-12)
    around = codec.neighbours(legal[0])
    assert all(space.problems(p) == [] for p in codec.points(np.concatenate([legal, around])))
    expected = 0
    for parameter in space.parameters:
        if isinstance(parameter, Choice):
            expected += len(parameter.values) - 1
        elif isinstance(parameter, Integer):
            value = codec.points(legal[:1])[0][parameter.name]
            assert isinstance(value, int)
            expected += (value > parameter.low) + (value < parameter.high)
    assert len(around) == expected


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(spaces(), st.integers(0, 99), st.lists(st.none() | st.floats(), min_size=8, max_size=14), st.data())
def test_a_bayesian_planner_proposes_legal_new_points_whatever_was_observed(
    space: Space, seed: int, values: list[float | None], data: st.DataObject
):
    outcome = {True: "infeasible", False: "observed"}
    points = RandomPlanner(space, [Objective("f")], seed=seed).ask(len(values))
    goal = data.draw(
        st.sampled_from([Objective("f"), Objective("f", "maximize"), Objective("f", "target", target=1.0)])
    )
    limits = data.draw(st.sampled_from([(), (Constraint("f", upper=3.0),)]))
    history = [
        Observation(p, outcome[v is None], {} if v is None else {"f": v}) for p, v in zip(points, values, strict=False)
    ]
    planners = [BayesianPlanner(space, [goal], constraints=limits, seed=seed) for _ in range(2)]
    for planner in planners:
        planner.tell(history)
    found = planners[0].ask(2)
    assert found == planners[1].ask(2)
    key = Codec(space).key
    assert all(space.problems(point) == [] for point in found)
    assert len({key(p) for p in found} | {key(p) for p in points}) == len(found) + len({key(p) for p in points})


OUTPUTS = st.lists(st.fixed_dictionaries({name: NUMBERS | st.just(math.nan) for name in "abc"}), max_size=25)
GOALS = [Objective("a"), Objective("b", "maximize"), Objective("c", "target", target=0.5)]
LIMITS = [Constraint("a", lower=-5e5)]


@given(OUTPUTS)
def test_the_front_is_all_that_nothing_feasible_dominates(outputs: list[dict[str, float]]):
    front = pareto_front(outputs, GOALS, LIMITS)
    usable = [i for i, each in enumerate(outputs) if feasible(each, LIMITS) and not any(map(math.isnan, each.values()))]
    expected = [i for i in usable if not any(dominates(outputs[j], outputs[i], GOALS) for j in usable)]
    assert sorted(front) == expected


@settings(max_examples=60)
@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), max_size=8))
def test_hypervolume_counts_the_dominated_cells(front: list[tuple[int, int, int]]):
    cells = itertools.product(range(5), repeat=3)
    counted = sum(any(all(p <= c for p, c in zip(point, cell, strict=True)) for point in front) for cell in cells)
    assert hypervolume(front, (5, 5, 5)) == counted
    flat = [point[:2] for point in front]
    assert hypervolume(flat, (5, 5)) == hypervolume([(*p, 0) for p in flat], (5, 5, 1))


@given(OUTPUTS, st.lists(st.none() | NUMBERS, min_size=3, max_size=3))
def test_a_trial_has_a_loss_within_reach_exactly_when_it_makes_the_discovery(
    outputs: list[dict[str, float]], reaches: list[float | None]
):
    assume(any(reach is not None for reach in reaches))
    goals = [Objective(o.output, o.goal, o.target, reach) for o, reach in zip(GOALS, reaches, strict=True)]
    stick = Yardstick(goals, LIMITS, scale_from=outputs)
    for each in outputs:
        loss = stick.loss(each)
        assert (loss is not None and stick.reach is not None and loss <= stick.reach) == reached(each, goals, LIMITS)


LOSSES = st.lists(st.none() | st.integers(0, 20).map(float), min_size=1, max_size=40)


@given(LOSSES, LOSSES)
def test_a_factor_is_the_ratio_of_efforts_and_lies_in_its_interval(campaign: list[Any], baseline: list[Any]):
    curve = Curve([Step(loss, hours=1.0) for loss in campaign])
    for against in (Sampled([Step(loss, hours=1.0) for loss in baseline]), Pool(baseline)):
        found = accelerate(curve, against)
        if found.factor is None:
            assert found.bound == "unknown"
            continue
        assert found.campaign_effort
        assert found.baseline_effort
        assert found.factor == found.baseline_effort / found.campaign_effort
        assert found.low is None or found.low <= found.factor + 1e-12
        assert found.high is None or found.high >= found.factor - 1e-12


@settings(max_examples=25)
@given(LOSSES, st.integers(0, 99))
def test_a_pool_takes_on_average_what_shuffling_it_takes(losses: list[Any], seed: int):
    chance, pool = random.Random(seed), Pool(losses)
    level = min((loss for loss in losses if loss is not None), default=None)
    assume(level is not None)
    assert level is not None
    draws: list[int] = []
    for _ in range(400):
        order = chance.sample(losses, len(losses))
        draws.append(1 + next(i for i, loss in enumerate(order) if loss is not None and loss <= level))
    expected = pool.effort_to(level)
    assert expected is not None
    assert abs(sum(draws) / 400 - expected.expected) < 4.5 * len(losses) / math.sqrt(12 * 400) + 0.05
