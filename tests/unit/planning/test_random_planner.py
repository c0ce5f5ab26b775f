import random
import subprocess
import sys
from collections import Counter

import pytest
from planning_examples import LOW, number

from renkei.errors import UsageError
from renkei.model.space import Choice, Integer, Objective, Observation, Point, Real, Space
from renkei.planning import Planner
from renkei.planning.random import RandomPlanner
from renkei.planning.sobol import SobolPlanner

MIXED = Space((Real("t", 1e-6, 1.0, log=True), Integer("n", 1, 4), Choice("c", ("a", "b"))))
POOL = tuple({"x": float(i)} for i in range(20))
POOLED = Space((Real("x", 0.0, 19.0),), POOL)
GRID = Space((Integer("n", 1, 6), Choice("c", (True, 1, "1"))))
BOTH = pytest.mark.parametrize("kind", [RandomPlanner, SobolPlanner])
Kind = type[RandomPlanner] | type[SobolPlanner]


def observed(points: list[Point]) -> list[Observation]:
    return [Observation(point, outputs={"f": 0.0}) for point in points]


def exhausted(planner: Planner, n: int) -> list[Point]:
    """Return all points of a finite space, asked for and told in batches of `n`."""
    found: list[Point] = []
    while points := planner.ask(n):
        found += points
        planner.tell(observed(points))
    return found


@BOTH
def test_the_same_seed_and_history_give_the_same_points(kind: Kind):
    first, second = kind(MIXED, LOW, seed=5), kind(MIXED, LOW, seed=5)
    points = first.ask(7)
    first.tell(observed(points))
    second.tell(observed(points))
    assert first.ask(4) == second.ask(4)


@BOTH
def test_another_seed_gives_other_points(kind: Kind):
    assert kind(MIXED, LOW, seed=1).ask(5) != kind(MIXED, LOW, seed=2).ask(5)
    assert kind(POOLED, LOW, seed=1).ask(20) != kind(POOLED, LOW, seed=2).ask(20)


@BOTH
@pytest.mark.parametrize("space", [MIXED, POOLED, GRID])
def test_points_do_not_depend_on_how_they_are_asked_for(kind: Kind, space: Space):
    together = kind(space, LOW, seed=3).ask(12)
    apart, pending, planner = [], [], kind(space, LOW, seed=3)
    for i in range(12):
        [point] = planner.ask(1, pending)
        apart.append(point)
        pending.append(point)
        if i % 3 == 2:
            planner.tell(observed(pending))
            pending = []
    assert apart == together


@BOTH
def test_points_go_on_over_the_boundary_of_a_block(kind: Kind):
    space = Space((Real("x", 0.0, 1.0),))
    planner = kind(space, LOW, seed=1)
    everything = planner.ask(2100)
    assert kind(space, LOW, seed=1).ask(3, everything[:1022]) == everything[1022:1025]
    late = kind(space, LOW, seed=1)
    late.tell(observed(everything[:2050]))
    assert late.ask(2) == everything[2050:2052]
    # Fewer pending than before: an earlier block is needed again.
    assert planner.ask(2) == everything[:2]


@BOTH
def test_a_planner_draws_nothing_from_the_random_numbers_of_others(kind: Kind):
    random.seed(4)
    before = random.getstate()
    kind(MIXED, LOW, seed=3).ask(5)
    assert random.getstate() == before


@BOTH
@pytest.mark.parametrize("n", [1, 6, 100])
def test_a_pool_is_gone_through_once_in_an_order_of_its_own(kind: Kind, n: int):
    points = exhausted(kind(POOLED, LOW, seed=2), n)
    assert sorted(number(p, "x") for p in points) == [float(i) for i in range(20)]
    assert points != list(POOL)


@BOTH
@pytest.mark.parametrize("n", [1, 7])
def test_a_discrete_space_is_gone_through_once(kind: Kind, n: int):
    points = exhausted(kind(GRID, LOW, seed=2), n)
    assert len(points) == 18
    assert len({(p["n"], type(p["c"]), p["c"]) for p in points}) == 18


