"""Reduce a figure of both approaches to one of them."""

import plotly.graph_objects as go

from ..inference.predictor import APPROACHES, Approach


def of_approach(figure: go.Figure, approach: Approach) -> go.Figure:
    """Remove the other approach from a figure. The figure is changed in place and returned.

    A figure of the difference between both approaches stays as it is. If each approach has its own
    panel, the remaining panel takes the full width.
    """
    others = {a.model for a in APPROACHES if a is not approach}
    if not any(trace.name == approach.model for trace in figure.data):
        return figure
    figure.data = [trace for trace in figure.data if trace.name not in others]
    if "xaxis2" in figure.layout:
        for trace in figure.data:
            trace.update(xaxis="x", yaxis="y")
            if trace.showscale is not False:
                trace.update(colorbar_x=0.5)
        figure.layout.shapes = [shape for shape in figure.layout.shapes if shape.xref == "x"]
        figure.layout.annotations = [
            note.update(x=0.5) for note in figure.layout.annotations if note.text == approach.kind
        ]
        figure.update_layout(xaxis_domain=[0, 1], xaxis2_visible=False, yaxis2_visible=False)
    # By default, plotly shows no legend for a single trace.
    return figure.update_layout(showlegend=True)
