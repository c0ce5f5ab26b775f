"""What every adapter does around the package of others, shown with packages made up here."""

import logging
import math
import random
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pytest
from threadpoolctl import threadpool_info

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
from renkei.planning import create
from renkei.planning.adapters._adapted import AdaptedPlanner, Trial
from renkei.planning.adapters._features import features, nearest
from renkei.planning.adapters._surroundings import surroundings
from renkei.testing.planners import PlannerContract, PlannerLab

LINE = Space((Real("x", 0.0, 10.0),), tuple({"x": float(i)} for i in range(11)))
OPEN = Space((Real("x", 0.0, 10.0),))
LOW = [Objective("f")]


class Made(AdaptedPlanner):
    """Draws points as a package would that remembers nothing."""

    title = "Made"
    extra = "planner"
    packages = ()

    def __init__(
        self,
        space: Space,
        objectives: Sequence[Objective] = LOW,
        *,
        constraints: Sequence[Constraint] = (),
        seed: int = 0,
        warm: Sequence[Observation] = (),
    ) -> None:
        super().__init__(space, objectives, constraints, seed, warm)

    def propose(
        self, n: int, pending: Sequence[Point], left: Sequence[Point], seed: int
    ) -> Sequence[Mapping[str, Value]]:
        return [self._any() for _ in range(n)]

    def _any(self) -> Point:
        point: Point = {}
        for p in self.space.parameters:
            if isinstance(p, Choice):
                point[p.name] = random.choice(p.values)
            else:
                point[p.name] = p.low if isinstance(p, Integer) else random.uniform(p.low, p.high)
        return point


class Stubborn(Made):
    """Always wants the same."""

    def _any(self) -> Point:
        return {"x": 7.2}


class Failing(Made):
    def _any(self) -> Point:
        raise np.linalg.LinAlgError("singular")


class TestMade(PlannerContract):
    @pytest.fixture
    def lab(self) -> PlannerLab:
        return PlannerLab(Made, learns=False, has_parameter_constraints=False)


def test_the_nearest_point_that_is_left_comes_in_place_of_one_that_is_not_of_the_pool():
    planner = Stubborn(LINE)
    assert planner.ask(3) == [{"x": 7.0}, {"x": 8.0}, {"x": 6.0}]
    assert planner.ask(1, pending=[{"x": 7.0}]) == [{"x": 8.0}]
    planner.tell([Observation({"x": 7.0}, "abandoned"), Observation({"x": 8.0}, "infeasible")])
    assert planner.ask(1) == [{"x": 6.0}]


def test_another_point_comes_in_place_of_one_that_was_tried_where_points_cannot_be_listed():
    planner = Stubborn(OPEN)
    first, second = planner.ask(2)
    assert first == {"x": 7.2}
    assert OPEN.problems(second) == []
    assert second != first


def test_a_package_that_fails_costs_a_random_point_and_a_warning(caplog: pytest.LogCaptureFixture):
    for space in (LINE, OPEN):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "renkei"):
            points = Failing(space).ask(2)
        assert len({point["x"] for point in points}) == 2
        assert [r.getMessage() for r in caplog.records] == [
            "Made proposed nothing at trial 0, a random point instead: singular"
        ]
        assert Failing(space).ask(2) == points
        assert Failing(space, seed=1).ask(2) != points


def test_a_package_is_told_losses_and_what_is_bounded():
    objectives = [Objective("f", "maximize"), Objective("g", "target", 2.0)]
    planner = Made(OPEN, objectives, constraints=[Constraint("h", upper=1.0)])
    planner.tell(
        [
            Observation({"x": 1.0, "source": "fast"}, outputs={"f": 3.0, "g": 1.5, "h": 4.0}, noise={"g": 0.1}),
            Observation({"x": 2.0}, outputs={"f": 3.0, "g": 1.5}),
            Observation({"x": 3.0}, outputs={"f": math.inf, "g": 1.5, "h": 0.0}),
            Observation({"x": 4.0}, "abandoned"),
            Observation({"x": 40.0}, outputs={"f": 3.0, "g": 1.5, "h": 4.0}),
        ]
    )
    seen = planner.history[0]
    assert (seen.point, seen.losses, seen.bounded) == ({"x": 1.0}, (-3.0, 0.5), (4.0,))
    assert [math.isnan(each) for each in seen.noise] == [True, False, True]
    assert planner.history[1:] == [
        Trial({"x": 2.0}, "infeasible"),
        Trial({"x": 3.0}, "infeasible"),
        Trial({"x": 4.0}, "abandoned"),
    ]


