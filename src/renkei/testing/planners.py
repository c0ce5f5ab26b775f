"""What every planner must do: a suite that runs against any of them.

::

    class TestMine(PlannerContract):
        @pytest.fixture
        def lab(self) -> PlannerLab:
            return PlannerLab(MyPlanner)
"""

import math
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

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
)
from renkei.planning import Planner

MIXED = Space((Real("t", 1e-6, 1.0, "s", log=True), Integer("n", 1, 20), Choice("c", ("a", "b", "c"))))
GRID = Space((Integer("n", 1, 6), Choice("c", ("a", "b", "c")), Integer("m", 1, 100, log=True)))
SMALL = Space((Integer("n", 1, 5), Choice("c", ("a", "b"))))
POOL = Space(
    (Real("x", 0.0, 1.0), Choice("c", ("a", "b"))),
    tuple({"x": x / 20, "c": c} for x in range(20) for c in ("a", "b") if (x, c) != (3, "b")),
)
LOW = (Objective("f"),)


@dataclass(frozen=True)
class PlannerLab:
    """A planner to be tested, and what it can do.

    Args:
        make: Makes one, as `renkei.planning.create` does: `make(space, objectives, constraints=, seed=, warm=)`.
        n_initial: Trials to tell before what it was told counts.
        learns: Whether what it was told ever counts.
        has_reals: Whether it searches real numbers, and not only points that can be listed.
        has_constraints: Whether it takes constraints on outputs.
        has_several_objectives: Whether it takes several objectives.
        has_parameter_constraints: Whether it takes constraints between real parameters.
    """

    make: Callable[..., Planner]
    n_initial: int = 12
    learns: bool = True
    has_reals: bool = True
    has_constraints: bool = True
    has_several_objectives: bool = True
    has_parameter_constraints: bool = True

    @property
    def space(self) -> Space:
        """A space with all that it searches."""
        return MIXED if self.has_reals else GRID

    def new(
        self, space: Space | None = None, objectives: Sequence[Objective] = LOW, seed: int = 1, **more: Any
    ) -> Planner:
        """Return a new planner."""
        return self.make(space or self.space, objectives, **({"constraints": (), "warm": ()} | more), seed=seed)

    def points(self, n: int, space: Space | None = None, seed: int = 7) -> list[Point]:
        """Return `n` distinct points that somebody else proposes."""
        space = space or self.space
        if space.pool is not None:
            return [dict(point) for point in space.pool[:n]]
        draw = random.Random(seed)  # noqa: S311
        found: list[Point] = []
        while len(found) < n:
            point: Point = {p.name: _drawn(p, draw) for p in space.parameters}
            if point not in found and not space.problems(point):
                found.append(point)
        return found

    def history(self, n: int = 0, space: Space | None = None) -> list[Observation]:
        """Return `n` observed trials, by default as many as it takes before they count."""
        return [observed(point) for point in self.points(n or self.n_initial, space)]


def observed(point: Point) -> Observation:
    """Return an observation with outputs f (smallest in the middle of every number, at choice "a") and g."""
    f = sum((_middle(name, value) for name, value in point.items()), 0.0)
    return Observation(point, outputs={"f": f, "g": 1.0 - f + 0.1 * (point.get("c") == "b")})


