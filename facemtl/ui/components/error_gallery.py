"""The faces behind the figures of Validation, such as misclassified ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import gradio as gr
import pandas as pd

from ... import plots
from ...evaluation.ages import age_errors
from ...inference.predictor import APPROACHES, MULTI, SINGLE, Approach
from ...tasks import AGE, CLASSES, Classification, Task
from .. import events
from ..faces import CurrentPool, ready
from ..photo import view_of_face
from ..prediction_cache import PredictionCache
from ..tabs.random_faces import N_FACES, grid
from . import cards

ABSENT = cards.message(
    "UTKFace is not installed here",
    "UTKFace may not be passed on, so its faces are shown only where it has been downloaded: run"
    " `python -m facemtl download`, then start the app again. To see your own, start it with"
    " `--data`.",
)
NOBODY = cards.message(
    "No such face",
    "None of the chosen images match. Choose other images above, or other faces here.",
)
NONE_HERE = cards.message(
    "These faces are not here",
    "The faces that the app reads lack the images that these predictions are of. Where they are"
    " your own, start the app with `--data`; else move or empty the folder of UTKFace, run `python"
    " -m facemtl download`, then start the app again.",
)
FAR = 10  # years; the smallest age error, or gap between approaches, in `age_kinds`


@dataclass(frozen=True)
class Kind:
    """A kind of faces, such as those that are read too old.

    `find` takes a table of predictions. It returns the names of the images, most telling first.
    """

    title: str
    find: Callable[[pd.DataFrame], list[str]]
    task: Task = AGE

    @property
    def sensitive(self) -> bool:
        return self.task.sensitive


@dataclass(frozen=True)
class Drawn:
    """The images that were found, and the page of them on display."""

    images: tuple[str, ...] = ()
    said: str = ""
    sensitive: bool = False
    sheet: int = 0

    @property
    def on_sheet(self) -> tuple[str, ...]:
        return self.images[self.sheet * N_FACES : (self.sheet + 1) * N_FACES]

    @property
    def n_sheets(self) -> int:
        return -(-len(self.images) // N_FACES)


def age_kinds() -> list[Kind]:
    """Kinds of faces by age error, or by the gap between approaches: at least FAR years.

    The age error is the mean of both approaches.
    """

    def by(amount: Callable[[pd.DataFrame], pd.Series]) -> Callable[[pd.DataFrame], list[str]]:
        def find(table: pd.DataFrame) -> list[str]:
            wide = age_errors(table).pivot(index="image", columns="approach", values="error")
            # This adds the columns if there are no ages.
            wide = wide.reindex(columns=[SINGLE.name, MULTI.name])
            found = amount(wide).sort_values(ascending=False, kind="stable")
            return list(found[found >= FAR].index)

        return find

    return [
        Kind(
            f"on average read too old by {FAR} years or more",
            by(lambda errors: errors.mean(axis=1)),
        ),
        Kind(
            f"on average read too young by {FAR} years or more",
            by(lambda errors: -errors.mean(axis=1)),
        ),
        Kind(
            f"read {FAR} years or more apart by the two approaches",
            by(lambda errors: (errors[SINGLE.name] - errors[MULTI.name]).abs()),
        ),
    ]


def of_cell(task: Classification, approach: Approach, target: int, prediction: int) -> Kind:
    """Faces in one cell of the task's confusion matrix, highest confidence first."""

    def find(table: pd.DataFrame) -> list[str]:
        rows = table[
            (table["task"] == task.name)
            & (table["target"] == target)
            & (table["prediction"] == prediction)
        ]
        rows = rows[rows["approach"] == approach.name].sort_values(
            "confidence", ascending=False, kind="stable"
        )
        return list(rows["image"])

    title = f"labelled {task.words(target)}, answered {task.words(prediction)} by {approach.short}"
    return Kind(title, find, task)


