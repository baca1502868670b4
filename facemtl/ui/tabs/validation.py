"""Validation: the errors of both approaches on images that no model was trained on."""

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pandas as pd

from ... import plots
from ...errors import FaceMTLError
from ...evaluation.compare import N_RESAMPLES, favoured, metric_tables
from ...evaluation.seeds import age_errors_of_seeds, load_seeds
from ...inference.predictor import APPROACHES, MULTI, SINGLE, Approach
from ...tasks import AGE, CLASSES, task_named
from .. import events
from ..addresses import address
from ..components import cards, figures
from ..components.filters import ENDS, filter_fields
from ..components.markup import HTML, html
from ..components.questions import PARTS, Question
from ..components.view import View
from ..faces import ANY, FaceFilter, aged
from ..measured import findings as load_findings

NOBODY = cards.message(
    "No images match",
    "Widen the age range, or reset a filter. The figures still show the previous choice.",
)

TAB = "validation"  # the tab's name in addresses
BOTH = "both"  # both approaches, in place of one's name


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


def summary(compared: pd.DataFrame, of_seeds: Sequence[dict[str, Any]] = ()) -> str:
    """A card with the metrics of both approaches, and a verdict in words per task.

    `compared` has the columns of `evaluation.compare.compare`. `of_seeds` holds the tasks of
    `evaluation.findings` that were measured over several seeds. They count more for the verdict.
    """
    rows, seeds = [], {found["task"]: found for found in of_seeds}
    for row in compared.itertuples():
        task = task_named(row.task)
        metric = task.metric

        def cell(name: str, row=row, metric=metric, sign: bool = False) -> str:
            low, high = getattr(row, f"{name}_low"), getattr(row, f"{name}_high")
            interval = f"{metric.number(low, sign)} to {metric.number(high, sign)}"
            return html("{} <small>{}</small>", metric.words(getattr(row, name), sign), interval)

        difference, judged = cell("difference", sign=True), row
        if task.name in seeds:
            judged = SimpleNamespace(**seeds[task.name])
            low, high = (
                metric.number(getattr(judged, f"difference_{e}"), True) for e in ("low", "high")
            )
            mean = metric.number(judged.difference, True)
            difference += html(
                "<small>{judged.seeds} seeds: {mean}, {low} to {high}</small>",
                judged=judged,
                mean=mean,
                low=low,
                high=high,
            )
        rows.append(
            [
                html("{}<small>{}</small>", task.title, metric.title),
                cell(SINGLE.name),
                cell(MULTI.name),
                difference,
                verdict(judged),
            ]
        )
    columns = [
        "Task",
        *(cards.named(a) for a in APPROACHES),
        "Difference, one minus three",
        "In words",
    ]
    n = f"{'up to ' if compared['n'].nunique() > 1 else ''}{int(compared['n'].max()):,}"
    note = (
        f"{n} validation images, the same for both. In small print: 95 % bootstrap intervals over"
        f" images ({N_RESAMPLES:,} resamples, paired for differences)."
    )
    if seeds:
        note += (
            " “Seeds” is the mean difference of several trainings, with an interval over seeds and"
            " images. The last column is based on it."
        )
    else:
        note += " They do not include differences between trainings: see Training."
    question = "Is one model better or worse than three?"
    sensitive = [task_named(name).sensitive for name in compared["task"]]
    return cards.card(question, cards.html_table(question, columns, rows, note, sensitive))


def verdict(row) -> str:
    """Which approach is significantly better, in words, or that the difference may be chance."""
    words = {SINGLE: "Three models are better", MULTI: "One model is better"}
    return words.get(favoured(row), "Could be chance")


