"""Pinned faces: compact cards that stay while another face is looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd

from ...inference.predictor import APPROACHES, Predictor
from ...tasks import Classification, Task
from ..photo import PhotoView
from . import cards

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
        rows = "".join(_row(task, pin) for task in tasks)
        parts.append(
            f'<section class="card pinned" aria-label="{name}">{cards.picture(pin.crop, name, 96)}'
            f'<div><div class="card-head"><h2>{name}</h2><button type="button" data-choice="{i}"'
            f' aria-label="Unpin: {name}">Unpin</button></div><dl>{rows}</dl></div></section>'
        )
    return f'<div class="pins">{"".join(parts)}</div>' if parts else ""


def _row(task: Task, pin: Pin) -> str:
    by = pin.table[pin.table["task"] == task.name].set_index("approach")
    answers = "".join(
        f'<dd>{cards.mark(a)}<span class="sr-only">{a.title}: </span>'
        f"{_brief(by.loc[a.name], task)}</dd>"
        for a in APPROACHES
    )
    if task.name in pin.labels:
        answers += f"<dd><small>label {escape(task.words(pin.labels[task.name]))}</small></dd>"
    css = ' class="sensitive"' if task.sensitive else ""
    return f"<div{css}><dt>{task.title}</dt>{answers}</div>"


def _brief(row: pd.Series, task: Task) -> str:
    if isinstance(task, Classification):
        return cards.with_confidence(row, task)
    return f"<b>{row['prediction']:.1f}</b>"
