"""Every planner with a model, alone and in batches, bears histories that say nothing and spaces that are used up."""

import math
from collections.abc import Callable, Sequence

import pytest

from renkei.model.space import SOURCE, Integer, Objective, Observation, Point, Real, Space
from renkei.planning import Planner, Source, create

LINE = (Real("x", 0.0, 1.0),)
POOL: tuple[Point, ...] = tuple({"x": x / 19} for x in range(20))
LOW, HIGH = Objective("f"), Objective("g", "maximize")
SOURCES = (Source("cheap", 1.0, counts=False), Source("dear", 20.0))

PLANNERS: dict[str, tuple[Space, list[Objective], tuple[Source, ...]]] = {
    "one objective": (Space(LINE), [LOW], ()),
    "a pool": (Space(LINE, POOL), [LOW], ()),
    "two objectives": (Space(LINE), [LOW, HIGH], ()),
    "two sources": (Space(LINE), [LOW], SOURCES),
}
SMALL: dict[str, tuple[Space, list[Objective], tuple[Source, ...]]] = {
    "one objective": (Space((Integer("x", 0, 3),)), [LOW], ()),
    "a pool": (Space(LINE, POOL[:4]), [LOW], ()),
    "two objectives": (Space((Integer("x", 0, 3),)), [LOW, HIGH], ()),
    "two sources": (Space((Integer("x", 0, 3),)), [LOW], SOURCES),
}


def values(f: float) -> dict[str, float]:
    return {"f": f, "g": -f}


def some(points: Sequence[Point], told: Callable[[int, Point], Observation]) -> list[Observation]:
    return [told(i, point) for i, point in enumerate(points)]


HISTORIES: dict[str, Callable[[Sequence[Point]], list[Observation]]] = {
    "nothing": lambda points: [],
    "one observation": lambda points: [Observation(points[0], outputs=values(1.0))],
    "a constant": lambda points: some(points, lambda i, p: Observation(p, outputs=values(2.0))),
    "all infeasible": lambda points: some(points, lambda i, p: Observation(p, "infeasible")),
    "all abandoned": lambda points: some(points, lambda i, p: Observation(p, "abandoned")),
    "one point, many values": lambda points: some(points, lambda i, p: Observation(points[0], outputs=values(i))),
    "one observation, many times": lambda points: [Observation(points[0], outputs=values(1.0))] * 8,
    "NaN": lambda points: some(points, lambda i, p: Observation(p, outputs=values(math.nan if i % 2 else i))),
    "infinite": lambda points: some(points, lambda i, p: Observation(p, outputs=values((-1) ** i * math.inf))),
}


def new(space: Space, objectives: list[Objective], sources: tuple[Source, ...]) -> Planner:
    return create("bayesian", space, objectives, sources=sources, seed=1)


def bare(point: Point) -> Point:
    return {name: value for name, value in point.items() if name != SOURCE}


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("kind", PLANNERS)
def test_new_legal_points_come(kind: str, batch: int, history: Callable[[Sequence[Point]], list[Observation]]) -> None:
    space, objectives, sources = PLANNERS[kind]
    points = new(space, objectives, sources).ask(8)
    planner = new(space, objectives, sources)
    told = history(points)
    planner.tell(told)
    found = planner.ask(batch)
    assert len(found) == batch
    assert all(space.problems(bare(point)) == [] for point in found)
    known = {repr(o.point) for o in told if o.outcome != "abandoned"}  # of those that were, nothing is known
    assert len(known | {repr(point) for point in found}) == len(known) + batch


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("kind", SMALL)
def test_a_batch_ends_where_the_space_does_and_then_there_is_nothing(kind: str, batch: int) -> None:
    space, objectives, sources = SMALL[kind]
    planner, told = new(space, objectives, sources), list[Point]()
    while points := planner.ask(batch):
        told += points
        assert len(told) <= 4 * max(1, len(sources))
        planner.tell([Observation(p, outputs=values(float(str(p["x"])))) for p in points])
    assert len({repr(point) for point in told}) == len(told)
    assert {float(str(p["x"])) for p in told if p.get(SOURCE, "dear") == "dear"} == {
        float(str(p["x"])) for p in space.pool or [{"x": x} for x in range(4)]
    }
