"""Tables of parameters, as campaign files and command templates spell them."""

import math
from collections.abc import Mapping
from typing import Annotated, Literal, cast

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from renkei.errors import did_you_mean
from renkei.model.fields import LARGEST_INTEGER, Many, PhysicalUnit, Scalar, Text
from renkei.model.files import Table, expected, mistakes, scope_of, shown
from renkei.model.space import Choice, Integer, Parameter, ParameterConstraint, Real, Value

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


def remember(parameters: tuple[Parameter, ...], info: ValidationInfo) -> None:
    """Let constraints further down the file know the parameters."""
    scope_of(info).names["parameter"] = {parameter.name: parameter for parameter in parameters}


def _known(info: ValidationInfo) -> Mapping[str, Parameter] | None:
    """Return what `remember` was told; None where that is a pool of a package, or wrong."""
    known = scope_of(info).names.get("parameter")
    return cast("Mapping[str, Parameter]", known) if isinstance(known, Mapping) else None


def _are_numbers(terms: dict[str, float], info: ValidationInfo) -> dict[str, float]:
    known = _known(info)
    wrong = [f"{name}: found 0, expected another factor" for name, factor in terms.items() if factor == 0]
    if known is not None:
        for name in terms:
            if name not in known:
                near = did_you_mean(name, known)
                wrong.append(f"{name}: found an unknown parameter, expected one of [space].{near}".removesuffix("."))
            elif isinstance(known[name], Choice):
                wrong.append(f"{name}: found a choice, expected a real or an integer parameter")
    if wrong:
        raise mistakes(wrong)
    return terms


def _some_bound(upper: float | None, info: ValidationInfo) -> float | None:
    equal, lower = info.data.get("equal"), info.data.get("lower")
    if "equal" in info.data and "lower" in info.data:
        if equal is not None and (lower is not None or upper is not None):
            raise expected("no bound beside equal")
        if equal is None and lower is None and upper is None:
            raise expected("lower, upper, both, or equal")
        if upper is not None and lower is not None and upper < lower:
            raise expected(f"lower ({lower:g}) or more")
    return upper


class ParameterConstraintTable(Table):
    """[[parameter_constraint]]: what is known to be impossible before any trial.

    The sum of every term, factor times value in the parameter's unit, must lie between the bounds.
    """

    terms: Annotated[dict[Text, float], AfterValidator(_are_numbers)] = Field(
        min_length=1, description="Factors by the names of real and integer parameters: { copper = 1.0, nickel = 2.0 }."
    )
    equal: float | None = Field(
        default=None, description="What the sum must be; no parameter in it may be on a log scale."
    )
    lower: float | None = Field(default=None, description="The least that the sum may be.")
    upper: Annotated[float | None, AfterValidator(_some_bound)] = Field(
        default=None, validate_default=True, description="The most that the sum may be."
    )

    @model_validator(mode="after")
    def _is_possible(self, info: ValidationInfo) -> "ParameterConstraintTable":
        known = _known(info)
        if known is not None and (wrong := self.constraint().misfits(tuple(known.values()))):
            raise mistakes(wrong)
        return self

    def constraint(self) -> ParameterConstraint:
        """Return the constraint that this describes."""
        lower = self.equal if self.equal is not None else -math.inf if self.lower is None else self.lower
        upper = self.equal if self.equal is not None else math.inf if self.upper is None else self.upper
        return ParameterConstraint(tuple((n, float(f)) for n, f in self.terms.items()), float(lower), float(upper))
