"""Compare: one face, and what both approaches think of it."""

from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path

import gradio as gr
import numpy as np
import pandas as pd
from PIL import Image

from ..detection import Face, detect, open_image, whole
from ..errors import FaceMTLError
from ..prediction import APPROACHES, Predictor, approach_of
from ..tasks import Classification
from . import cards
from .faces import FacePool, LabelledFace, new_seed

WAITING = cards.message("No face yet", "Upload a photo, take one, paste one, or draw a random face.")

from gradio.events import Dependency

class Photo(gr.Image):
    """gr.Image that hands on the file as it came, so that one place reads it, or says why it cannot."""

    is_template = True  # to the browser it is an image component like any other

    def preprocess(self, payload) -> str | None:
        return payload.path if payload else None
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component


@dataclass(frozen=True)
class Look:
    """What a visitor is looking at. It lives in the server's memory alone, for as long as the page is open."""

    photo: np.ndarray | None = None  # uint8 (H, W, 3), reduced; None where the face is all there is
    scale: float = 1.0  # pixels of `photo` per pixel of the original, in which boxes are given
    faces: tuple[Face, ...] = ()
    chosen: int = 0
    labels: dict[str, float] = field(default_factory=dict)  # the truth, where it is known
    centre: Face | None = None  # offered where no face was found

    @property
    def face(self) -> Face | None:
        return self.faces[self.chosen] if self.faces else None


def look_at_file(path: str | Path) -> Look:
    """Find the faces in an image file. FaceMTLError where it cannot be read."""
    image = open_image(Path(path))
    faces = tuple(detect(image))
    photo = image.copy()
    photo.thumbnail((640, 640), Image.Resampling.BILINEAR)
    look = Look(photo=np.asarray(photo), scale=photo.width / image.width, faces=faces)
    return look if faces else replace(look, centre=whole(image))


def look_at_face(labelled: LabelledFace) -> Look:
    return Look(faces=(labelled.face,), labels=labelled.labels)


def answer(predictor: Predictor, look: Look) -> str:
    """The cards: every task, then the cost."""
    if look.face is None:
        if look.centre is None:
            return WAITING
        return cards.message(
            "No face found",
            "The detector sees upright faces from the front, of at least 80 pixels after the photo is reduced to 1,000. "
            "Try another photo, or go on with the centre square: the models answer whatever they are shown.",
        )
    predictions = predictor.predict([look.face.crop])
    by_approach = _by_approach(predictions.table), _by_approach(predictions.probabilities)
    parts = {
        task: cards.task_card(task, *(t[t["task"] == task.name] for t in by_approach), look.labels.get(task.name))
        for task in predictor.tasks
    }
    wide = [html for task, html in parts.items() if not isinstance(task, Classification)]
    halves = [html for task, html in parts.items() if isinstance(task, Classification)]
    seconds = {a.name: sum(predictions.seconds[m.name] for m in predictor.models if m.approach is a) for a in APPROACHES}
    parameters = {a.name: sum(m.model.n_parameters for m in predictor.models if m.approach is a) for a in APPROACHES}
    return (
        cards.legend(with_label=bool(look.labels))
        + "".join(wide)
        + f'<div class="two">{"".join(halves)}</div>'
        + cards.cost_card(seconds, parameters)
        + f'<p class="note">{cards.NOTE}</p>'
    )


def seen(predictor: Predictor, look: Look) -> str:
    """The photo with its boxes, where there is one, and the exact crop that the models see."""
    if look.face is None:
        return ""
    size = max(m.checkpoint.image_size for m in predictor.models)
    crop = cards.picture(look.face.crop, "The crop that the models see", size=2 * size, css="crop")
    text = f"<b>What the models see</b><br>this crop, at {size} × {size} px"
    if len(look.faces) > 1:
        text += f"<br>face {look.chosen + 1} of {len(look.faces)}, largest first"
    return f'{_boxes(look)}<div class="seen">{crop}<p>{text}</p></div>'


def _boxes(look: Look) -> str:
    """The photo with a button on each face; nothing where the photo is the crop."""
    if look.photo is None or (len(look.faces) == 1 and look.face.score is None):
        return ""
    height, width = look.photo.shape[:2]
    buttons = []
    for i, face in enumerate(look.faces):
        left, top, right, bottom = (v * look.scale for v in face.box)
        left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
        style = (
            f"left:{100 * left / width:.2f}%;top:{100 * top / height:.2f}%;"
            f"width:{100 * (right - left) / width:.2f}%;height:{100 * (bottom - top) / height:.2f}%"
        )
        buttons.append(
            f'<button type="button" class="box" data-choice="{i}" style="{style}" '
            f'aria-label="Face {i + 1}" aria-pressed="{str(i == look.chosen).lower()}"></button>'
        )
    return f'<div class="photo">{cards.picture(look.photo, "Your photo", size=640)}{"".join(buttons)}</div>'


def _by_approach(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_axis(approach_of(table), axis=0)


def build(predictor: Predictor, pool: "Future[FacePool]", choose: str) -> dict:
    """Layout and wiring; `choose` is the script that tells which element with data-choice was clicked.

    Returns what other tabs need: `outputs`, and `show(look)`, which fills them.
    """
    state = gr.State(Look(), time_to_live=3600)
    with gr.Row(elem_classes="columns"):
        with gr.Column(scale=3, min_width=280, elem_classes="left"):
            image = Photo(
                type="filepath",
                sources=["upload", "webcam", "clipboard"],
                label="A photo of a face",
                height=300,
                buttons=[],
                elem_id="photo",
            )
            random = gr.Button("Random face", variant="primary", elem_id="random-face")
            centre = gr.Button("Use the centre square", visible=False, elem_id="centre")
            view = gr.HTML(elem_id="seen", js_on_load=choose)
        with gr.Column(scale=8, min_width=300):
            cards_ = gr.HTML(WAITING, elem_id="answer")

    def show(look: Look) -> tuple:
        return (
            look,
            seen(predictor, look),
            answer(predictor, look),
            gr.Button(visible=look.face is None and look.centre is not None),
        )

    def on_file(path: str | None) -> tuple:
        try:
            return show(look_at_file(path) if path else Look())
        except FaceMTLError as error:
            return Look(), "", cards.message("This file cannot be used", str(error)), gr.Button(visible=False)

    def on_random() -> tuple:
        labelled = pool.result().draw(1, new_seed())[0]
        return labelled.face.crop, *show(look_at_face(labelled))

    def on_centre(look: Look) -> tuple:
        return show(replace(look, faces=(look.centre,)) if look.centre else look)

    def on_choice(look: Look, event: gr.EventData) -> tuple:
        chosen = int(event.choice)
        return show(replace(look, chosen=chosen) if 0 <= chosen < len(look.faces) else look)

    outputs = [state, view, cards_, centre]
    quiet = {"api_visibility": "private", "concurrency_id": "models", "concurrency_limit": 1, "show_progress_on": cards_}
    image.input(on_file, image, outputs, **quiet)
    # Removing the image fires `input` too, but with the image that was there; only `change` comes with none.
    image.change(lambda path: [gr.skip()] * len(outputs) if path else show(Look()), image, outputs, **quiet)
    random.click(on_random, None, [image, *outputs], **quiet)
    centre.click(on_centre, state, outputs, **quiet)
    view.click(on_choice, state, outputs, **quiet)
    return {"image": image, "outputs": outputs, "show": show, "on_random": on_random}