def of_square(approach: Approach, label: float, prediction: float) -> Kind:
    """Faces in one square of the figure of predicted against labelled ages, largest error first.

    `label` and `prediction` are the centre of the square, in years.
    """
    half = plots.SQUARE / 2

    def find(table: pd.DataFrame) -> list[str]:
        errors = age_errors(table).round(2)  # as in the figure
        errors = errors[errors["approach"] == approach.name]
        inside = errors["target"].between(label - half, label + half, "left")
        rows = errors[
            inside & errors["prediction"].between(prediction - half, prediction + half, "left")
        ]
        return list(rows.sort_values("error", key=abs, ascending=False, kind="stable")["image"])

    # Labels are whole years, and the upper end is excluded.
    labelled = f"{label - half:.0f} to {label + half - 1:.0f}"
    return Kind(
        f"labelled {labelled}, read as {prediction - half:.0f} to {prediction + half:.0f} by"
        f" {approach.short}",
        find,
    )


def class_kinds(task: Classification) -> list[Kind]:
    """All cells off the diagonal of the task's confusion matrices."""
    pairs = [(i, j) for i in range(len(task.labels)) for j in range(len(task.labels)) if i != j]
    return [of_cell(task, a, i, j) for a in APPROACHES for i, j in pairs]


def of_click(clicked: Mapping[str, object]) -> Kind | None:
    """The faces in the part of a figure that was clicked, or None if it has none.

    `clicked` holds `task` and `approach`, and the position `x` and `y` on the figure's axes.
    """
    approach = next((a for a in APPROACHES if a.name == clicked.get("approach")), None)
    x, y = clicked.get("x"), clicked.get("y")
    if approach is None:
        return None
    if clicked.get("task") == AGE.name and all(isinstance(v, int | float) for v in (x, y)):
        return of_square(approach, x, y)
    for task in CLASSES:
        if clicked.get("task") == task.name and x in task.labels and y in task.labels:
            return of_cell(task, approach, task.labels.index(y), task.labels.index(x))
    return None


AGES, OTHERS = age_kinds(), [kind for task in CLASSES for kind in class_kinds(task)]
KINDS = [*AGES, *OTHERS]


