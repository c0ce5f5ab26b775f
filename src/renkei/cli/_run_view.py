"""Everything about one run, for people."""

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from renkei.cli._output import amount, columns, duration, facts, local_time, plain, point, size
from renkei.cli._records import summary_of
from renkei.model.records import Record, RunAccepted, RunEnded, RunParked, RunRefused, RunRequested
from renkei.model.space import Value
from renkei.site import RunRow

_NONE: dict[str, Value] = {}


def everything(
    site: str, row: RunRow, requested: RunRequested | None, records: Sequence[Record], units: Mapping[str, str]
) -> RenderableType:
    """Return what to print about a run.

    Args:
        site: Where it was sent.
        row: Where it stands there.
        requested: The campaign's request; None when the campaign is not in this home.
        records: The site's records about it, oldest first.
        units: Of the procedure's parameters and outputs.
    """
    bodies = [record.body for record in records]
    decision = next((b for b in reversed(bodies) if isinstance(b, RunAccepted | RunRefused | RunParked)), None)
    parameters = next((b.parameters for b in bodies if isinstance(b, RunAccepted | RunParked)), _NONE)
    ended = next((b for b in bodies if isinstance(b, RunEnded)), None)
    reasons = [f"{each.id}: {each.text}" if each.text else each.id for each in (decision.reasons if decision else ())]
    rows = {
        "site": site,
        "campaign": f"{row.campaign}, team {row.team}",
        "trial": row.trial,
        "procedure": f"{row.procedure} {row.version}".strip(),
        "parameters": point(parameters or (requested.parameters if requested else {}), units),
        "chosen": _choice(requested),
        "decision": "\n".join(reasons),
        "reserved": amount(row.micro, row.unit) if row.unit else "",
    }
    head = Text.assemble((f"run {row.run}", "bold"), f"  {row.state}")
    table = columns(">record", "when", "kind", "what…")
    for record in records:
        table.add_row(str(record.seq), local_time(record.at), record.kind, plain(summary_of(record)))
    return Group(head, facts(rows | _outcome(ended, units)), Text(), table)


def _choice(requested: RunRequested | None) -> str:
    """Return why the broker chose this site, from what it wrote down then."""
    if requested is None:
        return ""
    lines: list[str] = []
    for what, sites in requested.why.items():
        names = [name.strip() for name in what.split(",")]
        for site, numbers in sites.items() if isinstance(sites, dict) else ():  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
            measured = ", ".join(f"{name} {number:.4g}" for name, number in zip(names, numbers, strict=False))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
            lines.append(f"{site}: {measured}{'  <- lowest score' if site == requested.site else ''}")
    return "\n".join(lines)


def _outcome(ended: RunEnded | None, units: Mapping[str, str]) -> dict[str, str]:
    if ended is None:
        return {}
    evidence = ended.evidence
    signs: list[str] = []
    if evidence is not None:
        signs = [
            f"exit code {evidence.exit_code}" if evidence.exit_code is not None else "",
            f"signal {evidence.signal}" if evidence.signal else "",
            f"state {evidence.raw_state}" if evidence.raw_state else "",
            f"in {evidence.directory}" if evidence.directory else "",
        ]
    return {
        "outcome": ended.outcome + (f", at fault: {ended.fault}" if ended.fault else ""),
        "message": ended.message,
        "outputs": point(ended.outputs, units),
        "datasets": "\n".join(f"{d.name}  {size(d.size_bytes)}  {d.digest}" for d in ended.datasets),
        "evidence": ", ".join(sign for sign in signs if sign),
        "last output": evidence.tail if evidence is not None else "",
        "took": f"{duration(ended.run_s)}, after {duration(ended.queue_s)} of waiting",
        "charged": f"{amount(ended.charge, ended.unit)} of {amount(ended.reserved, ended.unit)} reserved",
    }
