"""The figure about where a campaign searched: every trial's parameters, coloured by how good it was."""

import math
from collections.abc import Sequence
from typing import Any

from renkei.campaign import TrialRow
from renkei.model.space import Choice, Parameter, Real, Value
from renkei.report import _words as words
from renkei.report._figures import is_wide, loss_shown
from renkei.report._svg import COLOURS, RASTER, draw
from renkei.report._view import CampaignView

LINES_MAX = 3000
"""How many trials are drawn at most: the best ones, and of the others every so many-th."""
AXES_MAX = 9
"""How many parameters are drawn at most."""

_HALO = {"boxstyle": "square,pad=0.15", "facecolor": COLOURS["card"], "edgecolor": "none", "alpha": 0.8}
_POOR, _MIDDLE, _GOOD = "#b9c4ce", "#4f9cc4", "#0a3f6b"


def draw_space(view: CampaignView) -> str:
    """Return the trials over their parameters: a plane for one or two, parallel axes for more; empty without trials."""
    parameters = view.definition.space.parameters[:AXES_MAX]
    rows = _thinned(view, [row for row in view.history.ended_trials if row.state != "abandoned"])
    if not rows or not parameters:
        return ""
    label, _ = loss_shown(view)
    if len(parameters) <= 2:
        return draw("space", f"{label} over parameters", (10, 4.4), lambda figure: _plane(figure, view, rows))
    return draw("space", f"{label} over parameters", (10, 4.4), lambda figure: _parallel(figure, view, rows))


def _thinned(view: CampaignView, rows: list[TrialRow]) -> list[tuple[TrialRow, float | None]]:
    """Return trials with their losses, worst first, those without one before all."""
    ranked = [(row, view.loss(row)) for row in rows]
    ranked.sort(key=lambda pair: -math.inf if pair[1] is None else -pair[1])
    if len(ranked) <= LINES_MAX:
        return ranked
    half = LINES_MAX // 2
    rest = ranked[:-half]
    return [*rest[:: math.ceil(len(rest) / half)], *ranked[-half:]]


