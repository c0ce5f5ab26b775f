"""The figures about what was found: progress against the baseline, and trade-offs between objectives."""

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

from renkei.campaign import TrialRow
from renkei.model.space import Objective, feasible
from renkei.planning.acceleration import BestOf
from renkei.planning.pareto import pareto_front
from renkei.report import _words as words
from renkei.report._acceleration import Accelerations, best_so_far
from renkei.report._svg import COLOURS, RASTER, draw
from renkei.report._verdict import baseline_name
from renkei.report._view import CampaignView

_LOG_FROM = 60.0
"""How many times the largest value must be the smallest one for a logarithmic axis."""
DASHES: list[Any] = ["-", (0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2))]
"""How the lines of several baselines differ."""
_PANELS = 3
"""How many pairs of objectives are shown at most."""


def loss_shown(view: CampaignView) -> tuple[str, Callable[[float], float]]:
    """Return what the losses of a campaign are called on an axis, and how they are shown there."""
    goal, *others = view.definition.objectives
    if others:
        return "distance from all goals (0: reached)", lambda loss: loss
    unit = f" [{words.unit(goal.unit)}]" if words.unit(goal.unit) else ""
    if goal.goal == "target" and goal.target is not None:
        return f"distance of {goal.output} from {words.number(goal.target)}{unit}", lambda loss: loss
    return f"{goal.output}{unit}", (lambda loss: -loss) if goal.goal == "maximize" else (lambda loss: loss)


def draw_progress(view: CampaignView, acceleration: Accelerations) -> str:
    """Return the best so far against trials, beside what the baseline is expected to have after as many."""
    label, shown = loss_shown(view)
    rows = view.history.ended_trials
    losses = [view.loss(row) for row in rows]
    values = [None if loss is None else shown(loss) for loss in losses]
    broken = [_broken(view, row, shown) for row in rows]
    best = [None if loss is None else shown(loss) for loss in best_so_far(losses)]
    reach = view.yardstick.reach if view.yardstick else None

    def paint(figure: Any) -> None:
        axes = figure.add_subplot()
        _points(axes, broken, marker="o", s=13, facecolors="none", edgecolors=COLOURS["baseline"], linewidths=0.8,
                label="constraint broken")  # fmt: skip
        _points(axes, values, marker="o", s=15, color=COLOURS["campaign"], alpha=0.5, linewidths=0, label="trial")
        xs, ys = _turns(best)
        axes.plot(xs, ys, drawstyle="steps-post", color=COLOURS["campaign"], linewidth=2.0, label="best so far")
        if reach is not None:
            axes.axhline(shown(reach), color=COLOURS["reach"], linestyle=(0, (5, 3)), linewidth=1.2, label="goal")
        if (top := view.best) is not None and (loss := view.loss(top)) is not None:
            n = [row.trial for row in rows].index(top.trial) + 1
            axes.plot([n], [shown(loss)], "o", markersize=9, markerfacecolor="none", markeredgewidth=1.8,
                      color=COLOURS["best"], label="best trial")  # fmt: skip
        medians = _baseline_band(axes, acceleration, len(rows), shown)
        inside = [*ys, *medians, *([] if reach is None else [shown(reach)])]
        frame(axes, [v for v in (*values, *broken) if v is not None], inside)
        for state, colour, mark in (("infeasible", "infeasible", "x"), ("abandoned", "failed", "|")):
            at = [n for n, row in enumerate(rows, 1) if row.state == state]
            if at:
                axes.plot(at, [0.025] * len(at), mark, transform=axes.get_xaxis_transform(), color=COLOURS[colour],
                          markersize=5, label=state, rasterized=len(at) > RASTER)  # fmt: skip
        axes.set_xlim(0.5 if len(rows) < 50 else 0, max(len(rows), 1) + 0.5)
        axes.set_xlabel("trials, in the order in which they ended")
        axes.set_ylabel(words.shortened(label, 60))
        axes.xaxis.get_major_locator().set_params(integer=True)
        figure.legend(loc="outside upper left", ncols=9, handlelength=1.3, handletextpad=0.5, columnspacing=1.1)

    return draw("progress", f"{label}: best so far after each of {len(rows)} trials", (10, 4.1), paint)


def _points(axes: Any, values: Sequence[float | None], **style: Any) -> None:
    xs = [n for n, value in enumerate(values, 1) if value is not None]
    if xs:
        axes.scatter(xs, [v for v in values if v is not None], rasterized=len(xs) > RASTER, **style)


def _broken(view: CampaignView, row: TrialRow, shown: Callable[[float], float]) -> float | None:
    """Return what a trial that breaks a constraint would have counted for."""
    goal, *others = view.definition.objectives
    if row.state != "observed" or others or feasible(row.outputs, view.definition.constraints):
        return None
    value = row.outputs.get(goal.output, math.nan)
    return shown(goal.loss(value)) if math.isfinite(value) else None


