"""Doors beside the browser: what `gradio_client`, plain HTTP or, as an option, a language model by
MCP may ask for.

The same functions give the same answers as the page.
"""

import inspect
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Literal

import gradio as gr
import numpy as np
import pandas as pd

from ..errors import FaceMTLError
from ..evaluation.groups import GROUPINGS, grouping_name
from ..faces import as_record, detect, open_image
from ..inference.predictor import Predictor, in_words
from ..tasks import AGE, CLASSES, Classification
from . import events
from .answers import Answers
from .components import cards
from .faces import ANY, MAX_SEED, ORDERS, FaceFilter, FacePool, ready

MOST_FACES = 24  # in one answer

# The file as it came, so that one place reads it or says why it cannot; Gradio's own way is an
# error without words.
# Set on the class, because Gradio makes new instances while it runs, and a subclass makes it write
# stub files here.
gr.Image.preprocess = lambda self, payload: (
    events.uploaded(payload.path) if payload and payload.path else None
)

# Types and docstrings of what may be called are what a client is told.
Order = Literal[tuple(ORDERS)]
By = Literal[(*(grouping_name(tasks) for tasks in GROUPINGS), "age_group")]


def predict(predictor: Predictor, photo: str | Path | None) -> dict[str, Any]:
    """Every face in a photo, the largest first, with what both approaches say of it.

    `box` is a square: left, top, right, bottom in pixels of the photo. `angle` says by how many
    degrees it is turned about its centre, clockwise, so that the face stands upright in it.
    """
    if not photo:
        raise FaceMTLError("There is no photo. Send a JPEG or PNG.")
    image = open_image(Path(photo))
    faces = detect(image)
    predictions = predictor.predict_crops([face.crop for face in faces], faces=range(len(faces)))
    return {
        "note": cards.NOTE,
        "faces": [
            {**as_record(face, image), "answers": said}
            for face, said in zip(faces, in_words(predictions), strict=True)
        ],
    }


def sample(answers: Answers, pool: FacePool, n: int, wish: FaceFilter) -> dict[str, Any]:
    """Labelled faces that no model was trained on, with what both approaches say of them."""
    limits = {
        "n": (n, 1, MOST_FACES),
        "seed": (wish.seed, 0, MAX_SEED),
        "age_from": (wish.low, AGE.low, AGE.high),
        "age_to": (wish.high, AGE.low, AGE.high),
    }
    for name, (value, low, high) in limits.items():
        if not (isinstance(value, int) and low <= value <= high):
            raise FaceMTLError(
                f"{name} must be a whole number from {low} to {high}, and is {str(value)[:20]!r}."
            )
    if wish.low > wish.high:
        raise FaceMTLError(f"age_from must not be above age_to: {wish.low} is above {wish.high}.")
    _place("order", wish.order, [*ORDERS])
    if wish.needs_predictions:
        pool.learn(answers)
    drawn = pool.draw(n, wish)
    answered = answers.in_words(
        [each.image for each in drawn], lambda positions: [drawn[i].face.crop for i in positions]
    )
    return {
        "note": cards.NOTE,
        "origin": pool.origin,
        "seed": wish.seed,
        "total": len(pool.select(wish)),
        "faces": [
            {"labels": each.labels, "picture": cards.jpeg_url(each.face.crop)[0], "answers": said}
            for each, said in zip(drawn, answered, strict=True)
        ],
    }


def metrics_of(metrics: pd.DataFrame | None, by: str) -> list[dict[str, Any]]:
    """Rows of the measured metrics, with 95 % intervals: of everybody, or of each group."""
    if metrics is None:
        raise FaceMTLError(
            "These models have not been measured. Run `python -m facemtl evaluate`, then start the"
            " app again."
        )
    _place("by", by, list(metrics["by"].unique()))
    rows = metrics[metrics["by"] == by]
    return rows.replace({np.nan: None}).to_dict("records")


def build(answers: Answers, metrics: pd.DataFrame | None, pool: "Future[FacePool]") -> None:
    """The endpoints `/predict`, `/sample` and `/metrics`; nothing that is seen."""
    public = {**events.MODEL_WORK, "api_visibility": "public"}

    def ask_predict(photo: str) -> dict[str, Any]:
        """Find the faces in a photo; say how each is perceived: gender, race and age, by three
        models and by one.

        Parameters:
            photo: an image file with one face or several
        """
        return predict(answers.predictor, photo)

    def ask_sample(
        n: int = 12,
        seed: int = 1,
        age_from: int = AGE.low,
        age_to: int = AGE.high,
        *labels_and_order: str,
    ) -> dict[str, Any]:
        """Draw labelled faces that no model was trained on, with the answers of all models.

        Parameters:
            n: how many faces, 1 to 24
            seed: which ones, 0 to 999999: the same seed draws the same faces
            age_from: the lowest labelled age, in years
            age_to: the highest labelled age, in years
            order: by chance, largest age errors first,
            or largest differences of both approaches first
        """
        *labels, order = labels_and_order
        chosen = {t.name: _index(t, label) for t, label in zip(CLASSES, labels, strict=True)}
        wish = FaceFilter(seed, low=age_from, high=age_to, order=order, **chosen)
        return sample(answers, ready(pool), n, wish)

    labels = [(t.name, Literal[("any", *t.labels)], "any") for t in CLASSES]
    _name_parameters(ask_sample, [*labels, ("order", Order, "chance")])

    def ask_metrics(by: By = "all") -> list[dict[str, Any]]:
        """Accuracy and mean absolute error of three single-task models and of one multi-task model,
        with 95 % intervals.

        Parameters:
            by: all validation images together, or each gender, race, age group, or gender and race
        """
        return metrics_of(metrics, by)

    photo, faces = (
        gr.Image(type="filepath", label="Photo", visible=False),
        gr.JSON(label="Faces", visible=False),
    )
    gr.Button(visible=False).click(
        events.handle_errors(ask_predict), photo, faces, api_name="predict", **public
    )
    gr.api(events.handle_errors(ask_sample), api_name="sample", **public)
    gr.api(events.handle_errors(ask_metrics), api_name="metrics", api_visibility="public")


def _name_parameters(function: Callable, more: Sequence[tuple[str, object, str]]) -> None:
    """Tell clients the (name, type, default) of what `function` takes as its last arguments."""
    signature = inspect.signature(function)
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    named = [p for p in signature.parameters.values() if p.kind is kind]
    added = [inspect.Parameter(n, kind, default=d, annotation=type_) for n, type_, d in more]
    function.__signature__ = signature.replace(parameters=[*named, *added])
    function.__annotations__ |= {name: type_ for name, type_, _ in more}
    undocumented = [name for name, *_ in more if f"{name}:" not in function.__doc__]
    lines = [f"            {name}: only faces with this label" for name in undocumented]
    function.__doc__ = "\n".join([function.__doc__.rstrip(), *lines])


def _index(task: Classification, label: object) -> int:
    return [ANY, *range(len(task.labels))][_place(task.name, label, ["any", *task.labels])]


def _place(name: str, value: object, choices: Sequence[str]) -> int:
    """Where the value stands among the choices. A client may send anything, whatever the types
    say.
    """
    if value not in choices:
        raise FaceMTLError(
            f"{name} cannot be {str(value)[:20]!r}. Choose one of {', '.join(choices)}."
        )
    return choices.index(value)
