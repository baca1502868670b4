"""Compare: one face, and the predictions of both approaches."""

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import gradio as gr
import numpy as np
import pandas as pd

from ...errors import FaceMTLError
from ...evaluation.track_record import TrackRecords
from ...inference.predictor import Predictor
from ...tasks import AGE
from .. import uploads
from ..components import cards, looks
from ..components.markup import HTML, html, joined
from ..components.photo_card import photo_card, poor
from ..components.photo_input import PhotoInput
from ..components.verdicts import verdict
from ..events import (
    KEEP_STATE,
    MODEL_WORK,
    REPORT_CHOICES,
    handle_errors,
    number_sent,
    sent,
    uploaded,
    waiting_at,
)
from ..faces import CurrentPool, FaceFilter, FacePool, LabelledFace, new_seed
from ..photo import (
    STEPS,
    PhotoView,
    add,
    choose,
    correct,
    open_view,
    place,
    reset,
    take_centre,
    turn,
    view_of_face,
)

N_TIMINGS = 15  # the number of last faces whose median time is shown
N_EXAMPLES = 6
MIDDLE = (0.35, 0.35, 0.3)  # where a face is added: left, top and side, as shares of the photo
SAID = "You say"  # before a label that the visitor gives
WAITING = cards.message(
    "No face yet", "Upload a photo, take one, paste one, or draw a random face."
)


def answer(
    predictor: Predictor,
    view: PhotoView,
    hide: bool = False,
    records: TrackRecords | None = None,
    timings: "deque[dict[str, float]] | None" = None,
) -> str:
    """The cards for a face: a legend, a card per task, and the cost.

    With `hide`, sensitive tasks are left out. `records` are of validation images. They are not used
    for a poor crop. `timings` holds the times for the last faces, by approach, because a single
    measurement is not reliable. This face's times are added to it.
    """
    if view.face is None:
        if view.centre is None:
            return WAITING
        return cards.message(
            "No face found",
            "The detector finds faces that are seen from the front and are not too small in the"
            " photo. Try another photo, or press “Use the centre square” and correct the crop. The"
            " models answer whatever they are shown, face or not.",
        )
    predictions = predictor.predict_crops([view.face.crop])
    table, probabilities = (
        t.set_index("approach") for t in (predictions.table, predictions.probabilities)
    )
    tasks, parts = cards.shown(predictor.tasks, hide), []
    labels, origin = (view.said, SAID) if view.said else (view.labels, "Label")
    known = {} if records is None or poor(view) else records.of(predictions.table)
    for task in tasks:
        rows = table[table["task"] == task.name]
        shares = probabilities[probabilities["task"] == task.name]
        record = cards.record(known.get(task.name))
        parts.append(cards.task_card(task, rows, shares, labels.get(task.name), record, origin))
    timings = deque() if timings is None else timings
    timings.append(predictor.by_approach(predictions.seconds))
    parameters = predictor.by_approach({m.name: m.info.parameters for m in predictor.models})
    return (
        cards.spoken(tasks, table, labels, origin)
        + cards.legend(origin if labels else "")
        + (score_of(view, table[table["task"] == AGE.name]["prediction"]) if view.said else "")
        + cards.in_columns(tasks, parts, cards.cost_card([*timings], parameters))
        + html('<p class="note">{}</p>', cards.NOTE)
    )


def score_of(view: PhotoView, ages: pd.Series) -> str:
    """For the page's score of this visit: which approach is closer to what the visitor says.

    The name of the face is a hash of its crop, so that a face counts once.
    """
    ahead = verdict(AGE, ages, view.said[AGE.name]).ahead
    name = hashlib.sha256(view.face.crop.tobytes()).hexdigest()[:16]
    return html(
        '<span hidden data-face="{}" data-ahead="{}"></span>',
        name,
        ahead.name if ahead else "nobody",
    )


def examples(composites: FacePool) -> list[LabelledFace]:
    """A few composites, from the youngest to the oldest."""
    table = composites.table.sort_values("age", kind="stable")
    places = np.linspace(0, len(table) - 1, N_EXAMPLES + 2)[1:-1].round().astype(int)
    return composites.of_images(list(table["sha256"].str[:16].iloc[places]), N_EXAMPLES)


