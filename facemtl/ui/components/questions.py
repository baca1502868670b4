"""The questions of the Validation tab, each with a sentence, a figure and a table of numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ... import plots
from ...evaluation.ages import cumulative_scores
from ...evaluation.calibration import reliability
from ...evaluation.compare import FEW
from ...evaluation.confusion import confusion
from ...evaluation.groups import AGE_GROUPS
from ...inference.predictor import APPROACHES
from ...tasks import AGE, CLASSES, INTERVAL, Classification, Task
from . import figures, sentences
from .figures import numbers
from .markup import html
from .view import View

UNLABELLED = html('<p class="note">None of these images has such a label.</p>')


@dataclass(frozen=True)
class Question:
    """A question, its answer in a sentence and in a figure, and the figure's numbers as a table."""

    title: str
    say: Callable[[View], str]
    draw: Callable[[View], object]
    numbers: Callable[[View], str]
    task: Task = AGE
    sensitive: bool = False
    note: str = ""  # explains what the figure itself does not
    is_open: bool = False  # the figure is shown at once
    is_square: bool = False  # the figure's panels are two squares
    shows_seeds: bool = False

    def sentence(self, view: View) -> str:
        return self.say(view) if self._has_labels(view) else ""

    def figure(self, view: View) -> object:
        return self.draw(view) if self._has_labels(view) else plots.blank()

    def below(self, view: View) -> str:
        if not self._has_labels(view):
            return UNLABELLED
        n = 0 if view.seeds is None else view.seeds["seed"].nunique()
        seeds = f" The short lines are {n} trainings, each with another seed." if n else ""
        return figures.below(self.numbers(view), self.note + (seeds if self.shows_seeds else ""))

    def _has_labels(self, view: View) -> bool:
        return bool((view.table["task"] == self.task.name).any())


@dataclass(frozen=True)
class Part:
    """A part of the tab, under its own heading."""

    title: str
    questions: tuple[Question, ...]


_BARS = "Bars are 95 % intervals."
_BY_AGE = {"age_group": "Age", "approach": "Approach", "n": "Images"}


def _of_age(column: str, heading: str) -> Callable[[View], str]:
    interval = {f"{column}_low": "from", f"{column}_high": "to"} if column != "coverage" else {}
    return lambda view: numbers(view.groups, _BY_AGE | {column: heading} | interval)


def _densest(view: View) -> str:
    """Quantiles of predictions per age group. The density itself would be too many numbers."""
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
    columns = {
        "group": "Age",
        "n": "Images",
        "difference": f"Multi-task minus single-task ({AGE.unit})",
    }
    return numbers(rows, columns | {"difference_low": "from", "difference_high": "to"}, digits=2)


def _of_groups(task: Task) -> Question:
    def table(view: View) -> str:
        rows = view.metrics[
            (view.metrics["by"] != "age_group") & (view.metrics["task"] == task.name)
        ]
        columns = {
            "group": "Group",
            "n": "Images",
            **{a.name: f"{a.model} ({task.metric.unit})" for a in APPROACHES},
        }
        return numbers(
            rows,
            columns
            | {"difference": "Difference", "difference_low": "from", "difference_high": "to"},
            digits=2,
        )

    def draw(view: View) -> object:
        return plots.metric_by_group(view.metrics, task)

    note = f"{_BARS} “(few)” marks groups of fewer than {FEW} images: mostly chance."
    return Question(
        f"{task.title}: which groups are predicted better?",
        partial(sentences.groups, task=task),
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

    note = "In percent of the images with the same label. Each row adds up to 100."
    return Question(
        f"{task.title}: which labels are confused?",
        partial(sentences.confused, task=task),
        draw,
        table,
        task,
        sensitive=True,
        note=note,
        is_open=True,
    )


def _of_reliability(task: Task) -> Question:
    def table(view: View) -> str:
        columns = {
            "approach": "Approach",
            "n": "Images",
            "confidence": "Mean confidence (%)",
            "hits": "Correct (%)",
        }
        return numbers(reliability(view.table, task), columns)

    def draw(view: View) -> object:
        return plots.reliability_diagram(reliability(view.table, task), task)

    note = (
        "On the dotted line, answers are correct as often as their confidence says. "
        f"Points of fewer than {plots.FEWEST} images are left out."
    )
    return Question(
        f"{task.title}: is the confidence calibrated?",
        partial(sentences.calibration, task=task),
        draw,
        table,
        task,
        task.sensitive,
        note,
    )


PARTS = (
    Part(
        "How large are the age errors?",
        (
            Question(
                "At which ages are the errors largest?",
                sentences.largest_errors,
                lambda v: plots.error_by_age(v.groups, v.seeds),
                _of_age("mae", "Mean absolute error (years)"),
                note=_BARS,
                is_open=True,
                shows_seeds=True,
            ),
            Question(
                "Which approach is better at which age?",
                sentences.difference_by_age,
                lambda v: plots.difference_by_age(v.metrics, v.seeds),
                _differences,
                note=f"{_BARS} By chance alone, one interval in twenty does not contain 0.",
                is_open=True,
                shows_seeds=True,
            ),
            Question(
                "How close are predicted ages to the labels?",
                sentences.closeness,
                lambda v: plots.predicted_against_true(v.errors),
                _densest,
                note="On the dotted line the age is exactly right.",
                is_open=True,
                is_square=True,
            ),
            Question(
                "How many ages are within N years of the label?",
                sentences.within,
                lambda v: plots.cumulative_score(cumulative_scores(v.errors)),
                lambda v: numbers(
                    cumulative_scores(v.errors),
                    {"approach": "Approach", "years": "Years", "share": "% of images"},
                ),
            ),
            Question(
                "How are the age errors distributed?",
                sentences.large_errors,
                lambda v: plots.error_distribution(v.errors),
                _signed,
            ),
            Question(
                "At which ages are predictions too high or too low?",
                sentences.bias_by_age,
                lambda v: plots.bias_by_age(v.groups),
                _of_age("bias", "Mean of predicted minus labelled (years)"),
                note=_BARS,
            ),
        ),
    ),
    Part("What is confused?", tuple(_of_confusion(task) for task in CLASSES)),
    Part(
        "Can confidence and intervals be trusted?",
        (
            Question(
                "Do the intervals contain the label as often as they should?",
                sentences.coverage,
                lambda v: plots.coverage_by_age(v.groups),
                _of_age("coverage", "Labels inside (%)"),
                note=f"The dotted line is the nominal coverage: {100 * INTERVAL:.0f} %.",
            ),
            *(_of_reliability(task) for task in (AGE, *CLASSES)),
        ),
    ),
    Part("Who is predicted better?", tuple(_of_groups(task) for task in (AGE, *CLASSES))),
)
QUESTIONS = tuple(question for part in PARTS for question in part.questions)
