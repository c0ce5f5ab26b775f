"""Functions whose minima are known (Surjanovic & Bingham, Virtual Library of Simulation Experiments)."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from benchmarks.planning.problem import Problem

from renkei.model.space import Choice, Integer, Parameter, Point, Real, Space

_ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
_A = np.array(
    [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
)
_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def hartmann6(x: Sequence[float]) -> float:
    """Return Hartmann's function of the six-dimensional unit cube: minimum -3.32237."""
    return -float(_ALPHA @ np.exp(-(_A * (np.asarray(x) - _P) ** 2).sum(axis=1)))


def ackley(x: Sequence[float]) -> float:
    """Return Ackley's function: minimum 0 at the origin, many local minima around it."""
    mean_square = sum(v * v for v in x) / len(x)
    mean_cosine = sum(math.cos(2 * math.pi * v) for v in x) / len(x)
    return 20 + math.e - 20 * math.exp(-0.2 * math.sqrt(mean_square)) - math.exp(mean_cosine)


def levy(x: Sequence[float]) -> float:
    """Return Levy's function: minimum 0 at (1, ..., 1)."""
    w = [1 + (v - 1) / 4 for v in x]
    middle = sum((v - 1) ** 2 * (1 + 10 * math.sin(math.pi * v + 1) ** 2) for v in w[:-1])
    return math.sin(math.pi * w[0]) ** 2 + middle + (w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2)


def rosenbrock(x: Sequence[float]) -> float:
    """Return Rosenbrock's function: minimum 0 at (1, ..., 1), at the bottom of a bent valley."""
    return sum(100 * (b - a * a) ** 2 + (1 - a) ** 2 for a, b in pairwise(x))


def camel(x: Sequence[float]) -> float:
    """Return the six-hump camel function: minimum -1.031628."""
    a, b = x
    return (4 - 2.1 * a**2 + a**4 / 3) * a**2 + a * b + (4 * b**2 - 4) * b**2


def beale(x: Sequence[float]) -> float:
    """Return Beale's function: minimum 0 at (3, 0.5)."""
    a, b = x
    return (1.5 - a + a * b) ** 2 + (2.25 - a + a * b**2) ** 2 + (2.625 - a + a * b**3) ** 2


def func2c(point: Point) -> float:
    """Return a function after Func-2C of B. Ru et al., ICML 2020: which two functions are added is a choice each.

    Two reals in -1..1; the minimum, two camels, is -0.2063257.
    """
    x = (float(point["x"]), float(point["y"]))
    parts: dict[object, Callable[[], float]] = {
        "rosenbrock": lambda: rosenbrock(x) / 300,
        "camel": lambda: camel((2 * x[0], x[1])) / 10,
        "beale": lambda: beale(x) / 50,
        "nothing": lambda: 0.0,
    }
    return parts[point["first"]]() + parts[point["second"]]()


def mixed_levy(point: Point) -> float:
    """Return Levy's function of three reals and two integers, moved and tilted by a choice of four."""
    shift = {"a": 0.0, "b": 1.5, "c": -2.0, "d": 4.0}[str(point["kind"])]
    x = [float(point[f"x{k}"]) for k in range(3)] + [float(point[f"n{k}"]) for k in range(2)]
    return levy([x[0] - shift, x[1] + shift, *x[2:]]) + abs(shift)


def functions() -> list[Problem]:
    """Return the problems of this module."""
    two = (Real("x", -1, 1), Real("y", -1, 1))
    mixed: tuple[Parameter, ...] = (
        *(Real(f"x{k}", -10, 10) for k in range(3)),
        *(Integer(f"n{k}", -10, 10) for k in range(2)),
        Choice("kind", ("a", "b", "c", "d")),
    )
    box = _problem
    return [
        box("hartmann6-noisy", "Hartmann, 6 real; noise 0.3", hartmann6, 6, 0, 1, -3.32237, noise=0.3),
        box("ackley10", "Ackley, 10 real", lambda x: ackley([v - 1.3 for v in x]), 10, -5, 10, 0.0),
        Problem(
            "func2c", "function", "Func-2C, 2 choices and 2 real",
            Space((Choice("first", ("rosenbrock", "camel", "beale")),
                   Choice("second", ("rosenbrock", "camel", "beale", "nothing")), *two)),
            func2c, minimum=-0.2063257,
        ),
        Problem("mixed-levy", "function", "Levy, 3 real, 2 integer, 1 choice", Space(mixed), mixed_levy, minimum=0.0),
    ]  # fmt: skip


def _problem(
    name: str, about: str, function: Callable[[Sequence[float]], float], n: int, low: float, high: float,
    minimum: float, noise: float = 0.0,
) -> Problem:  # fmt: skip
    names = [f"x{k}" for k in range(n)]
    return Problem(
        name=name,
        kind="function",
        about=about,
        space=Space(tuple(Real(x, low, high) for x in names)),
        truth=lambda point: function([float(point[x]) for x in names]),
        noise=noise,
        minimum=minimum,
    )
