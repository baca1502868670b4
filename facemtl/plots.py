"""Tables -> plotly figures, all in one template.

One colour and one shape for each approach, here as everywhere in the app. Backgrounds are
transparent, so that the page's light or dark shows through; the style sheet recolours text and
grid lines in the dark.
"""

import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from .evaluation import AGE_GROUPS
from .prediction import APPROACHES, MULTI, SINGLE, approach_of
from .robustness import PERTURBATIONS, change_unit
from .tasks import AGE, TASKS, Task

COLORS = {"single": "#2f6db5", "multi": "#d9722b"}
SYMBOLS = {"single": "circle", "multi": "diamond"}
DASHES = {"single": "solid", "multi": "dash"}
INK, SOFT, GRID = "#1c2430", "#5c6675", "#dfe3ea"
BETWEEN = "#97a1b0"  # what joins two marks; visible on light and dark
HEIGHT = 380  # px
SPREAD = 215  # px; the height of one task's spread over seeds, with its axis
PANEL = 190  # px; the height of one of several small panels, with its axis

_AXIS = {
    "gridcolor": GRID,
    "zeroline": False,
    "linecolor": GRID,
    "ticks": "",
    "automargin": True,
    "title": {"standoff": 8, "font": {"size": 12}},
}
TEMPLATE = go.layout.Template(
    layout={
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
)


def predicted_against_true(errors: pd.DataFrame) -> go.Figure:
    """`evaluation.age_errors` -> predicted against labelled age, a panel for each approach."""
    figure = make_subplots(
        1, 2, shared_yaxes=True, horizontal_spacing=0.04, subplot_titles=[a.short.capitalize() for a in APPROACHES]
    )
    ends = [AGE.low, 100 if errors.empty else max(100, float(errors["target"].max()))]
    for column, approach in enumerate(APPROACHES, start=1):
        rows = errors[errors["approach"] == approach.name]
        figure.add_scatter(
            x=rows["target"], y=rows["prediction"], mode="markers", name=approach.title, showlegend=False, row=1, col=column,
            marker={"color": COLORS[approach.name], "symbol": SYMBOLS[approach.name], "size": 5, "opacity": 0.35},
            hovertemplate="label %{x:.0f}<br>predicted %{y:.1f}<extra></extra>",
        )  # fmt: skip
        exactly_right = {"x0": ends[0], "y0": ends[0], "x1": ends[1], "y1": ends[1]}
        figure.add_shape(type="line", **exactly_right, line={"color": INK, "width": 1, "dash": "dot"}, row=1, col=column)
    figure.update_xaxes(title_text=f"Labelled {AGE.axis.lower()}", range=[-2, ends[1] + 2], dtick=25, tickangle=0)
    figure.update_yaxes(range=[-2, ends[1] + 2], dtick=20)
    figure.update_yaxes(title_text=f"Predicted {AGE.axis.lower()}", col=1)
    figure.update_annotations(font_size=13)
    return figure.update_layout(template=TEMPLATE)


def error_distribution(errors: pd.DataFrame, width: float = 2.0, reach: float = 30.0) -> go.Figure:
    """`evaluation.age_errors` -> how often each signed error occurs; errors beyond `reach` years are in the last bins."""
    figure = go.Figure()
    edges = np.arange(-reach - width / 2, reach + width, width)
    centres = (edges[:-1] + edges[1:]) / 2
    for approach in APPROACHES:
        rows = errors[errors["approach"] == approach.name]
        counts, _ = np.histogram(rows["error"].clip(-reach, reach), edges)
        figure.add_scatter(
            x=centres, y=100 * counts / max(1, len(rows)), name=approach.title, mode="lines",
            line={"color": COLORS[approach.name], "dash": DASHES[approach.name], "width": 2.5, "shape": "hvh"},
            hovertemplate="%{x:+.0f} years: %{y:.1f} % of images<extra>" + approach.title + "</extra>",
        )  # fmt: skip
    figure.add_vline(x=0, line={"color": INK, "width": 1, "dash": "dot"})
    figure.update_xaxes(title_text=f"Predicted minus labelled {AGE.axis.lower()}")
    figure.update_yaxes(title_text="Share of images (%)", rangemode="tozero")
    return figure.update_layout(template=TEMPLATE, hovermode="x unified")


def error_by_age(groups: pd.DataFrame) -> go.Figure:
    """`evaluation.age_error_by_group` -> mean absolute error in each age band."""
    figure = _by_age(groups, "mae", f"Mean absolute error ({AGE.unit})", "%{y:.1f} years off")
    return figure.update_yaxes(rangemode="tozero")


def bias_by_age(groups: pd.DataFrame) -> go.Figure:
    """`evaluation.age_error_by_group` -> mean signed error in each age band."""
    figure = _by_age(groups, "bias", f"Mean of predicted minus labelled ({AGE.unit})", "%{y:+.1f} years")
    figure.add_hline(y=0, line={"color": INK, "width": 1, "dash": "dot"})
    return figure


def _by_age(groups: pd.DataFrame, column: str, title: str, hover: str) -> go.Figure:
    """One marker per age band and approach, side by side, with its 95 % interval."""
    figure = go.Figure()
    position = {name: i for i, name in enumerate(AGE_GROUPS)}
    for approach, offset in zip(APPROACHES, (-0.13, 0.13), strict=True):
        rows = groups[groups["approach"] == approach.name]
        figure.add_scatter(
            x=rows["age_group"].map(position) + offset, y=rows[column], name=approach.title, mode="markers",
            marker={"color": COLORS[approach.name], "symbol": SYMBOLS[approach.name], "size": 10},
            error_y={
                "array": rows[f"{column}_high"] - rows[column], "arrayminus": rows[column] - rows[f"{column}_low"],
                "thickness": 1.5, "width": 4,
            },
            customdata=rows[["age_group", "n", f"{column}_low", f"{column}_high"]],
            hovertemplate=(
                "%{customdata[0]} years, %{customdata[1]} images<br>" + hover
                + " (95 % interval %{customdata[2]:.1f} to %{customdata[3]:.1f})<extra>" + approach.title + "</extra>"
            ),
        )  # fmt: skip
    figure.update_xaxes(
        title_text=f"Labelled {AGE.axis.lower()}", tickvals=list(position.values()), ticktext=list(position), showgrid=False
    )
    figure.update_yaxes(title_text=title)
    return figure.update_layout(template=TEMPLATE)


def metric_by_perturbation(table: pd.DataFrame, task: Task) -> go.Figure:
    """`robustness.robustness` -> a task's metric as the crop is perturbed, a panel for each perturbation.

    Two columns, so that the panels stay readable on a telephone. All share one vertical axis.
    """
    n_rows, metric = math.ceil(len(PERTURBATIONS) / 2), task.metric
    figure = make_subplots(
        n_rows, 2, shared_yaxes="all", horizontal_spacing=0.06, vertical_spacing=60 / (PANEL * n_rows),  # 60 px for a title
        specs=[[{}, {} if 2 * row + 1 < len(PERTURBATIONS) else None] for row in range(n_rows)],
    )  # fmt: skip
    rows = table[table["task"] == task.name]
    rows = rows.assign(approach=approach_of(rows)).sort_values("amount")
    for i, perturbation in enumerate(PERTURBATIONS):
        cell = {"row": i // 2 + 1, "col": i % 2 + 1}
        for approach in APPROACHES:
            line = rows[(rows["perturbation"] == perturbation.name) & (rows["approach"] == approach.name)]
            figure.add_scatter(
                x=line["amount"], y=line["value"], name=approach.title, mode="lines+markers",
                legendgroup=approach.name, showlegend=i == 0, **cell,
                line={"color": COLORS[approach.name], "dash": DASHES[approach.name], "width": 2},
                marker={"color": COLORS[approach.name], "symbol": SYMBOLS[approach.name], "size": 7},
                text=[f"{metric.words(row.value)} ({row.change:+.1f} {change_unit(metric)})" for row in line.itertuples()],
                hovertemplate=f"{perturbation.axis}: %{{x:g}}<br>%{{text}}<extra>{approach.title}</extra>",
            )  # fmt: skip
        # What is worse lies to the right: JPEG's quality falls.
        reverse = "reversed" if perturbation.none > max(perturbation.amounts) else True
        figure.update_xaxes(title_text=perturbation.axis, autorange=reverse, nticks=6, tickangle=0, **cell)
    figure.update_yaxes(nticks=5)
    figure.update_yaxes(title_text=f"{metric.title} ({metric.unit})", row=(n_rows + 1) // 2, col=1)
    return figure.update_layout(template=TEMPLATE, height=PANEL * n_rows + 88)  # and the margins


def then_and_now(errors: pd.DataFrame) -> go.Figure:
    """`experiment, approach, value`: the age error of both approaches in each experiment, and the gap between them."""
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
            x=rows["value"], y=rows["experiment"], mode="markers+text", name=approach.title, cliponaxis=False,
            marker={"color": COLORS[approach.name], "symbol": SYMBOLS[approach.name], "size": 14},
            text=[metric.number(value) for value in rows["value"]],
            textposition="top center" if approach is SINGLE else "bottom center",
            hovertemplate="%{y}: %{x:.2f} " + f"{metric.unit}<extra>{approach.title}</extra>",
        )  # fmt: skip
    figure.update_xaxes(title_text=f"{metric.title} of {AGE.axis.lower()}", range=[0, 12])
    figure.update_yaxes(type="category", range=[errors["experiment"].nunique() - 0.4, -0.6], showgrid=False)
    return figure.update_layout(template=TEMPLATE, height=260)


def spread_over_seeds(table: pd.DataFrame, by: str) -> go.Figure:
    """`by, seed, task, value`: each training as a mark, and the mean of those alike as a stroke; a panel for each task.

    `by` is the column of what is compared: `approach`, or what multi-task trainings differ in.
    """
    tasks = [task for task in TASKS if (table["task"] == task.name).any()]
    titles, n_rows = {a.name: a.short.capitalize() for a in APPROACHES}, max(1, len(tasks))
    figure = make_subplots(n_rows, 1, vertical_spacing=85 / (SPREAD * n_rows))
    for i, task in enumerate(tasks, start=1):
        for name, part in table[table["task"] == task.name].groupby(by, sort=False):
            approach = name if by == "approach" else MULTI.name
            label = titles.get(name, name)
            figure.add_scatter(
                x=part["value"], y=[label] * len(part), mode="markers", showlegend=False, row=i, col=1,
                marker={"color": COLORS[approach], "symbol": SYMBOLS[approach], "size": 10, "opacity": 0.6},
                customdata=part["seed"], text=[task.metric.words(value) for value in part["value"]],
                hovertemplate="seed %{customdata}: %{text}<extra>" + label + "</extra>",
            )  # fmt: skip
            figure.add_scatter(
                x=[part["value"].mean()], y=[label], mode="markers", showlegend=False, row=i, col=1,
                marker={"symbol": "line-ns", "size": 26, "line": {"color": COLORS[approach], "width": 3}},
                hovertemplate=f"mean: {task.metric.words(part['value'].mean())}<extra>{label}</extra>",
            )  # fmt: skip
        better = "lower is better" if task.metric.lower_is_better else "higher is better"
        title = f"{task.title}: {task.metric.title.lower()} ({task.metric.unit}),<br>{better}"  # a telephone is narrow
        figure.update_xaxes(title_text=title, nticks=6, tickangle=0, row=i, col=1)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure.update_layout(template=TEMPLATE, height=SPREAD * n_rows, margin_t=12)
