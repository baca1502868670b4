"""What if the face were different: both approaches' answers along a change of the crop.

All points of a change are computed once. Then the browser moves between them without the server.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from ...inference.predictor import APPROACHES, Approach, Predictor
from ...inference.what_if import Change, Curve, along, curves
from ...tasks import Classification, Task
from ..photo import PhotoView
from . import cards, figures
from .markup import html, joined

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
    pictures = joined(
        html(
            '<div data-at="{}"{}>{}</div>',
            i,
            _hidden(i, change),
            cards.picture(crop, f"The face, {said}", PICTURE),
        )
        for i, (crop, said) in enumerate(zip(crops, words, strict=True))
    )
    shown = order[0]
    choices = joined(
        html(
            '<label><input type="radio" name="task-{change.name}" '
            'value="{task.name}"{}>{task.title}</label>',
            " checked" if task is shown else "",
            change=change,
            task=task,
        )
        for task in order
    )
    parts = joined(
        html(
            '<div class="of-task" data-task="{task.name}"{}>{plot}{numbers}</div>',
            "" if task is shown else " hidden",
            task=task,
            plot=_plot(task, change, by_approach, view.labels.get(task.name)),
            numbers=_numbers(task, change, by_approach),
        )
        for task, by_approach in by_task.items()
    )
    said = joined(
        html('<output data-at="{}"{}>{}</output>', i, _hidden(i, change), text)
        for i, text in enumerate(words)
    )
    body = html(
        '<div class="what-if" style="--at:{x}"><div class="frames">{pictures}</div><div '
        'class="trial"><label class="slide"><span>{change.perturbation.title}: '
        '{said}</span><input type="range" min="0" max="{}" step="1" value="{change.start}" '
        'aria-valuetext="unchanged"></label><fieldset class="which-task"><legend '
        'class="sr-only">The answers for</legend>{choices}</fieldset>{parts}</div></div><p '
        'class="note">{note}</p>',
        n - 1,
        x=_x(change.start, n),
        pictures=pictures,
        change=change,
        said=said,
        choices=choices,
        parts=parts,
        note=NOTE,
    )
    yield cards.card(change.question, body)


def _plot(task: Task, change: Change, by: dict[str, Curve], label: float | None) -> str:
    """A task's curves, drawn in HTML, and both answers at each point in words."""
    n, is_class = len(change.amounts), isinstance(task, Classification)
    label = None if is_class else label
    low, high, ticks = (0, 100, [0, 50, 100]) if is_class else _scale(task, by, label)

    def y(value: float) -> float:
        return round(100 * (high - value) / (high - low), 2)

    grid = joined(html('<i class="line" style="top:{}%"></i>', y(t)) for t in ticks)
    grid += joined(html('<span class="tick-y" style="top:{}%">{:g}</span>', y(t), t) for t in ticks)
    if label is not None:
        grid += html(
            '<i class="line label" style="top:{}%"><span>label {:.0f}</span></i>', y(label), label
        )
    lines = points = ""
    for approach in APPROACHES:
        values = by[approach.name].values
        path = " ".join(f"{100 * i / (n - 1):.2f},{y(v)}" for i, v in enumerate(values))
        lines += html('<polyline class="{}" points="{}"/>', approach.name, path)
        points += joined(
            html('<i class="dot {}" style="left:{};top:{}%"></i>', approach.name, _x(i, n), y(v))
            for i, v in enumerate(values)
        )
    below = joined(
        html('<span style="left:{}">{}</span>', _x(i, n), _tick(change, amount))
        for i, amount in enumerate(change.amounts)
    )
    spoken = " ".join(
        f"{a.title}: {min(by[a.name].values):.0f} to {max(by[a.name].values):.0f}."
        for a in APPROACHES
    )
    title = _title(task, by)
    return html(
        '<h3>{title}</h3><div class="plot" role="img" aria-label="{title}, over the whole '
        'range. {spoken}">{grid}<svg viewBox="0 0 100 100" preserveAspectRatio="none" '
        'aria-hidden="true">{lines}</svg><i class="here"></i>{points}</div><div '
        'class="ticks" aria-hidden="true">{below}</div><div class="ticks-title" '
        'aria-hidden="true">{change.perturbation.axis}</div>{answers}',
        title=title,
        spoken=spoken,
        grid=grid,
        lines=lines,
        points=points,
        below=below,
        change=change,
        answers=_answers(task, change, by),
    )


def _title(task: Task, by: dict[str, Curve]) -> str:
    """What the vertical axis shows. Both approaches may answer different labels at first."""
    if not isinstance(task, Classification):
        return task.axis
    labels = [by[a.name].label for a in APPROACHES]
    if len({*labels}) == 1:
        return f"{task.title}: probability of {labels[0]} (%)"
    said = ", ".join(f"{label} ({a.short})" for label, a in zip(labels, APPROACHES, strict=True))
    return f"{task.title}: probability of the first answer (%): {said}"


def _answers(task: Task, change: Change, by: dict[str, Curve]) -> str:
    """Both answers in words, for each point. The one at the slider is shown."""
    parts = []
    for i in range(len(change.amounts)):
        lines = joined(
            html(
                "<span>{key}<b>{}</b> <small>{:.0f} % {task.confidence_words}</small></span>",
                by[a.name].answers[i],
                100 * by[a.name].confidences[i],
                key=key(a),
                task=task,
            )
            for a in APPROACHES
        )
        parts.append(html('<div class="now" data-at="{}"{}>{}</div>', i, _hidden(i, change), lines))
    return joined(parts)


def key(approach: Approach) -> str:
    """The approach's line and mark, and its name."""
    return html(
        '<i class="stroke {}" aria-hidden="true"></i>{}{}: ',
        approach.name,
        cards.mark(approach),
        approach.title,
    )


def _numbers(task: Task, change: Change, by: dict[str, Curve]) -> str:
    """All answers of a curve in a table, which is closed at first."""
    rows = [
        [
            change.words(amount),
            *(
                f"{by[a.name].answers[i]} ({100 * by[a.name].confidences[i]:.0f} %)"
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
