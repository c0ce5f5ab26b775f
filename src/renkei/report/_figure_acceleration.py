"""The figures about acceleration: the factor at every level, good trials after every trial, the race by the clock."""

import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from renkei.planning.acceleration import Acceleration, BestOf, Curve, Enhancement, Measure, Replicates
from renkei.report import _words as words
from renkei.report._acceleration import MEASURES, Accelerations
from renkei.report._figures import DASHES, frame, loss_shown
from renkei.report._svg import COLOURS, draw
from renkei.report._verdict import baseline_name
from renkei.report._view import CampaignView

_NAMES: dict[Measure, str] = {"trials": "by trials", "hours": "by wall time", "cost": "by cost"}
_CLEAR = {"faster": "succeeded", "slower": "failed", "unclear": "ink", "unknown": "ink"}
_MARKS = {"estimate": "o", "at least": "^", "at most": "v", "unknown": "o"}
_LABELS = 5
"""How many levels are named on an axis at most."""
_RATIOS = (1, 2, 5)


def draw_acceleration(view: CampaignView, acceleration: Accelerations) -> str:
    """Return the acceleration factor against the level by each measure, and the enhancement factor against trials.

    Empty where nothing can be compared.
    """
    curves = {m: [each for each in found if each.factor is not None] for m, found in acceleration.curves().items()}
    level, enhancements = acceleration.enhancements()
    known = [each for each in enhancements if each.factor is not None]
    measures: list[Measure] = [m for m in MEASURES if curves.get(m)]
    if "cost" in measures and _factors_of(curves["cost"]) == _factors_of(curves["trials"]):
        measures.remove("cost")  # every trial costs the same: the picture would be that by trials
    if not measures:
        return ""
    label, shown = loss_shown(view)
    n_panels = len(measures) + bool(known)

    def paint(figure: Any) -> None:
        n_columns = min(2, n_panels)
        n_rows = math.ceil(n_panels / n_columns)
        every = list(figure.subplots(n_rows, n_columns, squeeze=False).flat)
        for axes, measure in zip(every, measures, strict=False):
            found = curves[measure]
            _factors(axes, range(len(found)), found)
            at = sorted({round(i * (len(found) - 1) / (_LABELS - 1)) for i in range(_LABELS)})
            names = [words.number(shown(found[i].level or 0.0)) for i in at]
            axes.set_xticks(at, names)
            axes.set_xlabel(f"level: {words.shortened(label, 44)}, easy to hard")
            axes.set_title(f"acceleration {_NAMES[measure]}", loc="left", color=COLOURS["ink"])
        if known and level is not None:
            axes = every[len(measures)]
            _factors(axes, [each.n for each in known], known)
            axes.set_xscale("log")
            axes.set_xlabel("trials")
            axes.set_xticks(ticks := _decades(known[-1].n), [words.number(tick) for tick in ticks], minor=False)
            axes.set_title(f"enhancement: trials with {words.shortened(label, 30)} as good as"
                           f" {words.number(shown(level))}", loc="left", color=COLOURS["ink"])  # fmt: skip
        for axes in every[n_panels:]:
            axes.set_visible(False)

    text = "acceleration factor at each level, and enhancement factor after each trial"
    return draw("acceleration", text, (10, 3.3 * math.ceil(n_panels / 2)), paint)


def _factors_of(found: Sequence[Acceleration]) -> list[str]:
    return [f"{each.factor:.6g}" for each in found]


def _decades(top: int) -> list[int]:
    """Return 1, 2, 5, 10 … up to a number."""
    return [r * 10**p for p in range(len(str(top))) for r in _RATIOS if r * 10**p <= top]


