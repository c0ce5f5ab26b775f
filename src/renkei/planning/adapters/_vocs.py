"""Spaces, objectives and constraints in the words of the generator standard (VOCS), and back."""

# pyright: basic, reportMissingImports=false

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from renkei.model.space import Choice, Constraint, Integer, Objective, Parameter, Point, Real, Space, Value

_MAX_LISTED = 1_000
"""Whole numbers with more values than this are continuous variables, and rounded."""


@dataclass(frozen=True, slots=True)
class Translation:
    """A search in the words of the standard.

    Args:
        space: What is searched. A real number or a long whole number is a continuous variable (the decimal logarithm,
            where it is searched on a log scale), a choice or a short whole number a discrete one, a number with one
            value a constant.
        objectives: MINIMIZE and MAXIMIZE of the outputs; of one with a target its distance, OUTPUT_distance, MINIMIZE.
        constraints: Bounds on outputs; several on one output are joined.

    Attributes:
        vocs: The `gest_api.vocs.VOCS`.

    Raises:
        ValueError: The standard cannot say it.
    """

    space: Space
    objectives: Sequence[Objective]
    constraints: Sequence[Constraint]
    vocs: Any = field(init=False)

    def __post_init__(self) -> None:
        from gest_api.vocs import VOCS

        variables = {p.name: _variable(p) for p in self.space.parameters if not _is_constant(p)}
        constants = {p.name: p.low for p in self.space.parameters if _is_constant(p) and not isinstance(p, Choice)}
        goals = {_name(o): "MAXIMIZE" if o.goal == "maximize" else "MINIMIZE" for o in self.objectives}
        vocs = VOCS(variables=variables, constants=constants, objectives=goals, constraints=_bounds(self.constraints))
        object.__setattr__(self, "vocs", vocs)

    def told(self, point: Point) -> dict[str, Any]:
        """Return a point's variables and constants."""
        return {p.name: _told(p, point[p.name]) for p in self.space.parameters}

    def result(self, point: Point, losses: Sequence[float], bounded: Sequence[float]) -> dict[str, Any]:
        """Return what a generator ingests of an observed trial, given its losses and its constrained outputs."""
        found = self.told(point) | {c.output: value for c, value in zip(self.constraints, bounded, strict=True)}
        for objective, loss in zip(self.objectives, losses, strict=True):
            found[_name(objective)] = -loss if objective.goal == "maximize" else loss
        return found

    def point(self, suggestion: Mapping[str, Any]) -> Point:
        """Return the point that a generator suggested, rounded and moved into bounds where need be."""
        return {p.name: _read(p, suggestion.get(p.name)) for p in self.space.parameters}


def search_of(vocs: Any) -> tuple[Space, list[Objective], list[Constraint]]:
    """Return the space, objectives and constraints that a `VOCS` describes; constants are left to the caller.

    Raises:
        ValueError: It has variables or objectives that a planner knows nothing of.
    """
    parameters = tuple(_parameter(name, variable) for name, variable in vocs.variables.items())
    return Space(parameters), [_objective(*item) for item in vocs.objectives.items()], _constraints(vocs)


def _is_constant(parameter: Parameter) -> bool:
    return not isinstance(parameter, Choice) and parameter.low == parameter.high


def _variable(parameter: Parameter) -> Any:
    from gest_api.vocs import ContinuousVariable, DiscreteVariable

    if isinstance(parameter, Choice):
        if len(set(parameter.values)) < len(parameter.values):
            raise ValueError(f"{parameter.name}: values that are equal, such as True and 1")
        return DiscreteVariable(values=set(parameter.values))
    if isinstance(parameter, Integer) and not parameter.log and parameter.high - parameter.low < _MAX_LISTED:
        return DiscreteVariable(values=set(range(parameter.low, parameter.high + 1)))
    return ContinuousVariable(domain=[_told(parameter, parameter.low), _told(parameter, parameter.high)])


def _told(parameter: Parameter, value: Value) -> Any:
    if isinstance(parameter, Choice) or not parameter.log or _is_constant(parameter):
        return value
    return math.log10(float(value))


def _read(parameter: Parameter, value: Any) -> Value:
    if isinstance(parameter, Choice):
        return next((known for known in parameter.values if known == value), value)
    if _is_constant(parameter):
        return parameter.low
    number = 10.0 ** float(value) if parameter.log else float(value)
    if not math.isfinite(number):
        raise ValueError(f"a generator suggested {parameter.name} = {value!r}")
    inside = min(parameter.high, max(parameter.low, number))
    return inside if isinstance(parameter, Real) else round(inside)


def _name(objective: Objective) -> str:
    return f"{objective.output}_distance" if objective.goal == "target" else objective.output


def _bounds(constraints: Sequence[Constraint]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for output in dict.fromkeys(c.output for c in constraints):
        lower = max(c.lower for c in constraints if c.output == output)
        upper = min(c.upper for c in constraints if c.output == output)
        if math.isfinite(lower) and math.isfinite(upper):
            found[output] = ["BOUNDS", lower, upper]
        elif math.isfinite(lower):
            found[output] = ["GREATER_THAN", lower]
        elif math.isfinite(upper):
            found[output] = ["LESS_THAN", upper]
    return found


def _parameter(name: str, variable: Any) -> Parameter:
    from gest_api.vocs import ContextualVariable, ContinuousVariable, DiscreteVariable

    if isinstance(variable.dtype, tuple):
        raise ValueError(f"{name}: a planner has scalar variables only, found dtype {variable.dtype!r}")
    if isinstance(variable, ContextualVariable):
        raise ValueError(f"{name}: a planner knows no contextual variables")
    if isinstance(variable, ContinuousVariable):
        low, high = variable.domain
        return Real(name, float(low), float(high))
    if isinstance(variable, DiscreteVariable):
        if wrong := [value for value in variable.values if not isinstance(value, bool | int | float | str)]:
            raise ValueError(f"{name}: a choice among numbers and texts, found {wrong[0]!r}")
        return Choice(name, tuple(sorted(variable.values, key=lambda value: (isinstance(value, str), value))))
    raise ValueError(f"{name}: a planner knows no variables of type {type(variable).__name__}")


def _objective(name: str, objective: Any) -> Objective:
    from gest_api.vocs import MaximizeObjective, MinimizeObjective

    if isinstance(objective, MaximizeObjective | MinimizeObjective):
        return Objective(name, "maximize" if isinstance(objective, MaximizeObjective) else "minimize")
    raise ValueError(f"{name}: a planner knows no objectives of type {type(objective).__name__}")


def _constraints(vocs: Any) -> list[Constraint]:
    from gest_api.vocs import BoundsConstraint, GreaterThanConstraint, LessThanConstraint

    found: list[Constraint] = []
    for name, constraint in vocs.constraints.items():
        if isinstance(constraint, LessThanConstraint):
            found.append(Constraint(name, upper=constraint.value))
        elif isinstance(constraint, GreaterThanConstraint):
            found.append(Constraint(name, lower=constraint.value))
        elif isinstance(constraint, BoundsConstraint):
            found.append(Constraint(name, *constraint.range))
        else:
            raise ValueError(f"{name}: a planner knows no constraints of type {type(constraint).__name__}")
    return found
