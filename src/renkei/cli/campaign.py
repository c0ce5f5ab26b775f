"""`renkei campaign`: run, resume, list, show, report, export, stop."""

from pathlib import Path
from typing import Annotated, Any

import typer

from renkei.campaign import Status, StatusRow, TrialRow, best_of
from renkei.cli._asking import ask, person
from renkei.cli._driving import Under, drive, require_sources
from renkei.cli._found import found, is_sound
from renkei.cli._lazy import new_app
from renkei.cli._options import DEFAULT_HOME, CampaignArgument, HomeOption, JsonOption, existing
from renkei.cli._output import columns, err, local_time, out, print_json, say, value
from renkei.errors import RenkeiError, Unreachable, UsageError
from renkei.home import Home
from renkei.home._check import check_embedded
from renkei.ledger import LedgerReader
from renkei.model.campaign_file import load_campaign

app = new_app()

UNREADABLE = "unreadable"
"""The state of a campaign whose definition or ledger cannot be read."""


@app.command("run")
def run_campaign(
    file: Annotated[Path, existing("The campaign's file: campaign.toml.")],
    agreement: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, dir_okay=False, help="The joint agreement; its sites are reached."),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(metavar="KEYFILE", help="Your institution's secret key; left out, one in keys/ beside it."),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Begin a campaign and drive it to its end.

    With --agreement it runs at the sites whose URLs the agreement has, in the name of your institution.

    Ctrl-C stops it cleanly, a second one at once; 'renkei campaign resume' goes on in either case.

    Exits with 0 when it ended by itself with something observed, 1 when it was stopped or observed nothing, and 3 when
    sites refused every run.
    """
    place, campaign = Home(home), load_campaign(file)
    require_sources(campaign)
    place.require_new(campaign.name)
    if campaign.sites:
        check_embedded(campaign, place.path)
    folder, under = file.absolute().parent, Under(agreement, key) if agreement else None
    raise typer.Exit(drive(place, campaign, lambda session: session.begin(campaign, folder), as_json, under))


@app.command("resume")
def resume_campaign(name: CampaignArgument, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Take up a campaign where it stopped and drive it to its end.

    Whether it was stopped or its process died: no trial is lost, no run is made twice, no charge is made twice.
    """
    place = Home(home)
    campaign = place.campaign(name)
    require_sources(campaign)
    told: set[str] = set()

    def wait(silence: Unreachable) -> None:
        if silence.message not in told:
            told.add(silence.message)
            err().print(f"Waiting for a site: {silence.message}", soft_wrap=True)

    raise typer.Exit(drive(place, campaign, lambda session: session.resume(name, wait), as_json))


@app.command("list")
def list_campaigns(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List campaigns with their state and best trial."""
    place = Home(home)
    records = [_record(place, name) for name in place.campaigns()]
    if as_json:
        return print_json(records)
    if not records:
        return say(f"There are no campaigns in {place.path}.")
    table = columns("campaign", "state", ">trials", "best", "team", "begun")
    for record in records:
        best = ", ".join(f"{name} {value(*each)}" for name, each in record["best"].items())
        begun = local_time(record["opened_at"])
        table.add_row(record["campaign"], record["state"], str(record["trials"]), best, record["team"], begun)
    out().print(table)
    for record in records:
        if record["state"] == UNREADABLE:
            err().print(f"{record['campaign']}: {record['why']}", soft_wrap=True)
    return None


def _record(home: Home, name: str) -> dict[str, Any]:
    record: dict[str, Any] = {"campaign": name, "state": UNREADABLE, "why": "", "team": "", "opened_at": 0.0}
    record |= {"trials": 0, "best": {}}
    try:
        file = home.campaign(name)
        with LedgerReader(home.campaign_ledger(name)) as ledger:
            status = ledger.table(Status.name, StatusRow).get("campaign", StatusRow(team=file.team))
            trials = list(ledger.table("trials", TrialRow).values())
    except (RenkeiError, OSError) as error:  # one broken campaign must not hide the others
        return record | {"why": str(error)}
    best = best_of(trials, file)
    return record | {
        "state": state_of(home, status),
        "why": status.why,
        "team": status.team,
        "opened_at": status.opened_at,
        "trials": sum(row.state != "pending" for row in trials),
        "best": {o.output: (best.outputs.get(o.output), o.unit) for o in file.objectives} if best else {},
    }


def state_of(home: Home, status: StatusRow) -> str:
    """Return the state of a campaign in one word: one that nobody drives is not running."""
    return "interrupted" if status.state == "running" and home.worker() is None else status.state


@app.command("show")
def show_campaign(name: CampaignArgument, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Show what a campaign found, how fast, and at what price.

    Its ledgers and those of its sites are audited on the way; exits with 1 when one is not sound.
    """
    from renkei.report import summarize

    place = Home(home)
    campaign = place.campaign(name)
    summary = summarize(place, name)
    if as_json:
        print_json([summary])
    else:
        with LedgerReader(place.campaign_ledger(name)) as ledger:
            status = ledger.table(Status.name, StatusRow).get("campaign", StatusRow())
        out().print(found(summary, campaign, state_of(place, status)))
    if not is_sound(summary):
        raise typer.Exit(1)


@app.command("report")
def report_campaign(name: CampaignArgument, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Write a campaign's report as one HTML file."""
    from renkei.report import write_report

    _wrote("report", write_report(Home(home), name), as_json)


@app.command("export")
def export_campaign(name: CampaignArgument, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Write a campaign with all its evidence as an RO-Crate."""
    from renkei.report import write_crate

    _wrote("crate", write_crate(Home(home), name), as_json)


def _wrote(what: str, path: Path, as_json: bool) -> None:
    if as_json:
        print_json([{what: str(path)}])
    else:
        say(str(path))


@app.command("stop")
def stop_campaign(name: CampaignArgument, home: HomeOption = DEFAULT_HOME) -> None:
    """Stop a campaign that another process drives."""
    place = Home(home)
    place.campaign(name)

    async def alone() -> str:
        raise UsageError(f"Campaign '{name}' is not running.", f"Take it up with: renkei campaign resume {name}")

    say(ask(place, "stop", {"campaign": name, "by": person(None)}, alone))