def _colours(losses: Sequence[float | None]) -> list[Any]:
    """Return a colour for each: by rank, so that a few far-off losses do not swallow the differences of the others."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgba

    shades = LinearSegmentedColormap.from_list("renkei", [_POOR, _MIDDLE, _GOOD])
    ordered = sorted({loss for loss in losses if loss is not None}, reverse=True)
    rank = {loss: at / max(1, len(ordered) - 1) for at, loss in enumerate(ordered)}
    return [to_rgba(COLOURS["infeasible"], 0.4) if loss is None else shades(rank[loss]) for loss in losses]


def _position(parameter: Parameter, value: Value) -> float:
    """Return where a value lies on an axis from 0 to 1."""
    if isinstance(parameter, Choice):
        return parameter.values.index(value) / max(1, len(parameter.values) - 1)
    low, high, at = float(parameter.low), float(parameter.high), float(value)
    if parameter.log and low > 0:
        low, high, at = math.log(low), math.log(high), math.log(at)
    return (at - low) / (high - low) if high > low else 0.5


def _named(parameter: Parameter, most: int) -> str:
    unit = words.unit(parameter.unit)
    return words.shortened(parameter.name, most) + (f" [{unit}]" if unit else "")


def _ticks(parameter: Parameter) -> list[tuple[float, str]]:
    """Return a few positions on an axis and what stands there."""
    if isinstance(parameter, Choice):
        shown = parameter.values[:: math.ceil(len(parameter.values) / 12)]
        return [(_position(parameter, value), words.shortened(words.number(value), 16)) for value in shown]
    return [(0.0, words.number(parameter.low)), (1.0, words.number(parameter.high))]


def _parallel(figure: Any, view: CampaignView, rows: list[tuple[TrialRow, float | None]]) -> None:
    from matplotlib.collections import LineCollection

    parameters = view.definition.space.parameters[:AXES_MAX]
    label, shown = loss_shown(view)
    values = [shown(loss) for _, loss in rows if loss is not None] or [0.0]
    axis = Real("", min(values), max(values), log=is_wide(min(values), max(values)))
    is_upside_down = shown(1.0) > 0  # the best is at the top
    end = len(parameters)
    lines: list[list[tuple[float, float]]] = []
    for row, loss in rows:
        points = [(float(x), _position(p, row.parameters[p.name])) for x, p in enumerate(parameters)]
        if loss is not None:
            at = _position(axis, shown(loss))
            points.append((float(end), 1.0 - at if is_upside_down else at))
        lines.append(points)
    axes = figure.add_subplot()
    n = len(rows)
    width, alpha = (1.1, None) if n <= 150 else (0.7, 0.35)
    axes.add_collection(
        LineCollection(lines, colors=_colours([loss for _, loss in rows]), linewidths=width, alpha=alpha,
                       rasterized=n > RASTER // 4)
    )  # fmt: skip
    if rows[-1][1] is not None:
        xs, ys = zip(*lines[-1], strict=True)
        axes.plot(xs, ys, color=COLOURS["best"], linewidth=2.2, marker="o", markersize=4, label="best trial")
    if rows[0][1] is None:
        axes.plot([], [], color=COLOURS["infeasible"], label="infeasible, or constraint broken")
    for x, parameter in enumerate(parameters):
        axes.axvline(x, color=COLOURS["soft"], linewidth=0.8)
        for y, text in _ticks(parameter):
            axes.annotate(text, (x, y), xytext=(4, 0), textcoords="offset points", fontsize=8, va="center",
                          color=COLOURS["soft"], bbox=_HALO)  # fmt: skip
    axes.axvline(end, color=COLOURS["ink"], linewidth=1.2)
    for y in (0.0, 1.0):
        value = axis.low if (y == 1.0) is is_upside_down else axis.high
        axes.annotate(words.number(value), (end, y), xytext=(4, 0), textcoords="offset points", fontsize=8,
                      va="center", color=COLOURS["ink"], bbox=_HALO)  # fmt: skip
    most = max(10, 130 // (end + 1))
    names = [*(_named(p, most) for p in parameters), words.shortened(label, most)]
    axes.set_xticks(range(end + 1), names)
    axes.tick_params(axis="x", length=0, pad=10)
    axes.set_yticks([])
    axes.set_xlim(-0.08, end + 0.35)
    axes.set_ylim(-0.05, 1.05)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3)


def _plane(figure: Any, view: CampaignView, rows: list[tuple[TrialRow, float | None]]) -> None:
    label, shown = loss_shown(view)
    first, *others = view.definition.space.parameters
    axes = figure.add_subplot()
    known = [(row, loss) for row, loss in rows if loss is not None]
    without = [row for row, loss in rows if loss is None]
    raster = len(rows) > RASTER

    def at(some: Sequence[TrialRow]) -> tuple[list[float], list[float]]:
        second = others[0] if others else None
        xs = [_position(first, row.parameters[first.name]) for row in some]
        return xs, [_position(second, row.parameters[second.name]) if second else 0.0 for row in some]

    if others:
        axes.scatter(*at(without), marker="x", s=22, color=COLOURS["infeasible"], linewidths=1.2, rasterized=raster,
                     label="infeasible, or constraint broken" if without else None)  # fmt: skip
        axes.scatter(*at([row for row, _ in known]), s=30, c=_colours([loss for _, loss in known]) or None,
                     linewidths=0.4, edgecolors=COLOURS["soft"], rasterized=raster)  # fmt: skip
        if known:
            axes.scatter(*at([known[-1][0]]), s=120, facecolors="none", edgecolors=COLOURS["best"], linewidths=2.0,
                         label="best trial")  # fmt: skip
        _axis(axes.yaxis, others[0])
    else:
        xs, _ = at([row for row, _ in known])
        axes.scatter(xs, [shown(loss) for _, loss in known], s=24, color=COLOURS["campaign"], alpha=0.7, linewidths=0,
                     rasterized=raster, label="trial")  # fmt: skip
        axes.plot(at(without)[0], [0.02] * len(without), "x", transform=axes.get_xaxis_transform(),
                  color=COLOURS["infeasible"], label="infeasible" if without else None)  # fmt: skip
        axes.set_ylabel(words.shortened(label, 50))
    _axis(axes.xaxis, first)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3)


def _axis(axis: Any, parameter: Parameter) -> None:
    """Name an axis that runs from 0 to 1 after a parameter and its values."""
    ticks = _ticks(parameter)
    if not isinstance(parameter, Choice):
        between = [i / 5 for i in range(6)]
        ticks = [(at, words.number(_value(parameter.low, parameter.high, at, parameter.log))) for at in between]
    axis.set_ticks([at for at, _ in ticks], [text for _, text in ticks])
    axis.set_label_text(_named(parameter, 40))


def _value(low: float, high: float, at: float, log: bool) -> float:
    return low * (high / low) ** at if log and low > 0 else low + at * (high - low)
