"""Figures of metrics by group."""

import pandas as pd
import plotly.graph_objects as go

from ..inference.predictor import APPROACHES
from ..tasks import Task
from .style import COLORS, SYMBOLS, plain, template

ROW = 34  # px; the height of one group


def metric_by_group(metrics: pd.DataFrame, task: Task) -> go.Figure:
    """Both approaches' metric in each group except age groups, with 95 % intervals.

    `metrics` is the table of `evaluation.compare.metric_tables`.
    """
    rows = metrics[(metrics["task"] == task.name) & (metrics["by"] != "age_group")]
    rows = rows.assign(group=rows["group"].map(plain))
    position = {group: i for i, group in enumerate(rows["group"])}
    figure = go.Figure()
    for approach, offset in zip(APPROACHES, (-0.16, 0.16), strict=True):
        value = rows[approach.name]
        figure.add_scatter(
            x=value, y=rows["group"].map(position) + offset, mode="markers", name=approach.model,
            marker={"color": COLORS[approach.name], "symbol": SYMBOLS[approach.name], "size": 9},
            error_x={
                "array": rows[f"{approach.name}_high"] - value,
                "arrayminus": value - rows[f"{approach.name}_low"],
                "thickness": 1.5, "width": 3,
            },
            customdata=rows[["group", "n", f"{approach.name}_low", f"{approach.name}_high"]],
            meta={"by": "group", "task": task.name, "approach": approach.name},
            text=[task.metric.words(v) for v in value],
            hovertemplate=(
                "%{customdata[0]}, %{customdata[1]} images<br>%{text} "
                "(95 % interval %{customdata[2]:.1f} to "
                "%{customdata[3]:.1f})<extra>" + approach.model + "</extra>"
            ),
        )  # fmt: skip
    few = dict(zip(rows["group"], rows["few"], strict=True))
    names = [f"{group} (few)" if few[group] else group for group in position]
    figure.update_xaxes(title_text=f"{task.metric.title} ({task.metric.unit})")
    figure.update_yaxes(
        tickvals=list(position.values()),
        ticktext=names,
        showgrid=False,
        range=[len(position) - 0.4, -0.6],
    )
    return figure.update_layout(template=template(), height=110 + ROW * max(1, len(position)))
