"""Every trial and every run of a campaign and its baselines as CSV files."""

import csv
from pathlib import Path

from renkei.clock import iso
from renkei.report._view import CampaignView

_RUN_HEAD = (
    *("campaign", "run", "trial", "site", "procedure", "version", "state"),
    *("requested_at", "began_at", "ended_at", "queue_s", "run_s", "quantity", "unit"),
)


def write_trials(view: CampaignView, folder: Path) -> Path:
    """Write trials.csv: a line for each trial, parameters and outputs in campaign units, units in the head."""
    units = {p.name: p.unit for p in view.definition.space.parameters}
    units |= {goal.output: goal.unit for goal in (*view.definition.constraints, *view.definition.objectives)}
    histories = (view.history, *view.baselines)
    parameters = list(dict.fromkeys(name for each in histories for row in each.trials for name in row.parameters))
    outputs = list(dict.fromkeys(name for each in histories for row in each.trials for name in row.outputs))
    path = folder / "trials.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        names = (*parameters, *outputs)
        titles = [name if units.get(name, "1") == "1" else f"{name} [{units[name]}]" for name in names]
        table.writerow(["campaign", "n", "trial", "fate", "run", "proposed_at", "ended_at", *titles])
        for each in histories:
            for row in each.trials:
                ended = iso(row.ended_at) if row.ended_at else ""
                fixed = [each.status.campaign, row.n + 1, row.trial, row.state, row.run, iso(row.at), ended]
                values = [*(row.parameters.get(n, "") for n in parameters), *(row.outputs.get(n, "") for n in outputs)]
                table.writerow([*fixed, *values])
    return path


def write_runs(view: CampaignView, folder: Path) -> Path:
    """Write runs.csv: a line for each run; `quantity` is what it was charged in `unit`, times are the site's."""
    path = folder / "runs.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(_RUN_HEAD)
        for each in (view.history, *view.baselines):
            for run in each.runs.values():
                row = run.row
                began, ended = (iso(at) for at in run.worked) if run.worked else ("", "")
                what = [row.site, row.procedure, run.requested.version, row.state]
                when = [iso(row.at), began, ended, row.queue_s, row.run_s]
                table.writerow([each.status.campaign, row.run, row.trial, *what, *when, run.charge.value, row.unit])
    return path
