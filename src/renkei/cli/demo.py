"""`renkei demo`: three joint campaigns at the same time, over five embedded sites of two nations."""

import importlib.util
import time
from pathlib import Path
from typing import Any

import anyio
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.rule import Rule

from renkei.cli._driving import Interrupts, conclude, obey_signals
from renkei.cli._found import found
from renkei.cli._options import DEFAULT_HOME, HomeOption, JsonOption
from renkei.cli._output import err, out, print_json
from renkei.cli._progress import FRAME_S, Progress
from renkei.clock import SystemClock
from renkei.demo import build
from renkei.errors import UsageError
from renkei.home import Home, Session
from renkei.home._session import Drive

_NEEDED = ("botorch", "matplotlib", "olympus", "pymatching", "rocrate", "stim", "vmecpp")


def demo(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Run joint campaigns over embedded sites of two nations, ready to look at.

    Fusion, an autonomous materials laboratory and a quantum memory are searched at the same time with real codes and
    real measurements. Everything stays in a new folder below --home, to be looked at with the other commands.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"The demonstration needs packages that are not installed: {', '.join(missing)}.",
            "Install them with: pip install 'renkei[demo]'.",
        )
    place = Home(home / time.strftime("demo-%Y%m%d-%H%M%S"))
    console, interrupts = err(), Interrupts()
    with place.locked():
        drives = anyio.run(_run, place, console, interrupts)
    if interrupts.n:
        console.print(f"Look at what is there with: renkei campaign list --home {place.path}", soft_wrap=True)
        raise typer.Exit(128 + interrupts.last)
    code, summaries = 0, list[dict[str, Any]]()
    for drive in drives:
        worst, summary = conclude(place, drive, console)
        code = max(code, worst)
        summaries.append(summary)
    if as_json:
        print_json([{"home": str(place.path), "campaigns": summaries}])
    else:
        _tell(place.path, drives, summaries)
    raise typer.Exit(code)


async def _run(home: Home, console: Console, interrupts: Interrupts) -> list[Drive]:
    console.print("Two nations, six institutions, five sites, three campaigns. Keys are made, the agreement is signed.")
    files = build(home)
    session = Session(home)
    async with session.opened(home.sites()):
        drives = [await session.begin(file, home.path) for file in files]
        views = [Progress(drive, session.clock) for drive in drives]
        with anyio.CancelScope() as everything:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(obey_signals, drives, console, interrupts, everything)
                tasks.start_soon(_show, views, console)
                async with anyio.create_task_group() as campaigns:
                    for drive in drives:
                        campaigns.start_soon(session.drive, drive)
                tasks.cancel_scope.cancel()
    return drives


async def _show(views: list[Progress], console: Console) -> None:
    clock = SystemClock()
    if not console.is_terminal:
        while True:
            for view in views:
                if line := view.next_line():
                    console.print(line, soft_wrap=True)
            await clock.sleep(FRAME_S)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            parts = [part for view in views for part in (view.frame(), Rule(style="dim"))]
            live.update(Group(*parts[:-1]), refresh=True)
            await clock.sleep(FRAME_S)


def _tell(home: Path, drives: list[Drive], summaries: list[dict[str, Any]]) -> None:
    console = out()
    for drive, summary in zip(drives, summaries, strict=True):
        console.print(found(summary, drive.file, summary["state"]))
        console.print()
    console.print("The institutions are illustrative; the codes and the measurements are real.")
    console.print(f"Everything is in {home}. For example:")
    first = drives[0].file.name
    console.print(f"  renkei campaign show {first} --home {home}", soft_wrap=True)
    console.print(f"  renkei ledger verify {home}/sites/jp-fusion-institute/ledger.db", soft_wrap=True)
