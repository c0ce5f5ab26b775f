"""The generator standard both ways: planners as generators, and generators as planners."""

# pyright: basic, reportMissingImports=false

import math
from typing import Any

import pytest

from renkei.errors import UsageError
from renkei.model.space import Choice, Constraint, Integer, Objective, Observation, Point, Real, Space

pytest.importorskip("gest_api", reason="not installed: gest_api")

from gest_api.vocs import VOCS
from gest_generators import Climber

from renkei.planning.adapters.generator import GestGenerator
from renkei.planning.adapters.gest import GestPlanner
from renkei.planning.random import RandomPlanner

VARIABLES: dict[str, Any] = {"x": [0.0, 1.0], "c": {3, 1, 2}}
PLAIN = VOCS(variables=VARIABLES, objectives={"f": "MINIMIZE"}, constants={"k": 7.0}, observables={"seen"})
DISCRETE = VOCS(variables={"c": {1, 2, 3}}, objectives={"f": "MAXIMIZE"})
SPACE = Space((Real("x", 0.0, 1.0), Choice("c", (1, 2, 3))))


def result(point: dict[str, Any], f: float = 1.0) -> dict[str, Any]:
    return {**point, "f": f}


# ---- planners as generators


def test_a_planner_suggests_its_points_with_constants_and_ids():
    points = GestGenerator(PLAIN, "random", seed=5).suggest(3)
    expected = RandomPlanner(SPACE, [Objective("f")], seed=5).ask(3)
    assert points == [{**point, "k": 7.0, "_id": i} for i, point in enumerate(expected)]


def test_what_was_suggested_is_not_suggested_again_and_all_of_it_is_learned():
    generator = GestGenerator(DISCRETE, "random")
    first = generator.suggest()
    second = generator.suggest(2)
    assert {point["c"] for point in first + second} == {1, 2, 3}
    with pytest.raises(ValueError, match="0 of 1 points are left"):
        generator.suggest(1)
    assert generator.suggest() == []
    generator.ingest([result(point) for point in first + second])
    assert generator.suggest(None) == []


def test_results_of_others_are_learned_too():
    generator = GestGenerator(DISCRETE, "random")
    generator.ingest([{"c": 2, "f": 0.5}])
    assert {point["c"] for point in generator.suggest(2)} == {1, 3}
    generator.finalize()


def test_results_steer_a_planner_that_learns():
    pytest.importorskip("botorch")
    generator = GestGenerator(VOCS(variables={"x": [0.0, 1.0]}, objectives={"f": "MAXIMIZE"}), seed=2)
    for _ in range(12):
        generator.ingest([result(point, -((point["x"] - 0.7) ** 2)) for point in generator.suggest(1)])
    assert abs(generator.suggest(1)[0]["x"] - 0.7) < 0.1


@pytest.mark.parametrize(
    ("results", "word"),
    [
        ([{"x": 0.5, "c": 1, "f": 1.0, "_id": 9}], "no point is waited for that has the _id 9"),
        ([{"x": 0.5, "c": 1, "f": 1.0, "_id": 0}] * 2, "no point is waited for that has the _id 0"),
        ([{"x": 0.5, "c": 1}], "a result lacks f"),
        ([{"c": 1, "f": 1.0}], "a result lacks x"),
        ([{"x": 1.5, "c": 1, "f": 1.0}], "outside"),
    ],
)
def test_results_that_make_no_sense_are_refused_whole(results: list[dict[str, Any]], word: str):
    generator = GestGenerator(PLAIN, "random")
    [point] = generator.suggest(1)
    with pytest.raises(ValueError, match=word):
        generator.ingest([*results, result(point)] if "_id" not in results[0] else results)
    generator.ingest([result(point)])


def test_a_result_that_is_not_finite_is_infeasible(monkeypatch: pytest.MonkeyPatch):
    told: list[Observation] = []
    monkeypatch.setattr(RandomPlanner, "tell", lambda self, observations: told.extend(observations))
    generator = GestGenerator(PLAIN, "random")
    generator.ingest([{"x": 0.5, "c": 1, "f": math.nan}, {"x": 0.4, "c": 1, "f": 2.0}])
    assert [(o.outcome, o.outputs) for o in told] == [("infeasible", {}), ("observed", {"f": 2.0})]


@pytest.mark.parametrize(
    ("vocs", "word"),
    [
        (VOCS(variables={"x": [0, 1]}, objectives={"f": "EXPLORE"}), "ExploreObjective"),
        (VOCS(variables={"x": "CONTEXTUAL"}, objectives={"f": "MINIMIZE"}), "contextual"),
        (VOCS(variables={"x": [0, 1]}), "objective"),
        (VOCS(variables={"x": {(1, 2), (3, 4)}}, objectives={"f": "MINIMIZE"}), "numbers and texts"),
    ],
)
def test_what_a_planner_knows_nothing_of_is_refused(vocs: VOCS, word: str):
    with pytest.raises(ValueError, match=word):
        GestGenerator(vocs, "random")


def test_an_unknown_planner_or_option_is_refused_as_the_standard_says():
    with pytest.raises(ValueError, match="No planner is named 'magic'"):
        GestGenerator(PLAIN, "magic")
    with pytest.raises(ValueError, match="no option 'speed'"):
        GestGenerator(PLAIN, "random", options={"speed": 3})