@BOTH
def test_every_point_of_a_discrete_space_comes_even_where_drawing_hardly_finds_the_last(kind: Kind):
    space = Space((Integer("n", 1, 3000, log=True), Choice("c", ("a", "b"))))
    assert len({tuple(p.values()) for p in kind(space, LOW, seed=1).ask(10_000)}) == 6000


@BOTH
@pytest.mark.parametrize("space", [POOLED, GRID])
def test_points_that_others_proposed_are_left_out(kind: Kind, space: Space):
    told, pending = kind(space, LOW, seed=8).ask(4), kind(space, LOW, seed=9).ask(4)
    planner = kind(space, LOW, seed=1)
    planner.tell(observed(told))
    rest = planner.ask(100, pending)
    taken, left = {repr(p) for p in [*told, *pending]}, {repr(p) for p in rest}
    assert len(taken) > 4
    assert not taken & left
    assert len(taken | left) == (20 if space is POOLED else 18)


@BOTH
def test_a_sample_listed_twice_is_proposed_once(kind: Kind):
    space = Space((Real("x", 0.0, 1.0),), ({"x": 1}, {"x": 1.0}, {"x": 0.5}))
    assert len(kind(space, LOW).ask(5)) == 2


@BOTH
def test_log_parameters_fill_every_decade_alike(kind: Kind):
    points = kind(MIXED, LOW, seed=0).ask(1200)
    decades = Counter(len(f"{1 / number(p, 't'):.0f}") for p in points)
    assert all(150 < decades[n] < 250 for n in range(1, 7))


@BOTH
def test_whole_numbers_and_choices_come_alike_often(kind: Kind):
    points = kind(MIXED, LOW, seed=0).ask(1200)
    assert all(240 < n < 360 for n in Counter(p["n"] for p in points).values())
    assert all(500 < n < 700 for n in Counter(p["c"] for p in points).values())


@BOTH
@pytest.mark.parametrize(
    ("space", "word"),
    [
        (Space(()), "no parameters"),
        (Space((Real("x", 0, 1), Real("x", 0, 1))), "same name"),
        (Space((Real("x", 0.0, 1.0, log=True),)), "log scale"),
        (Space((Integer("x", 3, 2),)), "low <= high"),
        (Space((Real("x", 0.0, float("inf")),)), "finite"),
        (Space((Integer("x", 0, 2**53),)), "2\\^53"),
        (Space((Choice("x", ()),)), "no values"),
        (Space((Real("x", 0.0, 1.0),), ()), "pool is empty"),
        (Space((Real("x", 0.0, 1.0),), ({"x": 2.0},)), "outside"),
        (Space((Choice("x", ("a", "b")),), ({"x": "c"},)), "expected one of"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused(kind: Kind, space: Space, word: str):
    with pytest.raises(UsageError, match=word):
        kind(space, LOW)


@BOTH
def test_a_told_point_of_another_space_is_refused_where_points_are_kept(kind: Kind):
    with pytest.raises(UsageError, match="missing"):
        kind(POOLED, LOW).tell([Observation({"y": 1.0})])


def test_random_search_needs_no_package():
    program = (
        "import sys; from renkei.planning import create; from renkei.model.space import *;"
        "create('random', Space((Real('x', 0, 1),)), [Objective('f')]).ask(3);"
        "create('sobol', Space((Real('x', 0, 1),), ({'x': 1},)), [Objective('f')]).ask(3);"
        "assert not {'numpy', 'scipy', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_objectives_and_earlier_campaigns_do_not_change_a_baseline():
    warm = [Observation({"x": 3.0}, outputs={"f": 0.0})]
    plain = SobolPlanner(POOLED, LOW, seed=1).ask(20)
    assert SobolPlanner(POOLED, [Objective("g", "maximize")], seed=1, warm=warm).ask(20) == plain
