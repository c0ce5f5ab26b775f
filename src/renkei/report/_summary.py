"""The summary of a campaign as plain JSON: what it found, how much faster, at what price, and whether it checks out."""

from collections import Counter
from pathlib import Path
from typing import Any

from renkei.home._home import Home
from renkei.report._acceleration import measure_acceleration
from renkei.report._audit import LedgerAudit, audit_campaign, stand_of
from renkei.report._history import OUTCOMES
from renkei.report._view import CampaignView, view_campaign


def summarize(home: Home, name: str, *, verify_ledgers: bool = True) -> dict[str, Any]:
    """Return the summary of a campaign, running or not.

    Keys: `campaign`; `state` (reached, exhausted, stopped, or running) and `why`; `trials` (total, pending and one
    count for each fate); `runs` (requested: all; accepted: all that a site took, however they ended; refused, and one
    count for each outcome); `best` (the trial with its parameters and outputs in campaign units, and the site that
    gave them; null when no trial holds every constraint); `acceleration`; `charges` of the campaign and
    `baseline_charges` of its baselines; `ledgers` of the campaign, its baselines and the sites, each with the problems
    that the audit found; `report` and `crate`, the paths where they are, else null.

    Args:
        home: Where the campaign lives.
        name: The campaign.
        verify_ledgers: Whether to audit the ledgers. Without it `verified` is null, and `root` is what the saved
            hashes say.

    Raises:
        UsageError: There is no such campaign.
        ConfigError: Its file has mistakes.
        LedgerError: Its ledger, or a baseline's, cannot be read.
    """
    view = view_campaign(home, name)
    trials = Counter(row.state for row in view.trials)
    states = Counter(run.row.state for run in view.runs.values())
    return {
        "campaign": view.name,
        "state": view.status.state,
        "why": view.status.why,
        "trials": {
            "total": len(view.trials),
            **{fate: trials[fate] for fate in ("observed", "infeasible", "abandoned", "pending")},
        },
        "runs": {
            "requested": len(view.runs),
            "accepted": sum(run.was_accepted for run in view.runs.values()),
            "refused": states["refused"],
            **{outcome: states[outcome] for outcome in OUTCOMES},
        },
        "best": _best(view),
        "acceleration": measure_acceleration(view).to_json(),
        "charges": _charges(view, baseline=False),
        "baseline_charges": _charges(view, baseline=True),
        "ledgers": [_audited(audit) for audit in audit_campaign(view)] if verify_ledgers else _unverified(view),
        "report": _if_there(view.directory / "report.html"),
        "crate": _if_there(view.directory / "crate"),
    }


def _best(view: CampaignView) -> dict[str, Any] | None:
    best = view.best
    if best is None:
        return None
    site = view.runs[best.run].row.site if best.run else ""
    return {"trial": best.trial, "parameters": best.parameters, "outputs": best.outputs, "site": site}


def _charges(view: CampaignView, *, baseline: bool) -> list[dict[str, Any]]:
    return [
        {"site": site.name, "team": view.status.team, "quantity": charge.value, "unit": charge.unit}
        for site in view.sites
        for charge in (site.baseline_charges if baseline else site.charges)
    ]


def _audited(audit: LedgerAudit) -> dict[str, Any]:
    return {
        "owner": audit.owner,
        "records": audit.records,
        "root": audit.root,
        "verified": audit.verified,
        "covered": audit.covered,
        "problems": audit.problems,
    }


def _unverified(view: CampaignView) -> list[dict[str, Any]]:
    sites = [(f"site/{site.name}", site.ledger) for site in view.sites]
    found: list[dict[str, Any]] = []
    for owner, path in (*view.campaign_ledgers, *sites):
        records, root = (0, "") if path is None else stand_of(path)
        found.append({"owner": owner, "records": records, "root": root, "verified": None, "covered": 0, "problems": []})
    return found


def _if_there(path: Path) -> str | None:
    return str(path) if path.exists() else None
