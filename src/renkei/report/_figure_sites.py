"""The figure about where and when runs worked: a band for each site, a lane for each run at the same time."""

import heapq
from collections.abc import Sequence
from typing import Any

from renkei.report import _words as words
from renkei.report._history import OUTCOMES, Run
from renkei.report._svg import COLOURS, RASTER, draw
from renkei.report._view import CampaignView, SiteView

Bar = tuple[int, float, float, str]
"""Lane, start and end in seconds since the campaign began, and the name of a colour."""


def draw_sites(view: CampaignView) -> str:
    """Return when which site worked on what; empty when nothing worked yet."""
    start = view.status.opened_at
    bands = [(site, lanes(site, start)) for site in view.sites]
    bars = [bar for _, band in bands for bar in band]
    if not bars:
        return ""
    span = max(end for _, _, end, _ in bars)
    scale, unit = _scale(span)
    heights = [1 + max((lane for lane, *_ in band), default=0) for _, band in bands]
    inches = min(6.0, 1.3 + sum(max(0.45, min(1.8, 0.16 * height)) for height in heights))
    is_seen = {colour for *_, colour in bars}

    def paint(figure: Any) -> None:
        from matplotlib.patches import Patch

        ratios = [max(3, height) for height in heights]
        column = figure.subplots(len(bands), 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
        for axes, (site, band), height in zip(column, bands, heights, strict=True):
            _band(axes, band, span, scale)
            axes.set_ylim(height - 0.4, -0.6)
            axes.set_yticks([])
            axes.grid(visible=False, axis="y")
            axes.spines["left"].set_visible(False)
            axes.set_title(_title(view, site), loc="left", color=COLOURS["ink"])
            axes.set_xlim(0, span / scale * 1.01)
        column[-1].set_xlabel(f"{unit} since the campaign began")
        names = [*(name for name in OUTCOMES if name in is_seen), *(["baseline"] if "baseline" in is_seen else [])]
        handles = [Patch(color=COLOURS[n], label="run of a baseline" if n == "baseline" else n) for n in names]
        figure.legend(handles=handles, loc="outside upper right", ncols=6, handlelength=1.0, columnspacing=1.2)

    return draw("sites", "when each site worked on runs of the campaign", (10, inches), paint)


def _title(view: CampaignView, site: SiteView) -> str:
    name = view.title_of(site.institution)
    return words.shortened(f"{site.name}  ·  {name}" if name and name != site.name else site.name, 100)


def lanes(site: SiteView, start: float) -> list[Bar]:
    """Return the bars of a site; runs that worked at the same time are in different lanes."""
    worked: list[tuple[float, float, str]] = []
    mine: Sequence[Run] = site.runs
    for runs, is_baseline in ((mine, False), (site.baseline_runs, True)):
        for run in runs:
            if (times := run.worked) is not None:
                worked.append((times[0] - start, times[1] - start, "baseline" if is_baseline else run.row.state))
    free: list[tuple[float, int]] = []
    bars: list[Bar] = []
    for begin, end, colour in sorted(worked):
        lane = heapq.heappop(free)[1] if free and free[0][0] <= begin + 1e-9 else len(free)
        heapq.heappush(free, (end, lane))
        bars.append((lane, max(0.0, begin), end, colour))
    return bars


def _band(axes: Any, band: list[Bar], span: float, scale: float) -> None:
    from matplotlib.collections import PolyCollection

    thinnest = span * (0.0012 if len(band) < 400 else 0.0003)  # so that a short run is seen at all
    for colour in dict.fromkeys(bar[3] for bar in band):
        boxes: list[list[tuple[float, float]]] = []
        for lane, begin, end, name in band:
            if name == colour:
                left, right = begin / scale, (begin + max(thinnest, end - begin)) / scale
                boxes.append([(left, lane - 0.4), (right, lane - 0.4), (right, lane + 0.4), (left, lane + 0.4)])
        faded = 0.55 if colour == "baseline" else 1.0
        axes.add_collection(
            PolyCollection(
                boxes, facecolors=COLOURS[colour], edgecolors="none", alpha=faded, rasterized=len(band) > RASTER
            )
        )


def _scale(span: float) -> tuple[float, str]:
    for seconds, unit in ((172800.0, "days"), (7200.0, "hours"), (300.0, "minutes")):
        if span >= seconds:
            return {"days": 86400.0, "hours": 3600.0, "minutes": 60.0}[unit], unit
    return 1.0, "seconds"
