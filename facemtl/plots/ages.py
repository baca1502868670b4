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
    """Heatmaps of predicted against labelled age, one square panel per approach.

    `errors` is the table of `evaluation.ages.age_errors`. A cell is `width` years a side. Its
    colour shows the logarithm of its number of images, with a scale below the panel. The traces'
    `meta` names task and approach, for clicks on a cell.
    """
    figure = make_subplots(
        1, 2, horizontal_spacing=0.1, subplot_titles=[a.kind for a in APPROACHES]
    )
    end = 100 if errors.empty else max(100, float(errors["target"].max()))
    edges = np.arange(0, end + width + 1, width)
    centres = (edges[:-1] + edges[1:]) / 2
    for column, approach in enumerate(APPROACHES, start=1):
        rows = errors[errors["approach"] == approach.name]
        counts, *_ = np.histogram2d(rows["prediction"], rows["target"], bins=[edges, edges])
        figure.add_heatmap(
            x=centres, y=centres, z=np.where(counts > 0, np.log10(np.maximum(counts, 1)), np.nan),
            customdata=counts.astype(int), name=approach.model, row=1, col=column,
            zmin=-0.6, zmax=2.2,
            colorbar={
                "orientation": "h", "len": 0.4, "thickness": 8, "outlinewidth": 0,
                "x": (0.225, 0.775)[column - 1],
                "yref": "container", "y": 0, "yanchor": "bottom",
                "tickvals": [0, 1, 2], "ticktext": ["1", "10", "100"], "ticks": "",
                "title": {"text": "Images", "side": "bottom", "font": {"size": 12}},
            },
            hoverongaps=False,
            meta={"by": "square", "task": AGE.name, "approach": approach.name},
            colorscale=[[0, "rgba(128,128,128,0.1)"], [1, COLORS[approach.name]]],
            hovertemplate=(
                f"label %{{x:.0f}} ± {width // 2}, predicted %{{y:.0f}} ± {width // 2}<br>"
                f"%{{customdata}} images<extra>{approach.model}</extra>"
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
        title_text=f"Label ({AGE.unit})",
        range=[-2, end + 2],
        dtick=50,
        tickangle=0,
        constrain="domain",
    )
    for column, x in enumerate(("x", "x2"), start=1):
        figure.update_yaxes(
            range=[-2, end + 2],
            dtick=50,
            scaleanchor=x,
            constrain="domain",
            showticklabels=column == 1,
            col=column,
        )
    figure.update_yaxes(title_text=f"Predicted {AGE.axis.lower()}", col=1)
    figure.update_annotations(font_size=13)
    # The height is that of the style sheet, because it depends on the width.
    return figure.update_layout(template=template(), autosize=True, margin_b=112)


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
            x=centres, y=100 * counts / max(1, len(rows)), name=approach.model, mode="lines",
            line={"color": COLORS[approach.name], "dash": DASHES[approach.name],
                "width": 2.5, "shape": "hvh"},
            hovertemplate="%{x:+.0f} years: %{y:.1f} % of images<extra>"
                + approach.model + "</extra>",
        )  # fmt: skip
    figure.add_vline(x=0, line={"color": INK, "width": 1, "dash": "dot"})
    figure.update_xaxes(title_text=f"Predicted minus labelled {AGE.axis.lower()}")
    figure.update_yaxes(title_text="Share of images (%)", rangemode="tozero")
    return figure.update_layout(template=template(), hovermode="x unified")


def error_by_age(groups: pd.DataFrame, seeds: pd.DataFrame | None = None) -> go.Figure:
    """Mean absolute age error per age group, with 95 % intervals.

    `groups` is the table of `evaluation.ages.age_error_by_group`. If `seeds`, the table of
    `evaluation.seeds.age_errors_of_seeds`, is given, each seed is a stroke beside the mark.
    """
    figure = _by_age(groups, "mae", f"Mean absolute error ({AGE.unit})", "%{y:.1f} years off")
    for approach, offset in zip(APPROACHES, (-0.34, 0.34), strict=True):
        _add_seeds(figure, seeds, approach.name, offset, approach.model, COLORS[approach.name])
    return figure.update_yaxes(rangemode="tozero")


