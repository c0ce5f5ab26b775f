"""Test functions with known optima, and a loop that plays a campaign on one."""

import math
from collections.abc import Callable, Sequence

from renkei.model.space import Constraint, Objective, Observation, Point, Real, Space
from renkei.planning import Planner

Outputs = dict[str, float]

BRANIN_SPACE = Space((Real("x", -5.0, 10.0), Real("y", 0.0, 15.0)))
BRANIN_BEST = 0.397887
HARTMANN_SPACE = Space(tuple(Real(f"x{i}", 0.0, 1.0) for i in range(6)))
HARTMANN_BEST = -3.32237
LOW = [Objective("f")]

_ALPHA = (1.0, 1.2, 3.0, 3.2)
_A = ((10, 3, 17, 3.5, 1.7, 8), (0.05, 10, 17, 0.1, 8, 14), (3, 3.5, 1.7, 10, 17, 8), (17, 8, 0.05, 10, 0.1, 14))
_P = (
    (0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886),
    (0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991),
    (0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650),
    (0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381),
)


def number(point: Point, name: str) -> float:
    value = point[name]
    assert isinstance(value, int | float)
    return float(value)


def branin(point: Point) -> Outputs:
    x, y = number(point, "x"), number(point, "y")
    bowl = (y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6) ** 2
    return {"f": bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10}


def hartmann(point: Point) -> Outputs:
    x = [number(point, f"x{i}") for i in range(6)]
    hills = (
        alpha * math.exp(-sum(a * (v - p) ** 2 for a, v, p in zip(row, x, peak, strict=True)))
        for alpha, row, peak in zip(_ALPHA, _A, _P, strict=True)
    )
    return {"f": -sum(hills)}


def play(
    planner: Planner, space: Space, trial: Callable[[Point], Outputs | None], n: int, batch: int = 1
) -> list[Observation]:
    """Return the observations of a campaign of `n` trials; a trial that gives None is infeasible."""
    history: list[Observation] = []
    while len(history) < n and (points := planner.ask(batch)):
        told: list[Observation] = []
        for point in points:
            assert space.problems(point) == []
            outputs = trial(point)
            told.append(Observation(point, "infeasible") if outputs is None else Observation(point, outputs=outputs))
        planner.tell(told)
        history += told
    return history


def best(history: Sequence[Observation], constraints: Sequence[Constraint] = (), output: str = "f") -> float:
    return min(
        (o.outputs[output] for o in history if o.outputs and all(c.holds(o.outputs[c.output]) for c in constraints)),
        default=math.inf,
    )
