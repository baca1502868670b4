"""Errors of age -> figures."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ..evaluation import AGE_GROUPS
from ..prediction import APPROACHES
from ..tasks import AGE
from .style import COLORS, DASHES, INK, SYMBOLS, TEMPLATE


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
