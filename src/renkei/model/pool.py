"""Pools: spaces whose only points are the samples of a library."""

import csv
import io
import math
import numbers
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from renkei.errors import ConfigError, UsageError
from renkei.model.fields import LARGEST_INTEGER
from renkei.model.files import one_of, read_bytes, shown
from renkei.model.space import Choice, Integer, Parameter, ParameterConstraint, Point, Real, Space, Value

MAX_POINTS = 100_000
"""How many points a pool may have."""

_MAX_MISTAKES = 50
_REFERENCE = re.compile(r"python:([A-Za-z_][\w.]*):([A-Za-z_]\w*)", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)
_FLAGS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class PoolReference:
    """A pool that lives in an installed package.

    Args:
        reference: "python:module:function"; the function takes nothing and returns the points.
        units: Units of its parameters, where they have any.
    """

    reference: str
    units: Mapping[str, str] = field(default_factory=dict[str, str])


def is_reference(text: str) -> bool:
    """Return whether `text` is spelt "python:module:function"."""
    return _REFERENCE.fullmatch(text) is not None


def resolve_pool(pool: PoolReference) -> Space:
    """Import the function that a pool refers to, call it and return its points as a space.

    Raises:
        UsageError: There is no such function, or it failed.
        ConfigError: Its points are not a pool; lists every mistake.
    """
    match = _REFERENCE.fullmatch(pool.reference)
    if match is None:
        raise UsageError(f"'{pool.reference}' is not a reference to a pool.", "Write 'python:module:function'.")
    try:
        function = getattr(import_module(match[1]), match[2])
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"Pool '{pool.reference}' cannot be found: {error}.", "Is the package that has it installed?"
        ) from error
    try:
        points = list(function())
    except Exception as error:  # whatever the function of others raises
        raise UsageError(f"Pool '{pool.reference}' failed: {type(error).__name__}: {error}") from error
    return space_of_points(points, pool.units, pool.reference)


