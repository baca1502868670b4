"""The headline of every page: the answer of the comparison in one line, from the findings."""

from typing import Any

from ...evaluation.findings import conclusion
from ...inference.predictor import MULTI, SINGLE, Approach
from ...tasks import task_named
from . import cards


def headline(found: dict[str, Any]) -> str:
    """The conclusion, the figures of each task, the cost, and a button that leads to more.

    If gender and race are hidden, the conclusion is drawn from the other tasks.
    """
    rows = found["tasks"]
    shown = [row for row in rows if not task_named(row["task"]).sensitive]
    if shown == rows or not shown:
        said = f"<b>{conclusion(rows)}</b>"
    else:
        said = (
            f'<b class="sensitive">{conclusion(rows)}</b>'
            f'<b class="hidden-note">{conclusion(shown)}</b>'
        )
    figures = "".join(_figures(row) for row in rows)
    cost = ""
    if share := found["cost_share"]:
        values = {MULTI: f"{share['milliseconds']:.0f}", SINGLE: "100"}
        cost = f"<span>time {_both(values)} %</span>"
    n = f"{max(row['n'] for row in rows):,}"
    return (
        f'<section class="headline" aria-label="The answer">{said}<span>On {n} validation'
        f" faces:</span>{figures}{cost}"
        '<button type="button" class="link" data-choice="training">See how</button></section>'
    )


def _figures(row: dict[str, Any]) -> str:
    task = task_named(row["task"])
    values = {a: task.metric.number(row[a.name]) for a in (MULTI, SINGLE)}
    css = ' class="sensitive"' if task.sensitive else ""
    unit = task.metric.unit if task.metric.unit == "%" else f"{task.metric.unit} off"
    return f"<span{css}>{task.name} {_both(values)} {unit}</span>"


def _both(values: dict[Approach, str]) -> str:
    return " / ".join(
        f'<b class="{a.name}-text">{cards.mark(a)}<span class="sr-only">{a.title}: </span>'
        f"{value}</b>"
        for a, value in values.items()
    )
