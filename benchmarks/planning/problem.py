"""What is optimised: a search space, a true loss that may be hidden by noise, and trials that may fail."""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from renkei.model.space import Choice, Parameter, Point, Real, Space

Array = NDArray[np.float64]
Kind = Literal["table", "code", "function"]
Truth = Callable[[Point], float]
Measure = Callable[[Point, Random], float]


@dataclass(frozen=True, slots=True)
class Result:
    """How one evaluation ended.

    Args:
        point: What was evaluated.
        outcome: "observed", "infeasible" (the point cannot work) or "failed" (a fault; the point may be good).
        seen: The loss that the planner is told, with noise; NaN unless observed.
        true: The loss without noise; NaN unless observed.
    """

    point: Point
    outcome: Literal["observed", "infeasible", "failed"]
    seen: float = math.nan
    true: float = math.nan


@dataclass(frozen=True, eq=False)
class Problem:
    """A loss to be minimised.

    Args:
        name: Names results; changes whenever what is computed changes.
        kind: A table of measurements, a scientific code, or a function with a known minimum.
        about: One line for the page.
        space: Where to search; with a pool for tables.
        truth: The loss without noise, NaN where a point cannot work.
        measure: The loss as a trial sees it; None where that is `truth` and `noise`.
        noise: Standard deviation of what is added to the truth, in units of the loss.
        failing: The chance that a trial fails whatever its point.
        minimum: The lowest loss, where it is known.
        batches: How many points are asked for at once.
    """

    name: str
    kind: Kind
    about: str
    space: Space
    truth: Truth
    measure: Measure | None = None
    noise: float = 0.0
    failing: float = 0.0
    minimum: float | None = None
    batches: tuple[int, ...] = (1, 8)

    def evaluate(self, point: Point, seed: int, index: int) -> Result:
        """Return how the campaign's `index`-th evaluation ends; luck depends on (name, seed, index) alone."""
        luck = Random(f"{self.name}/{seed}/{index}")
        if luck.random() < self.failing:
            return Result(point, "failed")
        true = self.truth(point)
        if math.isnan(true):
            return Result(point, "infeasible")
        seen = self.measure(point, luck) if self.measure else true + self.noise * luck.gauss(0, 1)
        return Result(point, "observed", seen, true)

    def with_failures(self, chance: float) -> "Problem":
        """Return the same problem with trials that fail at random."""
        about = f"{self.about}; {chance:.0%} of trials fail"
        return replace(self, name=f"{self.name}+failures", about=about, failing=chance, batches=(1,))

    @property
    def pool(self) -> tuple[Point, ...]:
        """The pool's points; none where there is no pool."""
        return self.space.pool or ()

    @cached_property
    def features(self) -> Array:
        """The pool as (row, feature): numbers scaled to their range, choices one-hot."""
        return encoded(self.space.parameters, self.pool)

    def nearest(self, point: Point, taken: Collection[int]) -> int:
        """Return the index of the pool's point nearest to `point` that is not taken."""
        distances = ((self.features - encoded(self.space.parameters, [point])) ** 2).sum(axis=1)
        distances[list(taken)] = math.inf
        return int(distances.argmin())


def encoded(parameters: Collection[Parameter], points: Collection[Point]) -> Array:
    """Return (row, feature): numbers scaled to [0, 1] (logarithm first where searched so), choices one-hot / sqrt 2."""
    columns: list[Array] = []
    for parameter in parameters:
        values = [point[parameter.name] for point in points]
        if isinstance(parameter, Choice):
            columns += [np.array([v == known for v in values]) / math.sqrt(2) for known in parameter.values]
            continue
        numbers, low, high = np.array(values, dtype=np.float64), parameter.low, parameter.high
        if parameter.log:
            numbers, low, high = np.log(numbers), math.log(low), math.log(high)
        columns.append((numbers - low) / (high - low))
    return np.stack(columns, axis=1)


def drawn(parameters: Collection[Parameter], share: Collection[float]) -> Point:
    """Return the point at the given shares of the parameters' ranges, each in [0, 1)."""
    point: Point = {}
    for parameter, u in zip(parameters, share, strict=True):
        if isinstance(parameter, Choice):
            point[parameter.name] = parameter.values[min(int(u * len(parameter.values)), len(parameter.values) - 1)]
        elif isinstance(parameter, Real):
            low, high = (
                (math.log(parameter.low), math.log(parameter.high))
                if parameter.log
                else (parameter.low, parameter.high)
            )
            value = low + u * (high - low)
            point[parameter.name] = min(max(math.exp(value) if parameter.log else value, parameter.low), parameter.high)
        else:
            point[parameter.name] = min(parameter.low + int(u * (parameter.high - parameter.low + 1)), parameter.high)
    return point
