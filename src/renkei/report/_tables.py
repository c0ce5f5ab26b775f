"""The tables of a report: sites, charges, decisions, ledgers, trials, each as rows of text."""

from collections import Counter
from dataclasses import dataclass, field

from renkei.campaign import TrialRow
from renkei.model.quantity import MICRO, Quantity
from renkei.model.records import Reason
from renkei.planning.acceleration import Acceleration
from renkei.report import _words as words
from renkei.report._acceleration import MEASURES, Accelerations
from renkei.report._history import OUTCOMES, Run
from renkei.report._verdict import efforts, how_much_faster, interval
from renkei.report._view import CampaignView, SiteView

TRIALS_MAX = 400
"""How many trials are listed at most: the best ones."""
DECISIONS_MAX = 100
"""How many groups of decisions are listed at most."""
_MEASURED = {"trials": "trials", "hours": "wall time", "cost": "cost"}
BOUNDLESS = 1_000_000_000
"""Who was granted so much of a unit has no limit: what an embedded site without an allocation grants."""


@dataclass(frozen=True, slots=True)
class SiteLine:
    """What one site did, in words; `outcomes` holds (state, how many, share in percent)."""

    site: str
    institution: str
    party: str
    n_runs: int
    outcomes: list[tuple[str, int, float]]
    work: str
    queue: str
    datasets: str
    problem: str


@dataclass(frozen=True, slots=True)
class ChargeLine:
    """What one site charged in one unit, in words; `share` is the spent part of what was granted, in percent."""

    site: str
    team: str
    unit: str
    campaign: str
    baselines: str
    granted: str
    spent: str
    available: str
    share: float | None


@dataclass(frozen=True, slots=True)
class SingleLine:
    """The campaign against one site alone: by measure, the factor, its interval and what they show."""

    site: str
    cells: dict[str, dict[str, str]]


@dataclass(slots=True)
class DecisionLine:
    """Equal decisions of a site: how many, why, and one run of them."""

    site: str
    what: str
    reasons: list[Reason]
    runs: list[str] = field(default_factory=list[str])


def acceleration_lines(acceleration: Accelerations) -> list[dict[str, str]]:
    """Return one line for each measure: efforts, factor, interval, what is shown, and a sentence."""
    lines: list[dict[str, str]] = []
    for measure in MEASURES:
        found = acceleration.by[measure]
        mine, its = (words.NONE, words.NONE) if found is None else efforts(found, acceleration)
        if found is None or found.factor is None:
            mine = its = words.NONE
        line = {"measure": _MEASURED[measure], "campaign": mine, "baseline": its} | _factor_cell(found)
        lines.append(line | {"sentence": how_much_faster(acceleration, measure)})
    return lines


def single_lines(acceleration: Accelerations) -> list[SingleLine]:
    """Return one line for each site that was a baseline alone."""
    return [
        SingleLine(site, {_MEASURED[m]: _factor_cell(found) for m, found in by.items() if found is not None})
        for site, by in acceleration.single.items()
    ]


def _factor_cell(found: Acceleration | None) -> dict[str, str]:
    if found is None or found.factor is None:
        return {"factor": words.NONE, "interval": words.NONE, "clarity": "unknown"}
    low, high = interval(found)
    sign = {"at least": "≥ ", "at most": "≤ "}.get(found.bound, "")
    ends = "one-sided" if found.bound == "at least" else f"{low} to {high}"
    if found.low is None and found.high is None:
        ends = "none: run once"
    factor = f"{sign}{words.number(round(found.factor, 2))}\N{MULTIPLICATION SIGN}"
    return {"factor": factor, "interval": ends, "clarity": found.clarity}


def site_lines(view: CampaignView) -> list[SiteLine]:
    """Return what each site did for the campaign."""
    return [_site_line(view, site) for site in view.sites]


