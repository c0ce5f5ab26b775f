"""Tables of experiments that were really made, read from the files of the installed packages olymp and gauche."""

import csv
import math
from collections.abc import Sequence
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from statistics import fmean

from benchmarks.planning.problem import Problem

from renkei.model.space import Choice, Parameter, Point, Real, Space, Value

Row = tuple[Value, ...]


def olympus(name: str, about: str, parameters: Sequence[str], *, maximise: bool) -> Problem:
    """Return a table of olymp: numeric columns, the last one measured."""
    path = _file("olymp", f"olympus/datasets/dataset_{name}/data.csv")
    with path.open(newline="", encoding="utf-8") as file:
        rows = [tuple(round(float(cell), 9) for cell in row) for row in csv.reader(file)]
    columns = list(zip(*(row[:-1] for row in rows), strict=True))
    space: list[Parameter] = [Real(n, min(c), max(c)) for n, c in zip(parameters, columns, strict=True)]
    return _table(name, about, space, [row[:-1] for row in rows], [row[-1] for row in rows], maximise=maximise)


def reactions(name: str, file: str, about: str, columns: dict[str, str]) -> Problem:
    """Return a table of gauche: what went into a reaction, and its yield."""
    with _file("gauche", f"gauche/datasets/reactions/{file}").open(newline="", encoding="utf-8") as text:
        found = list(csv.DictReader(text))
    rows: list[Row] = [tuple(row[column] or "none" for column in columns) for row in found]
    space: list[Parameter] = [
        Choice(short, tuple(dict.fromkeys(row[k] for row in rows))) for k, short in enumerate(columns.values())
    ]
    return _table(name, about, space, rows, [float(row["yield"]) for row in found], maximise=True)


def _table(
    name: str,
    about: str,
    parameters: Sequence[Parameter],
    rows: Sequence[Row],
    values: Sequence[float],
    *,
    maximise: bool,
) -> Problem:
    """Return the pool of distinct rows; the truth is the mean of what was measured on a row."""
    measured: dict[Row, list[float]] = {}
    for row, value in zip(rows, values, strict=True):
        if math.isfinite(value):
            measured.setdefault(row, []).append(-value if maximise else value)
    losses = {row: fmean(found) for row, found in measured.items()}
    names = [parameter.name for parameter in parameters]
    pool: tuple[Point, ...] = tuple(dict(zip(names, row, strict=True)) for row in losses)
    return Problem(
        name=name,
        kind="table",
        about=f"{about}, {len(pool):,} rows",
        space=Space(tuple(parameters), pool),
        truth=lambda point: losses[tuple(point[n] for n in names)],
        minimum=min(losses.values()),
    )


@lru_cache
def _file(package: str, path: str) -> Path:
    for file in metadata.files(package) or ():
        if file.as_posix() == path:
            return Path(str(file.locate()))
    raise FileNotFoundError(f"The installed package {package} has no file {path}.")
