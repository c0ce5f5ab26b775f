"""Units: which are known and how they convert."""

import math

import pytest

from renkei.errors import UsageError
from renkei.units import ALLOCATION_UNITS, check, conversion, convert


@pytest.mark.parametrize("unit", ["1", "K", "kA", "mmol/g/h", "1/m**2", "um", "percent", "degC", "eV", "dimensionless"])
def test_a_known_unit_is_returned_as_it_was_written(unit: str) -> None:
    assert check(unit) == unit


@pytest.mark.parametrize("unit", ["", " K", "K ", "kAx", "2", "2*K", "m**", "__class__", "1/0", "nan", "USD"])
def test_an_unknown_unit_is_refused(unit: str) -> None:
    with pytest.raises(UsageError, match="Unknown unit") as caught:
        check(unit)
    assert "Write a unit such as" in caught.value.hint


@pytest.mark.parametrize(
    ("source", "target", "factor", "offset"),
    [
        ("kA", "A", 1000.0, 0.0),
        ("um", "m", 1e-6, 0.0),
        ("percent", "1", 0.01, 0.0),
        ("1", "dimensionless", 1.0, 0.0),
        ("degC", "K", 1.0, 273.15),
        ("degC", "degF", 1.8, 32.0),
        ("degC/min", "K/min", 1.0, 0.0),
        ("m", "m", 1.0, 0.0),
        ("nonsense", "nonsense", 1.0, 0.0),
    ],
)
def test_a_conversion_is_a_factor_and_an_offset(source: str, target: str, factor: float, offset: float) -> None:
    found = conversion(source, target)
    assert found == pytest.approx((factor, offset), rel=1e-12)


def test_a_value_is_converted() -> None:
    assert convert(12.5, "kA", "A") == 12500.0
    assert math.isclose(convert(100.0, "degC", "degF"), 212.0)
    assert convert(0.1, "K", "K") == 0.1


@pytest.mark.parametrize(("source", "target"), [("m", "s"), ("nm", "eV"), ("K", "1"), ("kcal/mol", "eV")])
def test_units_of_different_quantities_do_not_convert(source: str, target: str) -> None:
    with pytest.raises(UsageError, match=f"Unit '{source}' does not convert to '{target}'"):
        conversion(source, target)


@pytest.mark.parametrize(("source", "target"), [("dBm", "mW"), ("mW", "dBm"), ("dB", "1"), ("1", "dB"), ("Np", "1")])
def test_logarithmic_units_are_not_taken_for_a_factor(source: str, target: str) -> None:
    with pytest.raises(UsageError, match="by a factor"):
        conversion(source, target)


@pytest.mark.parametrize(("source", "target"), [("m", "mm/pixel**pixel"), ("kAx", "A"), ("A", "kAx")])
def test_an_unknown_unit_does_not_convert(source: str, target: str) -> None:
    with pytest.raises(UsageError):
        conversion(source, target)


def test_what_an_allocation_is_counted_in() -> None:
    assert ALLOCATION_UNITS == (
        "node-hour", "core-hour", "gpu-hour", "instrument-hour", "sample", "token", "USD", "run",
    )  # fmt: skip