def _figure(question: Question, view: View, approach: Approach | None) -> list:
    """A question's sentence, figure and the HTML below it. An `approach` limits the last two."""
    if approach is None:
        return [question.sentence(view), question.figure(view), question.below(view)]
    figure, view = plots.of_approach(question.figure(view), approach), view.of(approach)
    return [question.sentence(view), figure, question.below(view)]


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

    @lru_cache(maxsize=32)
    def draw(name: str, *values: float | int) -> list:
        rows = chosen(False, values)
        if rows.empty:
            return [NOBODY, *[gr.skip()] * (len(outputs) - 2)]
        is_whole = len(rows) == len(table)
        view = whole() if is_whole else View(rows, metric_tables(rows))
        one = next((a for a in APPROACHES if a.name == name), None)
        link = html('<a class="address" href="{}" hidden></a>', address_of(name, values))
        sent = figures.made(
            [head], lambda: [summary(view.overall, of_seeds if is_whole else ()) + link]
        )
        for question, card in answered.items():
            sent += figures.made(card.drawn, partial(_figure, question, view, one))
        return sent

    @cache
    def whole() -> View:
        return View(table, metrics, _age_errors_of_seeds(measured, table))

    drawing = threading.Lock()

    def shown(name: str, *values: float | int) -> list:
        """All outputs except the choice itself, from the cache if possible.

        The lock keeps visitors who ask for the same figures at the same time from drawing them
        twice.
        """
        with drawing:
            return draw(name, *values)

    def on_choice(hidden: bool, name: str, *values: float | int | None) -> list:
        found = shown(name, *asked(hidden, values))
        return [*found, gr.skip() if found[0] == NOBODY else values]

    def on_sight(
        request: gr.Request, has_seen: bool, hidden: bool, name: str, *values: float | int | None
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
        return [True, *asked_for, *on_choice(hidden, *asked_for)]

    def on_back(hidden: bool, name: str, kept: tuple, event: gr.EventData) -> list:
        """Show what the address asks for, unless it is on display."""
        link = events.asked_by(event)
        asked_for = read(link)
        if link.get("tab") != TAB or asked_for == [name, *kept]:
            return [gr.skip()] * (len(fields) + len(outputs))
        return [*asked_for, *on_choice(hidden, *asked_for)]

    def on_hide(hidden: bool, name: str, *values: float | int | None) -> list:
        """Choose again, but only if images are chosen by a label that is now hidden or shown."""
        by = [value for t, value in zip(CLASSES, values[2:], strict=True) if t.sensitive]
        return [gr.skip()] * len(outputs) if set(by) <= {ANY} else on_choice(hidden, name, *values)

    everything = (*ENDS.values(), *[ANY] * len(CLASSES))
    choice = gr.State(everything)  # what the figures show, even if the fields have changed since
    outputs = [head, *(part for card in answered.values() for part in card.drawn), choice]
    # These events run one after another, so that an older choice never arrives after a newer one.
    options = {
        "api_visibility": "private",
        "concurrency_id": "choice",
        "concurrency_limit": 1,
        **events.waiting_at(head),
    }
    fields, seen = [approach, *filters.values()], gr.State(False)
    # This event is in another queue. Its figures are drawn in advance, so it need not wait for the
    # choices of other visitors.
    tab.select(
        events.handle_errors(on_sight), [seen, hide, *fields], [seen, *fields, *outputs],
        api_visibility="private", show_progress="hidden",
    )  # fmt: skip
    address_bar.click(
        events.handle_errors(on_back), [hide, approach, choice], [*fields, *outputs], **options
    )
    # With "always_last", two quick changes count together.
    gr.on(
        [head.click, *(field.input for field in fields if isinstance(field, gr.Dropdown))],
        events.handle_errors(on_choice),
        [hide, *fields],
        outputs,
        **options,
        trigger_mode="always_last",
    )
    everybody.click(
        events.handle_errors(lambda: [BOTH, *everything, *shown(BOTH, *everything), everything]),
        None,
        [*fields, *outputs],
        **options,
    )
    hide.input(events.handle_errors(on_hide), [hide, *fields], outputs, **options)
    faces_of(chosen, choice, list(answered.values()))
    return partial(shown, BOTH, *everything)
