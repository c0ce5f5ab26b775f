"""The report of a campaign: one HTML file that needs nothing else, for scientists and for those who pay."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import renkei
from renkei.clock import SystemClock
from renkei.errors import IntegrityBroken
from renkei.home._home import Home
from renkei.report import _words as words
from renkei.report._acceleration import Accelerations, measure_acceleration
from renkei.report._audit import LedgerAudit, audit_campaign
from renkei.report._figure_acceleration import draw_acceleration, draw_pace
from renkei.report._figure_sites import draw_sites
from renkei.report._figure_space import draw_space
from renkei.report._figures import draw_progress, draw_trade_offs
from renkei.report._optional import require
from renkei.report._tables import (
    DECISIONS_MAX,
    TRIALS_MAX,
    acceleration_lines,
    best_lines,
    charge_lines,
    decision_lines,
    fates,
    single_lines,
    site_lines,
    trial_table,
)
from renkei.report._verdict import (
    baseline_name,
    enhancement_said,
    headline,
    level_said,
    what_was_found,
    worst_clarity,
)
from renkei.report._view import CampaignView, view_campaign
from renkei.trust.note import parse_checkpoint

_STATES = {
    "reached": "reached its goal",
    "exhausted": "ended without more to try",
    "stopped": "was stopped",
    "interrupted": "was interrupted and can be resumed",
}


def write_report(home: Home, name: str) -> Path:
    """Write `report.html` into a campaign's folder and return its path; an older one is replaced in one step.

    The file loads nothing from anywhere and runs no script. Its ledgers are audited while it is written.

    Raises:
        UsageError: There is no such campaign, or matplotlib is not installed.
        ConfigError: Its file has mistakes.
        LedgerError: Its ledger, or a baseline's, cannot be read.
    """
    require("matplotlib")
    view = view_campaign(home, name)
    page = render_report(view, measure_acceleration(view), audit_campaign(view), SystemClock().now())
    path = view.directory / "report.html"
    part = path.with_name(path.name + ".part")
    part.write_text(page, encoding="utf-8")
    os.replace(part, path)
    return path


def render_report(view: CampaignView, acceleration: Accelerations, audits: list[LedgerAudit], now: float) -> str:
    """Return the report as HTML.

    Args:
        view: The campaign.
        acceleration: How it compares with its baseline.
        audits: What the audit of its ledgers found.
        now: When the report is written, in seconds since 1970 UTC.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("renkei.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    figures = {
        "progress": draw_progress(view, acceleration) if view.history.ended_trials else "",
        "acceleration": draw_acceleration(view, acceleration),
        "pace": draw_pace(view, acceleration),
        "space": draw_space(view),
        "trade_offs": draw_trade_offs(view),
        "sites": draw_sites(view),
    }
    template = environment.get_template("report.html.jinja")
    return template.render(
        **_facts(view, acceleration, audits),
        figures={name: Markup(svg) for name, svg in figures.items()},  # noqa: S704 - our own drawings, texts escaped
        written=words.moment(now),
        software=f"renkei {renkei.__version__}",
        words=words,
    )


def _facts(view: CampaignView, acceleration: Accelerations, audits: list[LedgerAudit]) -> Mapping[str, Any]:
    parameters, outputs = best_lines(view)
    decisions = decision_lines(view)
    return {
        "view": view,
        "status": view.status,
        "definition": view.definition,
        "heading": _heading(view),
        "found": what_was_found(view),
        "faster": headline(acceleration),
        "clarity": worst_clarity(acceleration),
        "tiles": _tiles(view, acceleration, audits),
        "acceleration": acceleration,
        "baseline": baseline_name(acceleration),
        "acceleration_lines": acceleration_lines(acceleration),
        "single_lines": single_lines(acceleration),
        "level_said": level_said(acceleration),
        "enhancement_said": enhancement_said(acceleration),
        "best_parameters": parameters,
        "best_outputs": outputs,
        "sites": site_lines(view),
        "charges": charge_lines(view),
        "decisions": decisions[:DECISIONS_MAX],
        "n_decisions_left_out": max(0, len(decisions) - DECISIONS_MAX),
        "audits": [(audit, relative(view, audit.path)) for audit in audits],
        "is_sound": all(audit.verified for audit in audits),
        "seen": [_seen(at, seen.site, seen.note) for at, seen in view.history.seen],
        "note": list(view.history.notes.values())[-1] if view.history.notes else "",
        "trials": trial_table(view),
        "trials_max": TRIALS_MAX,
    }


