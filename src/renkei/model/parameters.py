"""Tables of parameters, as campaign files and command templates spell them."""

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from renkei.model.fields import LARGEST_INTEGER, Many, PhysicalUnit, Scalar
from renkei.model.files import Table, expected, shown
from renkei.model.space import Choice, Integer, Parameter, Real, Value

Scale = Literal["linear", "log"]


def _above_low(high: float, info: ValidationInfo) -> float:
    low = info.data.get("low")
    if low is not None and high == low:
        raise expected(
            f"more than low ({low:g}): what never changes is no parameter; give it to every source of the campaign"
            " as fixed = { … }"
        )
    if low is not None and high < low:
        raise expected(f"more than low ({low:g})")
    if low is not None and not math.isfinite(high - low):
        raise expected("a smaller one: the span from low to high is no number")
    return high


def _fits_low(scale: str, info: ValidationInfo) -> str:
    low = info.data.get("low")
    if scale == "log" and low is not None and low <= 0:
        raise expected(f"'linear', or a low above 0 (low is {low:g})")
    return scale


def _at_least_two(values: tuple[Value, ...]) -> tuple[Value, ...]:
    seen: set[tuple[bool, Value]] = set()  # true is not 1, but 1 is 1.0
    for value in values:
        key = (isinstance(value, bool), value)
        if key in seen:
            raise expected(f"every value once, but {shown(value)} is there twice")
        seen.add(key)
    if len(values) < 2:
        raise expected("two values or more")
    return values


class RealTable(Table):
    """A number between two bounds."""

    type: Literal["real"] = Field(description="The type: real, integer or choice.")
    low: float = Field(description="The lowest value.")
    high: Annotated[float, AfterValidator(_above_low)] = Field(description="The highest value.")
    unit: PhysicalUnit = Field(default="1", description="The unit of its values.")
    scale: Annotated[Scale, AfterValidator(_fits_low)] = Field(
        default="linear", description="How it is searched: linear or log."
    )

    def parameter(self, name: str) -> Parameter:
        """Return the parameter that this describes."""
        return Real(name, float(self.low), float(self.high), self.unit, self.scale == "log")


class IntegerTable(Table):
    """A whole number between two bounds."""

    type: Literal["integer"] = Field(description="The type: real, integer or choice.")
    low: int = Field(gt=-LARGEST_INTEGER, description="The lowest value.")
    high: Annotated[int, AfterValidator(_above_low)] = Field(lt=LARGEST_INTEGER, description="The highest value.")
    unit: PhysicalUnit = Field(default="1", description="The unit of its values.")
    scale: Annotated[Scale, AfterValidator(_fits_low)] = Field(
        default="linear", description="How it is searched: linear or log."
    )

    def parameter(self, name: str) -> Parameter:
        """Return the parameter that this describes."""
        return Integer(name, self.low, self.high, self.unit, self.scale == "log")


class ChoiceTable(Table):
    """One of several values without an order."""

    type: Literal["choice"] = Field(description="The type: real, integer or choice.")
    values: Annotated[Many[Scalar], AfterValidator(_at_least_two)] = Field(
        description="The values: texts, numbers or booleans."
    )

    def parameter(self, name: str) -> Parameter:
        """Return the parameter that this describes."""
        return Choice(name, self.values)


ParameterTable = Annotated[RealTable | IntegerTable | ChoiceTable, Field(discriminator="type")]
"""A parameter: which keys it takes follows from its type."""
