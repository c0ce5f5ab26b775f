"""Fills docs/explanations/productivity.md from what was measured: `python -m benchmarks.simulation.productivity`.

The figures come from `renkei sim compare SCENARIO --seeds 50 --out benchmarks/simulation`, which also draws the plots.
"""

from pathlib import Path

from benchmarks.chaos.page import ROOT, filled

from renkei.sim._compare import Comparison
from renkei.sim._compare_figures import cost_table, time_table, tried_table, verdict
from renkei.sim._tables import Table

PAGE = ROOT / "docs" / "explanations" / "productivity.md"
SCENARIOS = ("productivity", "complementary", "laboratories")


def parts(name: str) -> dict[str, str]:
    """Return what goes between the page's markers, of one scenario."""
    comparison = Comparison.from_json(Path(__file__).with_name(f"{name}.json").read_bytes())
    return {
        f"{name} verdict": "\n\n".join(verdict(comparison)),
        f"{name} times": _table(time_table(comparison)),
        f"{name} costs": _table(cost_table(comparison)),
        f"{name} tried": _table(tried_table(comparison)),
    }


def _table(table: Table) -> str:
    heads, rows = table
    lines = [[head.removeprefix(">") for head in heads], ["--:" if head[0] == ">" else "---" for head in heads], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Write the page."""
    page = PAGE.read_text("utf-8")
    for name in SCENARIOS:
        page = filled(page, parts(name))
    PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
