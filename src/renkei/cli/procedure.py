"""`renkei procedure`: list, show."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.text import Text

from renkei.cli._lazy import new_app
from renkei.cli._lookup import offers, one_of
from renkei.cli._offers import charge_of, describe, outputs_of, parameters_of
from renkei.cli._options import DEFAULT_HOME, HomeOption, JsonOption
from renkei.cli._output import columns, count, duration, facts, out, print_json, say
from renkei.errors import UsageError
from renkei.executors import procedures_in
from renkei.home import Home, home_at
from renkei.model.procedure import ProcedureSpec
from renkei.site import Offered

app = new_app()

FileOption = Annotated[
    Path | None,
    typer.Option(
        "--file", metavar="FILE.py", exists=True, dir_okay=False, help="Procedures of this file instead of the sites'."
    ),
]


@app.command("list")
def list_procedures(file: FileOption = None, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List the procedures that sites offer."""
    found = _found(file, home_at(home))
    if as_json:
        return print_json(describe(site, offer) for offered in found.values() for site, offer in offered)
    if not found:
        return say(f"No site in {home_at(home).path} offers a procedure.")
    table = columns("procedure", "version", "kind", "takes", "gives", "sites…", "what it does…")
    for name, offered in sorted(found.items()):
        spec = offered[0][1].spec
        table.add_row(
            name, spec.version, spec.kind, count(len(spec.parameters), "parameter"), count(len(spec.outputs), "output"),
            ", ".join(site for site, _ in offered if site), spec.summary,
        )  # fmt: skip
    return out().print(table)


@app.command("show")
def show_procedure(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The procedure's name.", show_default=False)],
    file: FileOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Show what a procedure takes and gives, where, and at what charge."""
    offered = one_of(name, _found(file, home_at(home)))
    if as_json:
        return print_json(describe(site, offer) for site, offer in offered)
    spec = offered[0][1].spec
    about = {"what it does": spec.summary, "kind": spec.kind, "version": spec.version}
    parts = [Text(spec.name, "bold"), facts(about), Text(), parameters_of(spec), Text(), outputs_of(spec)]
    if file is None:
        sites = columns("site", "version", "charge", "time limit")
        for site, offer in offered:
            sites.add_row(site, offer.spec.version, charge_of(offer), duration(offer.time_limit_s))
        parts += [Text(), sites]
    return out().print(Group(*parts))


def _found(file: Path | None, home: Home) -> dict[str, list[tuple[str, Offered]]]:
    """Return who offers what, by procedure; a file of one's own is offered by nobody yet."""
    found: dict[str, list[tuple[str, Offered]]] = {}
    if file is None:
        for site, offer in offers(home):
            found.setdefault(offer.spec.name, []).append((site, offer))
        return found
    for target, procedure in procedures_in(file.absolute()):
        spec: ProcedureSpec = procedure.spec
        found[spec.name] = [("", Offered(spec, target))]
    if not found:
        raise UsageError(f"{file} has no function that is marked @procedure.", "See: from renkei import procedure")
    return found
