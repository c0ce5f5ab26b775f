"""The part of a space that constraints between parameters leave, and random points in it."""

from typing import Any

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp  # pyright: ignore[reportUnknownVariableType]

from renkei.errors import UsageError
from renkei.model.space import Space
from renkei.planning._limits import Limits, Numbers

_MAX_SHRINKS = 50
"""After so many failed draws on a line, a walker stays where it is."""


class Region:
    """Where the constraints of a space hold.

    Coordinates are those of `Codec`: one a parameter, in the unit cube.

    Args:
        space: With constraints, without a pool.

    Raises:
        UsageError: The constraints leave nothing, or an equation has a whole number in it.
    """

    def __init__(self, space: Space) -> None:
        self._n_parameters = len(space.parameters)
        self._limits = limits = Limits(space)
        if (limits.factors[limits.is_equation][:, limits.is_whole] != 0.0).any():
            raise UsageError(
                "The search space cannot be searched: an equation between parameters has a whole number in it.",
                "Make it a real parameter, or give the constraint bounds (lower and upper) that differ.",
            )
        bent = limits.is_log | limits.is_whole
        self._flat = np.flatnonzero(~limits.factors[:, bent].any(axis=1) & ~limits.is_equation)
        """Places of inequalities that are linear in coordinates."""
        self._is_flat = not bent.any()
        self._corners = self._found_corners()

    def walk(self, n: int, seed: int) -> Numbers:
        """Return random points in the region, uniform but for what a walk of finite length leaves: n x n_parameters.

        An ensemble of n walkers. Each starts between some corners of the region and goes along differences of others,
        so that the shape of the region does not matter and equations hold (Goodman and Weare 2010); how far is drawn
        uniformly, by shrinking a bracket (Smith 1984; Neal 2003).
        """
        chance = np.random.default_rng(seed)
        units = self._starts(n, chance)
        halves = np.array_split(chance.permutation(n), 2)
        for _ in range(40 + 6 * len(self._limits.places)):
            for movers, others in (halves, halves[::-1]):
                first, second = others[chance.integers(len(others), size=(2, len(movers)))]
                units[movers] = self._moved(units[movers], self._along(units[first] - units[second]), chance)
        everything = chance.random((n, self._n_parameters))
        everything[:, self._limits.places] = self._limits.settled(units)
        return everything

    def _along(self, steps: Numbers) -> Numbers:
        """Return steps of length 1 within equations; rounding errors of short ones would grow from step to step."""
        size = np.abs(steps).max(axis=1, keepdims=True)
        return self._limits.along(np.where(size > 1e-12, steps / np.maximum(size, 1e-12), 0.0))

    def _moved(self, units: Numbers, step: Numbers, chance: np.random.Generator) -> Numbers:
        """Return points drawn uniformly from where the lines through `units` along `step` lie in the region."""
        ends = [(-units, step), (1.0 - units, step)]
        if len(flat := self._flat):
            limits, factors = self._limits, self._limits.factors[flat]
            sums = (limits.low + units * limits.span) @ factors.T
            change = (step * limits.span) @ factors.T
            ends += [(limits.lower[flat] - sums, change), (limits.upper[flat] - sums, change)]
        lower, upper = np.full(len(units), -np.inf), np.full(len(units), np.inf)
        for (near, change), (far, _) in zip(ends[::2], ends[1::2], strict=True):
            with np.errstate(divide="ignore", invalid="ignore"):
                both = np.stack([near / change, far / change])
            still = np.abs(change) < 1e-14
            lower = np.maximum(lower, np.where(still, -np.inf, both.min(axis=0)).max(axis=1))
            upper = np.minimum(upper, np.where(still, np.inf, both.max(axis=0)).min(axis=1))
        moved, left = units.copy(), np.flatnonzero(np.isfinite(upper - lower) & (lower <= upper))
        for _ in range(_MAX_SHRINKS):
            t = lower[left] + chance.random(len(left)) * (upper[left] - lower[left])
            tried = np.clip(units[left] + t[:, None] * step[left], 0.0, 1.0)
            if self._is_flat:
                moved[left] = tried
                break
            good = self._limits.hold(self._values(tried))
            moved[left[good]] = tried[good]
            left, t = left[~good], t[~good]
            lower[left] = np.where(t < 0.0, t, lower[left])
            upper[left] = np.where(t < 0.0, upper[left], t)
        return moved

    def _starts(self, n: int, chance: np.random.Generator) -> Numbers:
        """Return points between the corners, or on one where the way between is barred: n x n_bound."""
        n_corners = len(self._corners)
        weights = chance.exponential(size=(n, n_corners))
        weights[chance.random((n, n_corners)).argsort(axis=1) > len(self._limits.places)] = 0.0
        between = weights @ self._corners / weights.sum(axis=1, keepdims=True)
        on = self._corners[chance.integers(n_corners, size=n)]
        return np.where(self._limits.hold(self._values(between))[:, None], between, on)

    def _values(self, units: Numbers) -> Numbers:
        """Return the numbers that `Codec` decodes: n x n_bound both."""
        limits = self._limits
        end = limits.high + limits.is_whole
        with np.errstate(invalid="ignore", divide="ignore"):
            found = np.where(
                limits.is_log, limits.low ** (1.0 - units) * end**units, limits.low * (1.0 - units) + end * units
            )
        return np.clip(np.where(limits.is_whole, np.floor(found), found), limits.low, limits.high)

    def _units(self, values: Numbers) -> Numbers:
        """Return the coordinates of numbers, those of whole ones in the middle of their part: n x n_bound both."""
        limits = self._limits
        end = limits.high + limits.is_whole
        values = np.where(limits.is_whole, values.round() + 0.5, np.clip(values, limits.low, limits.high))
        with np.errstate(invalid="ignore", divide="ignore"):
            units = np.where(
                limits.is_log,
                np.log(values / limits.low) / np.log(end / limits.low),
                (values - limits.low) / (end - limits.low),
            )
        return np.clip(np.nan_to_num(units), 0.0, 1.0)

    def _found_corners(self) -> Numbers:
        """Return extreme points of the region, of each parameter and in random directions: n_corners x n_bound."""
        limits = self._limits
        span = np.where(limits.is_whole, 1.0, limits.span)
        factors = limits.factors * span
        size = np.abs(factors).max(axis=1)
        shift = limits.factors @ limits.low
        sums = LinearConstraint(factors / size[:, None], (limits.lower - shift) / size, (limits.upper - shift) / size)
        box: Any = np.where(limits.is_whole, limits.span, 1.0)

        def corner(direction: Numbers) -> Numbers:
            found: Any = milp(direction, constraints=sums, bounds=Bounds(0.0, box), integrality=limits.is_whole)
            if found.x is None:
                raise UsageError("The search space cannot be searched: no point satisfies its constraints.")
            return found.x

        axes = np.eye(len(box))
        ends = np.stack([corner(way) for axis in axes for way in (axis, -axis)])
        extent = np.ptp(ends, axis=0)
        weights = 1.0 / np.where(extent > 0.0, extent, 1.0)
        chance = np.random.default_rng(0)
        others = [corner(chance.standard_normal(len(box)) * weights) for _ in range(len(box) + 4)]
        corners = self._limits.settled(self._units(limits.low + np.concatenate([ends, others]) * span))
        return corners[np.unique(corners.round(9), axis=0, return_index=True)[1]]
