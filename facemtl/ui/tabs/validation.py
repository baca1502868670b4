"""Validation: the errors of both approaches on images that no model was trained on."""

import threading
from collections.abc import Callable
from functools import lru_cache, partial

import gradio as gr
import pandas as pd

from ... import plots
from ...evaluation.compare import N_RESAMPLES, favoured, metric_tables
from ...inference.predictor import APPROACHES, MULTI, SINGLE, Approach
from ...tasks import AGE, CLASSES, task_named
from .. import events
from ..components import cards, figures
from ..components.questions import QUESTIONS, Question, View
from ..faces import ANY, aged

NOBODY = cards.message(
    "No images match",
    "No images match. Widen the age range, or reset a filter. "
    "The figures still show the previous choice.",
)

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


def summary(compared: pd.DataFrame) -> str:
    """A card with the metrics of both approaches, and a verdict in words per task.

    `compared` has the columns of `evaluation.compare.compare`.
    """
    rows = []
    for row in compared.itertuples():
        task = task_named(row.task)
        metric = task.metric

        def cell(name: str, row=row, metric=metric, sign: bool = False) -> str:
            low, high = getattr(row, f"{name}_low"), getattr(row, f"{name}_high")
            interval = f"{metric.number(low, sign)} to {metric.number(high, sign)}"
            return f"{metric.words(getattr(row, name), sign)} <small>{interval}</small>"

        rows.append(
            [
                f"{task.title}<small>{metric.title}</small>",
                cell(SINGLE.name),
                cell(MULTI.name),
                cell("difference", sign=True),
                verdict(row),
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
        f" images ({N_RESAMPLES:,} resamples, paired for differences). They do not include"
        " differences between trainings: see Training."
    )
    question = "Is one model better or worse than three?"
    sensitive = [task_named(name).sensitive for name in compared["task"]]
    return cards.card(question, cards.html_table(question, columns, rows, note, sensitive))


def verdict(row) -> str:
    """Which approach is significantly better, in words, or that the difference may be chance."""
    words = {SINGLE: "Three models are better", MULTI: "One model is better"}
    return words.get(favoured(row), "Could be chance")


def _figure(question: Question, view: View, approach: Approach | None) -> list:
    """The figure of a question, and the HTML below it. With `approach`, of that approach alone."""
    if approach is None:
        return [question.figure(view), question.below(view)]
    return [plots.of_approach(question.figure(view), approach), question.below(view.of(approach))]


def build(
    table: pd.DataFrame,
    metrics: pd.DataFrame,
    hide: gr.Checkbox,
    behind: Callable[..., None],
    tab: gr.Tab,
) -> Callable[[], object]:
    """Lay out the tab and connect its events.

    At first, the figures show all images. They are drawn from saved tables and need neither the
    dataset nor a model. `behind(chosen, choice)` lays out the gallery of the chosen images' faces.
    Returns a function that draws the figures of all images in advance.
    """
    whole = View(table, metrics)
    tasks = [task_named(name) for name in table["task"].unique()]
    questions = [question for question in QUESTIONS if question.task in tasks]
    with gr.Row(elem_classes="toolbar", elem_id="which-images"):
        filters = {
            name: gr.Number(
                end,
                label=label,
                precision=0,
                minimum=AGE.low,
                maximum=AGE.high,
                min_width=92,
                scale=0,
                visible=AGE in tasks,
            )
            for name, end, label in (("low", AGE.low, "Ages from"), ("high", AGE.high, "Ages to"))
        }
        for task in CLASSES:
            choices = [("any", ANY), *((label, i) for i, label in enumerate(task.labels))]
            css = ["sensitive"] if task.sensitive else []
            label = f"Labelled {task.name}"
            filters[task.name] = gr.Dropdown(
                choices,
                value=ANY,
                label=label,
                min_width=128,
                scale=0,
                elem_classes=css,
                visible=task in tasks,
            )
        whose = [("both", BOTH), *((a.short.capitalize(), a.name) for a in APPROACHES)]
        approach = gr.Dropdown(whose, value=BOTH, label="Approach", min_width=162, scale=0)
        apply = gr.Button("Show these images", scale=0, min_width=180)
        everybody = gr.Button("Show all", scale=0, min_width=100)
    head = gr.HTML(summary(whole.overall), elem_id="metrics")
    drawn: list[list[gr.components.Component]] = []
    for i in range(0, len(questions), 2):
        pair = questions[i : i + 2]
        css = ["sensitive"] if all(q.sensitive for q in pair) else []
        with gr.Row(equal_height=True, elem_classes=css):
            drawn += [figures.card(q.title, q.sensitive) for q in pair]
    gr.HTML(f'<p class="note">{cards.NOTE}</p>')

    def asked(hidden: bool, values: tuple) -> tuple:
        """The ages and labels to choose by. Hidden tasks are ignored. An empty age is no limit."""
        low, high, *labels = values
        ends = AGE.low if low is None else low, AGE.high if high is None else high
        return *ends, *(
            ANY if hidden and t.sensitive else v for t, v in zip(CLASSES, labels, strict=True)
        )

    def chosen(hidden: bool, values: tuple) -> pd.DataFrame:
        """The rows of the images that the fields choose."""
        low, high, *labels = asked(hidden, values)
        return select(table, low, high, {t.name: v for t, v in zip(CLASSES, labels, strict=True)})

    @lru_cache(maxsize=32)
    def draw(name: str, *values: float | int) -> list:
        rows = chosen(False, values)
        if rows.empty:
            return [NOBODY, *[gr.skip()] * (len(outputs) - 2)]
        view = whole if len(rows) == len(table) else View(rows, metric_tables(rows))
        one = next((a for a in APPROACHES if a.name == name), None)
        sent = figures.made([head], lambda: [summary(view.overall)])
        for question, parts in zip(questions, drawn, strict=True):
            sent += figures.made(parts, partial(_figure, question, view, one))
        return sent

    drawing = threading.Lock()

    def shown(name: str, *values: float | int) -> list:
        """All outputs but the choice itself, from the cache if possible.

        The lock keeps visitors who ask for the same figures at the same time from drawing them
        twice.
        """
        with drawing:
            return draw(name, *values)

    def on_choice(hidden: bool, name: str, *values: float | int | None) -> list:
        found = shown(name, *asked(hidden, values))
        return [*found, gr.skip() if found[0] == NOBODY else values]

    def on_sight(has_seen: bool, *asked_for) -> list:
        """Fill the outputs when the tab is first selected.

        The fields then choose all images, unless the server has dropped the visitor's state.
        """
        return [True, *([gr.skip()] * len(outputs) if has_seen else on_choice(*asked_for))]

    def on_hide(hidden: bool, name: str, *values: float | int | None) -> list:
        """Choose again, but only if images are chosen by a label that is now hidden or shown."""
        by = [value for t, value in zip(CLASSES, values[2:], strict=True) if t.sensitive]
        return [gr.skip()] * len(outputs) if set(by) <= {ANY} else on_choice(hidden, name, *values)

    everything = (AGE.low, AGE.high, *[ANY] * len(CLASSES))
    choice = gr.State(everything)  # what the figures show, even if the fields have changed since
    outputs = [head, *(part for parts in drawn for part in parts), choice]
    # These events run one after another, so that an older choice never arrives after a newer one.
    options = {
        "api_visibility": "private",
        "concurrency_id": "choice",
        "concurrency_limit": 1,
        **events.waiting_at(head),
    }
    fields, seen = list(filters.values()), gr.State(False)
    # This event is not in their queue. Its figures are drawn in advance, so it need not wait for
    # choices of other visitors.
    tab.select(
        events.handle_errors(on_sight), [seen, hide, approach, *fields], [seen, *outputs],
        api_visibility="private", show_progress="hidden",
    )  # fmt: skip
    submits = [field.submit for field in fields[:2]] + [
        field.input for field in (*fields[2:], approach)
    ]
    # With "always_last", two quick changes count together.
    gr.on(
        [apply.click, *submits],
        events.handle_errors(on_choice),
        [hide, approach, *fields],
        outputs,
        **options,
        trigger_mode="always_last",
    )
    everybody.click(
        events.handle_errors(lambda: [*everything, BOTH, *shown(BOTH, *everything), everything]),
        None,
        [*fields, approach, *outputs],
        **options,
    )
    hide.input(events.handle_errors(on_hide), [hide, approach, *fields], outputs, **options)
    behind(chosen, choice)
    return partial(shown, BOTH, *everything)
