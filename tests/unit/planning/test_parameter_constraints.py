"""Known linear constraints between parameters: every planner holds them, and finds what lies on their edge."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from planning_examples import LOW, best, number, play

from renkei.errors import UsageError
from renkei.model.space import Choice, Integer, Observation, Parameter, ParameterConstraint, Point, Real, Space
from renkei.planning.bayesian import BayesianPlanner
from renkei.planning.random import RandomPlanner
from renkei.planning.sobol import SobolPlanner


def reals(n: int) -> tuple[Parameter, ...]:
    return tuple(Real(f"x{i}", 0.0, 1.0) for i in range(n))


def total(n: int, lower: float, upper: float) -> ParameterConstraint:
    return ParameterConstraint(tuple((f"x{i}", 1.0) for i in range(n)), lower, upper)


MIXTURE = Space(reals(4), constraints=(total(4, 1.0, 1.0),))
HALF = Space(reals(2), constraints=(total(2, -math.inf, 1.0),))
CORNER = Space(reals(6), constraints=(total(6, -math.inf, 0.5),))
SLAB = Space(reals(3), constraints=(total(3, 1.0, 1.0 + 1e-6),))
EVERYTHING = Space(
    (Real("a", 1e-3, 1e3, log=True), Integer("n", 1, 50), Integer("m", 1, 90, log=True), Choice("c", ("u", "v"))),
    constraints=(
        ParameterConstraint((("a", 1.0), ("n", 2.0), ("m", 1.0)), upper=10.0),
        ParameterConstraint((("n", 1.0), ("m", -1.0)), lower=0.0),
    ),
)
WIDE = Space(
    (Real("a", -1e6, 1e6), Real("b", -1e6, 1e6)), constraints=(ParameterConstraint((("a", 1.0), ("b", 1.0)), 0.0, 0.0),)
)
SMALL = Space(
    (Real("a", 1e-9, 9e-9), Real("b", 1e-9, 9e-9)), constraints=(ParameterConstraint((("a", 1.0), ("b", -1.0)), 0.0),)
)
COUNTED = Space(tuple(Integer(f"x{i}", 0, 10) for i in range(6)), constraints=(total(6, 10.0, 10.0),))
HUGE = Space(tuple(Integer(f"x{i}", 0, 1000) for i in range(4)), constraints=(total(4, -math.inf, 900.0),))
SPACES = {
    "mixture": MIXTURE, "half": HALF, "corner": CORNER, "slab": SLAB, "everything": EVERYTHING, "wide": WIDE,
    "small": SMALL, "counted": COUNTED, "huge": HUGE,
}  # fmt: skip
KINDS = [RandomPlanner, SobolPlanner, BayesianPlanner]


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_point_holds_the_constraints(kind: Any, space: Space):
    def trial(point: Point) -> dict[str, float]:
        return {"f": sum(math.log1p(abs(value)) for value in point.values() if not isinstance(value, str))}

    planner = kind(space, LOW, seed=3)
    history = play(planner, space, trial, 9, batch=3)  # asserts that points are of the space
    assert len({tuple(o.point.values()) for o in history}) == 9
    assert all(space.problems(point) == [] for point in planner.ask(2, pending=planner.ask(2)))


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("kind", [RandomPlanner, SobolPlanner])
def test_designs_are_one_order_however_they_are_asked_for(kind: Any, space: Space):
    together = kind(space, LOW, seed=3).ask(9)
    planner = kind(space, LOW, seed=3)
    apart: list[Point] = []
    pending: list[Point] = []
    for at in range(9):
        [point] = planner.ask(1, pending)
        apart.append(point)
        pending.append(point)
        if at == 4:
            planner.tell([Observation(p, outputs={"f": 0.0}) for p in pending])
            pending = []
    assert apart == together
    assert kind(space, LOW, seed=4).ask(9) != together


def test_shares_of_a_mixture_are_drawn_uniformly():
    """Marginals of the uniform distribution on a simplex are Beta(1, d - 1)."""
    n = 5
    points = RandomPlanner(Space(reals(n), constraints=(total(n, 1.0, 1.0),)), LOW, seed=1).ask(3000)
    for name in points[0]:
        shares = [number(point, name) for point in points]
        mean = sum(shares) / len(shares)
        assert mean == pytest.approx(1 / n, rel=0.06)
        assert sum((s - mean) ** 2 for s in shares) / len(shares) == pytest.approx((n - 1) / (n**2 * (n + 1)), rel=0.12)
        assert sum(s < 0.1 for s in shares) / len(shares) == pytest.approx(1 - 0.9 ** (n - 1), rel=0.1)


def test_a_walk_and_rejection_draw_from_the_same_distribution():
    """Whole numbers and log scales bend the region; what is left of it is drawn from alike."""
    free = Space(EVERYTHING.parameters)
    struck = [p for p in RandomPlanner(free, LOW, seed=1).ask(50_000) if EVERYTHING.problems(p) == []]
    walked = RandomPlanner(EVERYTHING, LOW, seed=1).ask(1024)
    assert 200 < len(struck) < 50_000 / 64  # so few that the planner walks
    for name in ("a", "n", "m"):
        drawn = [math.log(number(point, name)) for point in struck]
        centre = sum(drawn) / len(drawn)
        spread = math.sqrt(sum((value - centre) ** 2 for value in drawn) / len(drawn))
        reached = sum(math.log(number(point, name)) for point in walked) / len(walked)
        assert abs(reached - centre) < 0.2 * spread


def test_all_points_of_a_countable_space_come_once():
    points = RandomPlanner(COUNTED, LOW, seed=1).ask(10_000)
    assert len(points) == math.comb(15, 5)
    assert len({tuple(point.values()) for point in points}) == len(points)


def test_a_space_of_one_point_is_exhausted_by_it():
    space = Space(
        reals(2), constraints=(total(2, 1.0, 1.0), ParameterConstraint((("x0", 1.0), ("x1", -1.0)), 0.0, 0.0))
    )
    [point] = RandomPlanner(space, LOW).ask(5)
    assert [number(point, name) for name in ("x0", "x1")] == pytest.approx([0.5, 0.5])


def distance(to: dict[str, float]) -> Callable[[Point], dict[str, float]]:
    return lambda point: {"f": math.sqrt(sum((number(point, name) - value) ** 2 for name, value in to.items()))}


@pytest.mark.parametrize(
    ("space", "wanted", "optimum", "n"),
    [
        pytest.param(HALF, {"x0": 0.9, "x1": 0.8}, 0.7 / math.sqrt(2), 12, id="edge"),
        pytest.param(MIXTURE, {"x0": 0.6, "x1": 0.3, "x2": 0.1, "x3": 0.0}, 0.0, 18, id="edge of an equation"),
        pytest.param(SLAB, {"x0": 0.2, "x1": 0.5, "x2": 0.3}, 0.0, 12, id="slab"),
    ],
)
def test_a_model_finds_what_lies_on_an_edge(space: Space, wanted: dict[str, float], optimum: float, n: int):
    trial = distance(wanted)
    found = best(play(BayesianPlanner(space, LOW, seed=1), space, trial, n))
    chance = best(play(RandomPlanner(space, LOW, seed=1), space, trial, n))
    assert found - optimum < 0.04
    assert found - optimum < (chance - optimum) / 3


def test_whole_numbers_are_exchanged_along_an_edge():
    """Where a sum is used up, no whole number can be raised unless another is lowered."""
    goal = {"x0": 700.0, "x1": 200.0, "x2": 0.0, "x3": 0.0}

    def trial(point: Point) -> dict[str, float]:
        return {"f": sum(abs(number(point, name) - value) / 1000 for name, value in goal.items())}

    assert best(play(BayesianPlanner(HUGE, LOW, seed=1), HUGE, trial, 18)) < 0.1


def test_a_pool_with_points_that_break_a_constraint_is_refused():
    space = Space(reals(2), ({"x0": 0.1, "x1": 0.2}, {"x0": 0.9, "x1": 0.2}), (total(2, -math.inf, 1.0),))
    for kind in KINDS:
        with pytest.raises(
            UsageError, match=r"The pool has points that are not of the space: x0 \+ x1: 1.1 is outside"
        ):
            kind(space, LOW)


def test_a_large_share_is_not_walked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("renkei.planning._design._walk", None)
    assert len(RandomPlanner(HALF, LOW).ask(3)) == 3


@pytest.mark.parametrize(
    ("constraints", "word"),
    [
        ((ParameterConstraint((("z", 1.0),), upper=1.0),), "constraint 'z': z: found an unknown parameter"),
        ((ParameterConstraint((("c", 1.0),), upper=1.0),), "c: found a choice"),
        ((ParameterConstraint((), upper=1.0),), "found no terms"),
        ((ParameterConstraint((("x", 0.0),), upper=1.0),), "expected a finite factor other than 0"),
        ((ParameterConstraint((("x", math.nan),), upper=1.0),), "expected a finite factor other than 0"),
        ((ParameterConstraint((("x", 1.0),), 2.0, 1.0),), "found bounds 2 and 1, expected lower <= upper"),
        ((ParameterConstraint((("x", 1.0),), math.nan, 1.0),), "expected lower <= upper"),
        ((ParameterConstraint((("t", 1.0),), 0.5, 0.5),), "log scale in an equation"),
        (
            (ParameterConstraint((("x", 1.0), ("n", 1.0)), upper=-1.0),),
            "found nothing possible: x [+] n lies between 0",
        ),
        ((ParameterConstraint((("x", 1.0), ("n", 0.25)), 1.0, 1.0),), "equation between parameters has a whole number"),
        (
            (
                ParameterConstraint((("x", 1.0), ("n", 1.0)), 2.0),
                ParameterConstraint((("x", 1.0), ("n", 2.0)), upper=2.0),
            ),
            "no point satisfies its constraints",
        ),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_constraints_that_cannot_be_are_refused(kind: Any, constraints: tuple[ParameterConstraint, ...], word: str):
    parameters = (Real("x", 0.0, 1.0), Integer("n", 0, 3), Real("t", 0.1, 1.0, log=True), Choice("c", ("u", "v")))
    with pytest.raises(UsageError, match=word):
        kind(Space(parameters, constraints=constraints), LOW)


def test_whole_numbers_that_cannot_add_up_are_refused():
    odd = ParameterConstraint((("x0", 2.0), ("x1", 2.0)), 7.0, 7.0)
    with pytest.raises(UsageError, match="no point satisfies its constraints"):
        RandomPlanner(Space((Integer("x0", 0, 9), Integer("x1", 0, 9)), constraints=(odd,)), LOW)


def test_a_constraint_shows_itself_and_lets_rounding_errors_pass():
    shares = ParameterConstraint((("a", 1.0), ("b", -2.5)), 0.0, 0.0)
    space = Space((Real("a", 0.0, 1.0), Real("b", 0.0, 1.0)), constraints=(shares,))
    assert space.problems({"a": 0.75, "b": 0.3}) == []
    assert space.problems({"a": 0.75 + 1e-12, "b": 0.3}) == []
    assert space.problems({"a": 0.8, "b": 0.3}) == ["a + -2.5 b: 0.05 is outside [0, 0]"]
    tiny = ParameterConstraint((("a", 1.0), ("b", -1.0)), lower=0.0)
    assert tiny.problem({"a": 1e-12, "b": 2e-12}) is not None
