"""Figures of trainings: experiments, learning curves and seeds."""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ..inference.predictor import APPROACHES, MULTI, SINGLE
from ..tasks import AGE, TASKS, Task
from .style import BETWEEN, COLORS, DASHES, SYMBOLS, plain, template

SPREAD = 215  # px; the height of one task's panel in `spread_over_seeds`, with its axis


def compared_with_2018(errors: pd.DataFrame) -> go.Figure:
    """The age error of both approaches in each experiment, with the gap as a line between them.

    Columns of `errors`: `experiment, approach, value`.
    """
    figure, metric = go.Figure(), AGE.metric
    for name, part in errors.groupby("experiment", sort=False):
        figure.add_scatter(
            x=part["value"],
            y=[name] * len(part),
            mode="lines",
            line={"color": BETWEEN, "width": 3},
            hoverinfo="skip",
            showlegend=False,
        )
    for approach in APPROACHES:
        rows = errors[errors["approach"] == approach.name]
        figure.add_scatter(
            x=rows["value"], y=rows["experiment"], mode="markers+text", name=approach.model,
            cliponaxis=False,
            marker={"color": COLORS[approach.name], "symbol": SYMBOLS[approach.name], "size": 14},
            text=[metric.number(value) for value in rows["value"]],
            textposition="top center" if approach is SINGLE else "bottom center",
            hovertemplate="%{y}: %{x:.2f} " + f"{metric.unit}<extra>{approach.model}</extra>",
        )  # fmt: skip
    figure.update_xaxes(title_text=f"{metric.title} of {AGE.axis.lower()}", range=[0, 12])
    figure.update_yaxes(
        type="category", range=[errors["experiment"].nunique() - 0.4, -0.6], showgrid=False
    )
    return figure.update_layout(template=template(), height=260)


def learning_curves(learned: pd.DataFrame, task: Task) -> go.Figure:
    """A task's metric after each epoch, one line per approach.

    Columns of `learned`: `approach, task, epoch, value`.
    """
    figure, metric = go.Figure(), task.metric
    for approach in APPROACHES:
        rows = learned[(learned["task"] == task.name) & (learned["approach"] == approach.name)]
        figure.add_scatter(
            x=rows["epoch"], y=rows["value"], mode="lines", name=approach.model,
            line={"color": COLORS[approach.name], "dash": DASHES[approach.name], "width": 2},
            hovertemplate="epoch %{x}: %{y:.2f} " + f"{metric.unit}<extra>{approach.model}</extra>",
        )  # fmt: skip
    figure.update_xaxes(title_text="Epoch")
    figure.update_yaxes(title_text=f"{metric.title} ({metric.unit})")
    return figure.update_layout(template=template())


def spread_over_seeds(table: pd.DataFrame, by: str) -> go.Figure:
    """Each training as a mark, and the mean over seeds as a stroke, one panel per task.

    `by` is the column that is compared: `approach`, or what the multi-task trainings differ in.
    Columns of `table`: that one, and `seed, task, value`.
    """
    tasks = [task for task in TASKS if (table["task"] == task.name).any()]
    titles, n_rows = {a.name: a.kind for a in APPROACHES}, max(1, len(tasks))
    figure = make_subplots(n_rows, 1, vertical_spacing=85 / (SPREAD * n_rows))
    for i, task in enumerate(tasks, start=1):
        for name, part in table[table["task"] == task.name].groupby(by, sort=False):
            approach = name if by == "approach" else MULTI.name
            label = plain(titles.get(name, name))
            figure.add_scatter(
                x=part["value"], y=[label] * len(part), mode="markers", showlegend=False, row=i,
                col=1,
                marker={"color": COLORS[approach], "symbol": SYMBOLS[approach],
                    "size": 10, "opacity": 0.6},
                customdata=part["seed"], text=[task.metric.words(value) for value in part["value"]],
                hovertemplate="seed %{customdata}: %{text}<extra>" + label + "</extra>",
            )  # fmt: skip
            figure.add_scatter(
                x=[part["value"].mean()], y=[label], mode="markers", showlegend=False, row=i, col=1,
                marker={"symbol": "line-ns", "size": 26,
                    "line": {"color": COLORS[approach], "width": 3}},
                hovertemplate=f"mean: {task.metric.words(part['value'].mean())}"
                    f"<extra>{label}</extra>",
            )  # fmt: skip
        better = "lower is better" if task.metric.lower_is_better else "higher is better"
        # Two lines, because a phone is narrow.
        title = f"{task.title}: {task.metric.title.lower()},<br>in {task.metric.unit}; {better}"
        figure.update_xaxes(title_text=title, nticks=6, tickangle=0, row=i, col=1)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure.update_layout(template=template(), height=SPREAD * n_rows, margin_t=12)


def over_shares(table: pd.DataFrame) -> go.Figure:
    """Each training as a mark, and lines through the means over seeds, one panel per task.

    Columns of `table`: `share` (percent of the training images), `approach, seed, task, value`.
    """
    tasks = [task for task in TASKS if (table["task"] == task.name).any()]
    n_rows, shares = max(1, len(tasks)), sorted(table["share"].unique())
    figure = make_subplots(n_rows, 1, vertical_spacing=85 / (SPREAD * n_rows))
    for i, task in enumerate(tasks, start=1):
        for approach in APPROACHES:
            part = table[(table["task"] == task.name) & (table["approach"] == approach.name)]
            means, words = part.groupby("share")["value"].mean(), task.metric.words
            marker = {"color": COLORS[approach.name], "symbol": SYMBOLS[approach.name]}
            figure.add_scatter(
                x=means.index, y=means, mode="lines", name=approach.model, row=i, col=1,
                showlegend=i == 1, legendgroup=approach.name,
                line={"color": COLORS[approach.name], "dash": DASHES[approach.name], "width": 2},
                text=[words(value) for value in means],
                hovertemplate="mean at %{x} %: %{text}<extra>" + approach.model + "</extra>",
            )  # fmt: skip
            figure.add_scatter(
                x=part["share"], y=part["value"], mode="markers", showlegend=False, row=i, col=1,
                marker={**marker, "size": 9, "opacity": 0.6}, legendgroup=approach.name,
                customdata=part["seed"], text=[words(value) for value in part["value"]],
                hovertemplate="seed %{customdata}: %{text}<extra>" + approach.model + "</extra>",
            )  # fmt: skip
        title = f"{task.title}: {task.metric.title.lower()},<br>in {task.metric.unit}"
        figure.update_yaxes(title_text=title, row=i, col=1)
        # A logarithmic axis: from 10 to 30 is as far as from 30 to 90.
        figure.update_xaxes(
            type="log", tickvals=shares, ticktext=[f"{share} %" for share in shares], row=i, col=1
        )
    figure.update_xaxes(title_text="Share of the training images", row=n_rows, col=1)
    return figure.update_layout(template=template(), height=SPREAD * n_rows)
