"""The headline of every page: the answer of the comparison in one line, from the findings."""

from typing import Any

from ...evaluation.findings import conclusion
from ...inference.predictor import APPROACHES, MULTI, SINGLE, Approach
from ...tasks import task_named
from . import cards
from .markup import html, joined


def headline(found: dict[str, Any]) -> str:
    """The conclusion, the figures of each task, the cost, and a button that leads to more.

    If gender and race are hidden, the conclusion is drawn from the other tasks.
    """
    rows = found["tasks"]
    shown = [row for row in rows if not task_named(row["task"]).sensitive]
    if shown == rows or not shown:
        said = html("<b>{}</b>", conclusion(rows))
    else:
        said = html(
            '<b class="sensitive">{}</b><b class="hidden-note">{}</b>',
            conclusion(rows),
            conclusion(shown),
        )
    figures = joined(_figures(row) for row in rows)
    cost = ""
    if share := found["cost_share"]:
        values = {SINGLE: "100", MULTI: f"{share['milliseconds']:.0f}"}
        cost = html("<span>time {} %</span>", _both(values))
    n, seeds = max(row["n"] for row in rows), min(row["seeds"] for row in rows)
    on = f"{f'Means of {seeds} trainings, on' if seeds > 1 else 'On'} {n:,} validation faces:"
    return html(
        '<section class="headline" aria-label="The answer">{said}<span class="on">{on}</span>'
        '<div class="figures">{figures}{cost}<button type="button" class="link" '
        'data-choice="training">See how</button></div></section>',
        said=said,
        on=on,
        figures=figures,
        cost=cost,
    )


def _figures(row: dict[str, Any]) -> str:
    task = task_named(row["task"])
    values = {a: task.metric.number(row[a.name]) for a in APPROACHES}
    css = html(' class="sensitive"') if task.sensitive else ""
    unit = task.metric.unit if task.metric.unit == "%" else f"{task.metric.unit} off"
    return html(
        "<span{css}>{task.name} {both} {unit}</span>",
        css=css,
        task=task,
        both=_both(values),
        unit=unit,
    )


def _both(values: dict[Approach, str]) -> str:
    both = (
        html(
            '<b class="{a.name}-text">{mark}<span class="sr-only">{a.title}: </span>{value}</b>',
            a=a,
            mark=cards.mark(a),
            value=value,
        )
        for a, value in values.items()
    )
    return joined(both, by=" / ")
