"""The view of a campaign at work, drawn from a real one."""

from pathlib import Path

import anyio
import pytest
from cli_example import write_campaign
from rich.console import Console

from renkei.cli._progress import Progress
from renkei.errors import Unreachable
from renkei.federation import Description
from renkei.home import Home, Session
from renkei.model.campaign_file import load_campaign

CAMPAIGN = """
[campaign]
name = "cast"
title = "Castings that bear more"
stop = { trials = 8, wall = "10 min", cost = "9 instrument-hour" }
[space]
heat = { type = "real", low = 300.0, high = 900.0, unit = "K" }
[[objective]]
output = "strength"
goal = "maximize"
reach = 1000.0
unit = "MPa"
[[source]]
procedure = "lab.cast"
[planner]
name = "sobol"
parallel = 2
[baseline]
planner = "random"
[sites.osaka]
procedures = "lab.py"
charge = { unit = "instrument-hour", per_run = 0.5 }
allocation = "20 instrument-hour"
[sites.kyoto]
procedures = "lab.py"
charge = { unit = "instrument-hour", per_run = 0.5 }
allocation = "0 instrument-hour"
"""


def drawn(progress: Progress, width: int) -> str:
    console = Console(width=width, force_terminal=True, color_system=None, highlight=False)
    with console.capture() as capture:
        console.print(progress.frame())
    return capture.get()


@pytest.mark.parametrize("width", [60, 120])
def test_the_view_tells_trials_limits_best_sites_charges_and_acceleration(tmp_path: Path, width: int) -> None:
    frames: list[str] = []
    lines: list[str] = []

    async def watch() -> None:
        home, file = Home(tmp_path / "home"), load_campaign(write_campaign(tmp_path, CAMPAIGN))
        with home.locked():
            home.embed(file.sites, file.team)
            session = Session(home)
            async with session.opened(list(file.sites)):
                drive = await session.begin(file, tmp_path)
                progress = Progress(drive, session.clock)
                frames.append(drawn(progress, width))
                lines.append(progress.next_line())
                await session.drive(drive)
                frames.append(drawn(progress, width))
                lines.append(progress.line())

    anyio.run(watch)
    before, after = frames
    print(after)
    assert "no trial observed yet" in before
    assert lines[0] == "cast: 0 of 8 trials, best not yet, 0 runs at work"
    assert lines[1].startswith("cast: 8 of 8 trials")
    assert "charged 4 instrument-hour" in lines[1]
    assert all(len(line.rstrip()) <= width for line in after.splitlines())
    if width == 120:
        for part in ("8 of 8 trials", "of 10 min", "of 9 instrument-hour", " MPa (trial ", " K)", "random: 8 of 8"):
            assert part in after
        assert any(words in after for words in ("fewer trials than random", "the pace of random", "faster than random"))
        osaka = next(line for line in after.splitlines() if line.startswith("osaka"))
        assert "4 instrument-hour" in osaka
        kyoto = next(line for line in after.splitlines() if line.startswith("kyoto: "))
        assert "0 instrument-hour" in kyoto


def test_the_view_tells_each_site_that_is_a_baseline_alone(tmp_path: Path) -> None:
    alone = 'planner = "same"\nsites = "single"\nreplicates = 2'
    text = CAMPAIGN.replace('planner = "random"', alone).replace("trials = 8", "trials = 3")
    text = text.replace('"0 instrument-hour"', '"20 instrument-hour"')
    told: list[str] = []

    async def watch() -> None:
        home, file = Home(tmp_path / "home"), load_campaign(write_campaign(tmp_path, text))
        with home.locked():
            home.embed(file.sites, file.team)
            session = Session(home)
            async with session.opened(list(file.sites)):
                drive = await session.begin(file, tmp_path)
                progress = Progress(drive, session.clock)
                await session.drive(drive)
                told.extend((drawn(progress, 120), progress.line()))

    anyio.run(watch)
    frame, line = told
    for site in ("osaka", "kyoto"):
        assert f"{site} alone: 2 of 2 campaigns over, 6 trials" in frame
    assert "best single site" in frame
    assert "baseline 12 trials, 4 of 4 campaigns over" in line


def test_the_view_tells_of_a_site_that_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames: list[str] = []

    async def watch() -> None:
        home, file = Home(tmp_path / "home"), load_campaign(write_campaign(tmp_path, CAMPAIGN))
        with home.locked():
            home.embed(file.sites, file.team)
            session = Session(home)
            async with session.opened(list(file.sites)):
                with monkeypatch.context() as patch:

                    async def describe(team: str) -> Description:
                        raise Unreachable("Site 'kyoto' gives no answer.")

                    patch.setattr(session.sites["kyoto"], "describe", describe)
                    drive = await session.begin(file, tmp_path)
                progress = Progress(drive, session.clock)
                frames.append(drawn(progress, 120))
                await session.drive(drive)

    anyio.run(watch)
    (frame,) = frames
    assert "kyoto: does not answer; takes part once it does" in frame
    assert any(line.split()[:2] == ["kyoto", "0"] for line in frame.splitlines()), "it is in the table"
