"""Fills the tables of docs/explanations/reliability.md from what was measured: `python -m benchmarks.chaos.page`."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.chaos.judge import PROMISES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanations" / "reliability.md"
KILLS = Path(__file__).with_name("results.json")
SEEDS = ROOT / "benchmarks" / "simulation" / "seeds.json"
BAR_S = 5.0
"""What the p99 of recovery must be under."""
NONE = "No figures are kept."


def filled(text: str, parts: Mapping[str, str]) -> str:
    """Return a page with other content between its markers `<!-- NAME begin -->` and `<!-- NAME end -->`.

    Args:
        text: The page.
        parts: What goes between the markers of each name; all of them must be there.
    """
    for name, part in parts.items():
        text, n = re.subn(
            rf"(<!-- {name} begin -->\n).*?(<!-- {name} end -->)",
            lambda found, part=part: f"{found[1]}\n{part}\n\n{found[2]}",
            text,
            flags=re.DOTALL,
        )
        if n != 1:
            raise SystemExit(f"The page has {n} places for '{name}', and must have one.")
    return text


def kills_part(result: Mapping[str, Any]) -> str:
    """Return what a run of real faults came to."""
    counts = result["counts"]
    faults = Counter[str](result["faults"])
    others = {what: n for what, n in result["faults"].items() if not what.startswith("killed")}
    begun = sum(counts.get(f"openings of {site}", 0) for site in ("east", "west")) + counts.get("campaigns resumed", 0)
    head = (
        f"{result['killed']:,} processes were killed in {result['seconds'] / 60:.0f} minutes on a machine with"
        f" {result['machine']} and a mean load of {result['load']:g}, seed {result['seed']}:"
        f" {_listed(result['kills'])}; {faults['killed at work']:,} of them at work,"
        f" {faults['killed starting']:,} while they were starting. Other faults: {_listed(others)}."
        f" Under that, {counts['campaigns']:,} campaigns with {counts['trials']:,} trials came to their ends,"
        f" by {counts['executions']:,} executions; sites opened and campaigns were taken up"
        f" {begun:,} times."
    )
    if result["left_out"]:
        head += f" Left out: {'; '.join(result['left_out'])}."
    broken = _table(
        ("promise", "broken", "what is counted"), [(p, result["broken"][p], w) for p, w in PROMISES.items()]
    )
    recoveries = [
        (who, spread["n"], *(f"{spread[key]:.1f} s" for key in ("p50_s", "p99_s", "max_s", "cpu_p50_s")))
        for who, spread in (
            *result["recovery_of"].items(),
            ("all", result["recovery"]),
            ("while something that they need was harmed, too", result["recovery_disturbed"]),
        )
    ]
    is_met = result["recovery"]["p99_s"] < BAR_S
    again = (
        f"The bar, a p99 under {BAR_S:g} s, was {'met' if is_met else 'missed'}."
        f" {result['killed_again_before_back']:,} kills hit a process that was not back yet. These are not timed, which"
        " favours the quick."
    )
    return "\n\n".join(
        [
            head,
            broken,
            _table(("recovery of", "times", "p50", "p99", "longest", "processor time, p50"), recoveries),
            again,
        ]
    )


def seeds_part(result: Mapping[str, Any]) -> str:
    """Return what many seeds of the small simulated federation came to."""
    head = f"{result['seeds']:,} seeds: {result['broken']} broke a promise."
    if "seconds" in result:
        head += f" It took {result['seconds'] / 60:.0f} minutes with {result.get('processes', 1)} processes."
    return f"{head} What happened in them: {_listed(result['counts'])}." if "counts" in result else head


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{what} {n:,}" for what, n in counts.items()) or "none"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def main() -> None:
    """Write the page."""
    kills = kills_part(json.loads(KILLS.read_text())) if KILLS.exists() else NONE
    seeds = seeds_part(json.loads(SEEDS.read_text())) if SEEDS.exists() else NONE
    PAGE.write_text(filled(PAGE.read_text("utf-8"), {"kills": kills, "seeds": seeds}), "utf-8")


if __name__ == "__main__":
    main()
