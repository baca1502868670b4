"""The summary of the Validation tab: a table of the metrics of both approaches."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pandas as pd

from ...evaluation.compare import FEW, N_RESAMPLES, favoured
from ...inference.predictor import APPROACHES, MULTI, SINGLE
from ...tasks import task_named
from . import cards
from .markup import html


def summary(
    compared: pd.DataFrame, of_seeds: Sequence[dict[str, Any]] = (), n_resamples: int = N_RESAMPLES
) -> str:
    """A card with the metrics of both approaches, and a verdict in words per task.

    `compared` is the table of `evaluation.compare.compare` with `n_resamples`. `of_seeds` holds the
    tasks of `evaluation.findings` that were measured over several seeds. They count more for the
    verdict.
    """
    rows, seeds = [], {found["task"]: found for found in of_seeds}
    for row in compared.itertuples():
        task = task_named(row.task)
        metric = task.metric

        def cell(name: str, row=row, metric=metric, sign: bool = False) -> str:
            low, high = getattr(row, f"{name}_low"), getattr(row, f"{name}_high")
            interval = f"{metric.number(low, sign)} to {metric.number(high, sign)}"
            return html("{} <small>{}</small>", metric.words(getattr(row, name), sign), interval)

        difference, judged = cell("difference", sign=True), row
        if task.name in seeds:
            judged = SimpleNamespace(**seeds[task.name])
            low, high = (
                metric.number(getattr(judged, f"difference_{e}"), True) for e in ("low", "high")
            )
            mean = metric.number(judged.difference, True)
            difference += html(
                "<small>{judged.seeds} seeds: {mean}, {low} to {high}</small>",
                judged=judged,
                mean=mean,
                low=low,
                high=high,
            )
        rows.append(
            [
                html("{}<small>{}</small>", task.title, metric.title),
                cell(SINGLE.name),
                cell(MULTI.name),
                difference,
                verdict(judged),
            ]
        )
    columns = [
        "Task",
        *(cards.named(a) for a in APPROACHES),
        "Difference, one minus three",
        "In words",
    ]
    most = int(compared["n"].max())
    n = f"{'up to ' if compared['n'].nunique() > 1 else ''}{most:,}"
    images = "image" if most == 1 else "images"
    note = (
        f"{n} validation {images}, the same for both. In small print: 95 % bootstrap intervals over"
        f" images ({n_resamples:,} resamples, paired for differences)."
    )
    if seeds:
        note += (
            " “Seeds” is the mean difference of several trainings, with an interval over seeds and"
            " images. The last column is based on it."
        )
    else:
        note += " They do not include differences between trainings: see Training."
    question = "Is one model better or worse than three?"
    sensitive = [task_named(name).sensitive for name in compared["task"]]
    return cards.card(question, cards.html_table(question, columns, rows, note, sensitive))


def verdict(row) -> str:
    """Which approach is significantly better, in words, or why nobody can tell."""
    if row.n < FEW:
        return "Too few images to tell"
    words = {SINGLE: "Three models are better", MULTI: "One model is better"}
    return words.get(favoured(row), "Could be chance")
