"""Pools: how their points become rows, where a campaign begins in them, and which of many points are compared."""

import math
import random
import statistics
import time
from collections.abc import Callable

import numpy as np
import planning_models  # noqa: F401 # pyright: ignore[reportUnusedImport] - before anything that imports botorch
import pytest
from planning_examples import LOW, Outputs, best, number, play

from renkei.errors import UsageError
from renkei.model.space import (
    Choice,
    Constraint,
    Integer,
    Objective,
    Observation,
    ParameterConstraint,
    Point,
    Real,
    Space,
    Value,
)
from renkei.planning import bayesian as module
from renkei.planning._codec import Codec
from renkei.planning._history import History
from renkei.planning._listing import Listed
from renkei.planning._rows import RowCodec
from renkei.planning._search import Search
from renkei.planning._surrogate import Surrogate, alone
from renkei.planning.bayesian import BayesianPlanner
from renkei.planning.random import RandomPlanner

X = Real("x", 0.0, 1000.0)
C = Choice("c", ("a", "b", "d"))


def pool_of(xs: list[float], choices: list[str]) -> Space:
    return Space((X, C), tuple({"x": x, "c": c} for x, c in zip(xs, choices, strict=True)))


def library(n: int) -> Space:
    """Return a pool of `n` random points with three numbers and a choice."""
    chance = random.Random(3)
    parameters = (*(Real(f"x{i}", 0.0, 1.0) for i in range(3)), C)
    return Space(
        parameters,
        tuple({**{f"x{i}": chance.random() for i in range(3)}, "c": chance.choice(C.values)} for _ in range(n)),
    )


def hill(point: Point) -> Outputs:
    bowl = sum((number(point, f"x{i}") - 0.2 - 0.3 * i) ** 2 for i in range(3))
    return {"f": bowl + {"a": 0.3, "b": 0.0, "d": 0.5}[str(point["c"])], "g": number(point, "x0")}


def test_a_number_of_a_pool_lies_between_its_place_and_its_rank():
    rows = RowCodec(pool_of([0.0, 1.0, 10.0, 100.0, 1000.0, 10.0], list("ababab")))
    found = rows.rows([{"x": x, "c": "a"} for x in (0.0, 1.0, 10.0, 100.0, 1000.0)])[:, 0]
    assert found == pytest.approx([0.0, 0.1255, 0.255, 0.425, 1.0])
    # Between levels the rank is interpolated; what lies outside the bounds stays there.
    assert rows.row({"x": 55.0, "c": "a"})[0] == pytest.approx((0.055 + 0.625) / 2)
    assert rows.row({"x": -100.0, "c": "a"})[0] == pytest.approx(-0.1)
    assert rows.row({"x": 5000.0, "c": "a"})[0] == 2.0


def test_a_number_without_a_pool_lies_at_its_place_and_a_constant_one_at_zero():
    assert RowCodec(Space((X, C))).row({"x": 10.0, "c": "b"})[0] == pytest.approx(0.01)
    constant = Space((Real("x", 5.0, 5.0), C), ({"x": 5.0, "c": "a"}, {"x": 5.0, "c": "b"}))
    assert RowCodec(constant).rows(constant.pool or ())[:, 0].tolist() == [0.0, 0.0]


def test_values_of_a_choice_are_at_distance_one_and_told_apart_by_type():
    codec = RowCodec(Space((Choice("c", (1, True, "1", 1.0)),)))
    rows = codec.rows([{"c": value} for value in (1, True, "1", 1.0)])
    apart = np.linalg.norm(rows[:, None] - rows[None], axis=-1)
    assert np.allclose(apart, 1.0 - np.eye(4))


