"""Procedures: typed, versioned operations that a site offers. An ordinary function's signature is the contract.

::

    @dataclass
    class Beam:
        sigma_x: Annotated[float, Unit("um")]

    @procedure("accelerator.focus", version="1.0")
    def focus(k1: Annotated[float, Interval(ge=-30, le=30), Unit("1/m**2")]) -> Beam:
        \"\"\"Focus the beam with one quadrupole.\"\"\"
"""

import dataclasses
import inspect
import math
import re
import typing
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import annotated_types

from renkei.errors import UsageError
from renkei.model.space import (
    Choice,
    Integer,
    Parameter,
    Point,
    Real,
    Space,
    Value,
    parameter_from_json,
    parameter_to_json,
)

NAME = re.compile(r"[a-z][a-z0-9-]*(\.[a-z0-9][a-z0-9-]*)*")
"""How names of procedures, sites, teams and campaigns are spelt."""

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Unit:
    """Marks the unit of a parameter or an output in an annotation: `Annotated[float, Unit("kA")]`."""

    name: str


@dataclass(frozen=True, slots=True)
class Output:
    """One output of a procedure: a number in `unit`, or a file ("file": it becomes a dataset)."""

    name: str
    unit: str = "1"
    type: Literal["real", "integer", "file"] = "real"


@dataclass(frozen=True, slots=True)
class ProcedureSpec:
    """What a procedure takes and gives, without its code: what a site publishes.

    Args:
        name: Dotted, area first: "fusion.stellarator-equilibrium".
        version: A new version for every change of meaning.
        summary: One line for people.
        parameters: What it takes, with units and bounds.
        defaults: Parameters that may be left out, and what they then are.
        outputs: What it gives.
        kind: "simulation", "measurement" or "inference".
        texts: Parameters that are text of any kind, so that no campaign can search them: sites have some of their own.
    """

    name: str
    version: str
    summary: str
    parameters: tuple[Parameter, ...]
    outputs: tuple[Output, ...]
    defaults: Mapping[str, Value] = field(default_factory=dict[str, Value])
    kind: str = "simulation"
    texts: tuple[str, ...] = ()

    def complete(self, point: Mapping[str, Value]) -> Point:
        """Return `point` with defaults filled in, in the procedure's order; unknown names stay at the end."""
        filled = {p.name: point.get(p.name, self.defaults.get(p.name)) for p in self.parameters}
        return {k: v for k, v in filled.items() if v is not None} | {k: v for k, v in point.items() if k not in filled}

    def problems(self, point: Mapping[str, Value]) -> list[str]:
        """Return everything wrong with `point`, which `complete` has filled."""
        if (
            not self.texts
            and len(point) == len(self.parameters)
            and not any(p.name not in point or p.problem(point[p.name]) for p in self.parameters)
        ):
            return []  # by far the usual case
        found = [f"{name}: expected text" for name in self.texts if not isinstance(point.get(name), str)]
        return found + Space(self.parameters).problems({k: v for k, v in point.items() if k not in self.texts})

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {
            "name": self.name,
            "version": self.version,
            "kind": self.kind,
            "summary": self.summary,
            "parameters": [
                parameter_to_json(p) | ({"default": self.defaults[p.name]} if p.name in self.defaults else {})
                for p in self.parameters
            ],
            "outputs": [{"name": o.name, "unit": o.unit, "type": o.type} for o in self.outputs],
        } | ({"texts": list(self.texts)} if self.texts else {})

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "ProcedureSpec":
        """Return the spec that `to_json` wrote."""
        return ProcedureSpec(
            name=data["name"],
            version=data["version"],
            kind=data["kind"],
            summary=data["summary"],
            parameters=tuple(parameter_from_json(p) for p in data["parameters"]),
            defaults={p["name"]: p["default"] for p in data["parameters"] if "default" in p},
            outputs=tuple(Output(o["name"], o["unit"], o["type"]) for o in data["outputs"]),
            texts=tuple(data.get("texts", ())),
        )


