"""Drawing with matplotlib into SVG that sits in a page: colours follow the page's theme, text its fonts."""

import io
import re
import warnings
from collections.abc import Callable
from html import escape
from typing import Any

COLOURS = {
    "card": "#ffffff",
    "ink": "#1c2833",
    "soft": "#5a6773",
    "rule": "#dde3e9",
    "campaign": "#0b5d8f",
    "baseline": "#7f8b97",
    "band": "#e6eaee",
    "reach": "#b3470b",
    "succeeded": "#1f7a5c",
    "infeasible": "#c98500",
    "failed": "#bf3a2b",
    "lost": "#7b4ea3",
    "cancelled": "#98a4af",
    "best": "#d9500b",
}
"""Colours by what they stand for, as they are in light; a page may give each another value as `--NAME`."""

RASTER = 1200
"""From how many marks on, they are drawn as pixels and not as shapes."""

_STYLE = re.compile(r'style="[^"]*"')
_ID = re.compile(r'\b(id="|href="#|url\(#)(?=[\w.-])')
_NAMES = {colour: name for name, colour in COLOURS.items()}
_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "font.size": 9.5,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9.5,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "text.color": COLOURS["ink"],
    "axes.labelcolor": COLOURS["soft"],
    "axes.edgecolor": COLOURS["soft"],
    "axes.linewidth": 0.7,
    "xtick.color": COLOURS["soft"],
    "ytick.color": COLOURS["soft"],
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": COLOURS["rule"],
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
}


def draw(name: str, label: str, size: tuple[float, float], paint: Callable[[Any], None]) -> str:
    """Return an `<svg>` element with what `paint` draws.

    Args:
        name: Unique in the page; begins the ids in the drawing.
        label: What it shows, for who cannot see it.
        size: Width and height in inches; the page scales it.
        paint: Draws on the matplotlib figure that it is given.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    file = io.StringIO()
    settings: Any = _SETTINGS | {"svg.hashsalt": name}
    with mpl.rc_context(settings), warnings.catch_warnings():  # pyright: ignore[reportUnknownMemberType]
        warnings.simplefilter("ignore", UserWarning)  # a glyph that matplotlib's own font lacks: the page's have it
        figure: Any = Figure(figsize=size, layout="constrained")
        paint(figure)
        figure.savefig(file, format="svg", dpi=160, transparent=True, metadata={"Date": None})
    return _inline(file.getvalue(), name, label)


def _inline(text: str, name: str, label: str) -> str:
    """Return the SVG without what a page does not need: prologue, metadata, style sheet, name spaces, fonts."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", text, count=2, flags=re.DOTALL)
    head, body = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    assert box is not None
    body = _STYLE.sub(_themed, _ID.sub(rf"\g<1>{name}-", body))
    return f'<svg class="figure" role="img" aria-label="{escape(label)}" {box[0]}>{body}'


def _themed(match: re.Match[str]) -> str:
    style = re.sub(r"font-family: [^;\"]*;? ?", "", match[0])
    return re.sub(r"#[0-9a-f]{6}", lambda c: f"var(--{_NAMES[c[0]]}, {c[0]})" if c[0] in _NAMES else c[0], style)
