"""The style of all figures: a template, and a colour, symbol and dash for each approach.

The approaches have the same colours and symbols everywhere in the app. Backgrounds are transparent,
so that figures fit light and dark pages. Figures have the colours of light pages, which are read
from the style sheet. On dark pages, the style sheet replaces them.
"""

import re
from functools import cache
from html import escape

import plotly.graph_objects as go

from ..paths import ASSETS
from ..regular import read_text

# By the name of the CSS variable. The first rule of the style sheet declares those of light pages.
PALETTE = dict(re.findall(r"--([\w-]+): (#\w+);", read_text(ASSETS / "app.css").partition("}")[0]))
COLORS = {name: PALETTE[name] for name in ("single", "multi")}
SYMBOLS = {"single": "circle", "multi": "diamond"}
DASHES = {"single": "solid", "multi": "dash"}
INK, SOFT, GRID = (PALETTE[name] for name in ("ink", "soft", "line"))
BETWEEN = PALETTE["between"]  # of a line between two marks; visible on light and dark pages
HEIGHT = 380  # px

_AXIS = {
    "gridcolor": GRID,
    "zeroline": False,
    "linecolor": GRID,
    "ticks": "",
    "automargin": True,
    "title": {"standoff": 8, "font": {"size": 12}},
}
_LAYOUT = {
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "font": {"family": "system-ui, 'Segoe UI', Roboto, sans-serif", "size": 13, "color": SOFT},
    "colorway": list(COLORS.values()),
    "xaxis": _AXIS,
    "yaxis": _AXIS,
    "legend": {"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom"},
    "hoverlabel": {"bgcolor": PALETTE["surface"], "font": {"size": 13, "color": INK}},
    "margin": {"l": 56, "r": 12, "t": 40, "b": 48},
    "height": HEIGHT,
    "dragmode": False,
}


@cache
def template() -> go.layout.Template:
    """The template of all figures.

    Making it takes a fifth of a second, so it is made once, when the first figure is drawn.
    """
    return go.layout.Template(layout=_LAYOUT)


def plain(text: object) -> str:
    """A text that plotly shows as it is, such as a label. Plotly understands some HTML tags."""
    return escape(str(text), quote=False)


def blank() -> go.Figure:
    """An empty figure."""
    return go.Figure()
