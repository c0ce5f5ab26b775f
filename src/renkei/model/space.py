"""What a campaign searches: parameters, search spaces, objectives and constraints.

Words as in BoTorch, Ax and BayBE. A point is a plain `dict` from parameter names to values.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from renkei.errors import did_you_mean

Value = float | int | str | bool
Point = dict[str, Value]

SOURCE = "source"
"""The key under which a point says at which of several sources it is tried, beside its parameters."""


@dataclass(frozen=True, slots=True)
class Real:
    """A number between `low` and `high` (both included), in `unit`; searched on a log scale if `log`."""

    name: str
    low: float
    high: float
    unit: str = "1"
    log: bool = False

    def problem(self, value: object) -> str | None:
        """Return what is wrong with `value`, or None."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"{self.name}: found {value!r}, expected a number"
        if not (self.low <= value <= self.high):  # NaN fails here too
            return f"{self.name}: {value} is outside [{self.low}, {self.high}] {_shown(self.unit)}".rstrip()
        return None


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number between `low` and `high` (both included), in `unit`; searched on a log scale if `log`."""

    name: str
    low: int
    high: int
    unit: str = "1"
    log: bool = False

    def problem(self, value: object) -> str | None:
        """Return what is wrong with `value`, or None."""
        if isinstance(value, bool) or not isinstance(value, int):
            return f"{self.name}: found {value!r}, expected a whole number"
        if not (self.low <= value <= self.high):
            return f"{self.name}: {value} is outside [{self.low}, {self.high}] {_shown(self.unit)}".rstrip()
        return None


@dataclass(frozen=True, slots=True)
class Choice:
    """One of `values`, without an order."""

    name: str
    values: tuple[Value, ...]

    unit = "1"

    def problem(self, value: object) -> str | None:
        """Return what is wrong with `value`, or None."""
        if any(value == known and type(value) is type(known) for known in self.values):
            return None
        return f"{self.name}: found {value!r}, expected one of {', '.join(repr(v) for v in self.values)}"


Parameter = Real | Integer | Choice


@dataclass(frozen=True, slots=True)
class ParameterConstraint:
    """What is known to be impossible before any trial: `lower <= sum of factor * value <= upper` must hold.

    Args:
        terms: Pairs of the name of a real or whole parameter and its factor, per the parameter's unit.
        lower: May be open.
        upper: May be open; equal to `lower` for an equation, as for the shares of a mixture.
    """

    terms: tuple[tuple[str, float], ...]
    lower: float = -math.inf
    upper: float = math.inf

    def problem(self, point: Mapping[str, Any]) -> str | None:
        """Return what is wrong with a point that has every parameter, or None.

        Rounding errors are let pass: a billionth of the largest term or bound.
        """
        parts = [factor * point[name] for name, factor in self.terms]
        bounds = [abs(bound) for bound in (self.lower, self.upper) if math.isfinite(bound)]
        slack = 1e-9 * max(*bounds, *(abs(part) for part in parts), 0.0)
        if math.isfinite(slack) and self.lower - slack <= sum(parts) <= self.upper + slack:
            return None
        return f"{self}: {sum(parts):g} is outside [{self.lower:g}, {self.upper:g}]"

    @property
    def is_equation(self) -> bool:
        """Whether exactly one sum will do."""
        return self.lower == self.upper

    def span(self, parameters: Sequence[Parameter]) -> tuple[float, float]:
        """Return the smallest and the largest sum of the terms in `parameters` within their bounds; others are left."""
        ends = [
            sorted((factor * p.low, factor * p.high))
            for name, factor in self.terms
            for p in parameters
            if p.name == name and not isinstance(p, Choice)
        ]
        return sum(low for low, _ in ends), sum(high for _, high in ends)

    def misfits(self, parameters: Sequence[Parameter]) -> list[str]:
        """Return why a space of `parameters` cannot have this constraint, nothing being possible included."""
        known = {parameter.name: parameter for parameter in parameters}
        found = [] if self.terms else ["found no terms, expected at least one"]
        for name, factor in self.terms:
            parameter = known.get(name)
            if parameter is None:
                found.append(f"{name}: found an unknown parameter.{did_you_mean(name, known)}".removesuffix("."))
            elif isinstance(parameter, Choice):
                found.append(f"{name}: found a choice, expected a number")
            elif factor == 0 or not math.isfinite(factor):
                found.append(f"{name}: found {factor:g}, expected a finite factor other than 0")
            elif self.is_equation and parameter.log:
                found.append(f"{name}: found a parameter on a log scale in an equation, expected a linear one")
        if not self.lower <= self.upper or self.lower == math.inf or self.upper == -math.inf:
            found.append(f"found bounds {self.lower:g} and {self.upper:g}, expected lower <= upper")
        least, most = self.span(parameters)
        slack = 1e-9 * max(abs(least), abs(most))
        if not found and (least > self.upper + slack or most < self.lower - slack):
            found.append(f"found nothing possible: {self} lies between {least:g} and {most:g}")
        return found

    def __str__(self) -> str:
        return " + ".join(name if factor == 1 else f"{factor:g} {name}" for name, factor in self.terms)


@dataclass(frozen=True, slots=True)
class Space:
    """A search space: every combination of `parameters`, or only the points of `pool` where one is given.

    Args:
        parameters: At least one; names are unique, and none is called `SOURCE`.
        pool: The only points that exist (a library of samples), in their order; each has every parameter.
        constraints: What combinations of parameters must satisfy; points of a pool too.
    """

    parameters: tuple[Parameter, ...]
    pool: tuple[Point, ...] | None = None
    constraints: tuple[ParameterConstraint, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters' names in order."""
        return tuple(p.name for p in self.parameters)

    def __getitem__(self, name: str) -> Parameter:
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        raise KeyError(name)

    def problems(self, point: Mapping[str, object]) -> list[str]:
        """Return everything wrong with `point`: missing, unknown and out-of-range parameters, broken constraints."""
        found = [f"{name}: no such parameter" for name in point if name not in self.names]
        for parameter in self.parameters:
            if parameter.name not in point:
                found.append(f"{parameter.name}: missing")
            elif problem := parameter.problem(point[parameter.name]):
                found.append(problem)
        return found or [problem for c in self.constraints if (problem := c.problem(point))]