def _heading(view: CampaignView) -> dict[str, Any]:
    agreement, status = view.agreement, view.status
    team = agreement.teams.get(status.team) if agreement else None
    members = [view.title_of(institution) for institution in (team.institutions if team else (status.institution,))]
    ended = [row.ended_at for row in view.trials if row.ended_at]
    period = words.moment(status.opened_at)
    if ended:
        period += f" to {words.moment(max(ended))}"
    return {
        "title": view.definition.title or view.name,
        "team": team.name if team else status.team,
        "members": members,
        "agreement": (agreement.title or agreement.name) if agreement else "",
        "is_illustrative": agreement.illustrative if agreement else False,
        "period": period,
        "state": _STATES.get(view.state, f"is {view.state}"),
        "objectives": words.listed([words.aim(o) for o in view.definition.objectives]),
        "constraints": words.listed([words.bounds(c) for c in view.definition.constraints]),
        "planner": view.definition.planner.name,
        "release": view.definition.release,
    }


def _tiles(view: CampaignView, acceleration: Accelerations, audits: list[LedgerAudit]) -> list[dict[str, str]]:
    best = view.best
    goal = view.definition.objectives[0]
    states = fates(view)
    others = [f"{states[state]:,} {state}" for state in ("infeasible", "abandoned", "pending") if states[state]]
    parties = {line.party for line in site_lines(view) if line.party}
    where = words.count(len(view.sites), "site")
    where += f" of {words.count(len(parties), 'party', 'parties')}" if parties else ""
    n_good = sum(audit.verified for audit in audits)
    is_sound = n_good == len(audits)
    return [
        *(_acceleration_tile(line, acceleration) for line in acceleration_lines(acceleration)[:2]),
        {
            "label": f"best {goal.output}",
            "value": words.with_unit(best.outputs[goal.output], goal.unit) if best else words.NONE,
            "note": words.aim(goal),
            "kind": "",
        },
        {
            "label": "trials",
            "value": f"{len(view.trials):,}",
            "note": ", ".join(others) or "all observed",
            "kind": "",
        },
        {"label": "runs", "value": f"{len(view.runs):,}", "note": f"at {where}", "kind": ""},
        {
            "label": "ledgers verified",
            "value": f"{n_good} of {len(audits)}",
            "note": f"{sum(audit.records for audit in audits):,} records" if is_sound else "see the findings below",
            "kind": "good" if is_sound else "bad",
        },
    ]


_CLARITY = {
    "faster": ("good", "faster than its baseline; "),
    "slower": ("bad", "slower than its baseline; "),
    "unclear": ("", "not clearly faster or slower; "),
    "unknown": ("", ""),
}
"""By what is shown: how a tile looks, and what it says first."""


def _acceleration_tile(line: Mapping[str, str], acceleration: Accelerations) -> dict[str, str]:
    kind, said = _CLARITY[line["clarity"]]
    known = line["interval"] != words.NONE
    note = f"{said}95%: {line['interval']}" if known else acceleration.why or "no common level"
    return {"label": f"acceleration by {line['measure']}", "value": line["factor"], "note": note, "kind": kind}


def _seen(at: float, site: str, note: str) -> dict[str, str]:
    try:
        head = parse_checkpoint(note)
    except IntegrityBroken as error:
        return {"at": words.moment(at), "site": site, "size": "?", "root": error.message}
    return {"at": words.moment(at), "site": site, "size": f"{head.size:,}", "root": head.root.hex()}


def relative(view: CampaignView, path: Path | None) -> str:
    """Return where a ledger lies, below the home where it does."""
    if path is None:
        return ""
    home = view.agreement_path.parent
    return str(path.relative_to(home) if path.is_relative_to(home) else path)
