"""Driving a campaign from a terminal: open sites, show progress, obey Ctrl-C, tell what was found."""

import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from rich.console import Console

from renkei.cli._asking import person
from renkei.cli._errors import missing
from renkei.cli._found import found, is_sound
from renkei.cli._options import DEFAULT_HOME
from renkei.cli._output import err, out, print_json
from renkei.cli._progress import Progress
from renkei.errors import RenkeiError, UsageError
from renkei.home import Home, Session
from renkei.home._session import Drive
from renkei.model.agreement import load_agreement
from renkei.model.campaign import Campaign

Start = Callable[[Session], Awaitable[Drive]]


@dataclass(frozen=True, slots=True)
class Under:
    """The joint agreement that a campaign is begun under, and the key of the institution that it is at home at."""

    agreement: Path
    key: Path | None


@dataclass(slots=True)
class Interrupts:
    """Signals that asked for an end so far."""

    n: int = 0
    last: int = 0


def require_sources(file: Campaign) -> None:
    """Check that a campaign says what its trials run.

    Raises:
        UsageError: It does not: its trials are asked for and told in Python.
    """
    if not file.sources:
        raise UsageError(
            f"Campaign '{file.name}' has no source: nothing says what its trials run.",
            "Add a table [[source]] that names a procedure, or drive the campaign from Python with ask and tell.",
        )


def sites_for(file: Campaign, home: Home) -> list[str]:
    """Return the sites for a campaign: those that it names, else those that it embeds, else all that can be had.

    Those are the sites of the home, and the ones that the home's agreement says how to reach.

    Raises:
        UsageError: There is none.
    """
    named = [site for source in file.sources for site in source.sites]
    known = home.sites()
    if home.agreement_path.exists():
        there = load_agreement(home.agreement_path).sites
        known += [name for name, site in there.items() if site.url is not None and name not in known]
    anywhere = list(file.sites) or known
    wanted = dict.fromkeys(named if all(source.sites for source in file.sources) else [*anywhere, *named])
    if not any(site in known for site in wanted):
        raise UsageError(
            f"There is no site in {home.path} that campaign '{file.name}' could run at.",
            "Embed one in its file with a table [sites.NAME], name one that 'renkei site list' shows, or reach an"
            " agreement's sites with --agreement.",
        )
    return [site for site in wanted if site in known]


def drive(home: Home, file: Campaign, start: Start, as_json: bool, under: Under | None = None) -> int:
    """Drive a campaign to its end, tell what it found, and return the exit code.

    0: it ended by itself with something observed. 1: it was stopped, or nothing was observed. 3: every run was refused.
    128 and the signal's number: a signal ended it.

    Args:
        home: Is locked for as long as the campaign is driven.
        file: The campaign; the sites that its file embeds are made, or made to follow it.
        start: Begins or resumes it.
        as_json: Whether to print the summary as JSON.
        under: The joint agreement to work under from now on; left out, the home's.
    """
    console, interrupts = err(), Interrupts()
    with home.locked():
        if under is not None:
            home.adopt(under.agreement, under.key, file.team)
        if file.sites:
            home.embed(file.sites, file.team)
        driven = anyio.run(_drive, home, sites_for(file, home), file.team, start, console, interrupts)
    if interrupts.n and driven.runner.campaign.status.row.state not in ("reached", "exhausted"):
        console.print(f"Go on with: {_resume(home, driven)}", soft_wrap=True)
        return 128 + interrupts.last
    code, summary = conclude(home, driven, console)
    if any(runner.campaign.status.row.state in ("running", "stopped") for runner in driven.baselines):
        console.print(f"The baseline is not complete. Go on with it: {_resume(home, driven)}", soft_wrap=True)
    if as_json:
        print_json([summary])
    else:
        out().print(found(summary, driven.file, summary["state"]))
    return code


def _resume(home: Home, driven: Drive) -> str:
    where = "" if home.path == DEFAULT_HOME.absolute() else f" --home {home.path}"
    return f"renkei campaign resume {driven.file.name}{where}"


async def _drive(
    home: Home, names: list[str], team: str, start: Start, console: Console, interrupts: Interrupts
) -> Drive:
    session = Session(home)
    async with AsyncExitStack() as stack:
        with console.status(f"Opening {', '.join(names)}"):
            await stack.enter_async_context(session.opened(names, team))
            driven = await start(session)
        for problem in session.silent:
            console.print(f"Going on without a site until it answers: {problem}", soft_wrap=True)
        progress = Progress(driven, session.clock)
        with anyio.CancelScope() as everything:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(obey_signals, [driven], console, interrupts, everything)
                tasks.start_soon(progress.show, console)
                await session.drive(driven)
                tasks.cancel_scope.cancel()
        if (interrupts.n or not console.is_terminal) and progress.line() != progress.said:
            console.print(progress.line(), soft_wrap=True)
    return driven


async def obey_signals(
    drives: Sequence[Drive], console: Console, interrupts: Interrupts, everything: anyio.CancelScope
) -> None:
    """Stop campaigns cleanly at the first Ctrl-C (or SIGTERM), cancel `everything` at the second."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
        async for number in received:
            interrupts.n, interrupts.last = interrupts.n + 1, int(number)
            if interrupts.n > 1:
                everything.cancel()
                return
            for runner in (runner for driven in drives for runner in (driven.runner, *driven.baselines)):
                runner.stop(f"stopped by {person(None)}" if number == signal.SIGINT else "stopped by SIGTERM")
            console.print("Stopping: runs are being cancelled. Again to leave at once.")


def conclude(home: Home, driven: Drive, console: Console) -> tuple[int, dict[str, Any]]:
    """Write the report and the crate of a campaign that ended; return the exit code (see `drive`) and the summary."""
    from renkei.report import summarize

    name = driven.file.name
    with console.status(f"Writing the report of {name}"):
        write_both(home, name, console)
        summary = summarize(home, name)
    runs, trials = summary["runs"], summary["trials"]
    if runs["requested"] and runs["refused"] == runs["requested"]:
        return 3, summary
    is_done = summary["state"] != "stopped" and (trials["observed"] or trials["infeasible"])
    return 0 if is_done and is_sound(summary) else 1, summary


def write_both(home: Home, name: str, console: Console) -> None:
    """Write the report and the crate of a campaign, or say which extra would."""
    from renkei.report import write_crate, write_report

    writers: dict[str, Callable[[Home, str], Path]] = {"report": write_report, "crate": write_crate}
    for what, write in writers.items():
        try:
            write(home, name)
        except ModuleNotFoundError as error:
            console.print(f"No {what} was written. {missing(error).hint}", soft_wrap=True)
        except RenkeiError as error:  # the campaign is over and kept; its summary says how it went
            console.print(f"No {what} was written. {error}", soft_wrap=True)
