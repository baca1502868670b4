"""Validation: where and by how much each approach errs, on images that no model was trained on."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial

import gradio as gr
import pandas as pd

from ... import plots
from ...evaluation.ages import age_error_by_group, age_errors, cumulative_scores
from ...evaluation.calibration import reliability
from ...evaluation.compare import FEW, N_RESAMPLES, favoured, metric_tables
from ...evaluation.confusion import confusion
from ...evaluation.groups import AGE_GROUPS
from ...inference.predictor import APPROACHES, MULTI, SINGLE, Approach
from ...tasks import AGE, INTERVAL, Classification, Task, task_named
from ..components import cards, figures
from ..components.figures import numbers
from ..faces import ANY, CLASSES, aged
from . import compare

NOBODY = cards.message(
    "No such image",
    "No validation image is like that. Widen the ages, or set a field back to “any”. "
    "The figures still show the previous choice.",
)
UNLABELLED = '<p class="note">None of these images has such a label.</p>'

BOTH = "both"  # in place of an approach's name


@dataclass(frozen=True)
class View:
    """The saved predictions of some validation images, and the tables that figures are drawn
    from.
    """

    table: pd.DataFrame
    metrics: pd.DataFrame  # `evaluation.metric_tables` of the table

    @cached_property
    def errors(self) -> pd.DataFrame:
        return age_errors(self.table).round(2)

    @cached_property
    def groups(self) -> pd.DataFrame:
        return age_error_by_group(self.table)

    @property
    def overall(self) -> pd.DataFrame:
        return self.metrics[self.metrics["by"] == "all"]

    def of(self, approach: Approach) -> "View":
        """What one approach says; metrics, which compare, stay those of both."""
        return View(self.table[self.table["approach"] == approach.name], self.metrics)


def select(table: pd.DataFrame, low: float, high: float, labels: dict[str, int]) -> pd.DataFrame:
    """The rows of those images whose labelled age is from `low` to `high` and whose `labels`, but
    for ANY, are these.
    """
    ages = table[table["task"] == AGE.name].drop_duplicates("image").set_index("image")["target"]
    chosen = aged(table["image"].map(ages), *sorted((low, high)))
    for name, value in labels.items():
        if value != ANY:
            chosen &= table[name] == value
    return table[chosen]


def summary(compared: pd.DataFrame) -> str:
    """The metric table of both approaches, each row of `evaluation.compare` with its verdict in
    words.
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
        f"{n} validation images, the same for both. In small print: 95 % intervals, which tell how far the luck of the "
        f"images may move a number ({N_RESAMPLES:,} bootstrap resamples, paired for differences). The luck of a training is "
        "not in them: see Training."
    )
    question = "Trained alike, what does one model lose or gain?"
    sensitive = [task_named(name).sensitive for name in compared["task"]]
    return cards.card(question, cards.html_table(question, columns, rows, note, sensitive))


def verdict(row) -> str:
    """Which approach the interval of the difference speaks for, if any."""
    words = {SINGLE: "Three models are better", MULTI: "One model is better"}
    return words.get(favoured(row), "May be the luck of the images")


@dataclass(frozen=True)
class Question:
    """A figure, the question that it answers, and its numbers as a table."""

    title: str
    draw: Callable[[View], object]
    numbers: Callable[[View], str]
    task: Task = AGE
    sensitive: bool = False
    note: str = ""  # what of the figure does not explain itself

    def figure(self, view: View) -> object:
        return self.draw(view) if self._has_labels(view) else plots.blank()

    def below(self, view: View) -> str:
        return (
            figures.below(self.numbers(view), self.note) if self._has_labels(view) else UNLABELLED
        )

    def _has_labels(self, view: View) -> bool:
        return bool((view.table["task"] == self.task.name).any())


_BARS = "Bars are 95 % intervals."
_BY_AGE = {"age_group": "Age", "approach": "Approach", "n": "Images"}


def _of_age(column: str, heading: str) -> Callable[[View], str]:
    interval = {f"{column}_low": "from", f"{column}_high": "to"} if column != "coverage" else {}
    return lambda view: numbers(view.groups, _BY_AGE | {column: heading} | interval)


def _densest(view: View) -> str:
    """Mean and spread of predictions per label's band: the numbers of a density are too many."""
    by = view.errors.groupby(["age_group", "approach"], sort=False)["prediction"].describe(
        percentiles=[0.05, 0.5, 0.95]
    )
    by = by.reset_index().rename(columns={"count": "n"}).astype({"n": int})
    by = by.sort_values("age_group", key=lambda c: c.map(AGE_GROUPS.index), kind="stable")
    return numbers(
        by, _BY_AGE | {"5%": "5 % are below", "50%": "half are below", "95%": "95 % are below"}
    )


