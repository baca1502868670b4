"""Compare: one face, and the predictions of both approaches."""

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from html import escape

import gradio as gr
import numpy as np

from ...errors import FaceMTLError
from ...evaluation.track_record import TrackRecords
from ...faces import overlap, weaknesses
from ...inference.predictor import Predictor
from ..components import cards, closer
from ..events import KEEP_STATE, MODEL_WORK, REPORT_CHOICES, handle_errors, uploaded, waiting_at
from ..faces import CurrentPool, FaceFilter, FacePool, new_seed
from ..photo import (
    SHOWN_SIDE,
    STEPS,
    PhotoView,
    choose,
    correct,
    open_view,
    place,
    reset,
    take_centre,
    view_of_face,
)

FAR_OFF = 0.3  # lowest intersection over union of a corrected crop and the detected one
N_TIMINGS = 15  # the number of last faces whose median time is shown


WAITING = cards.message(
    "No face yet", "Upload a photo, take one, paste one, or draw a random face."
)
FORGOTTEN = cards.message(
    "This face is forgotten",
    f"A face is kept for {KEEP_STATE // 60} minutes only. Show it again, or draw another one.",
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
    for a poor crop. `timings` holds the times for the last faces, by approach. This face's times
    are added to it, because a single measurement is not reliable.
    """
    if view.face is None:
        if view.centre is None:
            return WAITING
        return cards.message(
            "No face found",
            "The detector finds upright faces that are seen from the front and not too small in the"
            " photo. Try another photo, or press “Use the centre square” and correct the crop. The"
            " models answer whatever they are shown, face or not.",
        )
    predictions = predictor.predict_crops([view.face.crop])
    table, probabilities = (
        t.set_index("approach") for t in (predictions.table, predictions.probabilities)
    )
    tasks, parts = cards.shown(predictor.tasks, hide), []
    known = {} if records is None or poor(view) else records.of(predictions.table)
    for task in tasks:
        rows = table[table["task"] == task.name]
        shares = probabilities[probabilities["task"] == task.name]
        record = cards.record(known.get(task.name))
        parts.append(cards.task_card(task, rows, shares, view.labels.get(task.name), record))
    timings = deque() if timings is None else timings
    timings.append(predictor.by_approach(predictions.seconds))
    parameters = predictor.by_approach({m.name: m.info.parameters for m in predictor.models})
    return (
        cards.spoken(tasks, table, view.labels)
        + cards.legend(bool(view.labels))
        + cards.in_columns(tasks, parts, cards.cost_card([*timings], parameters))
        + f'<p class="note">{cards.NOTE}</p>'
    )


def photo_card(predictor: Predictor, view: PhotoView) -> str:
    """The photo with a button on each face, and the exact crop that the models see."""
    if view.face is None:
        if view.photo is None:  # a blank of the final size, so that nothing moves later
            blank = '<div class="blank"></div>'
            return (
                f'<section class="card looked-at"><div class="photo">{blank}</div><div'
                f' class="seen">{blank}</div></section>'
            )
        photo = cards.picture(view.photo, "Your photo", SHOWN_SIDE)
        return f'<section class="card"><div class="photo">{photo}</div></section>'
    size = max(m.info.size for m in predictor.models)
    text = f"<b>What the models see</b><br>this crop, at {size} × {size} px"
    if not view.is_whole:
        text += "<br>drag its box to correct it"
    if len(view.faces) > 1:
        text += f"<br>face {view.chosen + 1} of {len(view.faces)}, largest first"
    photo = cards.picture(view.photo, "The face", SHOWN_SIDE) if view.is_whole else _boxes(view)
    crop = cards.picture(view.face.crop, "The crop that the models see", size=2 * size)
    warning = ""
    if weak := poor(view):
        so = "Answers may be far off: correct the crop, or try another photo."
        warning = f'<p class="poor" role="status"><b>A poor crop: {", ".join(weak)}.</b> {so}</p>'
    body = f'<div class="photo">{photo}</div><p class="note caption">{escape(view.caption)}</p>'
    body += f'<div class="seen">{crop}<p>{text}</p></div>{warning}'
    return (
        '<section class="card'
        f' looked-at{" several" if len(view.faces) > 1 else ""}">{body}</section>'
    )


def poor(view: PhotoView) -> list[str]:
    """Why the crop of an uploaded photo is poor, in words. An empty list if it is not poor."""
    if view.labels:
        return []
    found = view.found[view.chosen].box
    return [
        *(["no face was found in it"] if view.centre else []),
        *(
            ["far from the face that was found"]
            if not view.centre and overlap(view.face.box, found) < FAR_OFF
            else []
        ),
        *weaknesses(view.face),
    ]


def _boxes(view: PhotoView) -> str:
    """The photo with a button over each face. `data-at` holds the argument `at` of `place`."""
    height, width = view.photo.shape[:2]
    buttons = []
    for i, face in enumerate(view.faces):
        left, top, right, bottom = (v * view.scale for v in face.box)
        at = f"{left / width:.5f} {top / height:.5f} {(right - left) / width:.5f}"
        # The square is turned about its centre, even if the photo's edge cuts off a part of it.
        x, y = (left + right) / 2, (top + bottom) / 2
        left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
        style = (
            f"left:{100 * left / width:.2f}%;top:{100 * top / height:.2f}%;"
            f"width:{100 * (right - left) / width:.2f}%;"
            f"height:{100 * (bottom - top) / height:.2f}%;"
            f"transform:rotate({face.angle:.1f}deg);"
            f"transform-origin:{100 * (x - left) / (right - left):.1f}% "
            f"{100 * (y - top) / (bottom - top):.1f}%"
        )
        number = f'<span aria-hidden="true">{i + 1}</span>' if len(view.faces) > 1 else ""
        buttons.append(
            f'<button type="button" class="box" data-choice="{i}" data-at="{at}" style="{style}"'
            f' aria-label="Face {i + 1}" aria-pressed="{str(i == view.chosen).lower()}">{number}<i'
            ' class="handle"></i></button>'
        )
    return cards.picture(view.photo, "Your photo", SHOWN_SIDE) + "".join(buttons)


def build(
    predictor: Predictor,
    records: TrackRecords | None,
    pool: CurrentPool,
    composites: FacePool,
    hide: gr.Checkbox,
) -> dict:
    """Lay out the tab and connect its events.

    Faces are drawn from `composites` until `pool` is ready. Returns what other tabs need: `state`,
    `outputs`, and two functions that fill the outputs: `show(view, hidden)`, and
    `on_random(view, hidden)` for a random face.
    """
    state = gr.State(PhotoView(), time_to_live=KEEP_STATE)
    timings: deque[dict[str, float]] = deque(maxlen=N_TIMINGS)
    with gr.Row(elem_classes="columns"):
        with gr.Column(scale=3, min_width=280, elem_classes="left"):
            shown = gr.HTML(
                photo_card(predictor, PhotoView()),
                elem_id="view",
                js_on_load=f"{REPORT_CHOICES}; facemtl.moveBoxes(element, trigger)",
            )
            with gr.Row(elem_classes="actions"):
                upload = gr.UploadButton(
                    "Upload", file_types=["image"], variant="primary", min_width=120
                )
                random = gr.Button(
                    "Random face", variant="primary", min_width=120, elem_id="random-face"
                )
            centre = gr.Button("Use the centre square", visible=False, elem_id="centre")
            with gr.Accordion("Correct the crop", open=False, elem_id="correct") as correction:
                with gr.Row(elem_classes="steps"):
                    steps = {step: gr.Button(step, min_width=80, size="sm") for step in STEPS}
                again = gr.Button("As it was found", size="sm")
            inlet = gr.Image(
                type="filepath",
                sources=["upload", "webcam", "clipboard"],
                label="Your photo",
                placeholder="Drop a photo here\nor click to upload",
                height=200,
                buttons=[],
                elem_id="photo",
            )
            with gr.Row(elem_classes=["toolbar", "answer-tools"], visible=False) as tools:
                looks = gr.Button("Where does it look?", elem_id="where")
                steady = gr.Button("How steady is it?", elem_id="steady")
                save = gr.Button("Save the result", elem_id="save")
                everybody = gr.Button("All faces in a table", visible=False, elem_id="everybody")
        with gr.Column(scale=8, min_width=300):
            cards_ = gr.HTML(
                WAITING, elem_id="answer", js_on_load="facemtl.announceAnswers(element)"
            )
            closer_ = gr.HTML("", elem_id="closer", js_on_load=REPORT_CHOICES)

    def show(view: PhotoView, hidden: bool) -> tuple:
        """All outputs for a photo view."""
        has_face = view.face is not None
        return (
            view, photo_card(predictor, view), answer(predictor, view, hidden, records, timings),
            gr.Button(visible=not has_face and view.centre is not None),
            # Not False: the other outputs would wait until the browser has built it again.
            gr.Accordion(visible=True if has_face else "hidden"),
            gr.Row(visible=has_face), gr.Button(visible=len(view.faces) > 1), "",
        )  # fmt: skip

    def on_file(arrived: str | None, hidden: bool) -> tuple:
        _, _, path = (arrived or "").partition(" ")
        try:
            return show(open_view(uploaded(path)), hidden)
        except FaceMTLError as error:
            shown = list(show(PhotoView(), hidden))
            shown[2] = cards.message("This file cannot be used", str(error))
            return tuple(shown)

    def on_random(view: PhotoView, hidden: bool) -> tuple:
        # Do not wait for a dataset that is still being read.
        ready = pool.result() if pool.done() else composites
        looks = [view_of_face(face) for face in ready.draw(2, FaceFilter(new_seed()))]
        return show(
            next((each for each in looks if not np.array_equal(each.photo, view.photo)), looks[0]),
            hidden,
        )

    def on_choice(view: PhotoView, hidden: bool, event: gr.EventData) -> tuple:
        dragged = getattr(event, "crop", None)
        return show(place(view, dragged) if dragged else choose(view, int(event.choice)), hidden)

    def after(change: Callable[[PhotoView], PhotoView]) -> Callable:
        return handle_errors(lambda view, hidden: show(change(view), hidden))

    outputs = [state, shown, cards_, centre, correction, tools, everybody, closer_]
    quiet = {**MODEL_WORK, **waiting_at(cards_)}
    arrived = gr.Textbox(visible="hidden")
    for source, event in ((upload, upload.upload), (inlet, inlet.change)):
        event(None, [source, arrived], [arrived, source], js="facemtl.takePhoto")
    arrived.change(
        handle_errors(on_file), [arrived, hide], outputs, trigger_mode="always_last", **quiet
    )
    random.click(handle_errors(on_random), [state, hide], outputs, **quiet)
    centre.click(after(take_centre), [state, hide], outputs, **quiet)
    again.click(after(reset), [state, hide], outputs, **quiet)
    for step, button in steps.items():
        button.click(after(partial(correct, step=step)), [state, hide], outputs, **quiet)
    shown.click(handle_errors(on_choice), [state, hide], outputs, **quiet)

    # By session: a token for the visitor's card in progress. Removing it stops the work.
    running: dict[str, object] = {}

    def of_face(make: Callable, doing: str) -> Callable:
        """An event handler that shows the message `doing`, and then what `make` yields."""

        def pages(view: PhotoView, hidden: bool) -> Iterator[str]:
            if view.face is None:
                yield FORGOTTEN
                return
            try:
                yield from make(predictor, view, cards.shown(predictor.tasks, hidden))
            except FaceMTLError as error:
                yield cards.message("Cannot be shown", str(error))

        def of_look(view: PhotoView, hidden: bool, request: gr.Request) -> Iterator[str]:
            session, mine = request.session_hash, object()
            running[session] = mine
            try:
                yield cards.working(doing)
                for page in pages(view, hidden):
                    if running.get(session) is not mine:
                        yield ""
                        return
                    yield page
            finally:
                if running.get(session) is mine:
                    del running[session]

        return of_look

    def on_stop(request: gr.Request) -> str:
        """Stop the visitor's card in progress.

        Gradio's `cancels` is not used: a click before the server has named the event is an error.
        """
        running.pop(request.session_hash, None)
        return ""

    # Every click counts, one after another: a visitor may stop a card and ask for it again at once.
    work = {**MODEL_WORK, "show_progress": "hidden", "trigger_mode": "multiple"}
    for button, make, doing in (
        (looks, closer.where_card, closer.COVERING),
        (
            steady,
            closer.steadiness_card,
            "Shifting and mirroring the crop, and asking all models each time.",
        ),
        (save, closer.save_card, "Drawing the result."),
        (everybody, closer.faces_card, "Asking all models about every face."),
    ):
        # Connect this first: handlers that are connected after an event wait until it has ended.
        button.click(None, None, None, js="facemtl.waitForCloser")
        made = button.click(of_face(make, doing), [state, hide], closer_, **work)
        made.then(None, None, None, js="facemtl.showCloser")
    stop = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    closer_.click(on_stop, None, closer_, **stop)  # only the button "Stop" can be clicked in it
    return {"state": state, "outputs": outputs, "show": show, "on_random": on_random}
