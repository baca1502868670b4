"""One template, one colour and one shape for each approach, here as everywhere in the app.

Backgrounds are transparent, so that the page's light or dark shows through; the style sheet
recolours text and grid lines in the dark.
"""

from functools import cache

import plotly.graph_objects as go

COLORS = {"single": "#2f6db5", "multi": "#d9722b"}
SYMBOLS = {"single": "circle", "multi": "diamond"}
DASHES = {"single": "solid", "multi": "dash"}
INK, SOFT, GRID = "#1c2430", "#5c6675", "#dfe3ea"
BETWEEN = "#97a1b0"  # what joins two marks; visible on light and dark
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
    """Made once, and not before a figure is drawn: it takes a fifth of a second."""
    return go.layout.Template(layout=_LAYOUT)


def blank() -> go.Figure:
    """A figure of nothing."""
    return go.Figure()