def test_a_choice_of_very_many_values_keeps_rows_short_and_distances_close_to_one():
    names: tuple[Value, ...] = tuple(f"sample {i}" for i in range(500))
    space = Space((Choice("name", names), X), tuple({"name": n, "x": 1.0 * i} for i, n in enumerate(names)))
    codec = RowCodec(space)
    rows = codec.rows(space.pool or ())[:, codec.owner == 0]
    assert codec.n_columns < 100
    apart = np.linalg.norm(rows[:, None] - rows[None], axis=-1)[np.triu_indices(500, 1)]
    assert 0.6 < apart.min() < 1.0 < apart.max() < 1.4
    assert apart.std() < 0.1
    # Where rows are turned back into points every value has its own column.
    assert RowCodec(Space((Choice("name", names),))).n_columns == 500


@pytest.mark.parametrize(
    "point",
    [
        {"x": 1001.0, "c": "a"},
        {"x": math.nan, "c": "a"},
        {"x": True, "c": "a"},
        {"x": "1", "c": "a"},
        {"x": 1.0, "c": "z"},
        {"x": 1.0},
        {"x": 1.0, "c": "a", "z": 1.0},
        {"x": 1.0, "c": "d"},
    ],
)
def test_a_point_of_a_pool_that_is_not_of_the_space_is_found_among_others(point: Point):
    fair: Point = {"x": 1, "c": "a"}
    bound = ParameterConstraint((("x", 1.0),), upper=0.5)
    space = Space((X, C), (fair, point), (bound,) if point == {"x": 1.0, "c": "d"} else ())
    every = [text for each in (fair, point) for text in space.problems(each)]
    assert every
    assert Codec(space).problems(space.pool or ()) == every
    with pytest.raises(UsageError, match="not of the space"):
        BayesianPlanner(space, LOW)


def test_a_pool_of_very_many_names_is_checked_in_a_moment():
    names: tuple[Value, ...] = tuple(f"sample {i}" for i in range(20_000))
    space = Space((Choice("name", names),), tuple({"name": name} for name in names))
    began = time.process_time()
    assert Codec(space).problems(space.pool or ()) == []
    assert time.process_time() - began < 2.0  # Comparing every name with every other takes 8 s.


def test_a_list_knows_what_is_left_whatever_comes_twice():
    space = pool_of([1.0, 2.0, 1.0, 3.0], list("aaab"))
    codec = Codec(space)
    listed = Listed(space.pool or (), codec, RowCodec(space))
    assert listed.points == [{"x": 1.0, "c": "a"}, {"x": 2.0, "c": "a"}, {"x": 3.0, "c": "b"}]
    first, second = codec.key(listed.points[0]), codec.key(listed.points[1])
    elsewhere = codec.key({"x": 99.0, "c": "a"})
    assert listed.left([second, elsewhere]).tolist() == [0, 2]
    listed.strike([first, elsewhere])
    assert listed.left([]).tolist() == [1, 2]
    assert listed.left([second]).tolist() == [2]


def test_the_farthest_point_is_found_and_ties_are_broken_by_the_seed():
    space = Space((Integer("i", 0, 4), Integer("j", 0, 4)), tuple({"i": i, "j": j} for i in range(5) for j in range(5)))
    listed = Listed(space.pool or (), Codec(space), RowCodec(space))
    left = listed.left([])
    corner = listed.rows[[0]]
    assert listed.points[listed.farthest(left, corner, 0)] == {"i": 4, "j": 4}
    opposite = np.concatenate([corner, listed.rows[[24]]])
    assert {listed.farthest(left, opposite, seed) for seed in range(20)} == {4, 20}
    assert len({listed.farthest(left, corner[:0], seed) for seed in range(20)}) > 5


def test_a_campaign_in_a_pool_begins_with_points_far_apart():
    space = library(300)
    rows = RowCodec(space)

    def nearest(points: list[Point]) -> float:
        at = rows.rows(points)
        return float(np.linalg.norm(at[:, None] - at[None], axis=-1)[np.triu_indices(len(points), 1)].min())

    for seed in range(3):
        planner = BayesianPlanner(space, LOW, seed=seed)
        points = planner.ask(5)
        assert points == [p for n in range(5) for p in planner.ask(1, points[:n])]
        assert nearest(points) > 1.5 * nearest(RandomPlanner(space, LOW, seed=seed).ask(5))
    assert BayesianPlanner(space, LOW, seed=0).ask(1) != BayesianPlanner(space, LOW, seed=1).ask(1)


