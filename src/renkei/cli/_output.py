"""What commands print: records as JSON, and tables, quantities and times for people."""

import os
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table

from renkei.errors import UsageError
from renkei.model.quantity import Quantity
from renkei.model.space import Value

WIDE = 1000
"""How wide a line may be where nobody looks at it on a screen."""


def out() -> Console:
    """Return the console for results; a pipe or a file gets whole lines, however long."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = WIDE
    return console


def err() -> Console:
    """Return the console for everything that is not a result."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def say(text: str = "") -> None:
    """Print one line for people."""
    out().print(text, soft_wrap=True)


def print_json(records: Iterable[object]) -> None:
    """Print records as JSON, one a line."""
    print_raw(msgspec.json.encode(record) for record in records)


def print_raw(lines: Iterable[bytes]) -> None:
    """Print lines byte for byte."""
    sys.stdout.flush()
    for line in lines:
        sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def print_lines(lines: Iterable[str]) -> None:
    """Print any number of lines for people; a screen gets no more of each than fits into it."""
    console = out()
    for line in lines:
        is_long = console.is_terminal and cell_len(line) > console.width
        sys.stdout.write((set_cell_size(line, console.width - 1) + "…" if is_long else line) + "\n")


def write_new(path: Path, content: bytes) -> None:
    """Write a new file; it is there whole or not at all.

    Raises:
        UsageError: Something is there already.
        OSError: It cannot be written.
    """
    if path.exists():
        raise UsageError(f"{path} exists already.", "Choose another name, or move it away first.")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def columns(*heads: str) -> Table:
    """Return a table without lines.

    A head that begins with ">" is of numbers; one that ends with "…" is of text that may take several lines. On a
    narrow screen columns become narrower, but for numbers and what ends with "!": ids, which are to be copied.
    """
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    for head in heads:
        table.add_column(
            head.strip(">…!"),
            justify="right" if head.startswith(">") else "left",
            no_wrap=head.startswith(">") or head.endswith("!"),
            overflow="fold" if head.endswith("…") else "ellipsis",
        )
    return table


def facts(pairs: Mapping[str, str]) -> Table:
    """Return a table of facts: what, and what it is. Those without content are left out."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for what, content in pairs.items():
        if content:
            table.add_row(what, plain(content))
    return table


def plain(text: str) -> str:
    """Return text from outside without anything that would command a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def local_time(seconds: float) -> str:
    """Return a time for people: local, with its zone."""
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M:%S %Z}" if seconds else ""


def duration(seconds: float) -> str:
    """Return a length of time in at most two units."""
    for limit, factor, unit in ((1e-3, 1e6, "µs"), (1.0, 1e3, "ms")):
        if seconds < limit:
            return f"{seconds * factor:.3g} {unit}"
    for (longer, name), (shorter, below) in pairwise(((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))):
        if seconds >= longer:
            n, rest = divmod(round(seconds / shorter), longer // shorter)
            return f"{n} {name} {rest} {below}" if rest else f"{n} {name}"
    return f"{seconds:.3g} s"


def amount(micro: int, unit: str) -> str:
    """Return a quantity of an allocation, to six digits at most."""
    quantity = Quantity(micro, unit)
    return f"{quantity.value:,.6g} {unit}" if abs(quantity.value) < 1e6 else f"{quantity.value:,.0f} {unit}"


def value(number: Value | None, unit: str = "1") -> str:
    """Return a value with its unit."""
    if number is None:
        return ""
    text = f"{number:.4g}" if isinstance(number, float) else str(number)
    return text if unit == "1" else f"{text} {unit}"


def size(n_bytes: int) -> str:
    """Return a number of bytes for people."""
    number = float(n_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def point(parameters: Mapping[str, Value], units: Mapping[str, str] | None = None) -> str:
    """Return a point: "x 0.31, t 350 K"."""
    known: Mapping[str, Any] = units or {}
    return ", ".join(f"{name} {value(each, known.get(name, '1'))}" for name, each in parameters.items())


def count(n: int, noun: str) -> str:
    """Return "1 trial" or "2 trials"."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