@dataclass(frozen=True, slots=True)
class Procedure:
    """A procedure with its code.

    Args:
        spec: What it takes and gives.
        function: What runs.
        infeasible_on: Exceptions that mean "this point cannot work", besides `renkei.Infeasible`.
    """

    spec: ProcedureSpec
    function: Callable[..., Any]
    infeasible_on: tuple[type[Exception], ...] = ()


@dataclass(frozen=True, slots=True)
class RunContext:
    """What a procedure may know about the run that it is in.

    Args:
        id: The run's identity.
        directory: Where the procedure may write files; those it names in its result become datasets.
    """

    id: str
    directory: Path


_CURRENT: ContextVar[RunContext | None] = ContextVar("renkei_run", default=None)


def current_run() -> RunContext | None:
    """Return the context of the run that this code executes in, or None outside a run.

    The directory exists once this was called.
    """
    context = _CURRENT.get()
    if context is not None:
        context.directory.mkdir(parents=True, exist_ok=True)
    return context


def enter_run(context: RunContext) -> None:
    """Say which run the following calls belong to; for executors."""
    _CURRENT.set(context)


def procedure(
    name: str,
    *,
    version: str,
    kind: Literal["simulation", "measurement", "inference"] = "simulation",
    infeasible_on: tuple[type[Exception], ...] = (),
) -> Callable[[F], F]:
    """Make a typed function a procedure. The function itself stays as it is and can still be called.

    Args:
        name: Dotted, lower case, area first: "fusion.stellarator-equilibrium".
        version: For example "1.0".
        kind: What it is: a simulation, a measurement or an inference.
        infeasible_on: Exceptions that mean "this point cannot work".

    Raises:
        UsageError: The name or an annotation is not one that renkei understands; says which and what to write.
    """

    def mark(function: F) -> F:
        if not NAME.fullmatch(name):
            raise UsageError(
                f"'{name}' is no name for a procedure.", "Write lower-case words and dots: 'fusion.equilibrium'."
            )
        function.__procedure__ = Procedure(  # type: ignore[attr-defined]
            _inspect(function, name, version, kind), function, infeasible_on
        )
        return function

    return mark


def procedure_of(function: object) -> Procedure | None:
    """Return the procedure that `function` was marked as, or None."""
    found = getattr(function, "__procedure__", None)
    return found if isinstance(found, Procedure) else None


def outputs_of(result: object, spec: ProcedureSpec) -> tuple[dict[str, float], dict[str, Path]]:
    """Return (numbers, files) of what a procedure returned.

    Raises:
        ValueError: An output is missing, or is not a finite number.
    """
    if isinstance(result, Mapping):
        values = dict(typing.cast(Mapping[str, Any], result))
    elif dataclasses.is_dataclass(result) and not isinstance(result, type):
        values: dict[str, Any] = {o.name: getattr(result, o.name, None) for o in spec.outputs}
    elif hasattr(result, "_asdict"):
        values = typing.cast(dict[str, Any], result._asdict())  # type: ignore[attr-defined]
    else:
        values = {spec.outputs[0].name: result}
    numbers: dict[str, float] = {}
    files: dict[str, Path] = {}
    for output in spec.outputs:
        value = values.get(output.name)
        if value is None:
            raise ValueError(f"output '{output.name}' is missing")
        try:
            if output.type == "file":
                files[output.name] = Path(value)
            else:
                numbers[output.name] = float(value)
        except (TypeError, ValueError, OverflowError):
            what = "path" if output.type == "file" else "number"
            raise ValueError(f"output '{output.name}' is {value!r}, not a {what}") from None
        if not math.isfinite(numbers.get(output.name, 0.0)):
            raise ValueError(f"output '{output.name}' is {value}, not a finite number")
    return numbers, files


