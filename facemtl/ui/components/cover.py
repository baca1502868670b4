"""Cover parts of a face with a brush, and see how both approaches' answers change."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from ...errors import FaceMTLError
from ...faces.align import POSITIONS
from ...inference.predictor import APPROACHES, Predictor
from ...inference.what_if import GRID, covered
from ...tasks import Classification, Task
from ..photo import PhotoView
from . import cards
from .markup import html, joined

DOING = "Preparing the face for the brush."
SIDE = 320  # px; the face to paint on
IMAGES = ("before", "after")
NOTE = (
    "What is covered gets the face's mean colour. A large change shows that the answer depends on"
    " that place, not why."
)


def mask_of(text: object) -> np.ndarray:
    """The mask that a browser sent, bool (GRID, GRID): a text of GRID * GRID digits 0 or 1.

    Raises FaceMTLError for anything else.
    """
    if not isinstance(text, str) or len(text) != GRID**2 or set(text) - {"0", "1"}:
        raise FaceMTLError(
            f"What was painted cannot be read: expected {GRID} × {GRID} cells. Reload the page."
        )
    return np.array([cell == "1" for cell in text]).reshape(GRID, GRID)


def places() -> dict[str, np.ndarray]:
    """Masks of fixed places, by name. Crops are aligned, so that eyes and mouth are there."""
    centres = (np.arange(GRID) + 0.5) / GRID
    x, y = np.meshgrid(centres, centres)

    def box(points: np.ndarray, wide: float, high: float) -> np.ndarray:
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        across = (x > left - wide) & (x < right + wide)
        return across & (y > top - high) & (y < bottom + high)

    return {
        "Eyes": box(POSITIONS[:2], 0.14, 0.09),
        "Nose": box(POSITIONS[2:3], 0.11, 0.13),
        "Mouth": box(POSITIONS[3:], 0.08, 0.09),
        "Left half": x < 0.5,
        "Right half": x > 0.5,
        "Upper half": y < 0.5,
        "Lower half": y > 0.5,
    }


def painter(predictor: Predictor, view: PhotoView, tasks: Sequence[Task]) -> Iterator[str]:
    """The face to paint on, with buttons for fixed places and to clear it."""
    crop = view.face.crop
    colour = ",".join(f"{v:.0f}" for v in crop.mean(axis=(0, 1)).round())
    cells = {name: "".join("01"[int(c)] for c in mask.flat) for name, mask in places().items()}
    cells["Clear"] = "0" * GRID**2
    buttons = joined(
        html('<button type="button" data-mask="{}">{}</button>', sent, name)
        for name, sent in cells.items()
    )
    body = html(
        '<div class="painter" data-grid="{grid}" '
        'data-colour="rgb({colour})">{picture}<canvas width="{side}" height="{side}" '
        'aria-hidden="true"></canvas></div><p class="note">Paint over the face, or choose '
        'a place:</p><div class="places">{buttons}</div>',
        grid=GRID,
        colour=colour,
        picture=cards.picture(crop, "The face, to paint over", SIDE),
        side=SIDE,
        buttons=buttons,
    )
    yield cards.card("What if parts are covered?", body)


def covered_card(
    predictor: Predictor, view: PhotoView, tasks: Sequence[Task], mask: np.ndarray
) -> str:
    """Both approaches' answers for the covered face, beside the original ones."""
    if not mask.any():
        return ""
    crop = covered(view.face.crop, mask)
    table = predictor.predict_crops([view.face.crop, crop], IMAGES).table
    by = table.set_index(["task", "approach", "image"])
    rows = [
        [
            task.title,
            *(
                _moved(task, *(by.loc[(task.name, a.name, image)] for image in IMAGES))
                for a in APPROACHES
            ),
        ]
        for task in tasks
    ]
    share = f"{100 * mask.mean():.0f} % of the crop is covered."
    columns = ["Task", *(cards.named(a) for a in APPROACHES)]
    note = f"{share} {NOTE} {cards.CONFIDENCE_NOTE}"
    answers = cards.html_table("Before and after covering", columns, rows, note)
    return cards.card("Answers, before → after", answers)


def _moved(task: Task, before: pd.Series, after: pd.Series) -> str:
    """An answer before and after, such as '31.4 → 35.0 years (+3.6)', as HTML."""
    if isinstance(task, Classification):
        said = (cards.with_confidence(row, task) for row in (before, after))
        return joined((html('<span class="said">{}</span>', text) for text in said), by=" → ")
    change = round(float(after["prediction"]), 1) - round(float(before["prediction"]), 1)
    return html(
        '<span class="said"><b>{:.1f}</b></span> → <span class="said"><b>{}</b> ({:+.1f})</span>',
        before["prediction"],
        task.answer(after["prediction"]),
        change,
    )
