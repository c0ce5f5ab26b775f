"""A campaign with its procedure and policy, and ways to call the command line."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LAB = '''
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from annotated_types import Interval
from renkei import Infeasible, Unit, current_run, procedure

@dataclass
class Bar:
    strength: Annotated[float, Unit("MPa")]
    trace: Path

Stir = Annotated[int, Interval(ge=1, le=5)]

@procedure("lab.cast", version="1.2", kind="measurement")
def cast(heat: Annotated[float, Interval(ge=300, le=900), Unit("K")], stir: Stir = 3) -> Bar:
    """Cast a bar and pull it."""
    if heat > 880:
        raise Infeasible("no crystal")
    file = current_run().directory / "trace.txt"
    file.write_text(f"{heat} {stir}")
    return Bar(900 - (heat - 640) ** 2 / 300, file)
'''

CAMPAIGN = """
[campaign]
name = "cast"
title = "Castings that bear more"
stop = { trials = 6 }
[space]
heat = { type = "real", low = 300.0, high = 900.0, unit = "K" }
[[objective]]
output = "strength"
goal = "maximize"
unit = "MPa"
[[source]]
procedure = "lab.cast"
[planner]
name = "sobol"
parallel = 3
[sites.osaka]
procedures = "lab.py"
charge = { unit = "instrument-hour", per_run = 0.5 }
workers = 1
"""

ASKING = """
@id("go")
permit (principal, action in Action::"run", resource);
@id("hot")
@ask("More than 600 K needs the furnace master.")
permit (principal, action == Action::"lab.cast", resource)
when { context.parameters.heat.greaterThan(decimal("600.0")) };
"""


@dataclass(frozen=True, slots=True)
class Result:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Renkei = Callable[..., Result]


def start(*words: object, cwd: Path) -> "subprocess.Popen[str]":
    """Start a command in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RENKEI_")}
    return subprocess.Popen(
        [sys.executable, "-m", "renkei", *map(str, words)],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> Result:
    """Wait for a command and return what it said."""
    out, err = process.communicate(timeout=60)
    return Result(process.returncode, out, err)


def write_campaign(folder: Path, text: str = CAMPAIGN) -> Path:
    """Write a campaign, with its procedure and a policy that asks, and return its file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lab.py").write_text(LAB)
    (folder / "asking.cedar").write_text(ASKING)
    (folder / "campaign.toml").write_text(text)
    return folder / "campaign.toml"


@dataclass(frozen=True, slots=True)
class Ended:
    """A campaign that has ended: do not write into its home."""

    home: Path
    said: Result
