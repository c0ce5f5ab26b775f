"""Constraints between parameters as arrays."""

import numpy as np
from numpy.typing import NDArray

from renkei.model.space import Choice, Integer, Space

Numbers = NDArray[np.float64]

_SLACK = 1e-10
"""Stricter than `ParameterConstraint.problem`, so that what holds here holds there."""


class Limits:
    """The constraints of a space on the parameters in them, which are all numbers: n_bound.

    Args:
        space: With constraints.

    Attributes:
        places: Of these parameters in the space, n_bound.
        low: Their lowest values, n_bound.
        high: Their highest values, n_bound.
        is_log: Whether they are on a log scale, n_bound.
        is_whole: Whether they are whole, n_bound.
        factors: Of each value in each constraint, n_constraints x n_bound.
        lower: What sums must not be below, n_constraints.
        upper: What sums must not be above, n_constraints.
        is_equation: Whether a constraint is an equation, n_constraints.
    """

    def __init__(self, space: Space) -> None:
        named = {name for constraint in space.constraints for name, _ in constraint.terms}
        bound = [
            (place, p) for place, p in enumerate(space.parameters) if p.name in named and not isinstance(p, Choice)
        ]
        self.places = np.array([place for place, _ in bound])
        self.low = np.array([float(p.low) for _, p in bound])
        self.high = np.array([float(p.high) for _, p in bound])
        self.is_log = np.array([p.log for _, p in bound])
        self.is_whole = np.array([isinstance(p, Integer) for _, p in bound])
        self.factors = np.array([[dict(c.terms).get(p.name, 0.0) for _, p in bound] for c in space.constraints])
        self.lower = np.array([c.lower for c in space.constraints])
        self.upper = np.array([c.upper for c in space.constraints])
        self.is_equation = self.lower == self.upper
        bounds = np.abs(np.stack([self.lower, self.upper]))
        self._slack = _SLACK * np.where(np.isfinite(bounds), bounds, 0.0).max(axis=0)
        self._equations = self.factors[self.is_equation] * self.span
        self._inverse = np.linalg.pinv(self._equations)
        self._sums = self.lower[self.is_equation] - self.factors[self.is_equation] @ self.low

    @property
    def span(self) -> Numbers:
        """How far each parameter reaches, n_bound."""
        return self.high - self.low

    def hold(self, values: Numbers) -> NDArray[np.bool_]:
        """Return whether every constraint holds: n x n_bound to n."""
        sums = values @ self.factors.T
        slack = np.maximum(self._slack, _SLACK * (np.abs(values)[:, None, :] * np.abs(self.factors)).max(axis=2))
        return ((sums >= self.lower - slack) & (sums <= self.upper + slack)).all(axis=1)

    def along(self, steps: Numbers) -> Numbers:
        """Return the part of steps that stays within equations, in shares of the parameters' spans: n x n_bound."""
        return steps - steps @ self._equations.T @ self._inverse.T

    def settled(self, places: Numbers) -> Numbers:
        """Return points in shares of the spans, moved to where equations hold, or as near as may be: n x n_bound."""
        for _ in range(4 if len(self._equations) else 0):
            moved = places - (places @ self._equations.T - self._sums) @ self._inverse.T
            places = np.where(self._equations.any(axis=0), np.clip(moved, 0.0, 1.0), places)
        return places