def test_an_unknown_outcome_is_refused():
    with pytest.raises(UsageError, match="outcome 'lost'"):
        Made(OPEN).tell([Observation({"x": 1.0}, "lost")])


@pytest.mark.parametrize(
    ("objectives", "word"),
    [
        ([], "needs an objective"),
        ([Objective("f", "explore")], "no goal is named 'explore'"),
        ([Objective("f", "target")], "needs its target"),
    ],
)
def test_objectives_that_make_no_sense_are_refused(objectives: list[Objective], word: str):
    with pytest.raises(UsageError, match=word):
        Made(OPEN, objectives)


def test_what_a_package_has_not_is_refused(monkeypatch: pytest.MonkeyPatch):
    bounds = (ParameterConstraint((("x", 1.0),), upper=5.0),)
    with pytest.raises(UsageError, match="Made knows no constraints between parameters"):
        Made(Space(OPEN.parameters, constraints=bounds))
    monkeypatch.setattr(Made, "has_constraints", False)
    with pytest.raises(UsageError, match="Made knows no constraints on outputs"):
        Made(OPEN, constraints=[Constraint("g", upper=1.0)])
    monkeypatch.setattr(Made, "has_several_objectives", False)
    with pytest.raises(UsageError, match="Made takes one objective only"):
        Made(OPEN, [Objective("f"), Objective("g")])
    monkeypatch.setattr(Made, "lists_only", True)
    with pytest.raises(UsageError, match="too many to list"):
        Made(OPEN)
    assert len(Made(LINE).ask(20)) == 11


@pytest.mark.parametrize(
    ("name", "options"), [("optuna", {}), ("ax", {}), ("physbo", {}), ("nimo", {}), ("gest", {"generator": "a:B"})]
)
def test_a_package_that_is_not_installed_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, name: str, options: dict[str, str]
):
    def spec(package: str) -> object:
        return package if package == "numpy" else None

    monkeypatch.setattr("renkei.planning._port.find_spec", spec)
    with pytest.raises(UsageError, match="not installed") as refused:
        create(name, LINE, LOW, options=options)
    assert refused.value.hint == f"Install it with: pip install 'renkei[{name}]'."


def test_features_are_at_the_scale_of_the_space():
    space = Space((Real("t", 0.01, 100.0, log=True), Choice("c", ("a", 1, True)), Integer("n", 3, 3)))
    rows = features(space, [{"t": 1.0, "c": 1, "n": 3}, {"t": 100.0, "c": True, "n": 3}])
    half = 0.5**0.5
    np.testing.assert_allclose(rows, [[0.5, 0.0, half, 0.0, 0.0], [1.0, 0.0, 0.0, half, 0.0]])
    assert nearest(rows, rows[1]) == 1


def blas_threads() -> set[int]:
    pools = cast("list[dict[str, Any]]", threadpool_info())
    return {pool["num_threads"] for pool in pools if pool["user_api"] == "blas"}


def test_the_surroundings_are_as_they_were(capsys: pytest.CaptureFixture[str]):
    random.seed(3)
    np.random.seed(3)
    expected = random.Random(3).random(), np.random.RandomState(3).random_sample()
    logger = logging.getLogger("json.decoder")
    logger.setLevel(logging.INFO)
    drawn: list[tuple[float, float]] = []
    n_threads = blas_threads()
    for _ in range(2):
        with surroundings(["json"], 5, muted=True):
            assert blas_threads() == {1}
            drawn.append((random.random(), np.random.random_sample()))
            warnings.warn("not for users", stacklevel=1)
            logger.warning("nor this")
            print("nor that")
    assert drawn[0] == drawn[1]
    assert blas_threads() == n_threads
    assert (random.random(), np.random.random_sample()) == expected
    logger.warning("this is")
    print("and this")
    said = capsys.readouterr()
    assert said.out == "and this\n"
    assert "nor" not in said.err
