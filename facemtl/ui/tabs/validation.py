"""Validation: the errors of both approaches on images that no model was trained on."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

from ...errors import FaceMTLError
from ...evaluation.compare import metric_tables
from ...evaluation.seeds import age_errors_of_seeds, load_seeds
from ...inference.predictor import APPROACHES
from ...tasks import AGE, CLASSES, task_named
from .. import events
from ..addresses import address
from ..components import cards, figures
from ..components.answers import Answers
from ..components.filters import ENDS, filter_fields
from ..components.markup import HTML, html
from ..components.metrics_summary import summary
from ..components.questions import PARTS, Question
from ..components.view import View
from ..faces import ANY, FaceFilter, aged
from ..measured import findings as load_findings

NOBODY = cards.message(
    "No images match",
    "Widen the age range, or reset a filter. The figures below show other images.",
)

TAB = "validation"  # the tab's name in addresses
BOTH = "both"  # both approaches, in place of one's name
FEWER = 1000  # resamples for the intervals of a choice of images, because visitors wait for them


def select(table: pd.DataFrame, low: float, high: float, labels: dict[str, int]) -> pd.DataFrame:
    """The rows of the images with these `labels` and with a labelled age from `low` to `high`.

    `labels` is {task name: label's index}. ANY sets no limit.
    """
    ages = table[table["task"] == AGE.name].drop_duplicates("image").set_index("image")["target"]
    chosen = aged(table["image"].map(ages), *sorted((low, high)))
    for name, value in labels.items():
        if value != ANY:
            chosen &= table[name] == value
    return table[chosen]


def _joined(lists: Iterable[list]) -> list:
    return list(chain.from_iterable(lists))


def _findings_of_seeds(measured: Path) -> list[dict[str, Any]]:
    """The findings per task, if they are over several seeds."""
    try:
        return [found for found in load_findings(measured)["tasks"] if found["seeds"] > 1]
    except FaceMTLError:
        return []


def _age_errors_of_seeds(measured: Path, table: pd.DataFrame) -> pd.DataFrame | None:
    """The age errors of several seeds, or None if they are not measured on the table's images."""
    try:
        seeds = load_seeds(measured)
    except FaceMTLError:
        return None
    same = set(seeds["image"]) == set(table["image"]) and seeds["seed"].nunique() > 1
    return age_errors_of_seeds(seeds) if same and AGE.name in set(seeds["task"]) else None


def _css(questions: Sequence[Question]) -> list[str]:
    """The CSS class of an element with these questions. If all can be hidden, it can be, too."""
    return ["sensitive"] if all(question.sensitive for question in questions) else []


def _card(question: Question) -> figures.QuestionCard:
    return figures.question_card(
        question.title, question.sensitive, question.is_open, question.is_square
    )


def build(
    table: pd.DataFrame,
    metrics: pd.DataFrame,
    measured: Path,
    hide: gr.Checkbox,
    faces_of: Callable[..., None],
    tab: gr.Tab,
    address_bar: HTML,
) -> Callable[[], object]:
    """Lay out the tab and connect its events.

    At first, the figures show all images. They are drawn from saved tables of the folder `measured`
    and need neither the dataset nor a model. `faces_of(chosen, choice, answered)` connects the
    cards of the questions with the faces of the chosen images. `address_bar` reports addresses that
    Back and Forward lead to. Returns a function that draws the figures of all images in advance.
    """
    of_seeds = _findings_of_seeds(measured)
    tasks = [task_named(name) for name in table["task"].unique()]
    with gr.Row(elem_classes="toolbar", elem_id="which-images"):
        titles = {task.name: f"Labelled {task.name}" for task in CLASSES}
        filters = filter_fields(tasks, ("Ages from", "Ages to"), titles, 128)
        whose = [("both", BOTH), *((a.kind.lower(), a.name) for a in APPROACHES)]
        approach = gr.Dropdown(whose, value=BOTH, label="Approach", min_width=162, scale=0)
        everybody = gr.Button("Show all", scale=0, min_width=100)
    # Its script also reports ages that visitors type.
    head = HTML(
        summary(metrics[metrics["by"] == "all"], of_seeds),
        elem_id="metrics",
        js_on_load="facemtl.reportAges(trigger)",
    )
    answered: dict[Question, figures.QuestionCard] = {}
    for part in PARTS:
        questions = [question for question in part.questions if question.task in tasks]
        if not questions:
            continue
        HTML(html('<h2 class="part">{}</h2>', part.title), elem_classes=_css(questions))
        at_once = [question for question in questions if question.is_open]
        for i in range(0, len(at_once), 2):
            pair = at_once[i : i + 2]
            with gr.Row(equal_height=True, elem_classes=["pair", *_css(pair)]):
                answered |= {question: _card(question) for question in pair}
        answered |= {question: _card(question) for question in questions if not question.is_open}

    def asked(hidden: bool, values: tuple) -> tuple:
        """The ages and labels to choose by. Hidden tasks are ignored. An empty age is no limit."""
        low, high, *labels = values
        ends = (AGE.low if low is None else low, AGE.high if high is None else high)
        return *ends, *(
            ANY if hidden and t.sensitive else v for t, v in zip(CLASSES, labels, strict=True)
        )

    def chosen(hidden: bool, values: tuple) -> pd.DataFrame:
        """The rows of the images that the fields choose."""
        low, high, *labels = asked(hidden, values)
        return select(table, low, high, {t.name: v for t, v in zip(CLASSES, labels, strict=True)})

    def address_of(name: str, values: tuple) -> str:
        named = {"approach": name, **dict(zip(filters, values, strict=True))}
        defaults = {"approach": BOTH, **dict(zip(filters, everything, strict=True))}
        return address(TAB, named, defaults)

    def read(parameters: Mapping[str, str]) -> list:
        """The approach and the values of a link. Missing and invalid ones become defaults."""
        wanted = FaceFilter.read({"seed": 0, **parameters})
        name = parameters.get("approach")
        known = name if name in {a.name for a in APPROACHES} else BOTH
        return [known, *(getattr(wanted, field) for field in filters)]

    @lru_cache(maxsize=32)  # each takes about two megabytes
    def answers(name: str, *values: float | int) -> tuple[object, Answers | None]:
        """The summary and the answers. If no images match, a message and None."""
        rows = chosen(False, values)
        if rows.empty:
            return NOBODY, None
        is_whole = len(rows) == len(table)
        view = whole() if is_whole else View(rows, metric_tables(rows, FEWER), n_resamples=FEWER)
        one = next((a for a in APPROACHES if a.name == name), None)
        link = html('<a class="address" href="{}" hidden></a>', address_of(name, values))
        (said,) = figures.made(
            [head],
            lambda: [summary(view.overall, of_seeds if is_whole else (), view.n_resamples) + link],
        )
        return said, Answers(view, one, answered)

    @cache
    def whole() -> View:
        return View(table, metrics, _age_errors_of_seeds(measured, table))

    drawing = threading.Lock()

    def shown(opened: object, name: str, *values: float | int) -> list:
        """All outputs except the choice itself, from the cache if possible.

        Of the folded figures, only the `opened` ones are drawn. The lock keeps visitors who ask for
        the same figures at the same time from drawing them twice.
        """
        opened = opened if isinstance(opened, list) else []  # a browser can send anything
        with drawing:
            said, found = answers(name, *values)
            if found is None:
                return [said, *[gr.skip()] * (len(outputs) - 2)]
            drawn = (
                found.figure(question)
                if question.is_open or question.title in opened
                else [None, figures.WAITING]
                for question in answered
            )
            return [said, *found.sentences, *_joined(drawn)]

    def on_unfold(hidden: bool, name: str, kept: tuple, event: gr.EventData) -> list:
        """Draw the figure of the card that is unfolded."""
        with drawing:
            _, found = answers(name, *asked(hidden, kept))
            return _joined(
                found.figure(question)
                if found and card.fold is event.target
                else [gr.skip()] * len(card.figure)
                for question, card in folded.items()
            )

    def on_show_all(opened: object) -> list:
        return [BOTH, *everything, *shown(opened, BOTH, *everything), everything]

    def on_choice(opened: object, hidden: bool, name: str, *values: float | int | None) -> list:
        found = shown(opened, name, *asked(hidden, values))
        return [*found, gr.skip() if found[0] == NOBODY else values]

    def on_sight(
        request: gr.Request,
        opened: object,
        hidden: bool,
        has_seen: bool,
        name: str,
        *values: float | int | None,
    ) -> list:
        """Fill the outputs when the tab is first selected, with what the page's address asks for.

        If it asks for nothing, the fields decide. They choose all images, unless the server has
        dropped the visitor's state.
        """
        if has_seen:
            return [gr.skip()] * (1 + len(fields) + len(outputs))
        asked_for, link = [name, *values], request.query_params
        if link.get("tab") == TAB:
            asked_for = read(link)
        found = on_choice(opened, hidden, *asked_for)
        if found[0] == NOBODY:  # the figures have no previous choice that they could show
            found = [NOBODY, *shown(opened, BOTH, *everything)[1:], everything]
        return [True, *asked_for, *found]

    def on_back(opened: object, hidden: bool, name: str, kept: tuple, event: gr.EventData) -> list:
        """Show what the address asks for, unless it is on display."""
        link = events.asked_by(event)
        asked_for = read(link)
        if link.get("tab") != TAB or asked_for == [name, *kept]:
            return [gr.skip()] * (len(fields) + len(outputs))
        return [*asked_for, *on_choice(opened, hidden, *asked_for)]

    def on_hide(opened: object, hidden: bool, name: str, *values: float | int | None) -> list:
        """Choose again, but only if images are chosen by a label that is now hidden or shown."""
        by = [value for t, value in zip(CLASSES, values[2:], strict=True) if t.sensitive]
        if set(by) <= {ANY}:
            return [gr.skip()] * len(outputs)
        return on_choice(opened, hidden, name, *values)

    everything = (*ENDS.values(), *[ANY] * len(CLASSES))
    choice = gr.State(everything)  # what the figures show, even if the fields have changed since
    opened = gr.JSON([], visible=False)  # the page fills it with the titles of unfolded figures
    folded = {question: card for question, card in answered.items() if card.fold}
    sentences = [card.said for card in answered.values()]
    outputs = [head, *sentences, *_joined(card.figure for card in answered.values()), choice]
    queue = {
        "api_visibility": "private",
        # These events run one after another, so that an older choice never arrives after a newer.
        "concurrency_id": "choice",
        "concurrency_limit": 1,
    }
    options = {**queue, **events.waiting_at(head), "js": "facemtl.withUnfolded"}
    fields, seen = [approach, *filters.values()], gr.State(False)
    # This event is in another queue: its figures are usually drawn in advance.
    tab.select(
        events.handle_errors(on_sight),
        [opened, hide, seen, *fields],
        [seen, *fields, *outputs],
        api_visibility="private",
        show_progress="hidden",
        js="facemtl.withUnfolded",
    )
    address_bar.click(
        events.handle_errors(on_back),
        [opened, hide, approach, choice],
        [*fields, *outputs],
        **options,
    )
    # With "always_last", two quick changes count together.
    gr.on(
        [head.click, *(field.input for field in fields if isinstance(field, gr.Dropdown))],
        events.handle_errors(on_choice),
        [opened, hide, *fields],
        outputs,
        **options,
        trigger_mode="always_last",
    )
    everybody.click(events.handle_errors(on_show_all), opened, [*fields, *outputs], **options)
    hide.input(events.handle_errors(on_hide), [opened, hide, *fields], outputs, **options)
    gr.on(
        [card.fold.expand for card in folded.values()],
        events.handle_errors(on_unfold),
        [hide, approach, choice],
        _joined(card.figure for card in folded.values()),
        **queue,
        show_progress="hidden",
        trigger_mode="multiple",
    )
    faces_of(chosen, choice, list(answered.values()))
    return partial(shown, [], BOTH, *everything)
