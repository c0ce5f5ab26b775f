"""The plots of a scenario's result."""

from pathlib import Path
from typing import Any

from renkei.report._optional import require
from renkei.sim._result import DAY_S, Result
from renkei.sim._scenario import Scenario
from renkei.sim._tables import by_series, events

STYLE: dict[str, Any] = {
    "svg.hashsalt": "renkei",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def require_plots() -> None:
    """Check that plots can be drawn.

    Raises:
        UsageError: matplotlib is not installed.
    """
    require("matplotlib")


def draw_result(scenario: Scenario, result: Result, folder: Path) -> list[Path]:
    """Draw a result into a folder as SVG, and return the files: throughput, waiting, allocations and discoveries.

    Raises:
        UsageError: matplotlib is not installed.
    """
    require_plots()
    import matplotlib as mpl
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    drawn = {
        "throughput": (_throughput, 4.2),
        "waiting": (_waiting, 0.28 * len(result.sites) + 1.2),
        "allocations": (_allocations, 0.19 * len(result.allocations) + 1.2),
        "discoveries": (_discoveries, 0.3 * len(by_series(result)) + 1.2),
    }
    paths: list[Path] = []
    style: Any = STYLE
    with mpl.rc_context(style):  # pyright: ignore[reportUnknownMemberType]
        for name, (paint, height) in drawn.items():
            figure: Any = Figure(figsize=(9.0, height), layout="constrained")
            paint(figure.add_subplot(), scenario, result)
            paths.append(folder / f"{name}.svg")
            figure.savefig(paths[-1], metadata={"Date": None})
    return paths


def _throughput(axes: Any, scenario: Scenario, result: Result) -> None:
    """Runs that ended on each day, by the party whose sites they ran at."""
    n = result.n_days
    below = [0] * n
    for party, about in scenario.parties.items():
        days = [0] * n
        for name, tally in result.sites.items():
            if scenario.institutions[scenario.sites[name].institution].party == party:
                days = [a + b for a, b in zip(days, tally.per_day(n), strict=True)]
        axes.bar(range(n), days, bottom=below, width=0.9, align="edge", label=about.name)
        below = [a + b for a, b in zip(below, days, strict=True)]
    _mark(axes, scenario, result)
    axes.set(xlabel="day", ylabel="runs that ended", title="Throughput, by the party of the site")
    axes.set(xlim=(0, n), ylim=(0, 1.3 * max(1, *below)))  # room for what happened
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, -0.14), ncols=len(scenario.parties))


def _waiting(axes: Any, scenario: Scenario, result: Result) -> None:
    """What runs waited at each site: median, and the middle eight of ten."""
    del scenario
    names = [name for name, tally in reversed(result.sites.items()) if len(tally.waits_s) > 1]
    for at, name in enumerate(names):
        waits = sorted(result.sites[name].waits_s)
        low, middle, high = (max(1.0, waits[int(q * (len(waits) - 1))]) / 60 for q in (0.1, 0.5, 0.9))
        axes.plot([low, high], [at, at], color="C0", linewidth=3, alpha=0.35, solid_capstyle="butt")
        axes.plot([middle], [at], "o", color="C0", markersize=4)
    axes.set_yticks(range(len(names)), names)
    axes.set(xscale="log", xlabel="minutes from request to start (dot: median; bar: eight in ten)", title="Waiting")


def _allocations(axes: Any, scenario: Scenario, result: Result) -> None:
    """The used share of each allocation."""
    del scenario
    rows = [each for each in result.allocations if each.granted]
    rows.sort(key=lambda each: (each.team, each.site), reverse=True)
    axes.barh(range(len(rows)), [100 * each.spent / each.granted for each in rows], color="C0", height=0.7)
    axes.set_yticks(range(len(rows)), [f"{each.team} at {each.site} ({each.unit})" for each in rows], fontsize=7)
    axes.set(xlabel="% that was used", xlim=(0, 100), ylim=(-0.7, len(rows) - 0.3), title="Allocations")


def _discoveries(axes: Any, scenario: Scenario, result: Result) -> None:
    """When each campaign began, and when it made its discovery."""
    groups = [*reversed(by_series(result).items())]
    for at, (_, campaigns) in enumerate(groups):
        for each in campaigns:
            found_s = None if each.discovered_s is None else each.began_s + each.discovered_s
            end_s, colour = (each.ended_s, "0.75") if found_s is None else (found_s, "C0")
            axes.plot([each.began_s / DAY_S, end_s / DAY_S], [at, at], color=colour, linewidth=2.0)
            if found_s is not None:
                axes.plot([found_s / DAY_S], [at], "|", color="C3", markersize=9)
    _mark(axes, scenario, result)
    axes.set_yticks(range(len(groups)), [f"{campaigns[0].team}: {name}" for name, campaigns in groups])
    axes.set(xlabel="day (red: a discovery; grey: none made)", title="Discoveries")
    axes.set(xlim=(0, result.ended_s / DAY_S), ylim=(-0.7, 1.3 * len(groups)))


def _mark(axes: Any, scenario: Scenario, result: Result) -> None:
    for at, what in events(scenario, result):
        axes.axvline(at / DAY_S, color="0.3", linewidth=0.8, linestyle="--")
        place: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "va": "top", "ha": "right"}
        axes.annotate(what, (at / DAY_S, 1.0), rotation=90, fontsize=7.5, **place)
