"""Random faces: many faces at once, with labels and the predictions of both approaches."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import gradio as gr
import numpy as np
import pandas as pd

from ...errors import FaceMTLError
from ...inference.predictor import APPROACHES
from ...tasks import AGE, CLASSES, Classification, Task
from .. import events
from ..components import cards
from ..components.filters import filter_fields
from ..components.get_utkface import Offer
from ..components.markup import HTML, html, joined
from ..faces import (
    AGREEMENTS,
    MAX_SEED,
    ORDERS,
    CurrentPool,
    FaceFilter,
    LabelledFace,
    new_seed,
    ready,
)
from ..photo import view_of_face
from ..prediction_cache import PredictionCache

N_FACES = 12
LINK = "Link to these faces"
NOBODY = cards.message("No such face", "No faces match. Widen the age range, or reset a filter.")


def grid(
    cache: PredictionCache,
    faces: list[LabelledFace],
    origin: str,
    hide: bool = False,
    by_chance: bool = True,
) -> str:
    """A card for each face. A click on it opens the face in Compare.

    If the faces are drawn `by_chance`, the mean age error of both approaches is given, too. With
    `hide`, sensitive tasks are left out.
    """
    tasks = cards.shown(cache.predictor.tasks, hide)
    table = cache.of(
        [f.image for f in faces], lambda positions: [faces[i].face.crop for i in positions]
    )
    tiles = joined(_tile(i, face, table.iloc[i].unstack(), tasks) for i, face in enumerate(faces))
    mean = f"{_summary(table, faces)} " if by_chance else ""
    return html(
        '{legend}<p class="note">{origin}</p><div class="faces">{tiles}</div><p '
        'class="note">{mean}A click opens a face in Compare.</p><p '
        'class="note">{cards.NOTE}</p>',
        legend=cards.legend(),
        origin=origin,
        tiles=tiles,
        mean=mean,
        cards=cards,
    )


def _tile(index: int, face: LabelledFace, values: pd.DataFrame, tasks: tuple[Task, ...]) -> str:
    """The card of one face. `values` has a row per task and a column per approach."""
    said = joined(
        (html("{}: {}", a.title, _spoken(tasks, values[a.name])) for a in APPROACHES), by="; "
    )
    truth = _spoken(tasks, face.labels)
    lines = joined(
        _class_line(task, face.labels.get(task.name), values.loc[task.name])
        for task in tasks
        if isinstance(task, Classification)
    )
    if AGE in tasks:
        lines = _age_line(face.labels.get(AGE.name), values.loc[AGE.name]) + lines
    picture = cards.picture(face.face.crop, "")
    return html(
        '<button type="button" class="tile" data-choice="{face.image}">{picture}<span '
        'class="sr-only">Face {}, label {truth}. {said}. Open in Compare.</span><span '
        'aria-hidden="true">{lines}</span></button>',
        index + 1,
        face=face,
        picture=picture,
        truth=truth,
        said=said,
        lines=lines,
    )


def _spoken(tasks: tuple[Task, ...], values: Mapping[str, float]) -> str:
    """Labels or answers such as 'female, White, 31 years'. Sensitive ones can be hidden."""
    words = [(task, cards.label_words(task, values.get(task.name))) for task in tasks]
    hideable = joined(
        html('<span class="sensitive">{}, </span>', said) for task, said in words if task.sensitive
    )
    return hideable + ", ".join(said for task, said in words if not task.sensitive)


def _age_line(label: float | None, predictions: pd.Series) -> str:
    """The labelled age and both answers, on a ruler and in numbers."""
    points = joined(
        html('<i class="dot {}" style="left:{}"></i>', a.name, cards.at(predictions[a.name]))
        for a in APPROACHES
    )
    numbers = joined(
        html(
            '<span class="{}-text">{}<b>{:.0f}</b></span>',
            a.name,
            cards.mark(a),
            predictions[a.name],
        )
        for a in APPROACHES
    )
    if label is None:
        said = cards.label_words(AGE, label)
    else:
        said, points = (
            html("label <b>{:.0f}</b>", label),
            html('<i class="mini-label" style="left:{}"></i>{}', cards.at(label), points),
        )
    return html(
        '<span class="mini"><i class="mini-axis"></i>{}</span><span '
        'class="mini-row"><span>{}</span>{}</span>',
        points,
        said,
        numbers,
    )


def _class_line(task: Task, label: float | None, predictions: pd.Series) -> str:
    """The label in words, whether each approach predicts it, and the wrong answers in words."""
    said = ""
    for a in APPROACHES if label is not None else ():
        is_right = predictions[a.name] == label
        said += html(
            '<span class="{}-text">{}{}</span>', a.name, cards.mark(a), "✓" if is_right else "✗"
        )
    css = f"mini-row mini-class{' sensitive' if task.sensitive else ''}"
    wrong = joined(
        html('<span class="{}"><span>{}{}</span></span>', css, mark, task.words(answer))
        for mark, answer in ((cards.mark(a), predictions[a.name]) for a in APPROACHES)
        if answer != label
    )
    return html(
        '<span class="{css}"><span>{label_words}</span>{said}</span>{wrong}',
        css=css,
        label_words=cards.label_words(task, label),
        said=said,
        wrong=wrong,
    )


def _summary(table: pd.DataFrame, faces: list[LabelledFace]) -> str:
    """The mean age error of both approaches.

    Empty if no face has a labelled age, or if no model predicts age.
    """
    known = [i for i, face in enumerate(faces) if AGE.name in face.labels]
    if not known or AGE.name not in table:
        return ""
    labels = np.array([faces[i].labels[AGE.name] for i in known])
    error = table[AGE.name].iloc[known].sub(labels, axis=0).abs().mean()
    means = " and ".join(f"{error[a.name]:.1f} years by {a.short}" for a in APPROACHES)
    whose = "this face" if len(faces) == 1 else f"these {len(faces)} faces"
    whose += "" if len(known) == len(faces) else f" ({len(known)} have a label)"
    return f"Mean age error on {whose}: {means}. A few faces prove nothing: see Validation."


def face_opener(pool: CurrentPool, shared: dict) -> Callable[..., tuple]:
    """The handler of a click on a face of `grid`. `shared` is the result of `compare.build`."""

    def open_face(hidden: bool, event: gr.EventData) -> tuple:
        # A name, not a number, because other faces may have replaced these.
        found = ready(pool).of_images([str(events.sent(event, "choice"))], 1)
        if not found:
            raise FaceMTLError("This face is no longer there. Show faces again, and click one.")
        return gr.Tabs(selected="compare"), *shared["show"](view_of_face(found[0]), hidden)

    return events.handle_errors(open_face)


def build(
    cache: PredictionCache,
    pool: CurrentPool,
    tabs: gr.Tabs,
    shared: dict,
    hide: gr.Checkbox,
    offer: Offer,
) -> dict:
    """Lay out the tab and connect its events.

    `shared` is the result of `compare.build`. Returns `drawn`, which is the FaceFilter on display,
    `outputs`, and two functions that fill the outputs: `draw(values, hidden)` for the parameters of
    a link, and `show(wanted, hidden)` for a FaceFilter.
    """
    drawn = gr.State(None)  # the FaceFilter on display
    choice = gr.Accordion("Choose which faces", open=False)
    with choice, gr.Row(elem_classes="toolbar"):
        ages, titles = (f"{AGE.title} from", f"{AGE.title} to"), {t.name: t.title for t in CLASSES}
        filters = filter_fields(cache.predictor.tasks, ages, titles, 112)
        for name, label, known in (
            ("agreement", "Answers", AGREEMENTS),
            ("order", "Order", ORDERS),
        ):
            choices = [(words, key) for key, words in known.items()]
            filters[name] = gr.Dropdown(
                choices, value=choices[0][1], label=label, min_width=248, scale=0
            )
        these = gr.Button("Show these", scale=0, min_width=140)
    with gr.Row(elem_classes="toolbar"):
        seed = gr.Number(
            label="Seed",
            precision=0,
            minimum=0,
            maximum=MAX_SEED,
            min_width=140,
            scale=0,
            elem_id="seed",
        )
        again = gr.Button("Show this seed", scale=0, min_width=140)
        new = gr.Button("New faces", variant="primary", scale=0, min_width=140, elem_id="new-faces")
        blank = html('<a style="visibility: hidden">{}</a>', LINK)  # reserves the link's place
        link = HTML(blank, elem_id="seed-link", js_on_load="facemtl.copyLink(element)")
    offer.place()
    first = html('<div class="first">{}</div>', cards.message("Drawing faces", "One moment."))
    faces = HTML(first, elem_id="grid", js_on_load=events.REPORT_CHOICES)
    with gr.Row(elem_classes="toolbar pages"):
        back = gr.Button("Previous", scale=0, min_width=100)
        place = HTML(elem_id="page-number")
        forth = gr.Button("Next", scale=0, min_width=100)

    def show(wanted: FaceFilter, hidden: bool) -> tuple:
        """All outputs for the faces that `wanted` asks for."""
        source, tasks = ready(pool), cards.shown(cache.predictor.tasks, hidden)
        if wanted.needs_predictions:
            source.learn(cache)
        total = len(source.select(wanted, tasks))
        last = max(0, (total - 1) // N_FACES)
        wanted = replace(wanted, sheet=min(wanted.sheet, last))
        found = source.draw(N_FACES, wanted, tasks)
        limits = f" Only {said}: {total:,}." if (said := wanted.said(tasks)) else ""
        shown = grid(cache, found, source.origin + limits, hidden) if found else NOBODY
        address = html(
            '<a class="address" href="{}">{}</a><button type="button" class="copy">Copy</button>',
            wanted.query(),
            LINK,
        )
        counted = (
            f"Page {wanted.sheet + 1} of {last + 1}, {total:,} face{'' if total == 1 else 's'}"
            if total
            else ""
        )
        is_any = replace(wanted, seed=0, sheet=0) == FaceFilter(0)
        return (
            wanted, wanted.seed, *(getattr(wanted, name) for name in filters), shown, address,
            counted,
            gr.Button(interactive=wanted.sheet > 0), gr.Button(interactive=wanted.sheet < last),
            gr.skip() if is_any else gr.Accordion(open=True),
        )  # fmt: skip

    def draw(values: Mapping[str, object], hidden: bool) -> tuple:
        return show(FaceFilter.read(values), hidden)

    def on_choice(number: object, hidden: bool, *chosen: object) -> tuple:
        drawn, seed, *rest = draw(
            {"seed": number, **dict(zip(filters, chosen, strict=True))}, hidden
        )
        # Leave the fields alone: the visitor may be changing the next one.
        return drawn, seed, *[gr.skip()] * len(filters), *rest[len(filters) :]

    def on_new(hidden: bool, *chosen: object) -> tuple:
        return on_choice(new_seed(), hidden, *chosen)

    def turn(sheets: int) -> Callable:
        def on_turn(wanted: FaceFilter | None, hidden: bool) -> tuple:
            if wanted is None:  # the server has dropped the visitor's state
                return draw({}, hidden)
            return show(replace(wanted, sheet=max(0, wanted.sheet + sheets)), hidden)

        return events.handle_errors(on_turn)

    outputs = [drawn, seed, *filters.values(), faces, link, place, back, forth, choice]
    quiet = {**events.SHOW_FACES, **events.waiting_at(faces)}
    changed = [again.click, these.click, seed.submit]
    for field in filters.values():
        changed.append(field.submit if isinstance(field, gr.Number) else field.input)
    last = {"trigger_mode": "always_last"}  # two quick changes count together
    gr.on(
        changed,
        events.handle_errors(on_choice),
        [seed, hide, *filters.values()],
        outputs,
        **quiet,
        **last,
    )
    new.click(events.handle_errors(on_new), [hide, *filters.values()], outputs, **quiet)
    back.click(turn(-1), [drawn, hide], outputs, **quiet)
    forth.click(turn(1), [drawn, hide], outputs, **quiet)
    opened = faces.click(
        face_opener(pool, shared),
        hide,
        [tabs, *shared["outputs"]],
        **events.waiting_at(faces),
        **events.MODEL_WORK,
    )
    opened.then(None, None, None, js="facemtl.toTop")
    return {"drawn": drawn, "outputs": outputs, "draw": draw, "show": show}
