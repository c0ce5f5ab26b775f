"""Quantities of an allocation, and durations."""

import pytest

from renkei.errors import UsageError
from renkei.model.quantity import Quantity, parse_duration
from renkei.units import ALLOCATION_UNITS


@pytest.mark.parametrize("unit", ALLOCATION_UNITS)
def test_a_quantity_is_a_number_and_a_unit(unit: str) -> None:
    assert Quantity.parse(f"40 {unit}") == Quantity(40_000_000, unit)


@pytest.mark.parametrize(
    ("text", "micro"), [("0.000001 run", 1), ("1.5  run", 1_500_000), (" 2e3 run ", 2 * 10**9), ("0 run", 0)]
)
def test_a_quantity_is_counted_in_millionths(text: str, micro: int) -> None:
    assert Quantity.parse(text).micro == micro


@pytest.mark.parametrize(
    "text",
    [
        "", "run", "40", "40node-hour", "-1 run", "nan run", "sNaN run", "inf run", "0.0000001 run",
        "1.00000000000000000000000000001 run", "1000000000001 run", "1e999999999 run", "1 run run",
    ],
)  # fmt: skip
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Quantity.parse(text)


def test_a_unit_that_was_misspelt_is_named() -> None:
    with pytest.raises(UsageError, match=r"'nodehour' is not an allocation unit\. Did you mean 'node-hour'\?"):
        Quantity.parse("1 nodehour")


@pytest.mark.parametrize(
    ("micro", "text"),
    [(40_000_000, "40 run"), (1_500_000, "1.5 run"), (1, "0.000001 run"), (0, "0 run"), (-500_000, "-0.5 run")],
)
def test_a_quantity_is_shown_as_it_is_written(micro: int, text: str) -> None:
    assert str(Quantity(micro, "run")) == text
    assert Quantity(micro, "run").value == micro / 1_000_000


@pytest.mark.parametrize(
    ("value", "micro"),
    [(1.5, 1_500_000), (1e-9, 1), (1.0000001, 1_000_001), (0.07, 70_000), (1.1, 1_100_000), (0, 0), (3, 3_000_000)],
)
def test_a_charge_is_rounded_up_from_what_its_number_reads_as(value: float, micro: int) -> None:
    assert Quantity.of(value, "run") == Quantity(micro, "run")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90 s", 90), ("2h", 7200), ("15 min", 900), ("3 d", 259_200), ("1.5 hours", 5400), ("20 ms", 0.02), ("2 m", 120)],
)
def test_a_duration_is_read_as_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "s", "-1 s", "1 month", "1e3 s", "1 h 30 min", "nan s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a duration"):
        parse_duration(text)
