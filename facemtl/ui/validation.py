"""Validation: where and by how much each approach errs, on images that no model was trained on."""

import gradio as gr
import pandas as pd

from .. import plots
from ..evaluation import N_RESAMPLES, age_error_by_group, age_errors, compare, favoured
from ..prediction import APPROACHES, MULTI, SINGLE
from ..tasks import task_named
from . import cards


def summary(table: pd.DataFrame) -> str:
    """The metric table of both approaches, each row with its verdict in words."""
    compared = compare(table)
    rows = []
    for row in compared.itertuples():
        task = task_named(row.task)
        metric = task.metric

        def cell(name: str, row=row, metric=metric, sign: bool = False) -> str:
            low, high = getattr(row, f"{name}_low"), getattr(row, f"{name}_high")
            interval = f"{metric.number(low, sign)} to {metric.number(high, sign)}"
            return f"{metric.words(getattr(row, name), sign)} <small>{interval}</small>"

        rows.append(
            [
                f"{task.title}<small>{metric.title}</small>",
                cell(SINGLE.name),
                cell(MULTI.name),
                cell("difference", sign=True),
                verdict(row),
            ]
        )
    columns = ["Task", *(f"{cards.mark(a)}{a.title}" for a in APPROACHES), "Difference, one minus three", "In words"]
    n = int(compared["n"].max())
    note = (
        f"{n:,} validation images, the same for both. Small numbers are 95 % intervals from {N_RESAMPLES:,} bootstrap "
        "resamples of the images; differences are paired. They tell the luck of the images, not of the training run."
    )
    question = "At equal recipe and budget, what does one model lose or gain?"
    sensitive = [task_named(name).sensitive for name in compared["task"]]
    return cards.card(question, cards.html_table(question, columns, rows, note, sensitive))


def verdict(row) -> str:
    """Which approach the interval of the difference speaks for, if any."""
    words = {SINGLE: "Three models are better", MULTI: "One model is better"}
    return words.get(favoured(row), "No difference that this many images could show")


def by_age_table(groups: pd.DataFrame) -> str:
    """The numbers behind the figures by age band."""
    rows = []
    for name, group in groups.groupby("age_group", sort=False):
        by = group.set_index("approach")
        cells = [
            f"{by.at[a.name, column]:{form}}"
            for column, form in (("mae", ".2f"), ("bias", "+.2f"), ("coverage", ".0f"))
            for a in APPROACHES
        ]
        rows.append([name, f"{by['n'].iloc[0]:,}", *cells])
    columns = ["Age", "Images"]
    columns += [f"{cards.mark(a)}{what}" for what in ("Error (years)", "Bias (years)", "In interval (%)") for a in APPROACHES]
    note = "Mean absolute error, mean signed error, and how often the label lies in the 90 % interval. " + ", ".join(
        f"{cards.mark(a)}{a.title}" for a in APPROACHES
    )
    return cards.html_table("The numbers by age", columns, rows, note)


def build(table: pd.DataFrame) -> None:
    """Everything here is drawn once, from the saved predictions: neither dataset nor model is needed."""
    errors, groups = age_errors(table).round(2), age_error_by_group(table)
    gr.HTML(summary(table), elem_id="metrics")
    figures = (
        ("How close are predicted ages to the labels?", plots.predicted_against_true(errors)),
        ("How large are the age errors?", plots.error_distribution(errors)),
        ("At which ages do they err most?", plots.error_by_age(groups)),
        ("Which ages are read too old, which too young?", plots.bias_by_age(groups)),
    )
    for i in range(0, len(figures), 2):
        with gr.Row(equal_height=True):
            for title, figure in figures[i : i + 2]:
                with gr.Column(elem_classes="card figure", min_width=320):
                    gr.HTML(f'<h2 class="figure-title">{title}</h2>')
                    gr.Plot(figure, show_label=False, label=title, container=False)
    with gr.Accordion("The numbers by age", open=False):
        gr.HTML(by_age_table(groups))
    gr.HTML(f'<p class="note">{cards.NOTE}</p>')
