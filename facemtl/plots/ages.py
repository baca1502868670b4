"""Figures of age errors."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ..evaluation.groups import AGE_GROUPS
from ..inference.predictor import APPROACHES
from ..tasks import AGE, INTERVAL
from .style import COLORS, DASHES, INK, SOFT, SYMBOLS, template

SQUARE = 4  # years; the side of a cell in `predicted_against_true`


def predicted_against_true(errors: pd.DataFrame, width: int = SQUARE) -> go.Figure:
    """Heatmaps of predicted against labelled age, one panel per approach.

    `errors` is the table of `evaluation.ages.age_errors`. A cell is `width` years a side. Its
    colour shows the logarithm of its number of images. The traces' `meta` names task and
    approach, for clicks on a cell.
    """
    figure = make_subplots(
        1,
        2,
        shared_yaxes=True,
        horizontal_spacing=0.08,
        subplot_titles=[a.short.capitalize() for a in APPROACHES],
    )
    end = 100 if errors.empty else max(100, float(errors["target"].max()))
    edges = np.arange(0, end + width + 1, width)
    centres = (edges[:-1] + edges[1:]) / 2
    for column, approach in enumerate(APPROACHES, start=1):
        rows = errors[errors["approach"] == approach.name]
        counts, *_ = np.histogram2d(rows["prediction"], rows["target"], bins=[edges, edges])
        figure.add_heatmap(
            x=centres, y=centres, z=np.where(counts > 0, np.log10(np.maximum(counts, 1)), np.nan),
            customdata=counts.astype(int), name=approach.title, showscale=False, row=1, col=column,
            zmin=-0.6, zmax=2.2,
            hoverongaps=False, meta={"task": AGE.name, "approach": approach.name},
            colorscale=[[0, "rgba(128,128,128,0.1)"], [1, COLORS[approach.name]]],
            hovertemplate=(
                f"label %{{x:.0f}} ± {width // 2}, predicted %{{y:.0f}} ± {width // 2}<br>"
                f"%{{customdata}} images<extra>{approach.title}</extra>"
            ),
        )  # fmt: skip
        exactly_right = {"x0": 0, "y0": 0, "x1": end, "y1": end}
        figure.add_shape(
            type="line",
            **exactly_right,
            line={"color": INK, "width": 1, "dash": "dot"},
            row=1,
            col=column,
        )
    figure.update_xaxes(
        title_text=f"Label ({AGE.unit})", range=[-2, end + 2], dtick=50, tickangle=0
    )
    figure.update_yaxes(range=[-2, end + 2], dtick=20)
    figure.update_yaxes(title_text=f"Predicted {AGE.axis.lower()}", col=1)
    figure.update_annotations(font_size=13)
    return figure.update_layout(template=template())


def error_distribution(errors: pd.DataFrame, width: float = 2.0, reach: float = 30.0) -> go.Figure:
    """How often each signed age error occurs, one line per approach.

    `errors` is the table of `evaluation.ages.age_errors`. Bins are `width` years wide. Errors
    beyond `reach` years are counted in the outermost bins.
    """
    figure = go.Figure()
    edges = np.arange(-reach - width / 2, reach + width, width)
    centres = (edges[:-1] + edges[1:]) / 2
    for approach in APPROACHES:
        rows = errors[errors["approach"] == approach.name]
        counts, _ = np.histogram(rows["error"].clip(-reach, reach), edges)
        figure.add_scatter(
            x=centres, y=100 * counts / max(1, len(rows)), name=approach.title, mode="lines",
            line={"color": COLORS[approach.name], "dash": DASHES[approach.name],
                "width": 2.5, "shape": "hvh"},
            hovertemplate="%{x:+.0f} years: %{y:.1f} % of images<extra>"
                + approach.title + "</extra>",
        )  # fmt: skip
    figure.add_vline(x=0, line={"color": INK, "width": 1, "dash": "dot"})
    figure.update_xaxes(title_text=f"Predicted minus labelled {AGE.axis.lower()}")
    figure.update_yaxes(title_text="Share of images (%)", rangemode="tozero")
    return figure.update_layout(template=template(), hovermode="x unified")


def error_by_age(groups: pd.DataFrame) -> go.Figure:
    """Mean absolute age error per age group, with 95 % intervals.

    `groups` is the table of `evaluation.ages.age_error_by_group`.
    """
    figure = _by_age(groups, "mae", f"Mean absolute error ({AGE.unit})", "%{y:.1f} years off")
    return figure.update_yaxes(rangemode="tozero")


def bias_by_age(groups: pd.DataFrame) -> go.Figure:
    """Mean signed age error per age group, with 95 % intervals.

    `groups` is the table of `evaluation.ages.age_error_by_group`.
    """
    figure = _by_age(
        groups, "bias", f"Mean of predicted minus labelled ({AGE.unit})", "%{y:+.1f} years"
    )
    figure.add_hline(y=0, line={"color": INK, "width": 1, "dash": "dot"})
    return figure


def _by_age(groups: pd.DataFrame, column: str, title: str, hover: str) -> go.Figure:
    """One marker per age group and approach, with its 95 % interval; approaches side by side."""
    figure = go.Figure()
    position = {name: i for i, name in enumerate(AGE_GROUPS)}
    for approach, offset in zip(APPROACHES, (-0.13, 0.13), strict=True):
        rows = groups[groups["approach"] == approach.name]
        figure.add_scatter(
            x=rows["age_group"].map(position) + offset, y=rows[column], name=approach.title,
            mode="markers",
            marker={"color": COLORS[approach.name], "symbol": SYMBOLS[approach.name], "size": 10},
            error_y={
                "array": rows[f"{column}_high"] - rows[column],
                "arrayminus": rows[column] - rows[f"{column}_low"],
                "thickness": 1.5, "width": 4,
            },
            customdata=rows[["age_group", "n", f"{column}_low", f"{column}_high"]],
            hovertemplate=(
                "%{customdata[0]} years, %{customdata[1]} images<br>" + hover
                + " (95 % interval %{customdata[2]:.1f} to %{customdata[3]:.1f})<extra>"
                    + approach.title + "</extra>"
            ),
        )  # fmt: skip
    figure.update_xaxes(
        title_text=f"Labelled {AGE.axis.lower()}",
        tickvals=list(position.values()),
        ticktext=list(position),
        showgrid=False,
    )
    figure.update_yaxes(title_text=title)
    return figure.update_layout(template=template())


def coverage_by_age(groups: pd.DataFrame) -> go.Figure:
    """Coverage of the age intervals per age group: the percentage of labels inside.

    `groups` is the table of `evaluation.ages.age_error_by_group`.
    """
    figure, position = go.Figure(), {name: i for i, name in enumerate(AGE_GROUPS)}
    for approach, offset in zip(APPROACHES, (-0.13, 0.13), strict=True):
        rows = groups[groups["approach"] == approach.name]
        figure.add_scatter(
            x=rows["age_group"].map(position) + offset, y=rows["coverage"], mode="markers",
            name=approach.title,
            marker={"color": COLORS[approach.name], "symbol": SYMBOLS[approach.name], "size": 10},
            customdata=rows[["age_group", "n"]],
            hovertemplate=(
                "%{customdata[0]} years, %{customdata[1]} images<br>%{y:.0f} % inside<extra>"
                    + approach.title + "</extra>"
            ),
        )  # fmt: skip
    figure.add_hline(y=100 * INTERVAL, line={"color": INK, "width": 1, "dash": "dot"})
    figure.update_xaxes(
        title_text=f"Labelled {AGE.axis.lower()}",
        tickvals=list(position.values()),
        ticktext=list(position),
        showgrid=False,
    )
    figure.update_yaxes(
        title_text=f"Labels inside the {100 * INTERVAL:.0f} % interval (%)", range=[50, 102]
    )
    return figure.update_layout(template=template())


def cumulative_score(scores: pd.DataFrame) -> go.Figure:
    """The percentage of images whose age error is at most N years.

    `scores` is the table of `evaluation.ages.cumulative_scores`.
    """
    figure = go.Figure()
    for approach in APPROACHES:
        rows = scores[scores["approach"] == approach.name]
        figure.add_scatter(
            x=rows["years"], y=rows["share"], name=approach.title, mode="lines",
            line={"color": COLORS[approach.name], "dash": DASHES[approach.name], "width": 2.5},
            hovertemplate="%{y:.1f} % of images<extra>" + approach.title + "</extra>",
        )  # fmt: skip
    figure.update_xaxes(title_text=f"N ({AGE.unit})", dtick=5)
    figure.update_yaxes(title_text="Share of images (%)", range=[0, 102])
    return figure.update_layout(template=template(), hovermode="x unified")


def difference_by_age(metrics: pd.DataFrame) -> go.Figure:
    """Difference in mean absolute age error, one model minus three, per age group.

    `metrics` is the table of `evaluation.compare.metric_tables`. Bars are 95 % intervals.
    """
    rows = metrics[(metrics["by"] == "age_group") & (metrics["task"] == AGE.name)]
    figure, position = go.Figure(), {name: i for i, name in enumerate(AGE_GROUPS)}
    figure.add_scatter(
        x=rows["group"].map(position), y=rows["difference"], mode="markers",
        name="One minus three", showlegend=False,
        marker={"color": SOFT, "symbol": "square", "size": 9},
        error_y={
            "array": rows["difference_high"] - rows["difference"],
            "arrayminus": rows["difference"] - rows["difference_low"],
            "thickness": 1.5, "width": 4,
        },
        customdata=rows[["group", "n", "difference_low", "difference_high"]],
        hovertemplate=(
            "%{customdata[0]} years, %{customdata[1]} images<br>%{y:+.2f} years "
            "(95 % interval %{customdata[2]:+.2f} to %{customdata[3]:+.2f})<extra></extra>"
        ),
    )  # fmt: skip
    figure.add_hline(y=0, line={"color": INK, "width": 1, "dash": "dot"})
    figure.update_xaxes(
        title_text=f"Labelled {AGE.axis.lower()}",
        tickvals=list(position.values()),
        ticktext=list(position),
        showgrid=False,
    )
    figure.update_yaxes(title_text=f"← one better ({AGE.unit}) three better →")
    return figure.update_layout(template=template())
