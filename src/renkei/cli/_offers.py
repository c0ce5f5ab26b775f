"""Procedures on offer, as records and for people."""

from typing import Any

from rich.table import Table

from renkei.cli._output import columns, value
from renkei.model.procedure import ProcedureSpec
from renkei.model.space import Choice, Parameter, Real
from renkei.site import Offered


def describe(site: str, offer: Offered) -> dict[str, Any]:
    """Return the record of an offer; `site` is empty for a file of one's own."""
    return {
        "site": site,
        **offer.spec.to_json(),
        "charge_unit": offer.unit,
        "per_run": offer.per_run,
        "per_hour": offer.per_hour,
        "time_limit_s": offer.time_limit_s,
        "memory_bytes": offer.memory_bytes,
    }


def charge_of(offer: Offered) -> str:
    """Return what a run is charged."""
    parts = [f"{offer.per_run:g} {offer.unit} a run"] if offer.per_run else []
    parts += [f"{offer.per_hour:g} {offer.unit} an hour"] if offer.per_hour else []
    return " and ".join(parts) or "free"


def parameters_of(spec: ProcedureSpec) -> Table:
    """Return a table of what a procedure takes."""
    table = columns("parameter", "type", "bounds…", "unit", "default")
    for parameter in spec.parameters:
        default = value(spec.defaults[parameter.name]) if parameter.name in spec.defaults else ""
        unit = "" if parameter.unit == "1" else parameter.unit
        table.add_row(parameter.name, _type(parameter), _bounds(parameter), unit, default)
    return table


def outputs_of(spec: ProcedureSpec) -> Table:
    """Return a table of what a procedure gives."""
    table = columns("output", "type", "unit")
    for output in spec.outputs:
        table.add_row(output.name, output.type, "" if output.unit == "1" else output.unit)
    return table


def _type(parameter: Parameter) -> str:
    if isinstance(parameter, Choice):
        return "choice"
    return "real" if isinstance(parameter, Real) else "integer"


def _bounds(parameter: Parameter) -> str:
    if isinstance(parameter, Choice):
        return ", ".join(str(each) for each in parameter.values)
    return f"{parameter.low:g} to {parameter.high:g}" + (", on a log scale" if parameter.log else "")
