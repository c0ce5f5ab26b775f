"""How planners see a search space: what is wrong with it, its points from unit coordinates, their identities."""

import itertools
import math
import sys
from collections.abc import Iterator, Mapping, Sequence

from renkei.errors import UsageError
from renkei.model.space import Choice, Integer, Parameter, Point, Real, Space, Value

Key = tuple[float, ...]
"""Identity of a point: one number a parameter (the value, or the index among a choice's values)."""

_FEW = 256
"""A real parameter so narrow that it has at most so many floating-point numbers has only these values."""

_MAX_SPAN = 2**53
"""Whole numbers beyond this have no exact floating-point neighbour, so their bins would not be equal."""


class Codec:
    """Translates between points, coordinates in the unit cube (one a parameter) and keys.

    A coordinate u in [0, 1] stands for a value as follows: a real number lies at u between `low` and `high` (on the
    log scale if `log`); a whole number owns an equal part of [0, 1] (equal on the log scale if `log`); so does each
    value of a choice.

    Raises:
        UsageError: The space has no parameter or no point, or a parameter has no value.
    """

    def __init__(self, space: Space) -> None:
        if problems := _problems(space):
            raise UsageError(f"The search space cannot be searched: {'; '.join(problems)}.")
        self._space = space
        self._names = space.names
        self._places = [(p.name, _indices(p) if isinstance(p, Choice) else None) for p in space.parameters]

    def problems(self, points: Sequence[Mapping[str, Value]]) -> list[str]:
        """Return everything wrong with points that should be of the space, as `Space.problems` does; quick for many."""
        return [text for point in points if not self._is_plainly_of(point) for text in self._space.problems(point)]

    def _is_plainly_of(self, point: Mapping[str, Value]) -> bool:
        """Return whether a point is of the space without a doubt; a choice's values are looked up, not compared."""
        if len(point) != len(self._names) or self._space.constraints:
            return False
        places = zip(self._space.parameters, self._places, strict=True)
        return all(_is_plainly_of(parameter, choices, point.get(name)) for parameter, (name, choices) in places)

    def holds(self, point: Mapping[str, Value]) -> bool:
        """Return whether a point with every parameter satisfies the constraints between parameters."""
        return all(constraint.problem(point) is None for constraint in self._space.constraints)

    def n_points(self) -> int | None:
        """Return how many points the parameters span, pool and constraints or not; None when they are uncountable."""
        total = 1
        for parameter in self._space.parameters:
            values = _n_values(parameter)
            if values is None:
                return None
            total *= values
        return total

    def key(self, point: Mapping[str, Value]) -> Key:
        """Return the identity of `point`: equal for equal points, also when 5 is written 5.0.

        Raises:
            UsageError: `point` lacks a parameter or has an unknown choice or something that is not a number.
        """
        places: list[float] = []
        for name, choices in self._places:
            value = point.get(name)
            place = _number(value) if choices is None else choices.get((type(value), value))
            if place is None:
                raise UsageError(f"A planner cannot use this point: {'; '.join(self._space.problems(point))}.")
            places.append(place)
        return tuple(places)

    def points(self, columns: Sequence[Sequence[float]]) -> list[Point]:
        """Return the points at unit coordinates given by column: n_parameters x n."""
        values = [decode(parameter, column) for parameter, column in zip(self._space.parameters, columns, strict=True)]
        return [dict(zip(self._names, row, strict=True)) for row in zip(*values, strict=True)]

    def every_point(self) -> Iterator[Point]:
        """Yield every point where constraints hold, the last parameter varying fastest; they must be countable."""
        return (point for point in self._branches() if point is not None)

    def n_holding(self, most: int) -> int:
        """Return at how many points constraints hold; more than `most` where there are more or counting takes long."""
        n_points = self.n_points()
        if n_points is None or not self._space.constraints:
            return most + 1 if n_points is None else n_points
        found = self.listed(8 * most)
        return most + 1 if found is None else len(found)

    def listed(self, most: int) -> list[Point] | None:
        """Return every point where constraints hold; None where finding them takes more than about `most` steps."""
        found: list[Point] = []
        for step, point in enumerate(self._branches()):
            if step >= most:
                return None
            if point is not None:
                found.append(point)
        return found

    def _branches(self) -> Iterator[Point | None]:
        """Yield every point where constraints hold, and None wherever a beginning of one is given up."""
        parameters, constraints = self._space.parameters, self._space.constraints
        values = [_values(parameter) for parameter in parameters]
        if not constraints:
            for combination in itertools.product(*values):
                yield dict(zip(self._names, combination, strict=True))
            return
        spans = [[c.span(parameters[at + 1 :]) for c in constraints] for at in range(len(parameters))]
        slacks = [1e-9 * max(abs(end) for end in c.span(parameters)) for c in constraints]
        factors = [[dict(c.terms).get(name, 0.0) for c in constraints] for name in self._names]
        row: list[Value] = []

        def may_hold(sums: list[float]) -> bool:
            return all(
                total + most >= c.lower - slack and total + least <= c.upper + slack
                for c, total, (least, most), slack in zip(constraints, sums, spans[len(row)], slacks, strict=True)
            )

        def branch(sums: list[float]) -> Iterator[Point | None]:
            at = len(row)
            if at == len(values):
                point = dict(zip(self._names, row, strict=True))
                yield point if self.holds(point) else None
                return
            for value in values[at]:
                added = [s + f * float(value) if f else s for s, f in zip(sums, factors[at], strict=True)]
                if not may_hold(added):
                    yield None
                    continue
                row.append(value)
                yield from branch(added)
                row.pop()

        yield from branch([0.0] * len(constraints))


