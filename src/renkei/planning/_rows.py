"""Points as rows of numbers for a model: one column a number, one column a value of a choice."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renkei.model.space import Choice, Integer, Parameter, Point, Space, Value
from renkei.planning._codec import decode

Rows = NDArray[np.float64]
"""n x n_columns."""

_HALF = 0.5**0.5
"""Height of a one-hot column: two values of a choice are then at distance 1, as are the bounds of a number."""

_MAX_ONE_HOT = 64
"""Choices of a pool with more values than this get so many columns of random signs instead of one column a value."""

_RELAXED = 8
"""Whole numbers with more values than this move continuously in a search and are rounded after it."""


class RowCodec:
    """Translates points to rows and back.

    A number lies between 0 (`low`) and 1 (`high`), on the log scale where it has one; a choice has one column a value.
    Every parameter spans a distance of 1.

    The points of a pool are never made from rows. There a number lies halfway between that place and its rank among
    the pool's values of the parameter, so that a few large ones do not crowd the others together. A choice with many
    values, such as the names of samples, has 64 columns of random signs there: its values are at distances close to 1
    (standard deviation 6%).

    Attributes:
        owner: The place of each column's parameter, n_columns.
        upper: The largest legal value of each column, n_columns; the smallest is 0.
        fixed: Columns that a continuous search leaves alone: choices, short whole numbers, numbers with one value.
    """

    def __init__(self, space: Space) -> None:
        self._parameters = space.parameters
        self._columns: list[slice] = []
        self._codes: list[_Codes | None] = []
        self._levels: list[NDArray[np.float64] | None] = []
        owner: list[int] = []
        upper: list[float] = []
        self.fixed: list[int] = []
        for place, parameter in enumerate(space.parameters):
            codes = _Codes.of(parameter, space.pool is not None) if isinstance(parameter, Choice) else None
            self._codes.append(codes)
            by_rank = codes is None and space.pool is not None
            self._levels.append(np.unique([float(p[parameter.name]) for p in space.pool or ()]) if by_rank else None)
            width = 1 if codes is None else codes.rows.shape[1]
            self._columns.append(slice(len(owner), len(owner) + width))
            if _is_stepped(parameter):
                self.fixed += range(len(owner), len(owner) + width)
            owner += [place] * width
            upper += [_HALF if isinstance(parameter, Choice) else 1.0] * width
        self.owner = np.array(owner)
        self.upper = np.array(upper)

    @property
    def n_parameters(self) -> int:
        """Parameters of the space."""
        return len(self._parameters)

    @property
    def n_columns(self) -> int:
        """Columns of a row."""
        return len(self.owner)

    @property
    def is_discrete(self) -> bool:
        """Whether every parameter is whole, a choice or has one value."""
        return all(isinstance(p, Integer | Choice) or p.low == p.high for p in self._parameters)

    def row(self, point: Mapping[str, Value]) -> list[float]:
        """Return the row of one point; numbers outside their bounds lie outside [0, 1], but not beyond [-1, 2]."""
        return self.rows([point])[0].tolist()

    def rows(self, points: Sequence[Mapping[str, Value]]) -> Rows:
        """Return n points as n x n_columns."""
        rows = np.empty((len(points), self.n_columns))
        for place, (parameter, columns) in enumerate(zip(self._parameters, self._columns, strict=True)):
            values = [point[parameter.name] for point in points]
            codes, levels = self._codes[place], self._levels[place]
            if codes is not None:
                rows[:, columns] = codes.rows[[codes.place(value) for value in values]]
                continue
            column = np.array([_place(parameter, value) for value in values])
            if levels is not None and len(levels) > 1:
                ranks = np.interp(np.array(values, dtype=np.float64), levels, np.linspace(0.0, 1.0, len(levels)))
                column = np.where((column < 0.0) | (column > 1.0), column, 0.5 * (column + ranks))
            rows[:, columns.start] = column
        return rows

    def stacked(self, rows: Sequence[Sequence[float]] | Sequence[NDArray[np.float64]]) -> Rows:
        """Return n single rows as n x n_columns, also for n = 0."""
        return np.array(rows, dtype=np.float64).reshape(len(rows), self.n_columns)

    def from_units(self, units: Rows) -> Rows:
        """Return legal rows for coordinates in [0, 1]: n x n_parameters to n x n_columns."""
        rows = np.zeros((len(units), self.n_columns))
        for place, (parameter, columns) in enumerate(zip(self._parameters, self._columns, strict=True)):
            if isinstance(parameter, Choice):
                width = len(parameter.values)
                chosen = np.minimum((units[:, place] * width).astype(int), width - 1)
                rows[np.arange(len(units)), columns.start + chosen] = _HALF
            else:
                rows[:, columns.start] = units[:, place]
        return self.legal(rows)

    def points(self, rows: Rows) -> list[Point]:
        """Return the legal points nearest to rows: n x n_columns to n points."""
        columns = [self._values(p, rows[:, c]) for p, c in zip(self._parameters, self._columns, strict=True)]
        names = [p.name for p in self._parameters]
        return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]

    def legal(self, rows: Rows) -> Rows:
        """Return the rows of the legal points nearest to `rows`: n x n_columns."""
        legal = np.clip(rows, 0.0, self.upper)
        for parameter, columns in zip(self._parameters, self._columns, strict=True):
            if isinstance(parameter, Choice):
                legal[:, columns] = 0.0
                legal[np.arange(len(rows)), columns.start + rows[:, columns].argmax(axis=1)] = _HALF
            elif isinstance(parameter, Integer):
                values = self._values(parameter, legal[:, columns])
                legal[:, columns.start] = [_place(parameter, v) for v in values]
            elif parameter.low == parameter.high:
                legal[:, columns.start] = 0.0
        return legal

    def neighbours(self, row: NDArray[np.float64]) -> Rows:
        """Return rows that differ from a legal `row` in one parameter: other choices, the next whole numbers."""
        found: list[NDArray[np.float64]] = []
        for parameter, columns in zip(self._parameters, self._columns, strict=True):
            if isinstance(parameter, Choice):
                for at in range(columns.start, columns.stop):
                    if row[at] == 0.0:
                        other = row.copy()
                        other[columns] = 0.0
                        other[at] = _HALF
                        found.append(other)
            elif isinstance(parameter, Integer):
                [value] = self._values(parameter, row[None, columns])
                for step in (-1, 1):
                    if parameter.low <= int(value) + step <= parameter.high:
                        other = row.copy()
                        other[columns] = _place(parameter, int(value) + step)
                        found.append(other)
        return np.array(found).reshape(len(found), self.n_columns)

    def _values(self, parameter: Parameter, columns: Rows) -> list[Any]:
        if isinstance(parameter, Choice):
            return [parameter.values[i] for i in columns.argmax(axis=1)]
        units = np.clip(columns[:, 0], 0.0, 1.0).tolist()
        if isinstance(parameter, Integer):
            if parameter.log:
                start, span = math.log(parameter.low), math.log(parameter.high) - math.log(parameter.low)
                values = [round(math.exp(start + u * span)) for u in units]
            else:
                values = [parameter.low + round(u * (parameter.high - parameter.low)) for u in units]
            return [min(parameter.high, max(parameter.low, v)) for v in values]
        return decode(parameter, units)


class _Codes:
    """The columns of a choice: n_values x width."""

    def __init__(self, choice: Choice, rows: Rows) -> None:
        self.rows = rows
        # By type too, because True and 1 are equal.
        self._places = {(type(value), value): place for place, value in enumerate(choice.values)}

    @classmethod
    def of(cls, choice: Choice, is_pool: bool) -> "_Codes":
        n_values = len(choice.values)
        if not is_pool or n_values <= _MAX_ONE_HOT:
            return cls(choice, _HALF * np.eye(n_values))
        signs = np.random.default_rng(0).choice((-1.0, 1.0), (n_values, _MAX_ONE_HOT))
        return cls(choice, signs / (2 * _MAX_ONE_HOT) ** 0.5)

    def place(self, value: Value) -> int:
        return self._places[type(value), value]


def _is_stepped(parameter: Parameter) -> bool:
    if isinstance(parameter, Choice):
        return True
    span = parameter.high - parameter.low
    return span == 0 or (isinstance(parameter, Integer) and span < _RELAXED)


def _place(parameter: Parameter, given: Value) -> float:
    assert not isinstance(parameter, Choice)
    value, low, high = float(given), float(parameter.low), float(parameter.high)
    if low == high:
        return 0.0
    if parameter.log:
        if value <= 0.0:
            return -1.0
        place = (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))
    else:
        # Halves, because high - low overflows for bounds such as -1e308 and 1e308; those of the smallest numbers are 0.
        half = 0.5 if math.isinf(high - low) else 1.0
        place = (value * half - low * half) / (high * half - low * half)
    return min(2.0, max(-1.0, place))
