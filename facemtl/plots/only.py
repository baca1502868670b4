"""A figure of both approaches -> the same of one alone."""

import plotly.graph_objects as go

from ..inference.predictor import APPROACHES, Approach


def only(figure: go.Figure, approach: Approach) -> go.Figure:
    """Leaves what shows the difference of both; where each approach has a panel of its own, one
    panel is left for it.
    """
    others = {a.title for a in APPROACHES if a is not approach}
    if not any(trace.name == approach.title for trace in figure.data):
        return figure
    figure.data = [trace for trace in figure.data if trace.name not in others]
    if "xaxis2" in figure.layout:
        for trace in figure.data:
            trace.update(xaxis="x", yaxis="y")
        figure.layout.shapes = [shape for shape in figure.layout.shapes if shape.xref == "x"]
        figure.layout.annotations = [
            note.update(x=0.5)
            for note in figure.layout.annotations
            if note.text == approach.short.capitalize()
        ]
        figure.update_layout(xaxis_domain=[0, 1], xaxis2_visible=False, yaxis2_visible=False)
    return figure.update_layout(showlegend=True)  # plotly shows none for a single trace
