"""Between a campaign and a procedure: whether they fit, and the way from one's names and units to the other's."""

import math
from collections.abc import Callable, Iterable, Mapping

from renkei.errors import ConfigError, UsageError, did_you_mean
from renkei.model.campaign import Campaign, Source
from renkei.model.files import one_of, shown
from renkei.model.procedure import ProcedureSpec
from renkei.model.space import Choice, Constraint, Integer, Objective, Parameter, Point, Real, Value
from renkei.units import conversion

_DUST = 1e-9
"""How far, relative to the larger bound, a converted value may lie outside and still be taken for the bound."""

_MANY = 1000
"""An integer parameter of more values is not compared with a procedure's choices."""

Convert = Callable[[Value], Value]


def check_against(campaign: Campaign, specs: Mapping[str, ProcedureSpec]) -> list[str]:
    """Return everything about a campaign that does not fit the procedures that sites offer.

    Args:
        campaign: A campaign that is resolved.
        specs: Procedures on offer, by name.
    """
    found: list[str] = []
    for n, source in enumerate(campaign.sources, 1):
        spec = specs.get(source.procedure)
        if spec is None:
            near = did_you_mean(source.procedure, specs)
            found.append(f"source#{n}.procedure: found '{source.procedure}', expected one that a site offers.{near}")
        else:
            found += _misfits(campaign, source, spec, f"source#{n}")
    return list(dict.fromkeys(found))


class Binding:
    """The way from a campaign's points to a procedure's parameters, and from its outputs back.

    Args:
        campaign: A campaign that is resolved.
        source: One of its sources.
        spec: The source's procedure, as a site offers it.

    Raises:
        ConfigError: They do not fit; lists every mistake.
    """

    __slots__ = ("_outputs", "_plan", "_template")

    def __init__(self, campaign: Campaign, source: Source, spec: ProcedureSpec) -> None:
        if wrong := _misfits(campaign, source, spec, f"source '{source.procedure}'"):
            raise ConfigError(f"Campaign '{campaign.name}'", wrong)
        known = {parameter.name: parameter for parameter in spec.parameters}
        targets = {
            parameter.name: source.rename.get(parameter.name, parameter.name) for parameter in campaign.space.parameters
        }
        constant = {**spec.defaults, **source.fixed}
        self._template: Point = {
            name: _as_declared(parameter, constant.get(name, ""))
            for name, parameter in known.items()
            if name in constant or name in targets.values()
        }
        self._plan = tuple(
            (parameter.name, targets[parameter.name], _convert(parameter, known[targets[parameter.name]]))
            for parameter in campaign.space.parameters
        )
        units = {goal.output: goal.unit for goal in (*campaign.constraints, *campaign.objectives)}
        self._outputs = tuple(
            (output.name, *conversion(output.unit, units[output.name]))
            for output in spec.outputs
            if output.name in units and units[output.name] != output.unit
        )

    def to_procedure(self, point: Mapping[str, Value]) -> Point:
        """Return the procedure's parameters at a point of the campaign: renamed, in its units, with what is fixed.

        Args:
            point: Has every parameter of the campaign's space.
        """
        parameters = self._template.copy()
        for name, target, convert in self._plan:
            value = point[name]
            parameters[target] = value if convert is None else convert(value)
        return parameters

    def to_campaign(self, outputs: Mapping[str, float]) -> dict[str, float]:
        """Return a procedure's outputs in the campaign's units; those that it has no goal for stay as they are."""
        found = dict(outputs)
        for name, factor, offset in self._outputs:
            if name in found:
                found[name] = found[name] * factor + offset
        return found


def _misfits(campaign: Campaign, source: Source, spec: ProcedureSpec, where: str) -> list[str]:
    if source.version is not None and source.version != spec.version:
        return [f"{where}.version: found '{source.version}', expected '{spec.version}', the version on offer"]
    if not campaign.space.parameters:
        return ["space.pool: found a pool that is not resolved, expected its points"]
    return [
        *_parameter_misfits(campaign, source, spec),
        *_rename_misfits(campaign, source, where),
        *_fixed_misfits(source, spec, where),
        *_missing(campaign, source, spec, where),
        *_output_misfits("objective", campaign.objectives, spec),
        *_output_misfits("constraint", campaign.constraints, spec),
    ]


def _parameter_misfits(campaign: Campaign, source: Source, spec: ProcedureSpec) -> Iterable[str]:
    known = {parameter.name: parameter for parameter in spec.parameters}
    taken = dict.fromkeys(source.fixed, "is fixed by the source")
    for parameter in campaign.space.parameters:
        path, name = f"space.{parameter.name}", source.rename.get(parameter.name, parameter.name)
        if name not in known:
            near = did_you_mean(name, known) or f" It has {', '.join(known)}."
            yield f"{path}: found '{name}', expected a parameter of {spec.name}.{near}"
            continue
        if name in taken:
            yield f"{path}: found '{name}' of {spec.name}, which {taken[name]}, expected one value for it"
        taken[name] = f"'{parameter.name}' is, too"
        yield from _value_misfits(path, parameter, known[name], spec, campaign.space.pool)


