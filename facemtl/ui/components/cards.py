"""HTML parts that the tabs share: plain functions, numbers in and HTML out.

A card answers one question. Its badge gives the answer in words. An approach has the same colour
and the same shape everywhere.
"""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from functools import singledispatch
from html import escape
from statistics import median

import numpy as np
import pandas as pd
from PIL import Image

from ...evaluation.track_record import TrackRecord
from ...inference.predictor import APPROACHES, Approach
from ...tasks import AGE, INTERVAL, Classification, Regression, Task
from .verdicts import verdict

RULER_END = 100  # years; higher ages are drawn at the end

NOTE = (
    "Predictions follow the labels of one dataset: how a face is perceived. They say nothing about"
    " who a person is. What you upload is deleted within minutes and goes nowhere else."
)


CONFIDENCE_NOTE = (
    f"In brackets: how sure a model is of its answer; for age, of being {AGE.confidence_words}."
)


def shown(tasks: Iterable[Task], hide: bool) -> tuple[Task, ...]:
    """The tasks on display: with `hide`, without sensitive ones."""
    return tuple(task for task in tasks if not (hide and task.sensitive))


def legend(label: str = "Label") -> str:
    """The marks of both approaches, and that of a label, if there is one."""
    keys = "".join(f"<span>{mark(a)}{a.title}</span>" for a in APPROACHES)
    label = f'<span><i class="mark label" aria-hidden="true"></i>{label}</span>' if label else ""
    return f'<div class="legend">{keys}{label}</div>'


def spoken(
    tasks: Sequence[Task], table: pd.DataFrame, labels: Mapping[str, float], origin: str = "Label"
) -> str:
    """All answers and verdicts as one text for screen readers, which the page announces.

    `table` holds the predictions for one face, indexed by approach. `labels` is empty if they are
    not known. `origin` says where they come from.
    """
    sentences = []
    for task in tasks:
        by = table[table["task"] == task.name]["prediction"]
        said = " ".join(f"{a.title}: {task.answer(by[a.name])}." for a in APPROACHES)
        judged = verdict(task, by, labels.get(task.name)).text
        label = f" {origin}: {task.words(labels[task.name])}." if task.name in labels else ""
        sentences.append(f"{task.title}. {said}{label} {judged}.")
    return f'<span hidden data-spoken="{escape(" ".join(sentences))}"></span>'


def in_columns(tasks: Sequence[Task], parts: Sequence[str], last: str) -> str:
    """The tasks' cards, and a last card, in two columns of about the same height.

    A narrow page has one column.
    """
    is_class = [isinstance(task, Classification) for task in tasks]
    heights = [len(t.labels) + 2 if c else 5 for t, c in zip(tasks, is_class, strict=True)]
    columns, filled = ["", ""], [0, 0]
    for i in sorted(range(len(tasks)), key=lambda i: (is_class[i], -heights[i])):
        column = filled.index(min(filled))
        columns[column] += parts[i]
        filled[column] += heights[i]
    columns[filled.index(min(filled))] += last
    html = "".join(f"<div>{column}</div>" for column in columns)
    return f'<div class="answers">{html}</div>'


def label_words(task: Task, label: float | None) -> str:
    return "no label" if label is None else task.words(label)


def with_confidence(row: pd.Series, task: Task) -> str:
    """An answer with its confidence, such as 'female (98 %)'."""
    return (
        f"<b>{escape(task.answer(row['prediction']))}</b> <span>({100 * row['confidence']:.0f}"
        " %)</span>"
    )


def record(found: TrackRecord | None) -> str:
    """A note: how good both approaches were on similar validation faces. Empty without a record."""
    if found is None:
        return ""
    metric = found.task.metric
    if abs(found.single - found.multi) < metric.close:
        said = f"both are {metric.verb} about {metric.brief((found.single + found.multi) / 2)}"
    else:
        said = (
            f"three models are {metric.verb} about {metric.brief(found.single)}, one model is"
            f" {metric.verb} about {metric.brief(found.multi)}"
        )
    if found.age is None:
        like = "with the same answer"
    else:
        low, high = max(AGE.low, found.age - AGE.near), min(AGE.high, found.age + AGE.near)
        like = f"with a predicted age of {low:.0f} to {high:.0f}"
        like += "" if found.task == AGE else ", the same answer"
    return (
        f'<p class="note">On {found.n} validation faces {like} and a similar confidence,'
        f" {said}.</p>"
    )