def _inspect(function: Callable[..., Any], name: str, version: str, kind: str) -> ProcedureSpec:
    hints = typing.get_type_hints(function, include_extras=True)
    signature = inspect.signature(function)
    where = f"Procedure '{name}'"
    parameters: list[Parameter] = []
    defaults: dict[str, Value] = {}
    for parameter in signature.parameters.values():
        if parameter.name not in hints:
            raise UsageError(
                f"{where}: parameter '{parameter.name}' has no type.",
                "Write, for example, Annotated[float, Interval(ge=0, le=1), Unit('1')].",
            )
        if parameter.kind not in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY):
            raise UsageError(
                f"{where}: parameter '{parameter.name}' cannot be given by name.", "Write parameters without * and /."
            )
        parameters.append(described := _parameter(where, parameter.name, hints[parameter.name]))
        if parameter.default is not inspect.Parameter.empty:
            if problem := described.problem(parameter.default):
                raise UsageError(f"{where}: its default does not fit. {problem}", "Change the default or the bounds.")
            defaults[parameter.name] = parameter.default
    if "return" not in hints:
        raise UsageError(f"{where} does not say what it returns.", "Annotate the return type, for example a dataclass.")
    summary = (inspect.getdoc(function) or "").strip().split("\n")[0]
    return ProcedureSpec(name, version, summary, tuple(parameters), _outputs(where, hints["return"]), defaults, kind)


def _parameter(where: str, name: str, hint: Any) -> Parameter:
    base, extras = _split(hint)
    if get_origin(base) is Literal:
        return Choice(name, get_args(base))
    if base is bool:
        return Choice(name, (False, True))
    if base not in (float, int):
        raise UsageError(
            f"{where}: parameter '{name}' is of type {base}.", "Use float, int, bool or Literal[...] values."
        )
    low, high, unit = -math.inf, math.inf, "1"
    for extra in extras:
        if isinstance(extra, Unit):
            unit = extra.name
        # Interval is iterable: it stands for the single bounds in it
        for bound in extra if isinstance(extra, annotated_types.GroupedMetadata) else (extra,):
            if isinstance(bound, annotated_types.Ge):
                low = float(typing.cast(float, bound.ge))
            elif isinstance(bound, annotated_types.Le):
                high = float(typing.cast(float, bound.le))
            elif isinstance(bound, annotated_types.Gt | annotated_types.Lt):
                raise UsageError(f"{where}: parameter '{name}' has an open bound.", "Use ge and le.")
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise UsageError(
            f"{where}: parameter '{name}' has no bounds.", "Write Annotated[..., Interval(ge=LOW, le=HIGH)]."
        )
    return Real(name, low, high, unit) if base is float else Integer(name, math.ceil(low), math.floor(high), unit)


def _outputs(where: str, hint: Any) -> tuple[Output, ...]:
    base, _ = _split(hint)
    if base in (float, int) or base is Path:
        return (_output(where, "value", hint),)
    record: Any = base
    if isinstance(base, type) and (
        dataclasses.is_dataclass(base) or hasattr(record, "_fields") or typing.is_typeddict(record)
    ):
        fields = typing.get_type_hints(record, include_extras=True)
        return tuple(_output(where, name, field) for name, field in fields.items())
    raise UsageError(
        f"{where} returns {base}, whose outputs have no names.",
        "Return a dataclass, NamedTuple or TypedDict with Annotated[float, Unit(...)] fields, or a float.",
    )


def _output(where: str, name: str, hint: Any) -> Output:
    base, extras = _split(hint)
    unit = next((extra.name for extra in extras if isinstance(extra, Unit)), "1")
    if base is float:
        return Output(name, unit, "real")
    if base is int:
        return Output(name, unit, "integer")
    if isinstance(base, type) and issubclass(base, Path):
        return Output(name, "1", "file")
    raise UsageError(f"{where}: output '{name}' is of type {base}.", "Use float, int or pathlib.Path.")


def _split(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    if get_origin(hint) is Annotated:
        base, *extras = get_args(hint)
        return base, tuple(extras)
    return hint, ()
