"""Figures of the dataset. Their colours do not stand for approaches."""

import pandas as pd
import plotly.graph_objects as go

from ..data.summary import HEAPED, LEVELS, age_quantiles, of_ages
from ..tasks import AGE, GENDER, RACE
from .style import PALETTE, SOFT, plain, template

SHADES = (PALETTE["shade"], PALETTE["shade-2"])  # of the two genders
HEAPED_SHADE = PALETTE["heaped"]
PATTERN = {"fillmode": "overlay", "fgcolor": "#fff", "size": 8}
PATTERNS = ("", "/")


def ages(counts: pd.DataFrame) -> go.Figure:
    """The number of images of each labelled age. Ages that are labelled too often are marked.

    `counts` is the table of `data.summary.counts`.
    """
    figure, by = go.Figure(), of_ages(counts)
    for i, name in enumerate(("an age like others", f"at least {HEAPED} × its neighbours")):
        rows = by[by["heaped"] == bool(i)]
        tall = rows["n"] > by["n"].max() / 4  # on a phone, small bars have no room for text
        figure.add_bar(
            x=rows["age"], y=rows["n"], name=name, width=0.9,
            marker={"color": (SHADES[0], HEAPED_SHADE)[i]},
            text=[str(age) if said else ""
                for age, said in zip(rows["age"], tall, strict=True)] if i else None,
            textposition="outside", textangle=0, cliponaxis=False, textfont={"size": 11},
            hovertemplate="%{x} years: %{y:,} images<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title_text=f"Labelled {AGE.axis.lower()}", dtick=20)
    figure.update_yaxes(title_text="Images", tickformat=",")
    return figure.update_layout(
        template=template(),
        bargap=0.1,
        barmode="overlay",
        uniformtext={"minsize": 8, "mode": "show"},
    )


def people(counts: pd.DataFrame) -> go.Figure:
    """The number of images of each race and gender.

    `counts` is the table of `data.summary.counts`.
    """
    by = counts.groupby(["race", "gender"])["n"].sum().unstack(fill_value=0)
    figure = go.Figure()
    for i, label in enumerate(map(plain, GENDER.labels)):
        figure.add_bar(
            x=by[i], y=[plain(RACE.words(race)) for race in by.index], orientation="h", name=label,
            marker={"color": SHADES[i], "pattern": {**PATTERN, "shape": PATTERNS[i]}},
            hovertemplate="%{y}, " + label + ": %{x:,} images<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title_text="Images", tickformat=",", nticks=6)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure.update_layout(template=template(), barmode="stack", legend_traceorder="normal")


def ages_of_groups(counts: pd.DataFrame) -> go.Figure:
    """Box plots of the labelled ages in each gender and race.

    `counts` is the table of `data.summary.counts`. Whiskers, box and median are the 5, 25, 50, 75
    and 95 % quantiles.
    """
    figure, table = go.Figure(), age_quantiles(counts)
    low, q1, median, q3, high = (table[level] for level in map(str, LEVELS))
    figure.add_box(
        y=table["group"].map(plain), lowerfence=low, q1=q1, median=median, q3=q3, upperfence=high,
        orientation="h", showlegend=False,
        line={"color": SOFT, "width": 1.5}, fillcolor="rgba(90,111,143,0.35)",
    )  # fmt: skip
    figure.update_xaxes(title_text=f"Labelled {AGE.axis.lower()}", range=[-2, 92])
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure.update_layout(template=template())
