"""How planners see a search space: what is wrong with it, its points from unit coordinates, their identities."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

from renkei.errors import UsageError
from renkei.model.space import Choice, Integer, Parameter, Point, Real, Space, Value

Key = tuple[float, ...]
"""Identity of a point: one number a parameter (the value, or the index among a choice's values)."""

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

    def n_points(self) -> int | None:
        """Return how many points the parameters span, pool or not; None when they cannot be counted."""
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
        """Yield every point that the parameters span, the last parameter varying fastest; they must be countable."""
        values = [_values(parameter) for parameter in self._space.parameters]
        for row in itertools.product(*values):
            yield dict(zip(self._names, row, strict=True))


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
    return found


def _n_values(parameter: Parameter) -> int | None:
    if isinstance(parameter, Choice):
        return len(parameter.values)
    if isinstance(parameter, Integer):
        return parameter.high - parameter.low + 1
    return 1 if parameter.low == parameter.high else None


def _values(parameter: Parameter) -> Sequence[Value]:
    if isinstance(parameter, Choice):
        return parameter.values
    if isinstance(parameter, Real):
        return (parameter.low,)
    return range(parameter.low, parameter.high + 1)


def _indices(choice: Choice) -> dict[tuple[type, object], int]:
    """Return the index of each value; by type too, because True and 1 are equal."""
    return {(type(value), value): index for index, value in enumerate(choice.values)}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) else None