def test_constraints_reach_the_planner(monkeypatch: pytest.MonkeyPatch):
    seen: list[Constraint] = []
    original = RandomPlanner.__init__

    def noting(self: RandomPlanner, *args: Any, constraints: Any, **more: Any) -> None:
        seen.extend(constraints)
        original(self, *args, **more)

    monkeypatch.setattr(RandomPlanner, "__init__", noting)
    bounds = {"a": ["LESS_THAN", 1.0], "b": ["GREATER_THAN", 2.0], "d": ["BOUNDS", 3.0, 4.0]}
    GestGenerator(VOCS(variables={"x": [0, 1]}, objectives={"f": "MINIMIZE"}, constraints=bounds), "random")
    assert seen == [Constraint("a", upper=1.0), Constraint("b", lower=2.0), Constraint("d", 3.0, 4.0)]


# ---- generators as planners


def driven(space: Space, objectives: list[Objective], name: str = "Climber", **more: Any) -> GestPlanner:
    return GestPlanner(space, objectives, generator=f"gest_generators:{name}", **more)


def test_a_generator_is_told_a_search_in_its_own_words():
    space = Space(
        (
            Real("t", 0.01, 100.0, log=True),
            Integer("n", 1, 3),
            Integer("many", 0, 5000),
            Choice("c", ("a", "b")),
            Real("k", 2.0, 2.0),
        )
    )
    objectives = [Objective("f", "maximize"), Objective("g", "target", 5.0)]
    constraints = [Constraint("f", lower=1.0), Constraint("h", upper=2.0), Constraint("h", lower=-2.0)]
    vocs = driven(space, objectives, constraints=constraints)._translation.vocs
    assert vocs.variables["t"].domain == [-2.0, 2.0]
    assert vocs.variables["n"].values == {1, 2, 3}
    assert vocs.variables["many"].domain == [0.0, 5000.0]
    assert vocs.constants["k"].value == 2.0
    assert [type(o).__name__ for o in vocs.objectives.values()] == ["MaximizeObjective", "MinimizeObjective"]
    assert vocs.objective_names == ["f", "g_distance"]
    assert vocs.constraints["f"].value == 1.0
    assert vocs.constraints["h"].range == [-2.0, 2.0]


def test_a_generator_ingests_what_was_observed_and_is_finalized(monkeypatch: pytest.MonkeyPatch):
    taken: list[dict[str, Any]] = []
    monkeypatch.setattr(Climber, "ingest", lambda self, results: taken.extend(results))
    space = Space((Real("t", 0.01, 100.0, log=True),))
    planner = driven(space, [Objective("f", "maximize"), Objective("g", "target", 5.0)])
    before = Climber.finalized
    planner.tell(
        [
            Observation({"t": 10.0}, outputs={"f": 3.0, "g": 4.5}),
            Observation({"t": 1.0}, "infeasible"),
            Observation({"t": 2.0}, outputs={"f": math.inf, "g": 1.0}),
        ]
    )
    planner.ask(1)
    assert taken == [{"t": 1.0, "f": 3.0, "g_distance": 0.5}]
    assert Climber.finalized == before + 1


def test_pending_points_come_first_again_and_are_left_out():
    space = Space((Real("x", 0.0, 1.0), Real("y", 0.0, 1.0)))
    together = driven(space, [Objective("f")], seed=3).ask(4)
    planner, apart = driven(space, [Objective("f")], seed=3), list[Point]()
    for _ in range(4):
        apart += planner.ask(1, apart)
    assert apart == together


def test_a_generator_that_gives_one_point_at_a_time_is_helped_out():
    space = Space((Real("x", 0.0, 1.0),))
    points = driven(space, [Objective("f")], "Single").ask(3)
    assert len({point["x"] for point in points}) == 3


def test_a_generator_climbs():
    space = Space((Real("x", 0.0, 1.0), Real("y", 0.0, 1.0)))
    planner = driven(space, [Objective("f")], arguments={"spread": 0.05}, seed=1)
    lows: list[float] = []
    for _ in range(40):
        [point] = planner.ask(1)
        f = (float(point["x"]) - 0.9) ** 2 + (float(point["y"]) - 0.1) ** 2
        lows.append(min([f, *lows[-1:]]))
        planner.tell([Observation(point, outputs={"f": f})])
    assert lows[-1] < 0.1 * lows[4]


@pytest.mark.parametrize(
    ("generator", "more", "word"),
    [
        (None, {}, "expected 'module:Class'"),
        ("gest_generators", {}, "expected 'module:Class'"),
        ("no_such_module:Climber", {}, "no_such_module"),
        ("gest_generators:Nobody", {}, "Nobody"),
        ("gest_generators:Picky", {"constraints": [Constraint("g", upper=1.0)]}, "Picky cannot accept constraints"),
        ("gest_generators:Climber", {"arguments": {"speed": 1}}, "speed"),
    ],
)
def test_a_generator_that_cannot_be_used_is_refused(generator: str | None, more: dict[str, Any], word: str):
    with pytest.raises(UsageError, match=word):
        GestPlanner(SPACE, [Objective("f")], generator=generator, **more)


def test_choices_that_the_standard_cannot_tell_apart_are_refused():
    with pytest.raises(UsageError, match="equal, such as True and 1"):
        driven(Space((Choice("c", (True, 1)),)), [Objective("f")])
