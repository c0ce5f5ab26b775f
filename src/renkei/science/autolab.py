"""Autonomous laboratories: libraries of samples that were really made and measured (extra `autolab`)."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from statistics import fmean
from typing import Annotated

from annotated_types import Interval

from renkei.model.procedure import Unit, procedure

PARAMETERS: tuple[str, ...] = ("pce10", "p3ht", "pcbm", "oidtbr")
"""The materials of a blend, in the order of the library's columns."""

_LIBRARY = "olympus/datasets/dataset_photo_pce10/data.csv"
_DECIMALS = 4  # fractions are multiples of 0.02

Blend = tuple[float, ...]
Fraction = Annotated[float, Interval(ge=0, le=1), Unit("1")]


@dataclass(frozen=True, slots=True)
class Photostability:
    """What was measured of one blend."""

    degradation: Annotated[float, Unit("1")]
    samples: Annotated[int, Unit("1")]


@procedure("autolab.photovoltaic-blend", version="1.0", kind="measurement")
def photovoltaic_blend(pce10: Fraction, p3ht: Fraction, pcbm: Fraction, oidtbr: Fraction) -> Photostability:
    """Measure how far light degrades a blend of four organic photovoltaic materials; lower is better.

    Looks up what a robotic laboratory measured on 1,040 films of 1,020 blends: S. Langner, F. Häse et al., Beyond
    Ternary OPV: High-Throughput Experimentation and Self-Driving Laboratories Optimize Multicomponent Systems,
    Adv. Mater. 32, 1907801 (2020), as the table photo_pce10 of the package olymp. The table calls the result
    photodegradation and gives it as a plain number without a unit, 0 being no degradation.

    Args:
        pce10: Fraction of the donor polymer PCE10; the four fractions add up to 1.
        p3ht: Fraction of the donor polymer P3HT.
        pcbm: Fraction of the acceptor PCBM.
        oidtbr: Fraction of the acceptor oIDTBR.

    Returns:
        degradation: Mean over the films that were made of this blend.
        samples: How many films that are: 1, and 2 or 3 for nineteen blends, whose films differ by 0.02 (standard
            deviation).

    Raises:
        ValueError: No film of this blend was made; `pool` lists those that were.
        ModuleNotFoundError: The package olymp is not installed.
    """
    blend = tuple(round(fraction, _DECIMALS) for fraction in (pce10, p3ht, pcbm, oidtbr))
    measured = _films().get(blend)
    if measured is None:
        shown = ", ".join(f"{name} {fraction:g}" for name, fraction in zip(PARAMETERS, blend, strict=True))
        raise ValueError(f"no film of the blend {shown} was made; renkei.science.autolab.pool() lists those that were")
    return Photostability(degradation=fmean(measured), samples=len(measured))


def pool() -> list[dict[str, float]]:
    """Return the 1,020 different blends of the library in its order, each once.

    Raises:
        ModuleNotFoundError: The package olymp is not installed.
    """
    return [dict(zip(PARAMETERS, blend, strict=True)) for blend in _films()]


def write_pool(path: str | Path) -> int:
    """Write `pool` as CSV, its header the parameters' names, for a campaign's `[space] pool`. Return the row count.

    Raises:
        ModuleNotFoundError: The package olymp is not installed.
    """
    rows = pool()
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, PARAMETERS)
        writer.writeheader()
        writer.writerows(rows)
    return len(rows)


@lru_cache(maxsize=1)
def _films() -> Mapping[Blend, list[float]]:
    """Return what was measured on the films of each blend, in the library's order."""
    found: dict[Blend, list[float]] = {}
    with _library().open(newline="", encoding="utf-8") as file:
        for row in csv.reader(file):
            *fractions, degradation = (float(cell) for cell in row)
            found.setdefault(tuple(round(f, _DECIMALS) for f in fractions), []).append(degradation)
    return found


def _library() -> Path:
    """Return where the package olymp keeps the table. Nothing of it is imported: it needs packages of another age."""
    for file in metadata.files("olymp") or ():
        if file.as_posix() == _LIBRARY:
            return Path(str(file.locate()))
    raise ModuleNotFoundError(f"The installed package olymp has no file {_LIBRARY}.", name="olymp")