def mark(approach: Approach) -> str:
    """The approach's coloured shape. Screen readers skip it, so put the name beside it."""
    return f'<i class="mark {approach.name}" aria-hidden="true"></i>'


def named(approach: Approach) -> str:
    """The approach's mark and name. On a narrow screen, the name is one word."""
    return (
        f'{mark(approach)}<span class="wide-only">{approach.title}</span><span'
        f' class="narrow-only">{approach.count}</span>'
    )


def picture(pixels: np.ndarray, alt: str, size: int = 200, css: str = "") -> str:
    """uint8 (H, W, 3) -> an <img> with embedded data, so that the server writes no file."""
    url, width, height = jpeg_url(pixels, size)
    return f'<img class="{css}" src="{url}" alt="{escape(alt)}" width="{width}" height="{height}">'


def jpeg_url(pixels: np.ndarray, size: int = 200) -> tuple[str, int, int]:
    """uint8 (H, W, 3) -> (data URL of a JPEG of at most `size` px a side, width, height)."""
    image = Image.fromarray(pixels)
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return (
        f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}",
        image.width,
        image.height,
    )


def at(age: float) -> str:
    """The position of an age on the ruler, as a CSS length."""
    return f"{100 * min(max(age, 0), RULER_END) / RULER_END:.2f}%"


def card(title: str, body: str, badge: str = "", tone: str = "") -> str:
    """A card. All arguments are HTML, but `tone` is the CSS class of the badge."""
    badge = f'<span class="badge {tone}">{badge}</span>' if badge else ""
    return (
        '<section class="card"><div'
        f' class="card-head"><h2>{title}</h2>{badge}</div>{body}</section>'
    )


def message(title: str, text: str) -> str:
    """A message that takes the place of an answer."""
    title, text = escape(title), escape(text)
    return (
        f'<section class="card message" role="status" data-spoken="{title}.'
        f' {text}"><h2>{title}</h2><p>{text}</p></section>'
    )


def working(text: str, share: float | None = None) -> str:
    """A message while something is being made, with a progress bar and a stop button.

    `share` is the progress from 0 to 1, or None if it is not known.
    """
    value = "" if share is None else f' value="{share:.2f}"'
    return (
        '<section class="card message working" role="status"><h2>One'
        f' moment</h2><p>{escape(text)}</p><progress{value} aria-label="Progress">'
        '</progress><button type="button" data-choice="stop">Stop</button></section>'
    )


@singledispatch
def task_card(
    task: Task,
    rows: pd.DataFrame,
    probabilities: pd.DataFrame,
    label: float | None,
    record: str = "",
    origin: str = "Label",
) -> str:
    """A card with both approaches' answers for one task.

    `rows` and `probabilities` are the rows of this face and task in the two tables of
    `Predictions`, indexed by approach. `label` is None if it is not known, and `origin` says where
    it comes from. `record` is the result of the function `record`.
    """
    raise NotImplementedError(task)


@task_card.register
def _(
    task: Regression,
    rows: pd.DataFrame,
    probabilities: pd.DataFrame,
    label: float | None,
    record: str = "",
    origin: str = "Label",
) -> str:
    tracks = []
    for approach in APPROACHES:
        row = rows.loc[approach.name]
        width = f"calc({at(row.high)} - {at(row.low)})"
        tracks.append(
            '<div class="ruler-row"><div class="ruler-value'
            f' {approach.name}-text">{mark(approach)}<b>{row.prediction:.1f}</b>'
            f' <small>{row.low:.0f} to {row.high:.0f}</small></div><div class="track"><i'
            f' class="interval {approach.name}" style="left:{at(row.low)};width:{width}"></i><i'
            f' class="dot {approach.name}" style="left:{at(row.prediction)}"></i></div></div>'
        )
    truth = ""
    if label is not None:
        side = " flip" if label > 0.8 * RULER_END else ""
        truth = (
            f'<div class="truth{side}" style="left:{at(label)}"><span>{origin.lower()}'
            f" {label:.0f}</span></div>"
        )
    body = (
        f'<div class="ruler">{"".join(tracks)}{axis()}<div class="ruler-over"><div></div><div'
        f' class="track-over">{truth}</div></div></div><p class="note">{task.unit.capitalize()};'
        f" the bands are {100 * INTERVAL:.0f} % intervals.</p>{record}"
    )
    return card(task.title, body, *_badge(task, rows["prediction"], label))