@dataclass(frozen=True, slots=True)
class Objective:
    """What to reach for in one output.

    Args:
        output: The output's name.
        goal: "minimize", "maximize" or "target" (as near to `target` as possible).
        target: The value to come near to; with goal "target" only.
        reach: The discovery that the campaign is after: a value of the output at least as good as this
            (for "target": a distance from the target no larger than this).
        unit: Unit of the output, of `target` and of `reach`.
    """

    output: str
    goal: str = "minimize"
    target: float | None = None
    reach: float | None = None
    unit: str = "1"

    def loss(self, value: float) -> float:
        """Return the number to minimise: value, -value or |value - target|."""
        if self.goal == "maximize":
            return -value
        if self.goal == "target":
            assert self.target is not None
            return abs(value - self.target)
        return value

    @property
    def reach_loss(self) -> float | None:
        """The loss at which the discovery is made, or None."""
        if self.reach is None:
            return None
        return -self.reach if self.goal == "maximize" else self.reach


@dataclass(frozen=True, slots=True)
class Constraint:
    """An output must lie between `lower` and `upper` (either may be open), in `unit`."""

    output: str
    lower: float = -math.inf
    upper: float = math.inf
    unit: str = "1"

    def holds(self, value: float) -> bool:
        """Return whether `value` satisfies the constraint."""
        return self.lower <= value <= self.upper


@dataclass(frozen=True, slots=True)
class Observation:
    """What a planner is told about one ended trial.

    Args:
        point: The trial's parameters; where there are several sources, its source under `SOURCE` too.
        outcome: "observed" (outputs are there), "infeasible" (the point cannot work), "abandoned" (nothing is known).
        outputs: Measured outputs in campaign units; empty unless observed.
        noise: Standard deviation of outputs where it is known, same units.
        seconds: How long it took, waiting included; NaN where that is not known.
        cost: What it was charged, in the unit of its source's price; NaN where that is not known.
    """

    point: Point
    outcome: str = "observed"
    outputs: Mapping[str, float] = field(default_factory=dict[str, float])
    noise: Mapping[str, float] = field(default_factory=dict[str, float])
    seconds: float = math.nan
    cost: float = math.nan


def feasible(outputs: Mapping[str, float], constraints: Sequence[Constraint]) -> bool:
    """Return whether `outputs` satisfies every constraint; an output that is missing or not finite does not."""
    return all(
        c.output in outputs and math.isfinite(outputs[c.output]) and c.holds(outputs[c.output]) for c in constraints
    )


def reached(
    outputs: Mapping[str, float], objectives: Sequence[Objective], constraints: Sequence[Constraint] = ()
) -> bool:
    """Return whether `outputs` makes the discovery: every objective with a `reach` is reached, constraints hold."""
    goals = [o for o in objectives if o.reach_loss is not None]
    return (
        bool(goals)
        and feasible(outputs, constraints)
        and all(o.output in outputs and o.loss(outputs[o.output]) <= (o.reach_loss or 0.0) for o in goals)
    )


def dominates(first: Mapping[str, float], second: Mapping[str, float], objectives: Sequence[Objective]) -> bool:
    """Return whether `first` is at least as good as `second` in every objective and better in one (Pareto)."""
    pairs = [(o.loss(first[o.output]), o.loss(second[o.output])) for o in objectives]
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def _shown(unit: str) -> str:
    return "" if unit == "1" else unit


def parameter_from_json(data: Mapping[str, Any]) -> Parameter:
    """Return the parameter that `parameter_to_json` wrote."""
    kind = data["type"]
    if kind == "real":
        return Real(data["name"], data["low"], data["high"], data.get("unit", "1"), data.get("log", False))
    if kind == "integer":
        return Integer(data["name"], data["low"], data["high"], data.get("unit", "1"), data.get("log", False))
    return Choice(data["name"], tuple(data["values"]))


def parameter_to_json(parameter: Parameter) -> dict[str, Any]:
    """Return the parameter as plain JSON: type, name and what its type has."""
    if isinstance(parameter, Choice):
        return {"type": "choice", "name": parameter.name, "values": list(parameter.values)}
    return {
        "type": "real" if isinstance(parameter, Real) else "integer",
        "name": parameter.name,
        "low": parameter.low,
        "high": parameter.high,
        "unit": parameter.unit,
        "log": parameter.log,
    }


def parameter_constraint_from_json(data: Mapping[str, Any]) -> ParameterConstraint:
    """Return the constraint that `parameter_constraint_to_json` wrote."""
    lower = -math.inf if data["lower"] is None else data["lower"]
    upper = math.inf if data["upper"] is None else data["upper"]
    return ParameterConstraint(tuple((name, factor) for name, factor in data["terms"].items()), lower, upper)


def parameter_constraint_to_json(constraint: ParameterConstraint) -> dict[str, Any]:
    """Return the constraint as plain JSON: its terms as an object, and its bounds, null where they are open."""
    return {
        "terms": dict(constraint.terms),
        "lower": constraint.lower if math.isfinite(constraint.lower) else None,
        "upper": constraint.upper if math.isfinite(constraint.upper) else None,
    }
