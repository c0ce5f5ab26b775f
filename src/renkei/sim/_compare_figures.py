"""What a comparison of searches alone and joint looks like: tables, and a plot."""

import math
from pathlib import Path
from typing import Any

import msgspec

from renkei.sim._compare import Arm, Comparison
from renkei.sim._plots import STYLE, require_plots
from renkei.sim._tables import Table, duration

HALVED = 2.0


def verdict(comparison: Comparison) -> list[str]:
    """Return what came of it in a few sentences."""
    n_halved = sum(each.ratio >= HALVED for each in comparison.teams)
    n_sure = sum(each.ratio_interval[0] >= HALVED for each in comparison.teams)
    n_slower = sum(each.ratio < 1.0 for each in comparison.teams)
    ratio, (low, high) = comparison.ratio, comparison.ratio_interval
    word = "is" if ratio >= HALVED else "is not"
    teams = len(comparison.teams)
    lines = [
        f"{comparison.title or comparison.scenario}: {teams} teams, {len(comparison.seeds)} seeds",
        f"In the median over teams and seeds, joint work makes the discovery {ratio:.2f} times sooner than the best"
        f" single site (95 %: {low:.2f} to {high:.2f}): the time to discovery {word} halved.",
        f"In the median over seeds it is halved for {n_halved} of {teams} teams, for {n_sure} of them with all of the"
        f" interval; {n_slower} {'is' if n_slower == 1 else 'are'} slower together.",
    ]
    if comparison.left_out:
        lines.append(f"Left out, as there is nothing to compare: {', '.join(comparison.left_out)}.")
    return lines


def time_table(comparison: Comparison) -> Table:
    """Return how long each team takes to its discovery, with 95% intervals of the medians."""
    rows = [
        (
            each.team, each.planner, str(len(each.joint.sites)), each.alone.sites[0],
            f"{each.alone.parallel} / {each.joint.parallel}", _time(each.alone), _time(each.joint),
            f"{each.ratio:.2f} ({each.ratio_interval[0]:.2f} to {each.ratio_interval[1]:.2f})",
            f"{each.capacity:.2f}", f"{_none(each.alone)} / {_none(each.joint)}",
        )
        for each in comparison.teams
    ]  # fmt: skip
    head = (
        "team", "planner", ">sites", "best alone", ">at work, alone / joint", ">to discovery, alone (95 %)",
        ">joint (95 %)",        ">times sooner (95 %)", ">times the capacity", ">none made, alone / joint",
    )  # fmt: skip
    return head, rows


def cost_table(comparison: Comparison) -> Table:
    """Return what a discovery took and cost: trials and charges of all searches, by how many discoveries were made."""
    rows = [
        (each.team, _trials(each.alone), _trials(each.joint), _cost(each.alone), _cost(each.joint))
        for each in comparison.teams
    ]
    return ("team", ">trials for one, alone", ">joint", ">charged for one, alone", ">joint"), rows


def tried_table(comparison: Comparison) -> Table:
    """Return every way to work alone that was tried, the best one first."""
    rows = [
        (each.team, arm.sites[0], str(arm.parallel), str(len(arm.searches)), _time(arm))
        for each in comparison.teams
        for arm in sorted(each.tried, key=lambda arm: (arm.searches != each.alone.searches, arm.median_s))
    ]
    return ("team", "alone at", ">at work", ">seeds", ">to discovery (95 %)"), rows


def _time(arm: Arm) -> str:
    median, low, high = (duration(s) if math.isfinite(s) else "never" for s in (arm.median_s, *arm.interval_s))
    return f"{median} ({low} to {high})"


def _none(arm: Arm) -> str:
    return f"{1 - arm.n_found / len(arm.searches):.0%}"


def _trials(arm: Arm) -> str:
    return f"{sum(each.n_trials for each in arm.searches) / arm.n_found:,.0f}" if arm.n_found else "none made"


def _cost(arm: Arm) -> str:
    return " + ".join(f"{value:,.1f} {unit}" for unit, value in arm.cost().items()) or "none made"


def write_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """Write a comparison into a folder, as JSON and as a plot, and return the files.

    Raises:
        UsageError: matplotlib is not installed.
    """
    result, plot = (folder / f"{comparison.scenario}.{ending}" for ending in ("json", "svg"))
    result.write_bytes(msgspec.json.encode(comparison.to_json()) + b"\n")
    draw_comparison(comparison, plot)
    return [result, plot]


def draw_comparison(comparison: Comparison, path: Path) -> None:
    """Draw the median time to discovery of every team, alone and joint, with 95% intervals.

    Args:
        comparison: What to draw.
        path: Where to; its ending says in what format.

    Raises:
        UsageError: matplotlib is not installed.
    """
    require_plots()
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: Any = STYLE
    with mpl.rc_context(style):  # pyright: ignore[reportUnknownMemberType]
        figure: Any = Figure(figsize=(9.0, 0.42 * len(comparison.teams) + 1.6), layout="constrained")
        times, ratios = figure.subplots(1, 2, sharey=True, width_ratios=(2, 1))
        places = range(len(comparison.teams))
        for at, each in zip(reversed(places), comparison.teams, strict=True):
            for arm, color, shift in ((each.alone, "0.45", 0.14), (each.joint, "C0", -0.14)):
                low, high = arm.interval_s
                _point(times, at + shift, arm.median_s / 3600, low / 3600, high / 3600, color)
            _point(ratios, at, each.ratio, *each.ratio_interval, "C0")
        for color, label in (("0.45", "at the best single site"), ("C0", "joint")):
            times.plot([], [], "o", color=color, label=label)
        times.set_yticks([*reversed(places)], [each.team for each in comparison.teams])
        times.set(xscale="log", xlabel="hours to discovery: median, 95 % interval")
        times.xaxis.set_major_formatter("{x:g}")
        times.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
        ratios.axvline(1.0, color="0.6", linewidth=0.8)
        ratios.axvline(HALVED, color="C3", linewidth=0.8, linestyle="--")
        ratios.set(xlabel="times sooner, joint (dashed: halved)", xlim=(0, None))
        ratios.tick_params(axis="y", length=0)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=120)


def _point(axes: Any, at: float, middle: float, low: float, high: float, color: str) -> None:
    axes.plot([low, high], [at, at], color=color, linewidth=3, alpha=0.4, solid_capstyle="butt")
    axes.plot([middle], [at], "o", color=color, markersize=4)