def _badge(task: Task, predictions: pd.Series, label: float | None) -> tuple[str, str]:
    """The badge of a card, and its CSS class."""
    judged = verdict(task, predictions, label)
    return escape(judged.text), judged.tone


def axis() -> str:
    """The scale of the ruler."""
    ticks = "".join(f'<span style="left:{t}%">{t}</span>' for t in range(0, RULER_END + 1, 20))
    return (
        '<div class="ruler-row axis-row"><div class="ruler-value"></div><div'
        f' class="axis">{ticks}</div></div>'
    )


@task_card.register
def _(
    task: Classification,
    rows: pd.DataFrame,
    probabilities: pd.DataFrame,
    label: float | None,
    record: str = "",
    origin: str = "Label",
) -> str:
    bars = []
    share_of = {
        a: probabilities.loc[a.name].set_index("label")["probability"].to_dict() for a in APPROACHES
    }
    answer_of = {a: int(rows.loc[a.name].prediction) for a in APPROACHES}
    for position, name in enumerate(task.labels):
        is_label = label is not None and int(label) == position
        tag = f'<em class="tag">{origin.lower()}</em>' if is_label else ""
        pair = ""
        for approach in APPROACHES:
            share = share_of[approach][name]
            best = " best" if answer_of[approach] == position else ""
            spoken = f"{escape(name)}, {approach.title}: {100 * share:.0f} %"
            pair += (
                f'<div class="bar-row"><div class="bar" role="img" aria-label="{spoken}">'
                f'<i class="{approach.name}" style="width:{100 * share:.1f}%"></i></div>'
                f'<span class="share{best}">{100 * share:.0f} %</span></div>'
            )
        bars.append(
            f'<div class="bar-name">{escape(name)}{tag}</div><div class="bar-pair">{pair}</div>'
        )
    return card(
        task.title,
        f'<div class="bars">{"".join(bars)}</div>{record}',
        *_badge(task, rows["prediction"], label),
    )


def cost_card(seconds: Sequence[Mapping[str, float]], parameters: Mapping[str, int]) -> str:
    """A card with the median time per face and the number of parameters, by approach.

    `seconds` holds the measured seconds by approach, for each of the last faces.
    """
    cells = [
        (f"{1000 * median(s[a.name] for s in seconds):.0f} ms", a.short, a) for a in APPROACHES
    ]
    cells += [
        (f"{parameters[a.name] / 1e6:.1f} M", f"parameters, {a.short}", a) for a in APPROACHES
    ]
    body = "".join(
        f'<div><b class="{a.name}-text">{mark(a)}{number}</b><small>{what}</small></div>'
        for number, what, a in cells
    )
    n = (
        f"the median of the last {len(seconds)} answers"
        if len(seconds) > 1
        else "measured just now"
    )
    return card(
        "What it cost", f'<div class="cost">{body}</div><p class="note">Time for a face, {n}.</p>'
    )


def html_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    note: str,
    sensitive: Sequence[bool] = (),
) -> str:
    """A table with row headers in its first column, and a note below.

    All arguments but the title are HTML. `sensitive` says for each row whether it belongs to a
    sensitive task, which visitors can hide.
    """
    css = [' class="sensitive"' if hidden else "" for hidden in sensitive] or [""] * len(rows)
    head = "".join(f'<th scope="col">{c}</th>' for c in columns)
    body = "".join(
        f'<tr{css}><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>'
        for css, (first, *rest) in zip(css, rows, strict=True)
    )
    return (
        f'<div class="scroll" tabindex="0"><table class="numbers" aria-label="{escape(title)}">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        + (f'<p class="note">{note}</p>' if note else "")
    )
