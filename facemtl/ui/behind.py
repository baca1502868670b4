"""The faces behind the figures of Validation: those that are taken for something else, or read too old or too young."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

import gradio as gr
import pandas as pd

from ..evaluation import age_errors
from ..prediction import APPROACHES, MULTI, SINGLE, Approach, Predictor, approach_of
from ..tasks import Classification
from . import cards, compare
from .faces import CLASSES, FacePool
from .look import look_at_face
from .random_faces import N_FACES, grid

ABSENT = cards.message(
    "UTKFace is not installed here",
    "Its faces may not be passed on, so they are shown only where somebody has fetched them: run `python -m facemtl download`, "
    "then start the app again.",
)
NOBODY = cards.message("No such face", "Among the images chosen above, nobody is like that.")


@dataclass(frozen=True)
class Kind:
    """Some of the faces in a table of predictions: `find` gives the keys of their images, the most telling first."""

    title: str
    find: Callable[[pd.DataFrame], list[str]]


def of_ages() -> list[Kind]:
    """By age error: the mean of both approaches, or the gap between them."""

    def by(amount: Callable[[pd.DataFrame], pd.Series]) -> Callable[[pd.DataFrame], list[str]]:
        def find(table: pd.DataFrame) -> list[str]:
            wide = age_errors(table).pivot(index="image", columns="approach", values="error")
            found = amount(wide).sort_values(ascending=False, kind="stable")
            return list(found[found > 0].index)

        return find

    return [
        Kind("read far too old", by(lambda errors: errors.mean(axis=1))),
        Kind("read far too young", by(lambda errors: -errors.mean(axis=1))),
        Kind("read differently by the approaches", by(lambda errors: (errors[SINGLE.name] - errors[MULTI.name]).abs())),
    ]


def of_classes(task: Classification) -> list[Kind]:
    """Every cell of the task's confusion matrices that is off the diagonal; the surest first."""

    def cell(approach: Approach, target: int, prediction: int) -> Callable[[pd.DataFrame], list[str]]:
        def find(table: pd.DataFrame) -> list[str]:
            rows = table[(table["task"] == task.name) & (table["target"] == target) & (table["prediction"] == prediction)]
            rows = rows[approach_of(rows) == approach.name].sort_values("confidence", ascending=False, kind="stable")
            return list(rows["image"])

        return find

    pairs = [(i, j) for i in range(len(task.labels)) for j in range(len(task.labels)) if i != j]
    return [
        Kind(f"labelled {task.words(i)}, answered {task.words(j)} by {a.short}", cell(a, i, j))
        for a in APPROACHES
        for i, j in pairs
    ]


AGES, OTHERS = of_ages(), [kind for task in CLASSES for kind in of_classes(task)]


def build(
    predictor: Predictor,
    pool: "Future[FacePool]",
    chosen: Callable[..., pd.DataFrame],
    fields: list,
    tabs: gr.Tabs,
    shared: dict,
    hide: gr.Checkbox,
    on_click: str,
) -> None:
    """Layout and wiring. `chosen(hidden, *values of fields)` are the predictions for the images that figures show.

    `shared` is what Compare's build returned.
    """
    drawn = gr.State((), time_to_live=compare.KEEP_STATE)  # the images on display
    with gr.Column(elem_classes="card", elem_id="behind"):
        gr.HTML(
            '<h2 class="figure-title">Whose faces are these?</h2>'
            '<p class="note">Those of the images chosen above that are …</p>'
        )
        offered = []
        for kinds, label, text, css in (
            (AGES, "Age", "Show faces by age", []),
            (OTHERS, "Taken for something else", "Show faces taken for others", ["sensitive"]),
        ):
            with gr.Row(elem_classes=["toolbar", *css]):
                choices = [(kind.title, i) for i, kind in enumerate(kinds)]
                which = gr.Dropdown(choices, value=0, label=label, scale=0, min_width=420)
                offered.append((kinds, which, gr.Button(text, scale=0, min_width=260)))
        faces = gr.HTML("", js_on_load=on_click)

    def show(kinds: list[Kind]) -> Callable:
        def on_show(number: int, hidden: bool, *values: object) -> tuple:
            found = pool.result()
            if found.are_composites:
                return (), ABSENT
            images = kinds[number].find(chosen(hidden, *values))
            some = found.of_images(images[:N_FACES], N_FACES)
            if not some:
                return (), NOBODY
            said = f"{len(images):,} of the chosen images are {kinds[number].title}; here are up to {N_FACES}."
            return tuple(images[:N_FACES]), grid(predictor, some, said, hidden)

        return compare.told(on_show)

    def open_face(images: tuple[str, ...], hidden: bool, event: gr.EventData) -> tuple:
        some = pool.result().of_images(images, N_FACES)
        if not 0 <= (number := int(event.choice)) < len(some):
            raise gr.Error("There is no such face.", print_exception=False)
        return gr.Tabs(selected="compare"), *shared["show"](look_at_face(some[number]), hidden)

    quiet = {**compare.MODEL_WORK, "show_progress_on": faces}
    for kinds, which, button in offered:
        button.click(show(kinds), [which, hide, *fields], [drawn, faces], **quiet)
    opened = faces.click(compare.told(open_face), [drawn, hide], [tabs, *shared["outputs"]], **quiet)
    opened.then(None, None, None, js=compare.TO_TOP)