def _factors(axes: Any, xs: Sequence[int], found: Sequence[Acceleration | Enhancement]) -> None:
    """Draw factors with their intervals on a logarithmic axis around 1, what is below it on red ground."""
    factors = [each.factor or 0.0 for each in found]
    ends = [x for each in found if each.factor for x in (each.factor, each.low, each.high) if x]
    bottom, top = min([0.5, *ends]) / 1.25, max([2.0, *ends]) * 1.25
    axes.set_yscale("log")
    axes.set_ylim(bottom, top)
    axes.axhspan(bottom, 1.0, color=COLOURS["failed"], alpha=0.1, linewidth=0)
    axes.axhline(1.0, color=COLOURS["ink"], linewidth=1.1)
    above, below = ("more", "fewer") if isinstance(found[0], Enhancement) else ("faster", "slower")
    axes.text(0.01, 0.02, f"{below} than its baseline", transform=axes.transAxes, color=COLOURS["failed"], fontsize=8.5)
    axes.text(0.01, 0.98, above, transform=axes.transAxes, color=COLOURS["succeeded"], fontsize=8.5, va="top")
    lows = [bottom if each.low is None else max(bottom, each.low) for each in found]
    highs = [top if each.high is None else min(top, each.high) for each in found]
    has_interval = [each.low is not None or each.high is not None for each in found]
    axes.fill_between(xs, lows, highs, where=has_interval, color=COLOURS["baseline"], alpha=0.22, linewidth=0)
    positive = [max(bottom, factor) for factor in factors]  # none found: at the foot of the picture
    axes.plot(xs, positive, color=COLOURS["campaign"], linewidth=1.4)
    for x, y, each in zip(xs, positive, found, strict=True):
        mark = "o" if isinstance(each, Enhancement) else _MARKS[each.bound]
        axes.plot([x], [y], mark, markersize=5.5, color=COLOURS[_CLEAR[each.clarity]])
    _ratio_axis(axes, bottom, top)


def _ratio_axis(axes: Any, bottom: float, top: float) -> None:
    """Name 1 and round ratios above and below it."""
    from matplotlib.ticker import NullFormatter

    powers = range(math.floor(math.log10(bottom)), math.ceil(math.log10(top)) + 1)
    many = len(powers) > 4
    ticks = [r * 10.0**p for p in powers for r in ((1,) if many else _RATIOS) if bottom <= r * 10.0**p <= top]
    axes.set_yticks(ticks, [f"{words.number(tick)}\N{MULTIPLICATION SIGN}" for tick in ticks])
    axes.yaxis.set_minor_formatter(NullFormatter())


def draw_pace(view: CampaignView, acceleration: Accelerations) -> str:
    """Return the best so far against wall time, of the campaign and every campaign of a baseline that learns."""
    against, mine = acceleration.against, acceleration.curve
    alone = against.baselines if isinstance(against, BestOf) else {"": against}
    others = {site: each.curves for site, each in alone.items() if isinstance(each, Replicates)}
    if mine is None or not others or mine.best() is None:
        return ""
    label, shown = loss_shown(view)
    longest = max(sum(step.hours for step in c.steps) for c in (mine, *(c for each in others.values() for c in each)))
    scale, unit = (1.0, "h") if longest >= 2.0 else (60.0, "min") if longest >= 2.0 / 60 else (3600.0, "s")

    def paint(figure: Any) -> None:
        axes = figure.add_subplot()
        everything: list[float] = []
        for dash, (site, curves) in zip(DASHES * len(others), others.items(), strict=False):
            for i, curve in enumerate(curves):
                xs, ys = _race(curve, shown, scale)
                name = f"{site} alone" if site else baseline_name(acceleration)
                axes.plot(xs, ys, drawstyle="steps-post", color=COLOURS["baseline"], linestyle=dash, linewidth=1.0,
                          alpha=0.85, label=name if i == 0 else None)  # fmt: skip
                everything += ys
        xs, ys = _race(mine, shown, scale)
        axes.plot(xs, ys, drawstyle="steps-post", color=COLOURS["campaign"], linewidth=2.2, label="the campaign")
        everything += ys
        if mine.reach is not None:
            axes.axhline(shown(mine.reach), color=COLOURS["reach"], linestyle=(0, (5, 3)), linewidth=1.2, label="goal")
            everything.append(shown(mine.reach))
        frame(axes, everything, everything)
        axes.set_xlim(left=0.0)
        axes.set_xlabel(f"wall time [{unit}]")
        axes.set_ylabel(words.shortened(label, 60))
        figure.legend(loc="outside upper left", ncols=6, handlelength=1.8)

    return draw("pace", f"{label}: best so far over the wall time", (10, 3.4), paint)


def _race(curve: Curve, shown: Callable[[float], float], scale: float) -> tuple[list[float], list[float]]:
    times = accumulate(step.hours * scale for step in curve.steps)
    known = [(at, shown(best)) for at, best in zip(times, curve.best_so_far(), strict=True) if best is not None]
    return [at for at, _ in known], [value for _, value in known]
