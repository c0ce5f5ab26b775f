"""What a campaign found, for people: its summary as a table of facts."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from renkei.cli._output import count, facts, plain, point, value
from renkei.model.campaign import Campaign
from renkei.planning.acceleration import Acceleration


def found(summary: Mapping[str, Any], file: Campaign, state: str) -> RenderableType:
    """Return what to print of a summary.

    Args:
        summary: See `renkei.report.summarize`.
        file: The campaign's definition, for units and goals.
        state: The campaign's state in words.
    """
    head = Text.assemble((file.name, "bold"), f"  {file.title}" if file.title else "", f"  {state}")
    if summary["why"]:
        head.append(f": {plain(summary['why'])}")
    rows = {
        "goal": "; ".join(_goals(file)),
        "trials": _counts(summary["trials"], "total"),
        "runs": _counts(summary["runs"], "requested", leave_out=("accepted",)),
        "best": _best(summary["best"], file),
        "acceleration": _acceleration(summary["acceleration"]),
        "charged": _charges(summary["charges"]),
        "by the baseline": _charges(summary["baseline_charges"]),
        "ledgers": _ledgers(summary["ledgers"]),
        "report": summary["report"] or "",
        "crate": summary["crate"] or "",
    }
    return Group(head, facts(rows))


def is_sound(summary: Mapping[str, Any]) -> bool:
    """Return whether the audit found nothing wrong with any ledger."""
    return all(ledger["verified"] is not False for ledger in summary["ledgers"])


def _goals(file: Campaign) -> list[str]:
    goals: list[str] = []
    for o in file.objectives:
        aim = f"{o.output} near {value(o.target, o.unit)}" if o.goal == "target" else f"{o.goal} {o.output}"
        within = "within" if o.goal == "target" else "reach"
        goals.append(aim if o.reach is None else f"{aim}, {within} {value(o.reach, o.unit)}")
    for c in file.constraints:
        bounds = [
            f"{sign} {value(x, c.unit)}" for sign, x in ((">=", c.lower), ("<=", c.upper)) if abs(x) < float("inf")
        ]
        goals.append(f"{c.output} {' and '.join(bounds)}")
    return goals


def _counts(numbers: Mapping[str, int], total: str, leave_out: Sequence[str] = ()) -> str:
    parts = [f"{n:,} {what}" for what, n in numbers.items() if n and what != total and what not in leave_out]
    return f"{numbers[total]:,}: {', '.join(parts)}" if parts else str(numbers[total])


def _best(best: Mapping[str, Any] | None, file: Campaign) -> str:
    if best is None:
        return "no trial holds every constraint" if file.constraints else "nothing was observed"
    units = {goal.output: goal.unit for goal in (*file.constraints, *file.objectives)}
    known = {parameter.name: parameter.unit for parameter in file.space.parameters}
    wanted = {name: best["outputs"][name] for name in units if name in best["outputs"]}
    where = f" at {best['site']}" if best["site"] else ""
    return f"{point(wanted, units)}{where}\n{point(best['parameters'], known)}"


def _acceleration(said: Mapping[str, Any]) -> str:
    if said["baseline"] is None:
        return ""
    lines: list[str] = []
    for by in ("trials", "hours", "cost"):
        each = said[by]
        if each["factor"] is not None or by == "trials":
            low, high = each["ci95"]
            accelerated = Acceleration(
                each["factor"], low, high, each["level"], each["bound"],
                each["campaign_effort"], each["baseline_effort"], each["by"],
            )  # fmt: skip
            lines.append(f"by {by}: {accelerated.verdict(_named(said, by))}")
    if said.get("shared_sites"):
        lines.append("hours of neither are its own: campaign and baseline shared the sites")
    return "\n".join(lines)


def _named(said: Mapping[str, Any], by: str) -> str:
    """Return what to call the baseline: of several single sites, which one was the best."""
    site = said.get("best_site", {}).get(by)
    return f"{said['baseline']} ({site})" if site else str(said["baseline"])


def _charges(charges: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{charge['site']} {charge['quantity']:,.6g} {charge['unit']}" for charge in charges)


def _ledgers(ledgers: Sequence[Mapping[str, Any]]) -> str:
    bad = [
        f"{ledger['owner']} IS NOT SOUND: {'; '.join(ledger['problems'])}" for ledger in ledgers if ledger["problems"]
    ]
    n_records = sum(ledger["records"] for ledger in ledgers)
    n_good = sum(bool(ledger["verified"]) for ledger in ledgers)
    told = f"{n_good} verified" if n_good or bad else f"{len(ledgers)}"
    return "\n".join([f"{told}, {count(n_records, 'record')}", *bad])
