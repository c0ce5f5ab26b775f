"""Rows of a space with constraints between parameters: candidates, ways and climbs that hold the constraints."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize  # pyright: ignore[reportUnknownVariableType]

from renkei.model.space import Space
from renkei.planning._limits import Limits
from renkei.planning._rows import RowCodec, Rows

_N_HALVINGS = 10
"""How often a step is halved until it ends where constraints hold."""

_MAX_ITERATIONS = 25


class Confined:
    """Where constraints hold among the rows of a space.

    Args:
        space: With constraints, without a pool.
        codec: Of the space.
        rows: Rows where constraints hold, spread over the space, at least one: n x n_columns.
    """

    def __init__(self, space: Space, codec: RowCodec, rows: Rows) -> None:
        self._codec = codec
        self._base = rows
        self._limits = Limits(space)
        self._columns = np.array([int(np.flatnonzero(codec.owner == place)[0]) for place in self._limits.places])

    def holds(self, rows: Rows) -> NDArray[np.bool_]:
        """Return whether constraints hold at legal rows: n x n_columns to n."""
        values = self._values(rows[:, self._columns])
        return self._limits.hold(np.where(self._limits.is_whole, values.round(), values))

    def scattered(self, n: int, chance: np.random.Generator) -> Rows:
        """Return about `n` legal rows all over the region: known ones, and others on the way between two of them."""
        first, second = (self._base[chance.integers(len(self._base), size=n)] for _ in range(2))
        share = np.where(np.arange(n) % 2 == 0, 0.0, chance.random(n))[:, np.newaxis]
        rows = self._settled(self._codec.legal(first + share * (second - first)))
        return rows[self.holds(rows)]

    def reached(self, starts: Rows, ends: Rows) -> Rows:
        """Return legal rows on the way from `starts`, where constraints hold, towards `ends`: n x n_columns.

        As far as constraints hold, halving the step; a way that is barred at once is left out.
        """
        found: list[Rows] = []
        for halving in range(_N_HALVINGS):
            if len(starts) == 0:
                break
            rows = self._settled(self._codec.legal(starts + 0.5**halving * (ends - starts)))
            good = self.holds(rows)
            found.append(rows[good])
            starts, ends = starts[~good], ends[~good]
        return np.concatenate(found) if found else starts

    def anchors(self, rows: Rows) -> Rows:
        """Return those of legal `rows` where constraints hold, or some other rows where none does."""
        kept = rows[self.holds(rows)] if len(rows) else rows
        return kept if len(kept) else self._base[:8]

    def exchanged(self, row: NDArray[np.float64]) -> Rows:
        """Return legal rows one step from `row` in two whole numbers at once, which share a constraint."""
        factors, places = self._limits.factors, np.flatnonzero(self._limits.is_whole)
        found: list[NDArray[np.float64]] = []
        for at, first in enumerate(places):
            for second in places[at + 1 :]:
                if (factors[:, first] * factors[:, second]).any():
                    for ends in self._steps(row, int(first)):
                        found += self._steps(ends, int(second))
        rows = self._codec.legal(self._codec.stacked(found))
        return rows[self.holds(rows)]

    def climbed(
        self,
        starts: Rows,
        slope: Callable[[NDArray[np.float64]], tuple[float, NDArray[np.float64]]],
    ) -> Rows:
        """Return the legal rows to which sequential quadratic programming climbs from `starts`: n x n_columns at most.

        Args:
            starts: Where constraints hold, n x n_columns.
            slope: Gives the height at a row, n_columns, and its gradient, n_columns.
        """
        moving = np.setdiff1d(np.arange(self._codec.n_columns), self._codec.fixed)
        tops = [self._top(start, moving, slope) for start in starts]
        return self.reached(starts, self._codec.stacked(tops))

    def _top(
        self,
        start: NDArray[np.float64],
        moving: NDArray[np.intp],
        slope: Callable[[NDArray[np.float64]], tuple[float, NDArray[np.float64]]],
    ) -> NDArray[np.float64]:
        def whole(x: NDArray[np.float64]) -> NDArray[np.float64]:
            row = start.copy()
            row[moving] = x
            return row

        def depth(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            height, gradient = slope(whole(x))
            return -height, -gradient[moving]

        limits = self._limits
        sizes = np.abs(limits.factors * limits.span).max(axis=1)

        def sums(x: NDArray[np.float64]) -> NDArray[np.float64]:
            return limits.factors @ self._values(whole(x)[None, self._columns])[0] / sizes

        def slopes(x: NDArray[np.float64]) -> NDArray[np.float64]:
            every = np.zeros((len(sizes), self._codec.n_columns))
            every[:, self._columns] = limits.factors * self._slopes(whole(x)[self._columns]) / sizes[:, None]
            return every[:, moving]

        lower, upper = limits.lower / sizes, limits.upper / sizes
        found = cast(
            Any,
            minimize(
                depth,
                start[moving],
                jac=True,
                method="SLSQP",
                bounds=[(0.0, float(self._codec.upper[column])) for column in moving],
                constraints=[
                    *_limit("eq", 1.0, limits.is_equation, lower, sums, slopes),
                    *_limit("ineq", 1.0, ~limits.is_equation & np.isfinite(lower), lower, sums, slopes),
                    *_limit("ineq", -1.0, ~limits.is_equation & np.isfinite(upper), upper, sums, slopes),
                ],
                options={"maxiter": _MAX_ITERATIONS, "ftol": 1e-5},
            ),
        )
        return whole(np.clip(found.x, 0.0, self._codec.upper[moving])) if np.isfinite(found.x).all() else start

    def _steps(self, row: NDArray[np.float64], place: int) -> list[NDArray[np.float64]]:
        """Return rows one step from `row` in one whole number."""
        low, high = self._limits.low[place], self._limits.high[place]
        value = self._values(row[None, self._columns])[0, place].round()
        found: list[NDArray[np.float64]] = []
        for other in (value - 1.0, value + 1.0):
            if low <= other <= high:
                moved = row.copy()
                is_log = self._limits.is_log[place]
                moved[self._columns[place]] = (
                    np.log(other / low) / np.log(high / low) if is_log else (other - low) / (high - low)
                )
                found.append(moved)
        return found

    def _values(self, places: Rows) -> Rows:
        """Return the numbers at columns of constraints, whole ones not rounded: n x n_bound both."""
        low, high, is_log = self._limits.low, self._limits.high, self._limits.is_log
        places = np.clip(places, 0.0, 1.0)
        values = low * (1.0 - places) + high * places
        values[:, is_log] = low[is_log] ** (1.0 - places[:, is_log]) * high[is_log] ** places[:, is_log]
        return np.clip(values, low, high)

    def _slopes(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how fast the numbers at columns of constraints grow with the columns: n_bound both."""
        low, high, is_log = self._limits.low, self._limits.high, self._limits.is_log
        slopes = self._limits.span
        slopes[is_log] = self._values(places[None])[0, is_log] * np.log(high[is_log] / low[is_log])
        return slopes

    def _settled(self, rows: Rows) -> Rows:
        """Return rows that equations hold at, as near as may be."""
        rows = rows.copy()
        rows[:, self._columns] = self._limits.settled(rows[:, self._columns])
        return rows


Function = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def _limit(
    kind: str, sign: float, used: NDArray[np.bool_], bound: NDArray[np.float64], sums: Function, slopes: Function
) -> list[dict[str, Any]]:
    """Return sign (sums - bound) in the form of scipy, for the constraints that are used."""
    if not used.any():
        return []

    def excess(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return sign * (sums(x) - bound)[used]

    def change(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return sign * slopes(x)[used]

    return [{"type": kind, "fun": excess, "jac": change}]
