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

from renkei.errors import ConfigError, UsageError, did_you_mean
from renkei.model.files import read_bytes, shown
from renkei.model.space import Choice, Integer, Parameter, Point, Real, Space, Value

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
    if wrong := _cell_mistakes(cells):
        raise ConfigError(str(path), wrong)
    columns = [_column([row[i] for row in cells[1:]]) for i in range(len(cells[0]))]
    points = [dict(zip(cells[0], values, strict=True)) for values in zip(*columns, strict=True)]
    return space_of_points(points, units, str(path), "row", 2)


def space_of_points(
    points: Sequence[Mapping[str, Any]], units: Mapping[str, str], source: str, word: str = "point", first: int = 1
) -> Space:
    """Return the space whose only points are these.

    Args:
        points: Each has the same parameters.
        units: Units of parameters, where they have any.
        source: What to call the points in errors.
        word: What to call one of them.
        first: The number of the first.

    Raises:
        ConfigError: Lists every mistake in them.
    """
    if not 2 <= len(points) <= MAX_POINTS:
        raise ConfigError(source, [f"found {len(points)} {word}s, expected 2 to {MAX_POINTS}"])
    wrong: list[str] = []
    names = tuple(points[0]) if isinstance(cast(object, points[0]), Mapping) else ()
    pool: list[Point] = []
    seen: dict[tuple[object, ...], int] = {}
    for number, point in enumerate(points, first):
        if not isinstance(cast(object, point), Mapping) or set(point) != set(names) or not names:
            wrong.append(
                f"{word} {number}: found {shown(point)}, expected values of {', '.join(names) or 'parameters'}"
            )
            continue
        values = {name: _plain(point[name]) for name in names}
        for name, value in values.items():
            if value is None or (isinstance(value, float) and not math.isfinite(value)):
                wrong.append(f"{word} {number}, {name}: found {point[name]!r}, expected a finite number or a text")
        key = tuple((isinstance(value, bool), value) for value in values.values())
        if key in seen:
            wrong.append(f"{word} {number}: found the same point as in {word} {seen[key]}, expected every point once")
        seen.setdefault(key, number)
        pool.append(cast(Point, values))
    wrong += [
        f"units.{name}: found an unknown parameter.{did_you_mean(name, names)}" for name in units if name not in names
    ]
    if not wrong:
        parameters = tuple(_parameter(name, [p[name] for p in pool], units.get(name), wrong) for name in names)
        if not wrong:
            return Space(parameters, tuple({p.name: _typed(p, point[p.name]) for p in parameters} for point in pool))
    raise ConfigError(source, _shortened(wrong))


def _cell_mistakes(rows: list[list[str]]) -> list[str]:
    if not rows or not any(rows[0]):
        return ["row 1: found nothing, expected the names of the parameters"]
    header = rows[0]
    wrong = [f"row 1, column {i}: found an empty name" for i, name in enumerate(header, 1) if not name]
    wrong += [f"row 1: found '{name}' twice" for name in dict.fromkeys(header) if name and header.count(name) > 1]
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            wrong.append(f"row {number}: found {len(row)} cells, expected {len(header)}")
        else:
            wrong += [
                f"row {number}, {name}: found an empty cell, expected a value"
                for name, cell in zip(header, row, strict=True)
                if not cell
            ]
    return _shortened(wrong)


def _column(cells: Sequence[str]) -> list[Value]:
    if all(_WHOLE.fullmatch(cell) for cell in cells):
        return [int(cell) for cell in cells]
    if all(_NUMBER.fullmatch(cell) for cell in cells):
        return [float(cell) for cell in cells]
    if all(cell in _FLAGS for cell in cells):
        return [_FLAGS[cell] for cell in cells]
    return list(cells)


def _plain(value: object) -> Value | None:
    """Return a value as Python's own type (packages have others, for example numpy's), or None if it is no value."""
    if isinstance(value, str | bool):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    item = getattr(value, "item", None)
    return _plain(item()) if type(value).__name__ in ("bool", "bool_") and item else None


def _parameter(name: str, values: list[Value], unit: str | None, wrong: list[str]) -> Parameter:
    """Return the parameter that a column of a pool is; what is wrong with it is added to `wrong`."""
    distinct = list(dict.fromkeys((isinstance(value, bool), value) for value in values))
    if len(distinct) < 2:
        wrong.append(
            f"{name}: found {shown(values[0])} everywhere, expected at least two values; leave it out and give it to"
            f" every source of the campaign as fixed = {{ … }}"
        )
    numeric = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numeric) == len(values):
        low, high = min(numeric), max(numeric)
        if all(isinstance(v, int) for v in numeric):
            return Integer(name, int(low), int(high), unit or "1")
        return Real(name, float(low), float(high), unit or "1")
    if unit is not None:
        odd = next(v for v in values if isinstance(v, str | bool))
        wrong.append(f"units.{name}: found a unit, but not all of its values are numbers: {shown(odd)}")
    return Choice(name, tuple(value for _, value in distinct))


def _typed(parameter: Parameter, value: Value) -> Value:
    return float(value) if isinstance(parameter, Real) else value


def _shortened(wrong: Iterable[str]) -> list[str]:
    listed = list(wrong)
    more = len(listed) - _MAX_MISTAKES
    return listed if more <= 0 else [*listed[:_MAX_MISTAKES], f"and {more} more mistakes like these"]