class PlannerContract:
    """The tests. A subclass brings the fixture `lab`."""

    def test_the_same_history_and_seed_give_the_same_points(self, lab: PlannerLab) -> None:
        pending = lab.points(2, seed=8)
        first, second = lab.new(), lab.new()
        for planner in (first, second):
            planner.tell(lab.history())
        points = first.ask(2, pending)
        assert second.ask(2, pending) == points
        assert first.ask(2, pending) == points, "asking changes nothing"
        assert len(points) == 2
        assert not [point for point in points if lab.space.problems(point)]

    def test_it_does_not_matter_in_which_batches_it_was_told(self, lab: PlannerLab) -> None:
        history = lab.history()
        together, apart = lab.new(), lab.new()
        together.tell(history)
        for start in range(0, len(history), 5):
            apart.tell(history[start : start + 5])
            apart.tell([])
        assert apart.ask(1) == together.ask(1)

    def test_it_does_not_matter_what_was_asked_before(self, lab: PlannerLab) -> None:
        asked, fresh = lab.new(), lab.new()
        asked.ask(3)
        for planner in (asked, fresh):
            planner.tell(lab.history())
        asked.ask(1, lab.points(1, seed=8))
        assert asked.ask(1) == fresh.ask(1)

    def test_another_seed_gives_other_points(self, lab: PlannerLab) -> None:
        assert lab.new(seed=1).ask(5) != lab.new(seed=2).ask(5)

    def test_it_has_random_numbers_of_its_own(self, lab: PlannerLab) -> None:
        states = _random_states()
        planner = lab.new()
        planner.ask(2)
        planner.tell(lab.history())
        planner.ask(1)
        assert _random_states(of=states) == states

    def test_points_are_of_the_space_and_not_pending(self, lab: PlannerLab) -> None:
        planner = lab.new()
        pending: list[Point] = []
        for _ in range(3):
            points = planner.ask(3, pending)
            assert len(points) == 3
            assert not [point for point in points if lab.space.problems(point)]
            pending += points
        assert len({repr(sorted(point.items())) for point in pending}) == 9

    def test_points_that_it_gave_away_are_the_callers(self, lab: PlannerLab) -> None:
        planner = lab.new(POOL)
        [point] = planner.ask(1)
        kept = dict(point)
        point.clear()
        assert planner.ask(1) == [kept]
        assert POOL.pool is not None
        assert kept in POOL.pool

    @pytest.mark.parametrize("space", [POOL, SMALL], ids=["pool", "grid"])
    def test_every_listed_point_comes_once_and_then_none(self, lab: PlannerLab, space: Space) -> None:
        # All but the last are told by somebody else, so that a model is asked a few times only.
        size = len(space.pool) if space.pool is not None else 10
        told = lab.history(size - 6, space)
        planner = lab.new(space)
        planner.tell(told)
        found = [o.point for o in told]
        while points := planner.ask(4, pending=[]):
            assert len(points) == min(4, size - len(found))
            found += points
            planner.tell([observed(point) for point in points])
        assert len(found) == len({repr(sorted(point.items())) for point in found}) == size
        assert not [point for point in found if space.problems(point)]
        assert planner.ask(1) == []

    @pytest.mark.parametrize("space", [POOL, SMALL], ids=["pool", "grid"])
    def test_pending_points_are_not_proposed_again(self, lab: PlannerLab, space: Space) -> None:
        size = len(space.pool) if space.pool is not None else 10
        pending = lab.points(size - 3, space)
        left = lab.new(space).ask(size, pending)
        assert len(left) == 3
        assert not [point for point in left if point in pending]

    def test_a_batch_that_is_larger_than_what_is_left_is_what_is_left(self, lab: PlannerLab) -> None:
        assert len(lab.new(SMALL).ask(64)) == 10

    @pytest.mark.parametrize(
        "kind", ["infeasible", "abandoned", "not finite", "constant", "huge", "outputs missing", "one point"]
    )
    def test_legal_points_come_from_histories_that_say_little(self, lab: PlannerLab, kind: str) -> None:
        points = lab.points(lab.n_initial)
        history = {
            "infeasible": [Observation(point, "infeasible") for point in points],
            "abandoned": [Observation(point, "abandoned") for point in points],
            "not finite": [
                Observation(p, outputs={"f": (math.nan, math.inf, -math.inf)[i % 3]}) for i, p in enumerate(points)
            ],
            "constant": [Observation(point, outputs={"f": 2.0}) for point in points],
            "huge": [Observation(p, outputs={"f": (-1.0) ** i * 10.0 ** (20 * i)}) for i, p in enumerate(points)],
            "outputs missing": [Observation(point) for point in points],
            "one point": [Observation(points[0], outputs={"f": float(i)}) for i in range(len(points))],
        }[kind]
        planner = lab.new()
        planner.tell(history)
        [point] = planner.ask(1)
        assert lab.space.problems(point) == []
        assert point not in [o.point for o in history if o.outcome != "abandoned"]

    def test_failed_trials_among_others_are_borne(self, lab: PlannerLab) -> None:
        history = [
            Observation(o.point, ("infeasible", "abandoned")[i % 2]) if i % 4 == 3 else o
            for i, o in enumerate(lab.history(lab.n_initial + 4))
        ]
        planner = lab.new()
        planner.tell(history)
        points = planner.ask(2)
        assert len(points) == 2
        assert not [point for point in points if point in [o.point for o in history if o.outcome != "abandoned"]]

    @pytest.mark.parametrize(
        "bad",
        [
            Observation({"x": 0.5}, outputs={"f": 1.0}),
            Observation({"x": 0.5, "c": "z"}, outputs={"f": 1.0}),
            Observation({"x": "warm", "c": "a"}, outputs={"f": 1.0}),
            Observation({"x": math.nan, "c": "a"}, outputs={"f": 1.0}),
        ],
        ids=["missing", "unknown choice", "not a number", "nan"],
    )
    def test_a_bad_point_is_refused_and_the_others_told_with_it_too(self, lab: PlannerLab, bad: Observation) -> None:
        planner = lab.new(POOL)
        first = planner.ask(3)
        with pytest.raises(UsageError):
            planner.tell([observed(first[0]), bad])
        assert planner.ask(3) == first

    @pytest.mark.parametrize(
        "space",
        [
            Space(()),
            Space((Integer("x", 0, 1), Integer("x", 0, 1))),
            Space((Integer("x", 3, 2),)),
            Space((Choice("x", ()),)),
            Space((Integer("x", 0, 5),), ()),
            Space((Integer("x", 0, 5),), ({"x": 7},)),
        ],
        ids=["empty", "same name", "turned bounds", "no values", "empty pool", "pool beyond bounds"],
    )
    def test_a_space_that_cannot_be_searched_is_refused(self, lab: PlannerLab, space: Space) -> None:
        with pytest.raises(UsageError):
            lab.new(space)

    def test_trials_of_earlier_campaigns_may_be_proposed_again(self, lab: PlannerLab) -> None:
        warm = lab.history(9, SMALL)
        assert len(lab.new(SMALL, warm=warm).ask(20)) == 10

    def test_a_space_without_an_end_is_searched_or_refused(self, lab: PlannerLab) -> None:
        if lab.has_reals:
            assert MIXED.problems(lab.new(MIXED).ask(1)[0]) == []
        else:
            with pytest.raises(UsageError):
                lab.new(MIXED)

    def test_constraints_on_outputs_are_taken_or_refused(self, lab: PlannerLab) -> None:
        constraints = [Constraint("g", 0.2, 0.9), Constraint("f", upper=3.0)]
        if lab.has_constraints:
            planner = lab.new(constraints=constraints)
            planner.tell(lab.history())
            assert lab.space.problems(planner.ask(1)[0]) == []
        else:
            with pytest.raises(UsageError):
                lab.new(constraints=constraints)

    def test_several_objectives_are_taken_or_refused(self, lab: PlannerLab) -> None:
        objectives = [Objective("f", "target", 0.3), Objective("g", "maximize")]
        if lab.has_several_objectives:
            planner = lab.new(objectives=objectives)
            planner.tell(lab.history())
            assert lab.space.problems(planner.ask(1)[0]) == []
        else:
            with pytest.raises(UsageError):
                lab.new(objectives=objectives)

    def test_constraints_between_parameters_hold_or_are_refused(self, lab: PlannerLab) -> None:
        bounds = (ParameterConstraint((("x", 1.0), ("y", 2.0)), 0.4, 0.9),)
        space = Space((Real("x", 0.0, 1.0), Real("y", 0.0, 1.0)), constraints=bounds)
        if lab.has_parameter_constraints:
            planner = lab.new(space)
            points = planner.ask(6)
            planner.tell([observed(point) for point in points] + lab.history(space=space))
            points += planner.ask(2)
            assert len(points) == 8
            assert not [problem for point in points for problem in space.problems(point)]
        else:
            with pytest.raises(UsageError):
                lab.new(space)

    def test_listed_points_satisfy_constraints_between_parameters(self, lab: PlannerLab) -> None:
        bounds = (ParameterConstraint((("x", 1.0), ("y", 1.0)), upper=4.0),)
        space = Space((Integer("x", 0, 4), Integer("y", 0, 4)), constraints=bounds)
        points = lab.new(space).ask(50)
        assert len(points) == 15
        assert not [problem for point in points for problem in space.problems(point)]

    def test_it_finds_what_is_good_sooner_than_chance(self, lab: PlannerLab) -> None:
        if not lab.learns:
            pytest.skip("this planner does not look at outputs")
        assert POOL.pool is not None
        best = sorted(observed(dict(point)).outputs["f"] for point in POOL.pool)[2]
        told = [observed(dict(point)) for point in POOL.pool[:: len(POOL.pool) // lab.n_initial]]
        told = [o for o in told if o.outputs["f"] > best][: lab.n_initial]
        planner = lab.new(POOL)
        planner.tell(told)
        n_left, n_asked = len(POOL.pool) - len(told), 0
        while n_asked <= n_left:
            [point] = planner.ask(1)
            n_asked += 1
            planner.tell([observed(point)])
            if observed(point).outputs["f"] <= best:
                break
        # Draws without replacement until one of three good points comes: (n + 1) / 4 on average.
        assert n_asked < (n_left + 1) / 4


def _drawn(parameter: Real | Integer | Choice, draw: random.Random) -> Any:
    if isinstance(parameter, Choice):
        return draw.choice(parameter.values)
    if isinstance(parameter, Integer):
        return draw.randint(parameter.low, parameter.high)
    if parameter.log:
        return math.exp(draw.uniform(math.log(parameter.low), math.log(parameter.high)))
    return draw.uniform(parameter.low, parameter.high)


def _middle(name: str, value: Any) -> float:
    """Return how far a value lies from where f is smallest."""
    if name == "c":
        return 0.0 if value == "a" else 0.25
    if name == "t":
        return ((math.log10(value) + 3) / 3) ** 2
    if name == "m":
        return (math.log10(value) - 1) ** 2
    return float((value - 4) / 4 if name == "n" else 2 * value - 1) ** 2


def _random_states(of: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the states of random numbers that belong to the process, of packages that are imported."""
    states: dict[str, Any] = {"random": random.getstate()}
    for name in ("numpy", "torch"):
        if name in sys.modules and (of is None or name in of):
            module: Any = sys.modules[name]
            state: Any = module.random.get_state() if name == "numpy" else module.get_rng_state()
            states[name] = repr(state[1].tolist() + list(state[2:])) if name == "numpy" else repr(state.tolist())
    return states