def read_pool(path: Path, units: Mapping[str, str]) -> Space:
    """Return the space whose points are the rows of a CSV file; its first row names the parameters.

    A column of whole numbers becomes an integer parameter, one of numbers a real one, both with the bounds that they
    have; one of "true" and "false" a choice of booleans, any other a choice of texts.

    Args:
        path: The file.
        units: Units of columns, where they have any.

    Raises:
        ConfigError: Lists every mistake in it; rows are counted as a spreadsheet does, the header being row 1.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(str(path), [f"it cannot be read as CSV in UTF-8: {error}"]) from error
    while rows and not rows[-1]:  # empty lines at the end
        rows.pop()
    cells = [[cell.strip() for cell in row] for row in rows]
    names = cells[0] if cells else []
    if wrong := _header_mistakes(names):
        raise ConfigError(str(path), wrong)
    whole: dict[int, list[str]] = {}
    for number, row in enumerate(cells[1:], 2):
        if found := _row_mistakes(names, row):
            wrong += [f"row {number}{line}" for line in found]
        else:
            whole[number] = row
    columns = [_column([row[i] for row in whole.values()]) for i in range(len(names))]
    points = [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
    return _space(points, [f"row {number}" for number in whole], units, str(path), wrong)


def space_of_points(points: Sequence[Mapping[str, Any]], units: Mapping[str, str], source: str) -> Space:
    """Return the space whose only points are these.

    Args:
        points: Each has the same parameters.
        units: Units of parameters, where they have any.
        source: What to call the points in errors.

    Raises:
        ConfigError: Lists every mistake in them.
    """
    return _space(points, [f"point {n}" for n in range(1, len(points) + 1)], units, source, [])


def restricted(space: Space, constraints: Sequence[ParameterConstraint], source: str) -> Space:
    """Return a pool's space with only the points at which constraints hold.

    Args:
        space: Of a pool.
        constraints: What points must satisfy; none returns the space itself.
        source: What to call the pool in errors.

    Raises:
        ConfigError: A constraint does not suit the pool's parameters, or fewer than two points are left.
    """
    if not constraints:
        return space
    wrong = [
        f"parameter_constraint#{n}: {line}"
        for n, constraint in enumerate(constraints, 1)
        for line in constraint.misfits(space.parameters)
    ]
    if not wrong:
        kept = tuple(p for p in space.pool or () if all(c.problem(p) is None for c in constraints))
        if len(kept) >= 2:
            return Space(space.parameters, kept, tuple(constraints))
        n_all = len(space.pool or ())
        wrong = [f"parameter_constraint: found {len(kept)} of {n_all} points that satisfy it, expected at least two"]
    raise ConfigError(source, wrong)


def _space(
    points: Sequence[Mapping[str, Any]], labels: Sequence[str], units: Mapping[str, str], source: str, wrong: list[str]
) -> Space:
    """Return the space of points that are called `labels`; `wrong` is what is known to be wrong already."""
    first: object = points[0] if points else None
    names = tuple(str(name) for name in cast(Mapping[Any, Any], first)) if isinstance(first, Mapping) else ()
    pool: list[Point] = []
    seen: dict[tuple[object, ...], str] = {}
    for label, point in zip(labels, points, strict=True):
        if not isinstance(cast(object, point), Mapping) or set(point) != set(names):
            wrong.append(f"{label}: found {shown(point)}, expected a table of {', '.join(names) or 'parameters'}")
            continue
        values = {name: _plain(point[name]) for name in names}
        if strange := [name for name in names if not _is_value(values[name])]:
            wrong += [f"{label}, {name}: found {point[name]!r}, expected a finite number or a text" for name in strange]
            continue
        key = tuple((isinstance(value, bool), value) for value in values.values())
        if key in seen:
            wrong.append(f"{label}: found the same point as in {seen[key]}, expected every point once")
        seen.setdefault(key, label)
        pool.append(cast(Point, values))
    wrong += _unit_mistakes(units, names, pool)
    if not 2 <= len(pool) <= MAX_POINTS and not wrong:
        wrong.append(f"found {len(pool)} points, expected 2 to {MAX_POINTS}")
    if not wrong:
        parameters = tuple(_parameter(name, [p[name] for p in pool], units.get(name, "1"), wrong) for name in names)
        if not wrong:
            return Space(parameters, tuple({p.name: _typed(p, point[p.name]) for p in parameters} for point in pool))
    raise ConfigError(source, _shortened(wrong))


def _unit_mistakes(units: Mapping[str, str], names: Sequence[str], pool: Sequence[Point]) -> Iterable[str]:
    for name in units:
        if name not in names:
            yield f"units.{name}: found an unknown parameter, expected {one_of(names, name)}"
        elif odd := [point[name] for point in pool if isinstance(point[name], str | bool)]:
            yield f"units.{name}: found a unit of what is not a number everywhere: {shown(odd[0])}"


def _header_mistakes(names: Sequence[str]) -> list[str]:
    if not any(names):
        return ["row 1: found nothing, expected the names of the parameters"]
    wrong = [f"row 1: found no name for column {i}, expected one" for i, name in enumerate(names, 1) if not name]
    twice = [name for name in dict.fromkeys(names) if name and names.count(name) > 1]
    return wrong + [f"row 1: found '{name}' twice, expected every name once" for name in twice]


def _row_mistakes(names: Sequence[str], row: Sequence[str]) -> list[str]:
    if len(row) != len(names):
        return [f": found {len(row)} cells, expected {len(names)}"]
    return [
        f", {name}: found an empty cell, expected a value" for name, cell in zip(names, row, strict=True) if not cell
    ]


def _column(cells: Sequence[str]) -> list[Value]:
    if all(_WHOLE.fullmatch(cell) for cell in cells):
        return [int(cell) for cell in cells]
    if all(_NUMBER.fullmatch(cell) for cell in cells):
        return [float(cell) for cell in cells]
    if all(cell in _FLAGS for cell in cells):
        return [_FLAGS[cell] for cell in cells]
    return list(cells)


def _is_value(value: Value | None) -> bool:
    return value is not None and (not isinstance(value, float) or math.isfinite(value))


def _plain(value: object) -> Value | None:
    """Return a value as Python's own type (packages have others, for example numpy's), or None if it is no value."""
    if isinstance(value, str | bool):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, numbers.Integral):
        return int(value) if abs(int(value)) < LARGEST_INTEGER else None
    if isinstance(value, numbers.Real):
        return float(value)
    item = getattr(value, "item", None)
    return _plain(item()) if type(value).__name__ in ("bool", "bool_") and item else None


def _parameter(name: str, values: list[Value], unit: str, wrong: list[str]) -> Parameter:
    """Return the parameter that a column of a pool is; what is wrong with it is added to `wrong`."""
    distinct = list(dict.fromkeys((isinstance(value, bool), value) for value in values))
    if len(distinct) < 2:
        wrong.append(
            f"{name}: found {shown(values[0])} everywhere, expected at least two values; leave it out and give it to"
            " every source of the campaign as fixed = { … }"
        )
    numeric = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numeric) == len(values):
        low, high = min(numeric), max(numeric)
        if all(isinstance(v, int) for v in numeric):
            return Integer(name, int(low), int(high), unit)
        return Real(name, float(low), float(high), unit)
    return Choice(name, tuple(value for _, value in distinct))


def _typed(parameter: Parameter, value: Value) -> Value:
    return float(value) if isinstance(parameter, Real) else value


def _shortened(wrong: Iterable[str]) -> list[str]:
    listed = list(wrong)
    more = len(listed) - _MAX_MISTAKES
    return listed if more <= 0 else [*listed[:_MAX_MISTAKES], f"and {more} more mistakes like these"]