def examples_card(faces: Sequence[LabelledFace]) -> str:
    buttons = joined(
        html(
            '<button type="button" data-choice="{i}" aria-label="Composite {}, '
            '{words}">{picture}</button>',
            i + 1,
            i=i,
            words=AGE.words(face.labels[AGE.name]),
            picture=cards.picture(face.face.crop, "", 72),
        )
        for i, face in enumerate(faces)
    )
    return html('<p class="note">Or look at a composite:</p><div class="six">{}</div>', buttons)


def build(
    predictor: Predictor,
    records: TrackRecords | None,
    pool: CurrentPool,
    composites: FacePool,
    hide: gr.Checkbox,
) -> dict:
    """Lay out the tab and connect its events.

    Faces are drawn from `composites` until `pool` is ready. Returns what other tabs need: `state`,
    `outputs`, and functions that fill the outputs: `show(view, hidden)`, `on_random(view, hidden)`
    for a random face, and `on_link(image, view, hidden)` for a dataset face by its name.
    """
    state = gr.State(PhotoView(), time_to_live=KEEP_STATE)
    timings: deque[dict[str, float]] = deque(maxlen=N_TIMINGS)
    with gr.Row(elem_classes="columns"):
        with gr.Column(scale=3, min_width=280, elem_classes="left"):
            shown = HTML(
                photo_card(predictor, PhotoView()),
                elem_id="view",
                js_on_load=f"{REPORT_CHOICES}; facemtl.moveBoxes(element, trigger);"
                f" facemtl.drawBoxes(element, trigger)",
            )
            with gr.Row(elem_classes="actions"):
                upload = gr.UploadButton(
                    "Upload", file_types=["image"], variant="primary", min_width=120
                )
                random = gr.Button(
                    "Random face", variant="primary", min_width=120, elem_id="random-face"
                )
            with gr.Row(visible="hidden", elem_id="own-verdict") as own:
                years = gr.Number(
                    label="How old is this person? It is forgotten with the photo.",
                    minimum=AGE.low,
                    maximum=AGE.high,
                    precision=0,
                    min_width=110,
                )
                tell = gr.Button("Check", size="sm", min_width=60, scale=0)
            HTML("", elem_id="visit", js_on_load="facemtl.keepScore(element)")
            centre = gr.Button("Use the centre square", visible=False, elem_id="centre")
            with gr.Accordion("Correct the crop", open=False, elem_id="correct") as correction:
                with gr.Row(elem_classes="steps"):
                    steps = {step: gr.Button(step, min_width=80, size="sm") for step in STEPS}
                    turned = gr.Button("Turn", min_width=80, size="sm")
                    added = gr.Button("Add a face", min_width=80, size="sm")
                again = gr.Button("Undo corrections", size="sm")
            inlet = PhotoInput(
                sources=["upload", "webcam", "clipboard"],
                label="Your photo",
                placeholder="Drop a photo here\nor click to upload",
                height=200,
                buttons=[],
                elem_id="photo",
            )
            HTML(
                html('<p id="camera" class="poor" role="alert"></p>'),
                js_on_load="facemtl.keepCamera(element.querySelector('#camera'))",
            )
            six = examples(composites)
            example = HTML(examples_card(six), elem_id="examples", js_on_load=REPORT_CHOICES)
        with gr.Column(scale=8, min_width=300):
            connect_pin = looks.build_pins(state, predictor, hide)
            cards_ = HTML(WAITING, elem_id="answer", js_on_load="facemtl.announceAnswers(element)")
            pin, look_outputs, look_at = looks.build(predictor, state, hide)
    connect_pin(pin)

    def show(view: PhotoView, hidden: bool) -> tuple:
        """All outputs for a photo view."""
        has_face = view.face is not None
        return (
            view, photo_card(predictor, view), answer(predictor, view, hidden, records, timings),
            gr.Button(visible=not has_face and view.centre is not None),
            # Not False: the browser would have to build it again, and the other outputs would wait.
            gr.Accordion(visible=True if has_face else "hidden"),
            gr.Row(visible=True if has_face and asks_age(view) else "hidden"),
            view.said.get(AGE.name),
            *look_at(view),
        )  # fmt: skip

    def asks_age(view: PhotoView) -> bool:
        return AGE in predictor.tasks and not view.labels

    def on_own(view: PhotoView, hidden: bool, age: float | None) -> tuple:
        """Compare with the age that the visitor gives. Without an age, forget the earlier one."""
        if view.face is None or not asks_age(view):
            return show(view, hidden)
        if age is not None and not AGE.low <= age <= AGE.high:
            raise FaceMTLError(f"Give an age from {AGE.low} to {AGE.high} {AGE.unit}.")
        return show(replace(view, said={} if age is None else {AGE.name: float(age)}), hidden)

    def on_example(view: PhotoView, hidden: bool, event: gr.EventData) -> tuple:
        number = number_sent(event)
        return (
            show(view_of_face(six[number]), hidden)
            if 0 <= number < len(six)
            else show(view, hidden)
        )

    def on_file(arrived: str | None, hidden: bool) -> tuple:
        _, _, path = (arrived or "").partition(" ")
        try:
            with uploads.read_once(uploaded(path)) as file:
                view = open_view(file)
            return show(view, hidden)
        except FaceMTLError as error:
            shown = list(show(PhotoView(), hidden))
            shown[2] = cards.message("This file cannot be used", str(error))
            return tuple(shown)

    def on_random(view: PhotoView, hidden: bool) -> tuple:
        # Do not wait for a dataset that is still being read.
        ready = pool.result() if pool.done() else composites
        drawn = [view_of_face(face) for face in ready.draw(2, FaceFilter(new_seed()))]
        return show(
            next((each for each in drawn if not np.array_equal(each.photo, view.photo)), drawn[0]),
            hidden,
        )

    def on_link(image: str | None, view: PhotoView, hidden: bool) -> tuple:
        """Show the dataset face of a link, or a random one if there is no link."""
        ready = [pool.result()] if pool.done() else []
        for source in (*ready, composites) if image else ():
            if found := source.of_images([image], 1):
                return show(view_of_face(found[0]), hidden)
        if image:
            gr.Info(
                "The face of this link is not here. This is another one."
                if pool.done()
                else "The dataset is still being read. Reload the page in a moment to see the face"
                " of this link."
            )
        return on_random(view, hidden)

    def on_choice(view: PhotoView, hidden: bool, event: gr.EventData) -> tuple:
        if drawn := sent(event, "added"):
            return show(add(view, drawn), hidden)
        dragged = sent(event, "crop")
        return show(place(view, dragged) if dragged else choose(view, number_sent(event)), hidden)

    def after(change: Callable[[PhotoView], PhotoView]) -> Callable:
        return handle_errors(lambda view, hidden: show(change(view), hidden))

    outputs = [state, shown, cards_, centre, correction, own, years, *look_outputs]
    quiet = {**MODEL_WORK, **waiting_at(cards_)}
    arrived = gr.Textbox(visible="hidden")
    for source, event in ((upload, upload.upload), (inlet, inlet.change)):
        event(None, [source, arrived], [arrived, source], js="facemtl.takePhoto")
    arrived.change(
        handle_errors(on_file), [arrived, hide], outputs, trigger_mode="always_last", **quiet
    )
    random.click(handle_errors(on_random), [state, hide], outputs, **quiet)
    centre.click(after(take_centre), [state, hide], outputs, **quiet)
    turned.click(after(turn), [state, hide], outputs, **quiet)
    added.click(after(partial(add, at=MIDDLE)), [state, hide], outputs, **quiet)
    for event in (years.submit, tell.click):
        event(handle_errors(on_own), [state, hide, years], outputs, **quiet)
    example.click(handle_errors(on_example), [state, hide], outputs, **quiet)
    again.click(after(reset), [state, hide], outputs, **quiet)
    for step, button in steps.items():
        button.click(after(partial(correct, step=step)), [state, hide], outputs, **quiet)
    shown.click(handle_errors(on_choice), [state, hide], outputs, **quiet)
    return {
        "state": state,
        "outputs": outputs,
        "show": show,
        "on_random": on_random,
        "on_link": on_link,
    }
