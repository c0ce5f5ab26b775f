"""`renkei run`: list, show, approve, deny, cancel."""

from typing import Annotated

import msgspec
import typer

from renkei.cli import _run_view
from renkei.cli._asking import PersonOption, ask, person
from renkei.cli._lazy import new_app
from renkei.cli._lookup import find_run, records_of, request_of, runs_at, sites_of, units_of
from renkei.cli._options import DEFAULT_HOME, HomeOption, JsonOption, SiteOption
from renkei.cli._output import columns, err, local_time, out, plain, print_json, say
from renkei.clock import SystemClock
from renkei.errors import UsageError, did_you_mean
from renkei.home import Home, home_at
from renkei.home._idle import opened_idle
from renkei.site import Site

STATES = ("parked", "accepted", "started", "refused", "succeeded", "infeasible", "failed", "lost", "cancelled")
"""Where a run can stand at a site."""

ROOMY = 120
"""From this many columns on, a table shows all that is known of runs."""
NEWEST = 50
"""How many runs a table shows where nobody says how many."""

app = new_app()

RunArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The run's id, or any beginning or end of it.", show_default=False)
]
NoteOption = Annotated[str, typer.Option("--note", metavar="TEXT", help="Why, for the record.", show_default=False)]


@app.command("list")
def list_runs(
    campaign: Annotated[str | None, typer.Option(metavar="NAME", help="Only those of this campaign.")] = None,
    site: Annotated[str | None, typer.Option(metavar="NAME", help="Only those at this site.")] = None,
    state: Annotated[
        str | None, typer.Option(metavar="STATE", help=f"Only those that are {', '.join(STATES)}.")
    ] = None,
    last: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, help=f"Only so many, the newest; 0 means all. Left out, {NEWEST}, and all with --json."
        ),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """List the runs of a home's sites and where each stands."""
    if state is not None and state not in STATES:
        raise UsageError(
            f"'{state}' is no state of a run.{did_you_mean(state, STATES)}", f"Known: {', '.join(STATES)}."
        )
    place = home_at(home)
    rows = [
        (name, row)
        for name in sites_of(place, site)
        for row in runs_at(place, name).values()
        if campaign in (None, row.campaign) and state in (None, row.state)
    ]
    rows.sort(key=lambda each: each[1].at)
    n, last = len(rows), last if last is not None else 0 if as_json else NEWEST
    rows = rows[-last:]
    if as_json:
        return print_json({"site": name, **msgspec.structs.asdict(row)} for name, row in rows)
    if not rows:
        return say("There are no such runs.")
    console = out()
    more = ("campaign", "procedure", "since") if console.width >= ROOMY else ()
    table = columns("run!", "state", "site", *more, "why…")
    for name, row in rows:
        details = (row.campaign, row.procedure, local_time(row.started_at or row.at)) if more else ()
        table.add_row(row.run, row.state, name, *details, plain(row.message))
    console.print(table)
    if len(rows) < n:
        err().print(f"The newest {len(rows):,} of {n:,} runs; --last 0 shows all.")
    return None


@app.command("show")
def show_run(
    run: RunArgument, site: SiteOption = None, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False
) -> None:
    """Show everything about one run.

    Its request, why the broker chose its site, the site's decision with every reason, its records there, how it ended,
    what speaks for that, and what it was charged.
    """
    place = home_at(home)
    name, row = find_run(place, run, site)
    requested, records = request_of(place, row), records_of(place, name, row)
    units = units_of(place, name, row.procedure)
    if as_json:
        said = [msgspec.Raw(record.raw) for record in records]
        return print_json([{"site": name, "run": msgspec.structs.asdict(row), "requested": requested, "records": said}])
    return out().print(_run_view.everything(name, row, requested, records, units))


@app.command("approve")
def approve_run(
    run: RunArgument,
    site: SiteOption = None,
    by: PersonOption = None,
    note: NoteOption = "",
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Approve a run that waits for a person."""
    _decide("approve", run, site, by, note, home_at(home))


@app.command("deny")
def deny_run(
    run: RunArgument,
    site: SiteOption = None,
    by: PersonOption = None,
    note: NoteOption = "",
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Deny a run that waits for a person."""
    _decide("deny", run, site, by, note, home_at(home))


@app.command("cancel")
def cancel_run(
    run: RunArgument, site: SiteOption = None, by: PersonOption = None, home: HomeOption = DEFAULT_HOME
) -> None:
    """Cancel a run that has not ended."""
    _decide("cancel", run, site, by, "", home_at(home))


def _decide(verb: str, text: str, site: str | None, by: str | None, note: str, home: Home) -> None:
    name, row = find_run(home, text, site)
    who, run = person(by), row.run
    wanted = ("parked", "accepted", "started") if verb == "cancel" else ("parked",)
    if row.state not in wanted:
        raise UsageError(f"Run {run} is {row.state}: there is nothing to {verb}.", "List runs with: renkei run list")

    async def alone() -> str:
        async with opened_idle(home, name, SystemClock()) as opened:
            return await _do(opened, verb, run, who, note)

    say(ask(home, verb, {"run": run, "site": name, "by": who, "note": note}, alone))


async def _do(site: Site, verb: str, run: str, by: str, note: str) -> str:
    """Decide at a site that this process opened for nothing else."""
    if verb == "cancel":
        await site.cancel_run(run, by)
        state = site.runs.rows[run].state
        if state == "started":
            return f"Run {run} had started; it is settled when {site.name} works again."
    else:
        state = await site.decide(run, by, verb == "approve", note)
    return f"Run {run} is {state}." + (f" It starts when {site.name} works again." if state == "accepted" else "")