def decode(parameter: Parameter, units: Sequence[float]) -> list[Value]:
    """Return the values of one parameter at coordinates `units` in [0, 1]."""
    if isinstance(parameter, Choice):
        values = parameter.values
        last = len(values) - 1
        return [values[min(last, int(u * len(values)))] for u in units]
    if isinstance(parameter, Integer):
        low, high = parameter.low, parameter.high
        if parameter.log:
            start, span = math.log(low), math.log(high + 1) - math.log(low)
            return [min(high, max(low, int(math.exp(start + u * span)))) for u in units]
        return [min(high, low + int(u * (high - low + 1))) for u in units]
    bottom, top = float(parameter.low), float(parameter.high)
    if parameter.log:
        start, span = math.log(bottom), math.log(top) - math.log(bottom)
        return [min(top, max(bottom, math.exp(start + u * span))) for u in units]
    # Not low + u (high - low): that overflows for bounds such as -1e308 and 1e308.
    return [min(top, max(bottom, bottom * (1.0 - u) + top * u)) for u in units]


def _is_plainly_of(parameter: Parameter, choices: Mapping[tuple[type, object], int] | None, value: object) -> bool:
    if isinstance(parameter, Choice):
        return isinstance(value, str | int | float) and (type(value), value) in (choices or {})
    if type(value) is int or (type(value) is float and isinstance(parameter, Real)):
        return parameter.low <= value <= parameter.high
    return False


def _problems(space: Space) -> list[str]:
    found = [] if space.parameters else ["it has no parameters"]
    if len(set(space.names)) != len(space.names):
        found.append("two parameters have the same name")
    for parameter in space.parameters:
        if isinstance(parameter, Choice):
            if not parameter.values:
                found.append(f"{parameter.name} has no values")
            continue
        if not (math.isfinite(parameter.low) and math.isfinite(parameter.high) and parameter.low <= parameter.high):
            found.append(f"{parameter.name} needs finite bounds with low <= high")
        elif parameter.log and parameter.low <= 0:
            found.append(f"{parameter.name} is searched on a log scale and needs low > 0")
        elif isinstance(parameter, Integer) and parameter.high - parameter.low >= _MAX_SPAN:
            found.append(f"{parameter.name} spans 2^53 whole numbers or more")
    if space.pool is not None and not space.pool:
        found.append("its pool is empty")
    if not found:
        found = [f"constraint '{c}': {text}" for c in space.constraints for text in c.misfits(space.parameters)]
    return found


def _n_values(parameter: Parameter) -> int | None:
    if isinstance(parameter, Choice):
        return len(parameter.values)
    if isinstance(parameter, Integer):
        return parameter.high - parameter.low + 1
    few = _floats(parameter)
    return None if few is None else len(few)


def _values(parameter: Parameter) -> Sequence[Value]:
    if isinstance(parameter, Choice):
        return parameter.values
    if isinstance(parameter, Real):
        return _floats(parameter) or ()
    return range(parameter.low, parameter.high + 1)


def _floats(parameter: Real) -> list[float] | None:
    """Return every number between the bounds, or None if there are more than _FEW."""
    found = [float(parameter.low)]
    while found[-1] < parameter.high and len(found) <= _FEW:
        found.append(math.nextafter(found[-1], math.inf))
    return found if len(found) <= _FEW else None


def _indices(choice: Choice) -> dict[tuple[type, object], int]:
    """Return the index of each value; by type too, because True and 1 are equal."""
    return {(type(value), value): index for index, value in enumerate(choice.values)}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if -sys.float_info.max <= value <= sys.float_info.max else None
