"""The result for one face, to save: as a picture and as JSON."""

import io
import json
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ... import plots
from ...inference.predictor import APPROACHES, Predictor, in_words
from ...tasks import Classification, Task
from ..photo import PhotoView
from . import cards
from .markup import data_url, html
from .verdicts import verdict

Tasks = tuple[Task, ...]
Labels = dict[str, float]  # by task; empty if they are not known

# In pixels of the picture: its width, where the first task is, and how high each task is.
_WIDTH, _FIRST, _STEP = 980, 126, 104
_LOWEST = 444  # px; the note is there, or lower if there are many tasks
_PALE = {name: plots.PALETTE[f"{name}-soft"] for name in plots.COLORS}
_INK, _SOFT, _RAIL, _PAPER = (plots.PALETTE[name] for name in ("ink", "soft", "rail", "surface"))


def save_card(predictor: Predictor, view: PhotoView, tasks: Tasks) -> Iterator[str]:
    """The result as a picture and as JSON, in data URLs.

    The server writes no file of a visitor's face.
    """
    picture = data_url("image/png", as_picture(predictor, view.face.crop, tasks, view.labels))
    numbers = data_url(
        "application/json", as_json(predictor, view.face.crop, tasks, view.labels).encode()
    )
    width, height = picture_size(tasks)
    body = html(
        '<img class="saved" src="{picture}" alt="The result as a picture" width="{}" '
        'height="{}"><p class="links"><a download="facemtl.png" href="{picture}">Download '
        'the picture</a><a download="facemtl.json" href="{numbers}">Download all numbers '
        "(JSON)</a></p>",
        width,
        height,
        picture=picture,
        numbers=numbers,
    )
    yield cards.card("The result, to save", body)


def as_json(predictor: Predictor, crop: np.ndarray, tasks: Tasks, labels: Labels) -> str:
    """All predictions for a face as JSON, in numbers and in words, with labels and times."""
    predictions, names = predictor.predict_crops([crop]), {task.name for task in tasks}
    answers = [
        {**answer, "label": labels.get(answer["task"])}
        for answer in in_words(predictions)[0]
        if answer["task"] in names
    ]
    milliseconds = {
        name: round(1000 * s, 2) for name, s in predictor.by_approach(predictions.seconds).items()
    }
    content = {"note": cards.NOTE, "answers": answers, "milliseconds": milliseconds}
    return json.dumps(content, indent=2)


def picture_size(tasks: Tasks) -> tuple[int, int]:
    """The width and the height of the picture, in pixels."""
    return _WIDTH, 36 + max(_LOWEST, _FIRST + _STEP * len(tasks) + 6)


def as_picture(predictor: Predictor, crop: np.ndarray, tasks: Tasks, labels: Labels) -> bytes:
    """The result as a PNG: the crop, and both approaches' answers beside it."""
    table = predictor.predict_crops([crop]).table.set_index(["task", "approach"])
    image = Image.new("RGB", picture_size(tasks), _PAPER)
    draw = ImageDraw.Draw(image)
    face = Image.fromarray(crop).resize((380, 380), Image.Resampling.LANCZOS)
    image.paste(face, (30, 50))
    draw.text((30, 18), "facemtl: one face, two answers", _INK, _font(20))
    for i, a in enumerate(APPROACHES):
        y = 54 + 26 * i
        _mark(draw, a.name, 446, y + 9)
        draw.text((464, y), a.title, _SOFT, _font(15))
    for i, task in enumerate(tasks):
        y = _FIRST + _STEP * i
        label = labels.get(task.name)
        judged = verdict(task, table.loc[task.name]["prediction"], label).text
        label = judged if label is None else f"label: {task.words(label)}. {judged}"
        draw.text((440, y), task.title, _INK, _font(18))
        draw.text((950, y + 2), label, _SOFT, _font(15), anchor="ra")
        for k, a in enumerate(APPROACHES):
            row, line = table.loc[task.name, a.name], y + 30 + 30 * k
            if isinstance(task, Classification):
                _mark(draw, a.name, 446, line + 8)
                draw.rounded_rectangle((460, line + 2, 690, line + 14), 3, _RAIL)
                end = 460 + 230 * float(row.confidence)
                draw.rounded_rectangle((460, line + 2, end, line + 14), 3, plots.COLORS[a.name])
            else:
                draw.rounded_rectangle((460, line + 7, 690, line + 9), 1, _RAIL)
                draw.rounded_rectangle(
                    (_on_ruler(row.low), line + 4, _on_ruler(row.high), line + 12), 4, _PALE[a.name]
                )
                _mark(draw, a.name, _on_ruler(row.prediction), line + 8)
            certain = f"{100 * row.confidence:.0f} % {task.confidence_words}"
            draw.text((702, line - 2), f"{task.answer(row.prediction)}  ", _INK, _font(16))
            draw.text((950, line), certain, _SOFT, _font(13), anchor="ra")
        if task.name in labels and not isinstance(task, Classification):
            x = _on_ruler(labels[task.name])
            draw.line((x, y + 26, x, y + 80), _INK, 2)
    draw.text(
        (30, picture_size(tasks)[1] - 36),
        "Predictions follow the labels of one dataset. They say nothing about who a person is.",
        _SOFT,
        _font(14),
    )
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _on_ruler(years: float) -> float:
    """The x position of an age in the picture, in pixels."""
    return 460 + 230 * min(max(float(years), 0), cards.RULER_END) / cards.RULER_END


def _font(size: int) -> ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _mark(draw: ImageDraw.ImageDraw, approach: str, x: int, y: int) -> None:
    """Draw the approach's shape in its colour."""
    if approach == APPROACHES[0].name:
        draw.ellipse((x - 5, y - 5, x + 5, y + 5), plots.COLORS[approach])
    else:
        draw.polygon([(x, y - 6), (x + 6, y), (x, y + 6), (x - 6, y)], plots.COLORS[approach])