def test_a_batch_larger_than_its_pool_takes_each_distinct_point_once():
    space = pool_of([1.0, 2.0, 1.0, 3.0, 5.0, 4.0, 9.0], list("aaabbba"))
    planner = BayesianPlanner(space, LOW)
    points = planner.ask(64)
    assert sorted(number(p, "x") for p in points) == [1.0, 2.0, 3.0, 4.0, 5.0, 9.0]
    planner.tell([Observation(p, outputs={"f": number(p, "x")}) for p in points[:4]])
    assert sorted(number(p, "x") for p in planner.ask(64)) == sorted(number(p, "x") for p in points[4:])
    planner.tell([Observation(p, outputs={"f": number(p, "x")}) for p in points[4:]])
    assert planner.ask(1) == []


def told(space: Space, n: int, trial: Callable[[Point], Outputs | None]) -> History:
    history = History(RowCodec(space), ["f", "g"])
    for point in (space.pool or ())[:n]:
        outputs = trial(point)
        history.add(Observation(point, "infeasible") if outputs is None else Observation(point, outputs=outputs))
    return history


def broken(point: Point) -> Outputs | None:
    return None if number(point, "x1") < 0.4 else hill(point)


@pytest.mark.parametrize(
    ("objectives", "constraints", "trial"),
    [
        (LOW, [Constraint("g", lower=0.5)], hill),
        ([Objective("f", "maximize"), Objective("g")], [], hill),
        ([Objective("g", "target", target=0.31), Objective("f")], [], hill),
        (LOW, [Constraint("g", lower=-1.0)], broken),
    ],
)
def test_the_largest_improvement_is_on_the_short_list(
    objectives: list[Objective], constraints: list[Constraint], trial: Callable[[Point], Outputs | None]
):
    space = library(1500)
    history = told(space, 30, trial)
    rows = history.codec.rows((space.pool or ())[30:])
    with alone(0):
        surrogate = Surrogate(history, objectives, constraints)
        short = surrogate.shortlist(rows, 1)
        values = Search(surrogate.acquisition(rows[:0], 1), 1000, len(objectives)).values(rows)
    assert len(short) < len(rows) / 2
    assert (np.diff(short) > 0).all()
    assert values[short].max() == values.max()


def test_a_large_pool_is_searched_as_if_every_point_were_compared(monkeypatch: pytest.MonkeyPatch):
    space = library(600)
    history = [Observation(p, outputs=hill(p)) for p in (space.pool or ())[:20]]

    def proposed(most: int) -> list[Point]:
        monkeypatch.setattr(module, "_MAX_COMPARED", most)
        planner = BayesianPlanner(space, LOW, seed=4)
        planner.tell(history)
        return planner.ask(3)

    assert proposed(100) == proposed(10_000)


def test_the_best_combination_of_choices_is_found_in_few_trials():
    chance = random.Random(5)
    parameters = tuple(
        Choice(name, tuple(f"{name}{i}" for i in range(n))) for name, n in (("l", 4), ("a", 12), ("b", 5))
    )
    worth = {value: chance.random() for p in parameters for value in p.values}
    space = Space(
        parameters,
        tuple(
            {"l": a, "a": b, "b": c}
            for a in parameters[0].values
            for b in parameters[1].values
            for c in parameters[2].values
        ),
    )
    ideal = -math.prod(max(worth[v] for v in p.values) for p in parameters)

    def trial(point: Point) -> Outputs:
        return {"f": -math.prod(worth[v] for v in point.values())}

    planned = [best(play(BayesianPlanner(space, LOW, seed=s), space, trial, 32)) / ideal for s in range(2)]
    drawn = [best(play(RandomPlanner(space, LOW, seed=s), space, trial, 32)) / ideal for s in range(20)]
    assert statistics.mean(planned) > 0.9 > statistics.mean(drawn) + 0.05
