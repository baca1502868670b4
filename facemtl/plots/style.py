"""The style of all figures: a template, and a colour, symbol and dash for each approach.

The approaches have the same colours and symbols everywhere in the app. Backgrounds are transparent,
so that figures fit light and dark pages. On dark pages, the style sheet recolours text and grid
lines.
"""

from functools import cache

import plotly.graph_objects as go

COLORS = {"single": "#2f6db5", "multi": "#d9722b"}
SYMBOLS = {"single": "circle", "multi": "diamond"}
DASHES = {"single": "solid", "multi": "dash"}
INK, SOFT, GRID = "#1c2430", "#5c6675", "#dfe3ea"
BETWEEN = "#97a1b0"  # of a line between two marks; visible on light and dark pages
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
    "hoverlabel": {"bgcolor": "#ffffff", "font": {"size": 13, "color": INK}},
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


def blank() -> go.Figure:
    """An empty figure."""
    return go.Figure()
