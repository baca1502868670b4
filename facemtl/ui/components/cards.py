"""HTML parts that the tabs share: plain functions, numbers in and HTML out.

A card answers one question. Its badge gives the answer in words. An approach has the same colour
and the same shape everywhere.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

import numpy as np
import pandas as pd
from markupsafe import Markup
from PIL import Image

from ...evaluation.track_record import TrackRecord
from ...inference.predictor import APPROACHES, Approach
from ...tasks import AGE, INTERVAL, Classification, Regression, Task
from .markup import data_url, html, joined, with_code
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
    keys = joined(html("<span>{}{}</span>", mark(a), a.title) for a in APPROACHES)
    label = (
        html('<span><i class="mark label" aria-hidden="true"></i>{}</span>', label) if label else ""
    )
    return html('<div class="legend">{}{}</div>', keys, label)


def spoken(
    tasks: Sequence[Task], table: pd.DataFrame, labels: Mapping[str, float], origin: str = "Label"
) -> str:
    """All answers and verdicts as one text for screen readers, which the page announces.

    `table` holds the predictions for one face, indexed by approach. `labels` is empty if no label
    is known. `origin` says where labels come from.
    """
    sentences = []
    for task in tasks:
        by = table[table["task"] == task.name]["prediction"]
        said = " ".join(f"{a.title}: {task.answer(by[a.name])}." for a in APPROACHES)
        judged = verdict(task, by, labels.get(task.name)).text
        label = f" {origin}: {task.words(labels[task.name])}." if task.name in labels else ""
        sentences.append(f"{task.title}. {said}{label} {judged}.")
    return html('<span hidden data-spoken="{}"></span>', " ".join(sentences))


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
    both = joined(html("<div>{}</div>", column) for column in columns)
    return html('<div class="answers">{}</div>', both)


def label_words(task: Task, label: float | None) -> str:
    return "no label" if label is None else task.words(label)


def with_confidence(row: pd.Series, task: Task) -> str:
    """An answer with its confidence, such as 'female (98 %)'."""
    return html(
        "<b>{}</b> <span>({:.0f} %)</span>", task.answer(row["prediction"]), 100 * row["confidence"]
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
    return html(
        '<p class="note">On {} validation faces {} and a similar confidence, {}.</p>',
        found.n,
        like,
        said,
    )


def mark(approach: Approach) -> str:
    """The approach's coloured shape. Screen readers skip it, so put the name beside it."""
    return html('<i class="mark {}" aria-hidden="true"></i>', approach.name)


def named(approach: Approach) -> str:
    """The approach's mark and name. On a narrow screen, the name is one word."""
    return html(
        '{}<span class="wide-only">{}</span><span class="narrow-only">{}</span>',
        mark(approach),
        approach.title,
        approach.count,
    )


def picture(pixels: np.ndarray, alt: str, size: int = 200, css: str = "") -> str:
    """uint8 (H, W, 3) -> an <img> with embedded data, so that the server writes no file."""
    url, width, height = jpeg_url(pixels, size)
    return html(
        '<img class="{css}" src="{url}" alt="{alt}" width="{width}" height="{height}">',
        css=css,
        url=url,
        alt=alt,
        width=width,
        height=height,
    )


def jpeg_url(pixels: np.ndarray, size: int = 200) -> tuple[str, int, int]:
    """uint8 (H, W, 3) -> (data URL of a JPEG of at most `size` px a side, width, height)."""
    image = Image.fromarray(pixels)
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return (data_url("image/jpeg", buffer.getvalue()), image.width, image.height)


def at(age: float) -> str:
    """The position of an age on the ruler, as a CSS length."""
    return f"{100 * min(max(age, 0), RULER_END) / RULER_END:.2f}%"


def card(title: str, body: str, badge: str = "", tone: str = "") -> str:
    """A card. `tone` is the CSS class of the badge."""
    badge = html('<span class="badge {}">{}</span>', tone, badge) if badge else ""
    return html(
        '<section class="card"><div class="card-head"><h2>{}</h2>{}</div>{}</section>',
        title,
        badge,
        body,
    )


def message(title: str, text: str) -> str:
    """A message that takes the place of an answer."""
    return html(
        '<section class="card message" role="status" data-spoken="{title}. '
        '{spoken}"><h2>{title}</h2><p>{text}</p></section>',
        title=title,
        spoken=text.replace("`", ""),
        text=with_code(text),
    )


def working(text: str, share: float | None = None) -> str:
    """A message while something is being made, with a progress bar and a stop button.

    `share` is the progress from 0 to 1, or None if it is not known.
    """
    value = "" if share is None else html(' value="{:.2f}"', share)
    return html(
        '<section class="card message working" role="status"><h2>One '
        'moment</h2><p>{}</p><progress{} aria-label="Progress"></progress><button '
        'type="button" data-choice="stop">Stop</button></section>',
        text,
        value,
    )


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
    if isinstance(task, Classification):
        body = _bars(task, rows, probabilities, label, origin)
    else:
        body = _ruler(task, rows, label, origin)
    judged = verdict(task, rows["prediction"], label)
    return card(task.title, body + record, judged.text, judged.tone)