def _signed(view: View) -> str:
    by = (
        view.errors.groupby("approach")["error"]
        .describe(percentiles=[0.05, 0.25, 0.5, 0.75, 0.95])
        .reset_index()
    )
    return numbers(
        by,
        {
            "approach": "Approach",
            "mean": "Mean",
            **{f"{p}%": f"{p} % are below" for p in (5, 25, 50, 75, 95)},
        },
    )


def _differences(view: View) -> str:
    rows = view.metrics[(view.metrics["by"] == "age_group") & (view.metrics["task"] == AGE.name)]
    columns = {"group": "Age", "n": "Images", "difference": "One minus three (years)"}
    return numbers(rows, columns | {"difference_low": "from", "difference_high": "to"}, digits=2)


def _of_groups(task: Task) -> Question:
    def table(view: View) -> str:
        rows = view.metrics[
            (view.metrics["by"] != "age_group") & (view.metrics["task"] == task.name)
        ]
        columns = {
            "group": "Group",
            "n": "Images",
            **{a.name: f"{a.title} ({task.metric.unit})" for a in APPROACHES},
        }
        return numbers(
            rows,
            columns
            | {"difference": "Difference", "difference_low": "from", "difference_high": "to"},
            digits=2,
        )

    def draw(view: View) -> object:
        return plots.metric_by_group(view.metrics, task)

    note = f"{_BARS} (few): fewer than {FEW} images, mostly luck."
    return Question(
        f"{task.title}: who is read better, who worse?",
        draw,
        table,
        task,
        sensitive=True,
        note=note,
    )


def _of_confusion(task: Classification) -> Question:
    def table(view: View) -> str:
        rows = confusion(view.table, task)
        rows = rows[rows["approach"].isin(view.table["approach"])]
        rows = rows.assign(
            **{name: rows[name].map(task.words) for name in ("target", "prediction")}
        )
        columns = {
            "approach": "Approach",
            "target": "Label",
            "prediction": "Answer",
            "n": "Images",
            "share": "% of this label's images",
        }
        return numbers(rows, columns)

    def draw(view: View) -> object:
        return plots.confusion_matrices(confusion(view.table, task), task)

    note = "In percent of the images with the same label: a row makes 100."
    return Question(
        f"{task.title}: what is taken for what?", draw, table, task, sensitive=True, note=note
    )


def _of_reliability(task: Task) -> Question:
    def table(view: View) -> str:
        columns = {
            "approach": "Approach",
            "n": "Images",
            "confidence": "Mean confidence (%)",
            "hits": "Came true (%)",
        }
        return numbers(reliability(view.table, task), columns)

    def draw(view: View) -> object:
        return plots.reliability_diagram(reliability(view.table, task), task)

    note = (
        "On the dotted line, answers come true as often as they claim. "
        f"Points of fewer than {plots.FEWEST} images are left out."
    )
    return Question(
        f"{task.title}: is a confidence worth what it claims?",
        draw,
        table,
        task,
        task.sensitive,
        note,
    )


QUESTIONS = (
    Question(
        "How close are predicted ages to the labels?",
        lambda v: plots.predicted_against_true(v.errors),
        _densest,
        note="On the dotted line the age is exactly right. The stronger a square's colour, the more images.",
    ),
    Question(
        "How many faces are within so many years?",
        lambda v: plots.cumulative_score(cumulative_scores(v.errors)),
        lambda v: numbers(
            cumulative_scores(v.errors),
            {"approach": "Approach", "years": "Years", "share": "% of images"},
        ),
    ),
    Question(
        "How large are the age errors?", lambda v: plots.error_distribution(v.errors), _signed
    ),
    Question(
        "Which approach errs less, at which age?",
        lambda v: plots.difference_by_age(v.metrics),
        _differences,
        note=_BARS,
    ),
    Question(
        "At which ages do they err most?",
        lambda v: plots.error_by_age(v.groups),
        _of_age("mae", "Mean absolute error (years)"),
        note=_BARS,
    ),
    Question(
        "Which ages are read too old, which too young?",
        lambda v: plots.bias_by_age(v.groups),
        _of_age("bias", "Mean of predicted minus labelled (years)"),
        note=_BARS,
    ),
    Question(
        "Do the intervals hold what they promise?",
        lambda v: plots.coverage_by_age(v.groups),
        _of_age("coverage", "Labels inside (%)"),
        note=f"The dotted line is the promise: {100 * INTERVAL:.0f} %.",
    ),
    _of_reliability(AGE),
    *(_of_confusion(task) for task in CLASSES),
    *(_of_reliability(task) for task in CLASSES),
    _of_groups(AGE),
    *(_of_groups(task) for task in CLASSES),
)