def _baseline_band(axes: Any, acceleration: Accelerations, n: int, shown: Callable[[float], float]) -> list[float]:
    """Draw what the baseline is expected to have after each trial; return the medians that there are, as shown.

    Of a baseline at single sites each site's median is drawn, and the band of the one that is the best in hindsight.
    """
    known = [s.loss for s in acceleration.baseline_steps if s.loss is not None and math.isfinite(s.loss)]
    if not known or acceleration.against is None:
        return []
    xs = sorted({1, n, *range(1, n + 1, max(1, n // 400))})
    nowhere = max(known) + 100.0 * (
        (max(known) - min(known)) or 1.0
    )  # no outputs yet: worse than any, not in the frame
    against = acceleration.against.baselines if isinstance(acceleration.against, BestOf) else {"": acceleration.against}
    best = acceleration.best_site.get("trials", "")
    spread = f"worst to best of {acceleration.n_campaigns // len(against)}" if acceleration.learns else "its 95%"
    medians: list[float] = []
    for dash, (site, each) in zip(DASHES * len(against), against.items(), strict=False):
        low, middle, high = (
            [shown(nowhere if loss is None else loss) for loss in line]
            for line in zip(*(each.band(at) for at in xs), strict=True)
        )
        name = f"{site} alone" if site else baseline_name(acceleration)
        axes.plot(xs, middle, color=COLOURS["baseline"], drawstyle="steps-post", linewidth=1.5, zorder=1.5,
                  linestyle=dash, label=f"{name} (median)")  # fmt: skip
        if site == best:
            axes.fill_between(xs, low, high, color=COLOURS["band"], linewidth=0, step="post", zorder=0.5, label=spread)
        medians += [value for value in middle[len(middle) // 4 :] if value != shown(nowhere)]
    return medians


def _turns(best: Sequence[float | None]) -> tuple[list[int], list[float]]:
    """Return where the best so far changes, and its end, as trials and values."""
    known = [(n, value) for n, value in enumerate(best, 1) if value is not None]
    kept = [pair for i, pair in enumerate(known) if i in (0, len(known) - 1) or pair[1] != known[i - 1][1]]
    return [n for n, _ in kept], [value for _, value in kept]


def frame(axes: Any, values: Sequence[float], inside: Sequence[float]) -> None:
    """Choose the scale of the y axis: `inside` is shown in any case, far-off `values` are not."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    known = [*values, *inside]
    if not known:
        return
    low, high = min(known), max(known)
    if is_wide(low, high):
        axes.set_yscale("log")
        axes.set_ylim(low / 1.4, high * 1.4)
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        inner = [*(sorted(values)[len(values) // 10 : len(values) - len(values) // 10] or known), *inside]
        pad = 0.06 * ((max(inner) - min(inner)) or abs(max(inner)) or 1.0)
        far = 3.0 * (max(inner) - min(inner))
        low = low if low >= min(inner) - far else min(inner)
        high = high if high <= max(inner) + far else max(inner)
        axes.set_ylim(low - pad, high + pad)
    axes.yaxis.set_major_formatter(FuncFormatter(_tick))  # pyright: ignore[reportUnknownMemberType]


def _tick(value: float, _place: object) -> str:
    return words.number(value)


def is_wide(low: float, high: float) -> bool:
    """Return whether values from `low` to `high` are better shown on a logarithmic axis."""
    return low > 0 and high / low > _LOG_FROM


def draw_trade_offs(view: CampaignView) -> str:
    """Return the trials in the planes of pairs of objectives, with the Pareto front; empty with one objective."""
    goals = view.definition.objectives
    rows = [row for row in view.trials if row.state == "observed" and all(o.output in row.outputs for o in goals)]
    if len(goals) < 2 or not rows:
        return ""
    front = [rows[i] for i in pareto_front([row.outputs for row in rows], goals, view.definition.constraints)]
    pairs = list(combinations(goals, 2))[:_PANELS]

    def paint(figure: Any) -> None:
        for axes, (first, second) in zip(figure.subplots(1, len(pairs), squeeze=False)[0], pairs, strict=True):
            _plane(axes, view, rows, front, first, second)

    return draw("tradeoffs", f"Pareto front of {len(front)} trials", (10, 4.0), paint)


def _plane(
    axes: Any, view: CampaignView, rows: list[TrialRow], front: list[TrialRow], first: Objective, second: Objective
) -> None:
    def at(some: Sequence[TrialRow]) -> tuple[list[float], list[float]]:
        return [r.outputs[first.output] for r in some], [r.outputs[second.output] for r in some]

    holds = [row for row in rows if feasible(row.outputs, view.definition.constraints)]
    breaks = [row for row in rows if not feasible(row.outputs, view.definition.constraints)]
    axes.scatter(*at(breaks), s=13, facecolors="none", edgecolors=COLOURS["baseline"], linewidths=0.8,
                 rasterized=len(breaks) > RASTER, label="constraint broken" if breaks else None)  # fmt: skip
    axes.scatter(*at(holds), s=15, color=COLOURS["campaign"], alpha=0.45, linewidths=0,
                 rasterized=len(holds) > RASTER, label="trial")  # fmt: skip
    ordered = sorted(front, key=lambda row: first.loss(row.outputs[first.output]))
    if len(view.definition.objectives) == 2 and "target" not in (first.goal, second.goal):
        axes.plot(*at(ordered), drawstyle="steps-post", color=COLOURS["best"], linewidth=1.0)
    axes.scatter(*at(ordered), s=26, color=COLOURS["best"], linewidths=0, label="Pareto front")
    for goal, line in ((first, axes.axvline), (second, axes.axhline)):
        if goal.reach is not None and goal.goal != "target":
            line(goal.reach, color=COLOURS["reach"], linestyle=(0, (5, 3)), linewidth=1.0)
    for goal, name in ((first, axes.set_xlabel), (second, axes.set_ylabel)):
        unit = words.unit(goal.unit)
        name(words.shortened(goal.output, 32) + (f" [{unit}]" if unit else ""))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, handlelength=1.2, columnspacing=1.0)
