"""What if the face were different: both approaches' answers along a change of the crop.

All points of a change are computed once. Then the browser moves between them without the server.
"""

from collections.abc import Iterator, Sequence
from html import escape

import numpy as np

from ...inference.predictor import APPROACHES, Approach, Predictor
from ...inference.what_if import Change, Curve, along, curves
from ...tasks import Classification, Task
from ..photo import PhotoView
from . import cards, figures

PICTURE = 200  # px; the side of a picture of the changed face
LEAST_SPAN = 10  # years; smaller movements of a curve are not stretched to the full height
CHANGING = "Changing the face step by step, and asking all models each time."
NOTE = (
    "Each point is a new answer of all models for the changed crop. This is one face: it does not"
    " show which approach is steadier in general."
)


def change_card(
    change: Change, predictor: Predictor, view: PhotoView, tasks: Sequence[Task]
) -> Iterator[str]:
    """The curves of all tasks along a change, with a slider and a picture for each point."""
    crops, found, n = [], [], len(change.amounts)
    yield cards.working(CHANGING, 0)
    for i, (crop, predictions) in enumerate(along(predictor, view.face.crop, change), start=1):
        crops.append(crop)
        found.append(predictions)
        yield cards.working(CHANGING, i / n)
    order = sorted(tasks, key=lambda task: isinstance(task, Classification))  # numbers first
    by_task = {task: curves(task, found, change.start) for task in order}
    words = [change.words(amount) for amount in change.amounts]
    pictures = "".join(
        f'<div data-at="{i}"{_hidden(i, change)}>'
        f"{cards.picture(crop, f'The face, {said}', PICTURE)}</div>"
        for i, (crop, said) in enumerate(zip(crops, words, strict=True))
    )
    shown = order[0]
    choices = "".join(
        f'<label><input type="radio" name="task-{change.name}" value="{task.name}"'
        f"{' checked' if task is shown else ''}>{task.title}</label>"
        for task in order
    )
    parts = "".join(
        f'<div class="of-task" data-task="{task.name}"{"" if task is shown else " hidden"}>'
        f"{_plot(task, change, by_approach, view.labels.get(task.name))}"
        f"{_numbers(task, change, by_approach)}</div>"
        for task, by_approach in by_task.items()
    )
    said = "".join(
        f'<output data-at="{i}"{_hidden(i, change)}>{text}</output>' for i, text in enumerate(words)
    )
    body = (
        f'<div class="what-if" style="--at:{_x(change.start, n)}">'
        f'<div class="frames">{pictures}</div><div class="trial">'
        f'<label class="slide"><span>{change.perturbation.title}: {said}</span><input type="range"'
        f' min="0" max="{n - 1}" step="1" value="{change.start}"'
        f' aria-valuetext="unchanged"></label>'
        f'<fieldset class="which-task"><legend class="sr-only">The answers for</legend>{choices}'
        f'</fieldset>{parts}</div></div><p class="note">{NOTE}</p>'
    )
    yield cards.card(change.question, body)


def _plot(task: Task, change: Change, by: dict[str, Curve], label: float | None) -> str:
    """A task's curves, drawn in HTML, and both answers at each point in words."""
    n, is_class = len(change.amounts), isinstance(task, Classification)
    label = None if is_class else label
    low, high, ticks = (0, 100, [0, 50, 100]) if is_class else _scale(task, by, label)

    def y(value: float) -> float:
        return round(100 * (high - value) / (high - low), 2)

    grid = "".join(f'<i class="line" style="top:{y(t)}%"></i>' for t in ticks)
    grid += "".join(f'<span class="tick-y" style="top:{y(t)}%">{t:g}</span>' for t in ticks)
    if label is not None:
        grid += f'<i class="line label" style="top:{y(label)}%"><span>label {label:.0f}</span></i>'
    lines = points = ""
    for approach in APPROACHES:
        values = by[approach.name].values
        path = " ".join(f"{100 * i / (n - 1):.2f},{y(v)}" for i, v in enumerate(values))
        lines += f'<polyline class="{approach.name}" points="{path}"/>'
        points += "".join(
            f'<i class="dot {approach.name}" style="left:{_x(i, n)};top:{y(v)}%"></i>'
            for i, v in enumerate(values)
        )
    below = "".join(
        f'<span style="left:{_x(i, n)}">{_tick(change, amount)}</span>'
        for i, amount in enumerate(change.amounts)
    )
    spoken = " ".join(
        f"{a.title}: {min(by[a.name].values):.0f} to {max(by[a.name].values):.0f}."
        for a in APPROACHES
    )
    title = _title(task, by)
    return (
        f'<h3>{title}</h3><div class="plot" role="img" aria-label="{title}, over the whole range.'
        f' {spoken}">{grid}<svg viewBox="0 0 100 100" preserveAspectRatio="none"'
        f' aria-hidden="true">{lines}</svg><i class="here"></i>{points}</div>'
        f'<div class="ticks" aria-hidden="true">{below}</div><div class="ticks-title"'
        f' aria-hidden="true">{escape(change.perturbation.axis)}</div>{_answers(task, change, by)}'
    )


