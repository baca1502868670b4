"""Pinned faces: compact cards that stay while another face is looked at."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...inference.predictor import APPROACHES, Predictor
from ...tasks import Classification, Task
from ..photo import PhotoView
from . import cards
from .markup import html, joined

MOST = 2  # faces that can be pinned at a time; a third one takes the place of the oldest


@dataclass(frozen=True, eq=False)
class Pin:
    """A face and its predictions. It is kept only in the server's memory, for a short time."""

    crop: np.ndarray
    table: pd.DataFrame  # the predictions of this face
    labels: dict[str, float]


Pins = tuple[Pin, ...]


def with_face(pins: Pins, predictor: Predictor, view: PhotoView) -> Pins:
    """The pins and the face of a view, unless that is pinned already."""
    crop = view.face.crop
    if any(np.array_equal(pin.crop, crop) for pin in pins):
        return pins
    return (*pins, Pin(crop, predictor.predict_crops([crop]).table, view.labels))[-MOST:]


def without(pins: Pins, number: object) -> Pins:
    """The pins without one of them. `number` comes from a browser; a wrong one changes nothing."""
    return tuple(pin for i, pin in enumerate(pins) if str(i) != str(number))


def pins_html(pins: Pins, tasks: Sequence[Task]) -> str:
    """A compact card for each pinned face."""
    parts = []
    for i, pin in enumerate(pins):
        name = "Pinned face" if len(pins) == 1 else f"Pinned face {i + 1}"
        rows = joined(_row(task, pin) for task in tasks)
        parts.append(
            html(
                '<section class="card pinned" aria-label="{name}">{picture}<div><div '
                'class="card-head"><h2>{name}</h2><button type="button" data-choice="{i}" '
                'aria-label="Unpin: {name}">Unpin</button></div><dl>{rows}</dl></div></section>',
                name=name,
                picture=cards.picture(pin.crop, name, 96),
                i=i,
                rows=rows,
            )
        )
    return html('<div class="pins">{}</div>', joined(parts)) if parts else ""


def _row(task: Task, pin: Pin) -> str:
    by = pin.table[pin.table["task"] == task.name].set_index("approach")
    answers = joined(
        html(
            '<dd>{}<span class="sr-only">{}: </span>{}</dd>',
            cards.mark(a),
            a.title,
            _brief(by.loc[a.name], task),
        )
        for a in APPROACHES
    )
    if task.name in pin.labels:
        answers += html("<dd><small>label {}</small></dd>", task.words(pin.labels[task.name]))
    css = html(' class="sensitive"') if task.sensitive else ""
    return html("<div{}><dt>{}</dt>{}</div>", css, task.title, answers)


def _brief(row: pd.Series, task: Task) -> str:
    if isinstance(task, Classification):
        return cards.with_confidence(row, task)
    return html("<b>{:.1f}</b>", row["prediction"])
