"""The kept campaigns: one file of JSON lines for each optimiser, only ever added to."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.planning.campaign import Line

FOLDER = Path(__file__).parent / "results"


def write(line: Line, folder: Path = FOLDER) -> None:
    """Add a campaign."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{line.planner}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line.as_json(), separators=(",", ":")) + "\n")


def read(folder: Path = FOLDER) -> list[Line]:
    """Return every campaign that was kept, an unfinished last line of a file left out."""
    return [line for path in sorted(folder.glob("*.jsonl")) for line in _lines(path)]


def newest(lines: list[Line]) -> dict[str, str]:
    """Return the version of each optimiser's last line: the one that pages show."""
    return {line.planner: line.version for line in lines}


def _lines(path: Path) -> Iterator[Line]:
    for text in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if text.endswith("\n"):
            found: dict[str, Any] = json.loads(text)
            found["best"] = [(int(at), float(loss)) for at, loss in found["best"]]
            yield Line(**found)