def _figure(question: Question, view: View, approach: Approach | None) -> list:
    """The figure and what stands below it; of one approach alone where it is given."""
    if approach is None:
        return [question.figure(view), question.below(view)]
    return [plots.only(question.figure(view), approach), question.below(view.of(approach))]


def build(
    table: pd.DataFrame,
    metrics: pd.DataFrame,
    hide: gr.Checkbox,
    behind: Callable[..., None],
    tab: gr.Tab,
) -> Callable[[], object]:
    """Drawn for all images at first, from saved tables; neither dataset nor model is needed.

    `behind(chosen, choice)` lays out what shows the faces of the chosen images. Returns what draws
    ahead of the first visitor.
    """
    whole = View(table, metrics)
    tasks = [task_named(name) for name in table["task"].unique()]
    questions = [question for question in QUESTIONS if question.task in tasks]
    with gr.Row(elem_classes="toolbar", elem_id="which-images"):
        wished = {
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
            wished[task.name] = gr.Dropdown(
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
        """What is asked for: who hides a task does not choose by it either; an empty age is no
        limit.
        """
        low, high, *labels = values
        ends = AGE.low if low is None else low, AGE.high if high is None else high
        return *ends, *(
            ANY if hidden and t.sensitive else v for t, v in zip(CLASSES, labels, strict=True)
        )

    def chosen(hidden: bool, values: tuple) -> pd.DataFrame:
        """The rows of the images that are asked for."""
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
        """All outputs but the choice itself. Many ask for the same, some at the same time."""
        with drawing:
            return draw(name, *values)

    def on_choice(hidden: bool, name: str, *values: float | int | None) -> list:
        found = shown(name, *asked(hidden, values))
        return [*found, gr.skip() if found[0] == NOBODY else values]

    def on_sight(has_seen: bool, *asked_for) -> list:
        """What is asked for: everything, but for who comes back after the server has forgotten what
        was seen.
        """
        return [True, *([gr.skip()] * len(outputs) if has_seen else on_choice(*asked_for))]

    def on_hide(hidden: bool, name: str, *values: float | int | None) -> list:
        """Only who has chosen by what is now hidden, or shown again, sees other images."""
        by = [value for t, value in zip(CLASSES, values[2:], strict=True) if t.sensitive]
        return [gr.skip()] * len(outputs) if set(by) <= {ANY} else on_choice(hidden, name, *values)

    everything = (AGE.low, AGE.high, *[ANY] * len(CLASSES))
    choice = gr.State(everything)  # that which figures show, whatever the fields say meanwhile
    outputs = [head, *(part for parts in drawn for part in parts), choice]
    # One after another, whichever of the events below it is: an older choice must not arrive after
    # a newer one.
    options = {
        "api_visibility": "private",
        "concurrency_id": "choice",
        "concurrency_limit": 1,
        **compare.waiting_at(head),
    }
    fields, seen = list(wished.values()), gr.State(False)
    # Not one after another with those: it is known before it is asked for, and need not wait for
    # what others choose.
    tab.select(
        compare.handle_errors(on_sight), [seen, hide, approach, *fields], [seen, *outputs],
        api_visibility="private", show_progress="hidden",
    )  # fmt: skip
    submits = [field.submit for field in fields[:2]] + [
        field.input for field in (*fields[2:], approach)
    ]
    # "always_last": who changes two fields in a hurry means both.
    gr.on(
        [apply.click, *submits],
        compare.handle_errors(on_choice),
        [hide, approach, *fields],
        outputs,
        **options,
        trigger_mode="always_last",
    )
    everybody.click(
        compare.handle_errors(lambda: [*everything, BOTH, *shown(BOTH, *everything), everything]),
        None,
        [*fields, approach, *outputs],
        **options,
    )
    hide.input(compare.handle_errors(on_hide), [hide, approach, *fields], outputs, **options)
    behind(chosen, choice)
    return partial(shown, BOTH, *everything)
