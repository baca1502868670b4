"""API endpoints for `gradio_client`, plain HTTP and, optionally, language models over MCP.

They give the same predictions as the page.
"""

import inspect
from collections.abc import Callable, Sequence
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
from . import (
    events,
    no_urls,  # noqa: F401
    uploads,
)
from .components import cards
from .components.photo_input import PhotoInput
from .faces import ANY, MAX_SEED, ORDERS, CurrentPool, FaceFilter, FacePool, ready
from .photo import one_photo
from .prediction_cache import PredictionCache

ENDPOINTS = ("predict", "sample", "metrics")
MOST_FACES = 24  # per call of `/sample`

# Clients see the types and docstrings of the endpoints.
Order = Literal[tuple(ORDERS)]
By = Literal[(*(grouping_name(tasks) for tasks in GROUPINGS), "age_group")]


def predict(predictor: Predictor, photo: str | Path | None) -> dict[str, Any]:
    """All faces in a photo, largest first, with the predictions of both approaches.

    `box` is a square: left, top, right, bottom in pixels of the photo. `angle` is the clockwise
    rotation of the square about its centre, in degrees, that makes the face upright. Raises
    FaceMTLError if there is no photo or if it cannot be read.
    """
    if not photo:
        raise FaceMTLError("There is no photo. Send a JPEG or PNG.")
    with one_photo:
        image = open_image(Path(photo))
        faces = detect(image)
        crops = [face.crop for face in faces]
        predictions = predictor.predict_crops(crops, faces=range(len(faces)))
        return {
            "note": cards.NOTE,
            "faces": [
                {**as_record(face, image), "answers": said}
                for face, said in zip(faces, in_words(predictions), strict=True)
            ],
        }


def sample(cache: PredictionCache, pool: FacePool, n: int, wanted: FaceFilter) -> dict[str, Any]:
    """Labelled faces that no model was trained on, with the predictions of both approaches.

    Raises FaceMTLError if an argument is not valid.
    """
    limits = {
        "n": (n, 1, MOST_FACES),
        "seed": (wanted.seed, 0, MAX_SEED),
        "age_from": (wanted.low, AGE.low, AGE.high),
        "age_to": (wanted.high, AGE.low, AGE.high),
    }
    for name, (value, low, high) in limits.items():
        if not (type(value) is int and low <= value <= high):  # bool is a kind of int
            raise FaceMTLError(
                f"{name} must be a whole number from {low} to {high}; found {str(value)[:20]!r}."
            )
    if wanted.low > wanted.high:
        raise FaceMTLError(
            f"age_from must not be above age_to: {wanted.low} is above {wanted.high}."
        )
    _place("order", wanted.order, [*ORDERS])
    if wanted.needs_predictions:
        pool.learn(cache)
    drawn = pool.draw(n, wanted)
    answered = cache.in_words(
        [each.image for each in drawn], lambda positions: [drawn[i].face.crop for i in positions]
    )
    return {
        "note": cards.NOTE,
        "origin": pool.origin,
        "seed": wanted.seed,
        "total": len(pool.select(wanted)),
        "faces": [
            {"labels": each.labels, "picture": cards.jpeg_url(each.face.crop)[0], "answers": said}
            for each, said in zip(drawn, answered, strict=True)
        ],
    }


def metrics_of(metrics: pd.DataFrame | None, by: str) -> list[dict[str, Any]]:
    """The measured metrics with 95 % intervals, for all images or for each group.

    Raises FaceMTLError if there are no metrics, or if `by` is not one of their groupings.
    """
    if metrics is None:
        raise FaceMTLError(
            "These models have not been measured. Run `python -m facemtl evaluate --output FOLDER`,"
            " then start the app with `--results FOLDER`."
        )
    _place("by", by, list(metrics["by"].unique()))
    rows = metrics[metrics["by"] == by]
    return rows.replace({np.nan: None}).to_dict("records")


def build(cache: PredictionCache, metrics: pd.DataFrame | None, pool: CurrentPool) -> None:
    """Add the endpoints `/predict`, `/sample` and `/metrics`, without visible components."""
    public = {**events.MODEL_WORK, "api_visibility": "public"}

    def ask_predict(photo: str) -> dict[str, Any]:
        """Find all faces in a photo, and predict perceived gender, race and age of each.

        Both approaches answer: three single-task models, and one multi-task model.

        Parameters:
            photo: an image file with faces; over MCP, data:image/jpeg;base64, and its base64
        """
        with uploads.read_once(photo) as file:
            return predict(cache.predictor, file)

    def ask_sample(
        n: int = 12,
        seed: int = 1,
        age_from: int = AGE.low,
        age_to: int = AGE.high,
        *labels_and_order: str,
    ) -> dict[str, Any]:
        """Draw labelled faces that no model was trained on, with the predictions of all models.

        Parameters:
            n: the number of faces, 1 to 24
            seed: 0 to 999999; the same seed draws the same faces
            age_from: the lowest labelled age, in years; by default 0
            age_to: the highest labelled age, in years
            order: chance, hardest (largest age errors first), apart (most different ages first)
        """
        *labels, order = labels_and_order
        chosen = {t.name: _index(t, label) for t, label in zip(CLASSES, labels, strict=True)}
        wanted = FaceFilter(seed, low=age_from, high=age_to, order=order, **chosen)
        return sample(cache, ready(pool), n, wanted)

    labels = [(t.name, Literal[("any", *t.labels)], "any") for t in CLASSES]
    _name_parameters(ask_sample, [*labels, ("order", Order, "chance")])

    def ask_metrics(by: By = "all") -> list[dict[str, Any]]:
        """Accuracy and mean absolute error on validation images, with 95 % intervals.

        They are given for three single-task models, for one multi-task model, and for the
        difference.

        Parameters:
            by: all images together, or each gender, race, age group, or gender and race
        """
        return metrics_of(metrics, by)

    photo = PhotoInput(label="Photo", visible=False)
    faces = gr.JSON(label="Faces", visible=False)
    gr.Button(visible=False).click(
        events.handle_errors(ask_predict), photo, faces, api_name="predict", **public
    )
    gr.api(events.handle_errors(ask_sample), api_name="sample", **public)
    gr.api(events.handle_errors(ask_metrics), api_name="metrics", api_visibility="public")


def _name_parameters(function: Callable, more: Sequence[tuple[str, object, str]]) -> None:
    """Add parameters (name, type, default) to the signature and docstring that clients see."""
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
    """The position of a value among the choices.

    Raises FaceMTLError if it is none of them: a client may send anything, whatever the types say.
    """
    if value not in choices:
        raise FaceMTLError(
            f"{name} cannot be {str(value)[:20]!r}. Choose one of {', '.join(choices)}."
        )
    return choices.index(value)
