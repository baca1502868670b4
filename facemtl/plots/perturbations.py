"""Figures of metrics on perturbed crops."""

import math

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ..evaluation.robustness import change_unit
from ..inference.perturbations import PERTURBATIONS
from ..inference.predictor import APPROACHES
from ..tasks import Task
from .style import COLORS, DASHES, SYMBOLS, template

PANEL = 190  # px; the height of one panel with its axis


def metric_by_perturbation(table: pd.DataFrame, task: Task) -> go.Figure:
    """A task's metric against the strength of each perturbation, one panel per perturbation.

    `table` is that of `evaluation.robustness.robustness`. There are two columns, so that the panels
    stay readable on a phone. All panels share one vertical axis.
    """
    n_rows, metric = math.ceil(len(PERTURBATIONS) / 2), task.metric
    figure = make_subplots(
        # 60 px between rows, for the title of the horizontal axis
        n_rows, 2, shared_yaxes="all", horizontal_spacing=0.06,
        vertical_spacing=60 / (PANEL * n_rows),
        specs=[[{}, {} if 2 * row + 1 < len(PERTURBATIONS) else None] for row in range(n_rows)],
    )  # fmt: skip
    rows = table[table["task"] == task.name].sort_values("amount")
    for i, perturbation in enumerate(PERTURBATIONS):
        cell = {"row": i // 2 + 1, "col": i % 2 + 1}
        for approach in APPROACHES:
            line = rows[
                (rows["perturbation"] == perturbation.name) & (rows["approach"] == approach.name)
            ]
            figure.add_scatter(
                x=line["amount"], y=line["value"], name=approach.model, mode="lines+markers",
                legendgroup=approach.name, showlegend=i == 0, **cell,
                line={"color": COLORS[approach.name], "dash": DASHES[approach.name], "width": 2},
                marker={"color": COLORS[approach.name],
                    "symbol": SYMBOLS[approach.name], "size": 7},
                text=[f"{metric.words(row.value)} ({row.change:+.1f} {change_unit(metric)})"
                    for row in line.itertuples()],
                hovertemplate=f"{perturbation.axis}: %{{x:g}}<br>%{{text}}"
                    f"<extra>{approach.model}</extra>",
            )  # fmt: skip
        # The axis of JPEG quality is reversed, because lower is worse.
        reverse = "reversed" if perturbation.none > max(perturbation.amounts) else True
        figure.update_xaxes(
            title_text=perturbation.axis, autorange=reverse, nticks=6, tickangle=0, **cell
        )
    figure.update_yaxes(nticks=5)
    figure.update_yaxes(title_text=f"{metric.title} ({metric.unit})", row=(n_rows + 1) // 2, col=1)
    # 88 px for the margins at top and bottom
    return figure.update_layout(template=template(), height=PANEL * n_rows + 88)
