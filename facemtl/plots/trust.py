"""Figures of confusion matrices and of calibration."""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ..inference.predictor import APPROACHES
from ..tasks import Classification, Task
from .style import COLORS, DASHES, INK, SYMBOLS, plain, template

FEWEST = 10  # images in a bin of `reliability_diagram`


def confusion_matrices(table: pd.DataFrame, task: Classification) -> go.Figure:
    """One confusion matrix per approach: a row per label, in percent of the label's images.

    `table` is that of `evaluation.confusion.confusion`. The traces' `meta` names task and
    approach, for clicks on a cell.
    """
    figure = make_subplots(
        1,
        2,
        shared_yaxes=True,
        horizontal_spacing=0.04,
        subplot_titles=[a.kind for a in APPROACHES],
    )
    labels = [plain(label) for label in task.labels]
    for column, approach in enumerate(APPROACHES, start=1):
        rows = table[table["approach"] == approach.name]
        share = rows.pivot(index="target", columns="prediction", values="share")
        counts = rows.pivot(index="target", columns="prediction", values="n")
        figure.add_heatmap(
            z=share, x=labels, y=labels, zmin=0, zmax=100, showscale=False,
            row=1, col=column,
            colorscale=[[0, "rgba(128,128,128,0.06)"], [1, COLORS[approach.name]]], xgap=2, ygap=2,
            text=share.map(lambda percent: "" if pd.isna(percent) else f"{percent:.0f}"),
            texttemplate="%{text}",
            customdata=counts, name=approach.model, hoverongaps=False,
            meta={"by": "cell", "task": task.name, "approach": approach.name},
            hovertemplate="label %{y}, answered %{x}<br>%{z:.1f} %, %{customdata} images<extra>"
                + approach.model + "</extra>",
        )  # fmt: skip
    figure.update_xaxes(title_text="Predicted (%)", showgrid=False, tickfont_size=11)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_yaxes(title_text="Label", col=1)
    figure.update_annotations(font_size=13)
    return figure.update_layout(template=template(), height=330)


def reliability_diagram(table: pd.DataFrame, task: Task) -> go.Figure:
    """How often answers are right at each confidence. Perfect calibration is on the diagonal.

    `table` is that of `evaluation.calibration.reliability`. Bins of fewer than FEWEST images are
    left out, because chance dominates them.
    """
    table = table[table["n"] >= FEWEST]
    figure = go.Figure()
    figure.add_shape(
        type="line", x0=0, y0=0, x1=100, y1=100, line={"color": INK, "width": 1, "dash": "dot"}
    )
    for approach in APPROACHES:
        rows = table[table["approach"] == approach.name]
        figure.add_scatter(
            x=rows["confidence"], y=rows["hits"], mode="lines+markers", name=approach.model,
            customdata=rows["n"],
            meta={"by": "confidence", "task": task.name, "approach": approach.name},
            line={"color": COLORS[approach.name], "dash": DASHES[approach.name], "width": 2},
            marker={"color": COLORS[approach.name], "symbol": SYMBOLS[approach.name], "size": 9},
            hovertemplate="%{x:.0f} % confident, %{y:.0f} % right<br>%{customdata} images<extra>"
                + approach.model + "</extra>",
        )  # fmt: skip
    title = f"Confidence (% {task.confidence_words})"
    figure.update_xaxes(title_text=title, range=[0, 102], dtick=20)
    if table.empty:
        figure.add_annotation(text="Too few images to tell", x=50, y=50, showarrow=False)
    figure.update_yaxes(title_text="Correct (%)", range=[0, 102], dtick=20)
    return figure.update_layout(template=template())