def _site_line(view: CampaignView, site: SiteView) -> SiteLine:
    outcomes, n = site.outcomes, len(site.runs)
    order = [*OUTCOMES, "refused", "accepted", "parked", "requested"]
    ended = [run for run in site.runs if run.ended]
    queues = sorted(run.row.queue_s for run in ended)
    institution = view.agreement.institutions.get(site.institution) if view.agreement else None
    party = view.agreement.parties.get(institution.party) if view.agreement and institution else None
    size = sum(dataset.size_bytes for run in ended if run.ended for dataset in run.ended.datasets)
    n_datasets = sum(run.row.n_datasets for run in ended)
    return SiteLine(
        site.name,
        view.title_of(site.institution),
        party.name if party else "",
        n,
        [(state, outcomes[state], 100.0 * outcomes[state] / n) for state in order if outcomes[state]],
        words.duration(site.work_s),
        words.duration(queues[len(queues) // 2]) if queues else words.NONE,
        f"{n_datasets:,} ({words.size(size)})" if n_datasets else "none",
        site.problem,
    )


def charge_lines(view: CampaignView) -> list[ChargeLine]:
    """Return what each site charged, for each unit, against what the team may use there."""
    lines: list[ChargeLine] = []
    team = view.agreement.teams.get(view.status.team) if view.agreement else None
    for site in view.sites:
        mine = {amount.unit: amount for amount in site.charges}
        beside = {amount.unit: amount for amount in site.baseline_charges}
        balances = {row.unit: row for row in site.balances}
        for unit in sorted({*mine, *beside, *balances}):
            row = balances.get(unit)
            granted = -row.granted if row else 0
            limited = row is not None and granted < BOUNDLESS * MICRO
            lines.append(
                ChargeLine(
                    site.name,
                    team.name if team else view.status.team,
                    unit,
                    _amount(mine.get(unit)),
                    _amount(beside.get(unit)) if view.baselines else words.NONE,
                    words.number(granted / MICRO) if limited else "no limit" if row else "unknown",
                    words.number(row.spent / MICRO) if row else "unknown",
                    words.number(row.available / MICRO) if row and limited else words.NONE,
                    100.0 * row.spent / granted if row and limited and granted else None,
                )
            )
    return lines


def _amount(found: Quantity | None) -> str:
    return "0" if found is None else words.number(found.value)


def decision_lines(view: CampaignView) -> list[DecisionLine]:
    """Return what sites decided about the campaign's runs, equal decisions together, the rarest first."""
    found: dict[tuple[object, ...], DecisionLine] = {}
    for run in view.runs.values():
        for what, reasons in _decisions(run):
            key = run.row.site, what, *((r.id, r.text, r.source) for r in reasons)
            line = found.setdefault(key, DecisionLine(run.row.site, what, list(reasons)))
            line.runs.append(run.row.run)
    return sorted(found.values(), key=lambda line: (line.what == "accepted", len(line.runs), line.site))


def _decisions(run: Run) -> list[tuple[str, tuple[Reason, ...]]]:
    said: list[tuple[str, tuple[Reason, ...]]] = []
    if run.parked:
        said.append(("held for a person to decide", run.parked.reasons))
    if run.accepted:
        said.append(("accepted", run.accepted.reasons))
    if run.refused:
        said.append((f"refused ({run.refused.code})", run.refused.reasons))
    elif run.row.state == "refused":
        said.append(("refused (the whole batch)", (Reason("batch", run.row.message, "site"),)))
    return said


@dataclass(frozen=True, slots=True)
class TrialTable:
    """The listed trials: the head and rows of a table, and how many trials are not in it."""

    head: list[str]
    rows: list[list[str]]
    n_left_out: int


def trial_table(view: CampaignView) -> TrialTable:
    """Return the campaign's trials, at most `TRIALS_MAX`, then the best of them, in the order of their proposal."""
    units = {o.output: o.unit for o in (*view.definition.constraints, *view.definition.objectives)}
    outputs = list(dict.fromkeys(name for row in view.trials for name in row.outputs))
    parameters = view.definition.space.parameters
    rows = list(view.trials)
    if len(rows) > TRIALS_MAX:
        rows = sorted(sorted(rows, key=view.rank)[:TRIALS_MAX], key=lambda row: row.n)
    has_sources = any(row.source for row in view.trials)
    head = [
        "trial",
        "fate",
        *(["source"] if has_sources else []),
        *(_headed(p.name, p.unit) for p in parameters),
        *(_headed(name, units.get(name, "1")) for name in outputs),
        "site",
        "runs",
        "why",
    ]
    names = [p.name for p in parameters]
    lines = [_trial(view, row, names, outputs, has_sources) for row in rows]
    return TrialTable(head, lines, len(view.trials) - len(rows))


def _trial(view: CampaignView, row: TrialRow, names: list[str], outputs: list[str], has_sources: bool) -> list[str]:
    last = row.run or (row.runs[-1] if row.runs else "")
    return [
        f"{row.n + 1:,}",
        row.state,
        *([row.source] if has_sources else []),
        *(words.number(row.parameters[name]) if name in row.parameters else "" for name in names),
        *(words.number(row.outputs[name]) if name in row.outputs else "" for name in outputs),
        view.runs[last].row.site if last in view.runs else "",
        str(len(row.runs)),
        words.shortened(row.why, 120),
    ]


def _headed(name: str, unit: str) -> str:
    return f"{name} [{words.unit(unit)}]" if words.unit(unit) else name


def best_lines(view: CampaignView) -> tuple[list[tuple[str, str]], list[tuple[str, str, str]]]:
    """Return the best trial's parameters, and its outputs each with what is asked of it; empty without a best trial."""
    best = view.best
    if best is None:
        return [], []
    units = {p.name: p.unit for p in view.definition.space.parameters}
    asked: dict[str, list[str]] = {}
    known: dict[str, str] = {}
    for goal in view.definition.objectives:
        asked.setdefault(goal.output, []).append(f"goal: {words.aim(goal)}")
        known[goal.output] = goal.unit
    for constraint in view.definition.constraints:
        asked.setdefault(constraint.output, []).append(f"constraint: {words.bounds(constraint)}")
        known.setdefault(constraint.output, constraint.unit)
    parameters = [(name, words.with_unit(value, units.get(name, "1"))) for name, value in best.parameters.items()]
    nothing = ["in the procedure's own unit"]
    outputs = [
        (name, words.with_unit(value, known.get(name, "1")), "; ".join(asked.get(name, nothing)))
        for name, value in best.outputs.items()
    ]
    return parameters, outputs


def fates(view: CampaignView) -> Counter[str]:
    """Return how many trials have which fate."""
    return Counter(row.state for row in view.trials)
