"""Fills docs/explanations/productivity.md from what was measured: `python -m benchmarks.simulation.productivity`.

The figures come from `renkei sim compare --seeds 50 --out benchmarks/simulation`, which also draws the plot.
"""

from pathlib import Path

from benchmarks.chaos.page import ROOT, filled

from renkei.sim._compare import Comparison
from renkei.sim._compare_figures import cost_table, time_table, tried_table, verdict
from renkei.sim._tables import Table

PAGE = ROOT / "docs" / "explanations" / "productivity.md"
FIGURES = Path(__file__).with_name("productivity.json")


def parts(comparison: Comparison) -> dict[str, str]:
    """Return what goes between the page's markers."""
    return {
        "verdict": "\n\n".join(verdict(comparison)),
        "times": _table(time_table(comparison)),
        "costs": _table(cost_table(comparison)),
        "tried": _table(tried_table(comparison)),
    }


def _table(table: Table) -> str:
    heads, rows = table
    lines = [[head.removeprefix(">") for head in heads], ["--:" if head[0] == ">" else "---" for head in heads], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Write the page."""
    comparison = Comparison.from_json(FIGURES.read_bytes())
    PAGE.write_text(filled(PAGE.read_text("utf-8"), parts(comparison)), "utf-8")


if __name__ == "__main__":
    main()