def build(
    cache: PredictionCache,
    pool: CurrentPool,
    chosen: Callable[[bool, tuple], pd.DataFrame],
    choice: gr.State,
    tabs: gr.Tabs,
    shared: dict,
    hide: gr.Checkbox,
) -> None:
    """Lay out the gallery and connect its events.

    `chosen(hidden, choice)` returns the predictions for the images that the figures show. `shared`
    is the result of `compare.build`.
    """
    drawn = gr.State(Drawn(), time_to_live=events.KEEP_STATE)
    with gr.Column(elem_classes="card", elem_id="behind"):
        gr.HTML(
            '<h2 class="figure-title">The faces behind a figure</h2><p class="note">Click on a'
            ' square of “How close are predicted ages to the labels?”<span class="sensitive">, or'
            " on a cell of “Which labels are confused?”,</span> to see its faces. Or choose faces"
            " here, among the images above:</p>"
        )
        offered = []
        for kinds, label, text, css in (
            (AGES, "Age", "Show faces by age", []),
            (OTHERS, "Answered other than labelled", "Show faces by answer", ["sensitive"]),
        ):
            choices = [
                (kind.title, KINDS.index(kind))
                for kind in kinds
                if kind.task in cache.predictor.tasks
            ]
            if not choices:
                continue
            with gr.Row(elem_classes=["toolbar", *css]):
                which = gr.Dropdown(
                    choices, value=choices[0][1], label=label, scale=0, min_width=420
                )
                offered.append((which, gr.Button(text, scale=0, min_width=260)))
        gr.HTML(
            '<button type="button" style="visibility: hidden">Back to the figure</button>',
            elem_id="back",
            js_on_load="facemtl.backToFigure(element)",
        )
        faces = gr.HTML("", js_on_load=events.REPORT_CHOICES)
        more = gr.Button("More of these", visible=False, size="sm")
        picked = gr.HTML("", js_on_load="facemtl.reportPoints(trigger)")

    def on_show(number: int, hidden: bool, values: tuple) -> tuple:
        return show(KINDS[number], hidden, values)

    def on_pick(hidden: bool, values: tuple, event: gr.EventData) -> tuple:
        kind = of_click(
            {name: getattr(event, name, None) for name in ("task", "approach", "x", "y")}
        )
        if kind is None or (hidden and kind.sensitive):
            return (gr.skip(),) * len(outputs)
        return show(kind, hidden, values)

    def show(kind: Kind, hidden: bool, values: tuple) -> tuple:
        source = ready(pool)
        if source.are_composites:
            return nobody(ABSENT)
        table = chosen(hidden, values)
        wanted = kind.find(table)
        if not wanted:
            return nobody(NOBODY)
        here = tuple(source.known(wanted))
        said = (
            f"{len(wanted):,} of the chosen images {'is' if len(wanted) == 1 else 'are'}"
            f" {kind.title}."
        )
        # Images that were chosen by a sensitive label, such as gender, are sensitive, too.
        sensitive = kind.sensitive or len(table) < len(chosen(True, values))
        return draw(Drawn(here, said, sensitive), hidden) if here else nobody(NONE_HERE)

    def nobody(why: str = "") -> tuple:
        """All outputs, with the message `why` in place of faces."""
        return Drawn(), why, gr.Button(visible=False)

    def draw(found: Drawn, hidden: bool) -> tuple:
        """All outputs, with the faces of the page on display."""
        some, n = ready(pool).of_images(found.on_sheet, N_FACES), found.n_sheets
        place = f" Page {found.sheet + 1} of {n}." if n > 1 else ""
        html = grid(cache, some, found.said + place, hidden, by_chance=False) if some else NONE_HERE
        return found, html, gr.Button(visible=n > 1)

    def on_more(found: Drawn, hidden: bool) -> tuple:
        if not found.images:  # the server has dropped the state
            return nobody()
        return draw(replace(found, sheet=(found.sheet + 1) % found.n_sheets), hidden)

    def on_hide(found: Drawn, hidden: bool) -> tuple:
        """Show the same faces again, or none if they were found by a label that is now hidden."""
        # Without images, the state may have been dropped: the faces on the page may be sensitive.
        if hidden and (found.sensitive or not found.images):
            return nobody()
        return draw(found, hidden) if found.images else (gr.skip(),) * len(outputs)

    def open_face(found: Drawn, hidden: bool, event: gr.EventData) -> tuple:
        some = ready(pool).of_images(found.on_sheet, N_FACES)
        chosen = [face for face in some if face.image == event.choice]
        if not chosen:
            raise gr.Error(
                "This face is no longer on display. Show the faces again.", print_exception=False
            )
        return gr.Tabs(selected="compare"), *shared["show"](view_of_face(chosen[0]), hidden)

    outputs = [drawn, faces, more]
    quiet = {**events.SHOW_FACES, **events.waiting_at(faces)}
    for which, button in offered:
        button.click(events.handle_errors(on_show), [which, hide, choice], outputs, **quiet)
    shown = picked.click(events.handle_errors(on_pick), [hide, choice], outputs, **quiet)
    shown.then(None, None, None, js="facemtl.toFaces")
    more.click(events.handle_errors(on_more), [drawn, hide], outputs, **quiet).then(
        None, None, None, js="facemtl.toFaces"
    )
    hide.input(events.handle_errors(on_hide), [drawn, hide], outputs, **quiet)
    opened = faces.click(
        events.handle_errors(open_face),
        [drawn, hide],
        [tabs, *shared["outputs"]],
        **events.waiting_at(faces),
        **events.MODEL_WORK,
    )
    opened.then(None, None, None, js="facemtl.toTop")