def _ruler(task: Regression, rows: pd.DataFrame, label: float | None, origin: str) -> Markup:
    """Both answers with their intervals, and the label, on a scale."""
    tracks = []
    for approach in APPROACHES:
        row = rows.loc[approach.name]
        width = f"calc({at(row.high)} - {at(row.low)})"
        tracks.append(
            html(
                '<div class="ruler-row"><div class="ruler-value '
                '{approach.name}-text">{mark}<b>{row.prediction:.1f}</b> <small>{row.low:.0f} to '
                '{row.high:.0f}</small></div><div class="track"><i class="interval '
                '{approach.name}" style="left:{low};width:{width}"></i><i class="dot '
                '{approach.name}" style="left:{}"></i></div></div>',
                at(row.prediction),
                approach=approach,
                mark=mark(approach),
                row=row,
                low=at(row.low),
                width=width,
            )
        )
    truth = ""
    if label is not None:
        side = " flip" if label > 0.8 * RULER_END else ""
        truth = html(
            '<div class="truth{side}" style="left:{at}"><span>{} {label:.0f}</span></div>',
            origin.lower(),
            side=side,
            at=at(label),
            label=label,
        )
    return html(
        '<div class="ruler">{tracks}{axis}<div class="ruler-over"><div></div><div '
        'class="track-over">{truth}</div></div></div><p class="note">{}; the bands are '
        "{:.0f} % intervals.</p>",
        task.unit.capitalize(),
        100 * INTERVAL,
        tracks=joined(tracks),
        axis=axis(),
        truth=truth,
    )


def axis() -> str:
    """The scale of the ruler."""
    ticks = joined(
        html('<span style="left:{}%">{}</span>', t, t) for t in range(0, RULER_END + 1, 25)
    )
    return html(
        '<div class="ruler-row axis-row"><div class="ruler-value"></div><div '
        'class="axis">{}</div></div>',
        ticks,
    )


def _bars(
    task: Classification,
    rows: pd.DataFrame,
    probabilities: pd.DataFrame,
    label: float | None,
    origin: str,
) -> Markup:
    """Both probabilities of each label."""
    bars = []
    share_of = {
        a: probabilities.loc[a.name].set_index("label")["probability"].to_dict() for a in APPROACHES
    }
    answer_of = {a: int(rows.loc[a.name].prediction) for a in APPROACHES}
    for position, name in enumerate(task.labels):
        is_label = label is not None and int(label) == position
        tag = html('<em class="tag">{}</em>', origin.lower()) if is_label else ""
        pair = ""
        for approach in APPROACHES:
            share = share_of[approach][name]
            best = " best" if answer_of[approach] == position else ""
            spoken = f"{name}, {approach.title}: {100 * share:.0f} %"
            pair += html(
                '<div class="bar-row"><div class="bar" role="img" aria-label="{spoken}"><i '
                'class="{approach.name}" style="width:{:.1f}%"></i></div><span '
                'class="share{best}">{:.0f} %</span></div>',
                100 * share,
                100 * share,
                spoken=spoken,
                approach=approach,
                best=best,
            )
        bars.append(
            html('<div class="bar-name">{}{}</div><div class="bar-pair">{}</div>', name, tag, pair)
        )
    return html('<div class="bars">{}</div>', joined(bars))


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
    body = joined(
        html(
            '<div><b class="{a.name}-text">{mark}{number}</b><small>{what}</small></div>',
            a=a,
            mark=mark(a),
            number=number,
            what=what,
        )
        for number, what, a in cells
    )
    n = (
        f"the median of the last {len(seconds)} answers"
        if len(seconds) > 1
        else "measured just now"
    )
    return card(
        "What it cost",
        html('<div class="cost">{}</div><p class="note">Time for a face, {}.</p>', body, n),
    )


def html_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    note: str,
    sensitive: Sequence[bool] = (),
) -> str:
    """A table with row headers in its first column, and a note below.

    `sensitive` says for each row whether it belongs to a sensitive task, which visitors can hide.
    """
    css = [html(' class="sensitive"') if hidden else "" for hidden in sensitive] or [""] * len(rows)
    head = joined(html('<th scope="col">{}</th>', c) for c in columns)
    body = joined(
        html(
            '<tr{}><th scope="row">{}</th>{}</tr>',
            css,
            first,
            joined(html("<td>{}</td>", cell) for cell in rest),
        )
        for css, (first, *rest) in zip(css, rows, strict=True)
    )
    return html(
        '<div class="scroll" tabindex="0"><table class="numbers" '
        'aria-label="{}"><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>',
        title,
        head,
        body,
    ) + (html('<p class="note">{}</p>', note) if note else "")