def _title(task: Task, by: dict[str, Curve]) -> str:
    """What the vertical axis shows. Both approaches may answer different labels at first."""
    if not isinstance(task, Classification):
        return escape(task.axis)
    labels = [by[a.name].label for a in APPROACHES]
    if len({*labels}) == 1:
        return f"{task.title}: probability of {escape(labels[0])} (%)"
    said = ", ".join(
        f"{escape(label)} ({a.short})" for label, a in zip(labels, APPROACHES, strict=True)
    )
    return f"{task.title}: probability of the first answer (%): {said}"


def _answers(task: Task, change: Change, by: dict[str, Curve]) -> str:
    """Both answers in words, for each point. The one at the slider is shown."""
    parts = []
    for i in range(len(change.amounts)):
        lines = "".join(
            f"<span>{key(a)}<b>{escape(by[a.name].answers[i])}</b> <small>"
            f"{100 * by[a.name].confidences[i]:.0f} % {task.confidence_words}</small></span>"
            for a in APPROACHES
        )
        parts.append(f'<div class="now" data-at="{i}"{_hidden(i, change)}>{lines}</div>')
    return "".join(parts)


def key(approach: Approach) -> str:
    """The approach's line and mark, and its name."""
    return (
        f'<i class="stroke {approach.name}" aria-hidden="true"></i>{cards.mark(approach)}'
        f"{approach.title}: "
    )


def _numbers(task: Task, change: Change, by: dict[str, Curve]) -> str:
    """All answers of a curve in a table, which is closed at first."""
    rows = [
        [
            change.words(amount),
            *(
                f"{escape(by[a.name].answers[i])} ({100 * by[a.name].confidences[i]:.0f} %)"
                for a in APPROACHES
            ),
        ]
        for i, amount in enumerate(change.amounts)
    ]
    columns = ["The face", *(cards.named(a) for a in APPROACHES)]
    table = cards.html_table(
        f"{task.title}: all points", columns, rows,
        f"In brackets: how sure a model is ({task.confidence_words}).",
    )  # fmt: skip
    return figures.below(table, summary="All numbers")


def _scale(
    task: Task, by: dict[str, Curve], label: float | None
) -> tuple[float, float, list[float]]:
    """The lowest and highest value of an axis, and its ticks."""
    values = [v for curve in by.values() for v in curve.values] + ([] if label is None else [label])
    middle, span = (min(values) + max(values)) / 2, max(LEAST_SPAN, max(values) - min(values))
    step = next(s for s in (5, 10, 20, 50) if span / s <= 4 or s == 50)
    low = step * np.floor((middle - span / 2) / step)
    high = step * np.ceil((middle + span / 2) / step)
    return float(low), float(high), [float(t) for t in np.arange(low, high + 1, step)]


def _tick(change: Change, amount: float) -> str:
    if amount == change.perturbation.none != 0:
        return "none"
    return f"{amount:+g}" if min(change.amounts) < 0 < abs(amount) else f"{amount:g}"


def _x(i: int, n: int) -> str:
    return f"{100 * i / (n - 1):.2f}%"


def _hidden(i: int, change: Change) -> str:
    return "" if i == change.start else " hidden"