def _add_seeds(
    figure: go.Figure, seeds: pd.DataFrame | None, column: str, offset: float, name: str, color: str
) -> None:
    """Add a stroke for each seed and age group, `offset` from the group's place."""
    if seeds is None:
        return
    figure.add_scatter(
        x=seeds["age_group"].map(AGE_GROUPS.index) + offset, y=seeds[column], mode="markers",
        name=name, showlegend=False, customdata=seeds[["age_group", "seed"]],
        # A click on a stroke is one on its group: they are close to each other.
        meta={"by": "group", "task": AGE.name, "approach": column},
        marker={"symbol": "line-ew", "size": 7, "line": {"color": color, "width": 1.5}},
        hovertemplate="%{customdata[0]} years, seed %{customdata[1]}: %{y:.2f}"
            f"<extra>{name}</extra>",
    )  # fmt: skip


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
            x=rows["age_group"].map(position) + offset, y=rows[column], name=approach.model,
            mode="markers",
            marker={"color": COLORS[approach.name], "symbol": SYMBOLS[approach.name], "size": 10},
            error_y={
                "array": rows[f"{column}_high"] - rows[column],
                "arrayminus": rows[column] - rows[f"{column}_low"],
                "thickness": 1.5, "width": 4,
            },
            customdata=rows[["age_group", "n", f"{column}_low", f"{column}_high"]],
            meta={"by": "group", "task": AGE.name, "approach": approach.name},
            hovertemplate=(
                "%{customdata[0]} years, %{customdata[1]} images<br>" + hover
                + " (95 % interval %{customdata[2]:.1f} to %{customdata[3]:.1f})<extra>"
                    + approach.model + "</extra>"
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
            name=approach.model,
            marker={"color": COLORS[approach.name], "symbol": SYMBOLS[approach.name], "size": 10},
            customdata=rows[["age_group", "n"]],
            meta={"by": "group", "task": AGE.name, "approach": approach.name},
            hovertemplate=(
                "%{customdata[0]} years, %{customdata[1]} images<br>%{y:.0f} % inside<extra>"
                    + approach.model + "</extra>"
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
            x=rows["years"], y=rows["share"], name=approach.model, mode="lines",
            line={"color": COLORS[approach.name], "dash": DASHES[approach.name], "width": 2.5},
            hovertemplate="%{y:.1f} % of images<extra>" + approach.model + "</extra>",
        )  # fmt: skip
    figure.update_xaxes(title_text=f"N ({AGE.unit})", dtick=5)
    figure.update_yaxes(title_text="Share of images (%)", range=[0, 102])
    return figure.update_layout(template=template(), hovermode="x unified")


def difference_by_age(metrics: pd.DataFrame, seeds: pd.DataFrame | None = None) -> go.Figure:
    """Difference in mean absolute age error, multi-task minus single-task, per age group.

    `metrics` is the table of `evaluation.compare.metric_tables`. Bars are 95 % intervals. `seeds`
    is that of `error_by_age`.
    """
    rows = metrics[(metrics["by"] == "age_group") & (metrics["task"] == AGE.name)]
    figure, position = go.Figure(), {name: i for i, name in enumerate(AGE_GROUPS)}
    figure.add_scatter(
        x=rows["group"].map(position), y=rows["difference"], mode="markers",
        name="Difference", showlegend=False, meta={"by": "group", "task": AGE.name},
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
    _add_seeds(figure, seeds, "difference", 0.22, "Difference", SOFT)
    figure.add_hline(y=0, line={"color": INK, "width": 1, "dash": "dot"})
    figure.update_xaxes(
        title_text=f"Labelled {AGE.axis.lower()}",
        tickvals=list(position.values()),
        ticktext=list(position),
        showgrid=False,
    )
    figure.update_yaxes(title_text=f"← multi-task better ({AGE.unit}) single-task better →")
    return figure.update_layout(template=template())