def _value_misfits(
    path: str, parameter: Parameter, target: Parameter, spec: ProcedureSpec, pool: tuple[Point, ...] | None
) -> Iterable[str]:
    whose = f"'{target.name}' of {spec.name}"
    if isinstance(parameter, Real) and not isinstance(target, Real) and pool is None:
        kind = "integer" if isinstance(target, Integer) else "choice"
        yield f"{path}.type: found 'real', expected '{kind}', as {whose} is"
        return
    try:
        convert = _convert(parameter, target)
    except UsageError as error:
        yield f"{path}.unit: found '{parameter.unit}', expected one that fits {whose}. {error.message}"
        return
    for value in _telling_values(parameter, target, pool):
        problem = target.problem(value if convert is None else convert(value))
        if problem is not None:
            found = _with_unit(value, parameter.unit)
            yield f"{path}: found {found}, expected a value that {spec.name} takes: {problem}"


def _telling_values(parameter: Parameter, target: Parameter, pool: tuple[Point, ...] | None) -> list[Value]:
    """Return the values that tell whether all of a parameter's values fit."""
    if isinstance(parameter, Choice):
        return list(parameter.values)
    if isinstance(target, Choice) and pool is not None:
        return list(dict.fromkeys(point[parameter.name] for point in pool))
    if isinstance(target, Choice) and isinstance(parameter, Integer) and parameter.high - parameter.low < _MANY:
        return list(range(parameter.low, parameter.high + 1))
    return [parameter.low, parameter.high]


def _rename_misfits(campaign: Campaign, source: Source, where: str) -> Iterable[str]:
    names = campaign.space.names
    for name in source.rename:
        if name not in names:
            yield f"{where}.rename.{name}: found an unknown parameter, expected {one_of(names, name)}"


def _fixed_misfits(source: Source, spec: ProcedureSpec, where: str) -> Iterable[str]:
    known = {parameter.name: parameter for parameter in spec.parameters}
    for name, value in source.fixed.items():
        if name not in known:
            near = did_you_mean(name, known)
            yield f"{where}.fixed.{name}: found '{name}', expected a parameter of {spec.name}.{near}"
        elif problem := known[name].problem(value):
            yield f"{where}.fixed.{name}: found {shown(value)}, expected a value that {spec.name} takes: {problem}"


def _missing(campaign: Campaign, source: Source, spec: ProcedureSpec, where: str) -> Iterable[str]:
    given = {source.rename.get(name, name) for name in campaign.space.names} | {*source.fixed, *spec.defaults}
    for parameter in spec.parameters:
        if parameter.name not in given:
            yield (
                f"{where}: found no '{parameter.name}', which {spec.name} needs, expected it in [space] or in fixed"
                f" ({_described(parameter)})"
            )


def _output_misfits(word: str, goals: Iterable[Objective | Constraint], spec: ProcedureSpec) -> Iterable[str]:
    outputs = {output.name: output for output in spec.outputs if output.type != "file"}
    for n, goal in enumerate(goals, 1):
        output = outputs.get(goal.output)
        if output is None:
            near = did_you_mean(goal.output, outputs) or f" It has {', '.join(outputs)}."
            yield f"{word}#{n}.output: found '{goal.output}', expected an output of {spec.name}.{near}"
            continue
        try:
            conversion(output.unit, goal.unit)
        except UsageError as error:
            whose = f"'{output.name}' of {spec.name}"
            yield f"{word}#{n}.unit: found '{goal.unit}', expected one that fits {whose}. {error.message}"


def _convert(parameter: Parameter, target: Parameter) -> Convert | None:
    """Return what makes a procedure's value of a campaign's; None where it stays as it is.

    Values of a choice have no unit: they are the procedure's already.

    Raises:
        UsageError: The units do not convert, or whole numbers do not stay whole.
    """
    if isinstance(target, Choice):
        return None
    if isinstance(parameter, Choice):
        return _to_float if isinstance(target, Real) else None
    factor, offset = conversion(parameter.unit, target.unit)
    if isinstance(target, Real):
        return _to_real(factor, offset, target.low, target.high, same=parameter.unit == target.unit)
    if parameter.unit == target.unit:
        return None
    if not (_is_whole(factor) and _is_whole(offset)):
        raise UsageError(f"Whole numbers of '{parameter.unit}' are not whole numbers of '{target.unit}'.")
    return lambda value: round(int(value) * factor + offset)


def _to_real(factor: float, offset: float, low: float, high: float, *, same: bool) -> Convert:
    dust = _DUST * max(abs(low), abs(high))
    lowest, highest = low - dust, high + dust

    def convert(value: Value) -> Value:
        number = float(value) if same else float(value) * factor + offset
        if low <= number <= high:
            return number
        if number < low:
            return low if number >= lowest else number
        return high if number <= highest else number

    return convert


def _to_float(value: Value) -> Value:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _as_declared(parameter: Parameter, value: Value) -> Value:
    return _to_float(value) if isinstance(parameter, Real) else value


def _is_whole(number: float) -> bool:
    return math.isclose(number, round(number), rel_tol=1e-12, abs_tol=1e-12)


def _with_unit(value: Value, unit: str) -> str:
    return shown(value) if unit == "1" else f"{shown(value)} {unit}"


def _described(parameter: Parameter) -> str:
    if isinstance(parameter, Choice):
        return f"one of {', '.join(shown(value) for value in parameter.values)}"
    return f"{_with_unit(parameter.low, '1')} to {_with_unit(parameter.high, parameter.unit)}"
