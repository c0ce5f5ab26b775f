"""Quantities of an allocation, counted exactly, and durations as people write them."""

import math
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from renkei.errors import UsageError, did_you_mean
from renkei.units import ALLOCATION_UNITS

MICRO = 1_000_000

_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|sec|min|m|h|hour|hours|d|day|days)\s*")
_SECONDS = {"ms": 1e-3, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "hour": 3600, "hours": 3600} | {
    "d": 86400,
    "day": 86400,
    "days": 86400,
}
_LARGEST = 10**12
"""No quantity is larger, so that its millionths fit into 64 bits."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """An amount of one allocation unit, as a whole number of millionths so that books add up exactly.

    Args:
        micro: Millionths of the unit; negative in book entries only.
        unit: One of `renkei.units.ALLOCATION_UNITS`; units never convert into one another.
    """

    micro: int
    unit: str

    @property
    def value(self) -> float:
        """The amount in the unit."""
        return self.micro / MICRO

    def __str__(self) -> str:
        text = f"{Decimal(self.micro) / MICRO:f}"
        return f"{text.rstrip('0').rstrip('.') if '.' in text else text} {self.unit}"

    @staticmethod
    def of(value: float, unit: str) -> "Quantity":
        """Return `value` of `unit`, rounded up to a whole millionth (a charge is never rounded away).

        Up from what the float reads as: 0.07 is 70,000 millionths.
        """
        return Quantity(math.ceil(Decimal(repr(float(value))) * MICRO), unit)

    @staticmethod
    def parse(text: str) -> "Quantity":
        """Return the quantity written as "40 node-hour".

        Raises:
            UsageError: It is not a number and a known allocation unit, is negative, is finer than a millionth, or is
                larger than 10**12.
        """
        number, _, unit = text.strip().partition(" ")
        unit = unit.strip()
        try:
            amount = Decimal(number)
        except InvalidOperation:
            raise UsageError(f"'{text}' is not a quantity.", "Write a number and a unit: '40 node-hour'.") from None
        if unit not in ALLOCATION_UNITS:
            raise UsageError(
                f"'{unit}' is not an allocation unit.{did_you_mean(unit, ALLOCATION_UNITS)}",
                f"Known units: {', '.join(ALLOCATION_UNITS)}.",
            )
        if not amount.is_finite() or not 0 <= amount <= _LARGEST or amount != round(amount, 6):
            raise UsageError(
                f"'{text}' is not a quantity.", "It must be positive, with at most six decimals, and at most 10**12."
            )
        return Quantity(int(amount * MICRO), unit)


def parse_duration(text: str) -> float:
    """Return the seconds of "90 s", "2h", "15 min" or "3 d".

    Raises:
        UsageError: It is not a number and a known unit of time.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise UsageError(f"'{text}' is not a duration.", "Write a number and a unit: '90 s', '15 min', '2 h', '3 d'.")
    return float(match[1]) * _SECONDS[match[2]]
