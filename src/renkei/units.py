"""Units: checked and converted with pint, at the boundaries only.

Everywhere inside, numbers are plain floats whose unit the parameter or output declares.
"""

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from renkei.errors import UsageError

if TYPE_CHECKING:
    import pint

ALLOCATION_UNITS = ("node-hour", "core-hour", "gpu-hour", "instrument-hour", "sample", "token", "USD", "run")
"""What an allocation may be counted in. Unlike physical units these never convert into one another."""


@lru_cache(maxsize=1)
def _registry() -> "pint.UnitRegistry[float]":
    import pint  # slow to import, and many commands never meet a unit

    registry: pint.UnitRegistry[float] = pint.UnitRegistry(cache_folder=None)
    return registry


@lru_cache(maxsize=1024)
def check(unit: str) -> str:
    """Return `unit` if it is one that pint knows ("1" means dimensionless).

    Raises:
        UsageError: The unit is unknown.
    """
    if unit == "1":
        return unit
    try:
        if unit != unit.strip() or not unit:
            raise ValueError("no unit at all")
        _registry().Unit(unit)
    except Exception as error:  # pint raises many kinds for bad text: parse errors, attribute errors, type errors
        raise UsageError(f"Unknown unit '{unit}'.", "Write a unit such as 'K', 'kA', 'mmol/g/h' or '1'.") from error
    return unit


@lru_cache(maxsize=1024)
def conversion(source: str, target: str) -> tuple[float, float]:
    """Return (factor, offset) so that `value_in_target = value_in_source * factor + offset`.

    Raises:
        UsageError: One of the units is unknown, the two have different dimensions, or one of them is logarithmic.
    """
    if source == target:
        return 1.0, 0.0
    import pint

    check(source)
    check(target)
    try:
        one, two, three = (_convert(value, source, target) for value in (1.0, 2.0, 3.0))
        is_straight = math.isclose(two - one, three - two, rel_tol=1e-6)
        zero = _convert(0.0, source, target) if is_straight else 0.0
    except pint.PintError as error:
        raise UsageError(
            f"Unit '{source}' does not convert to '{target}'.", "Both must measure the same kind of quantity."
        ) from error
    if not is_straight:
        raise UsageError(
            f"Unit '{source}' does not convert to '{target}' by a factor.", "Logarithmic units cannot be converted."
        )
    return one - zero, zero


def convert(value: float, source: str, target: str) -> float:
    """Return `value` given in `source`, in `target`.

    Raises:
        UsageError: See `conversion`.
    """
    factor, offset = conversion(source, target)
    return value * factor + offset


def _convert(value: float, source: str, target: str) -> float:
    quantity = cast(Any, _registry().Quantity(value, _name(source)))
    return float(quantity.to(_name(target)).magnitude)


def _name(unit: str) -> str:
    return "dimensionless" if unit == "1" else unit
