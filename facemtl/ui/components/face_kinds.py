"""Kinds of faces behind the figures of Validation, such as misclassified ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import unescape

import pandas as pd

from ... import plots
from ...evaluation.ages import age_errors
from ...evaluation.calibration import N_BINS, confidence_bins
from ...evaluation.compare import paired_scores
from ...evaluation.groups import AGE_GROUPS, by_group
from ...inference.predictor import APPROACHES, MULTI, SINGLE, Approach
from ...tasks import AGE, CLASSES, TASKS, Classification, Task

FARTHEST = 1000  # the largest number on an axis of a figure with faces: years, or percent
FAR = 10  # years; the smallest age error, or gap between approaches, in `age_kinds`


@dataclass(frozen=True)
class Kind:
    """A kind of faces, such as those that are predicted too old.

    `find` takes a table of predictions. It returns the names of the images, the clearest first.
    """

    title: str
    find: Callable[[pd.DataFrame], list[str]]
    task: Task = AGE
    of_labels: bool = False  # found by labels such as gender, even if the task is another one
    option: str = ""  # its short title in a list to choose from

    @property
    def sensitive(self) -> bool:
        return self.task.sensitive or self.of_labels


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
            f"predicted {FAR} years or more too old (mean of both approaches)",
            by(lambda errors: errors.mean(axis=1)),
            option=f"{FAR} years or more too old",
        ),
        Kind(
            f"predicted {FAR} years or more too young (mean of both approaches)",
            by(lambda errors: -errors.mean(axis=1)),
            option=f"{FAR} years or more too young",
        ),
        Kind(
            f"predicted {FAR} years or more apart by the two approaches",
            by(lambda errors: (errors[SINGLE.name] - errors[MULTI.name]).abs()),
            option=f"{FAR} years or more apart",
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

    labelled, predicted = task.words(target), task.words(prediction)
    title = f"labelled {labelled}, predicted as {predicted} by the {approach.model.lower()}"
    return Kind(title, find, task, option=f"{labelled} as {predicted}, {approach.kind.lower()}")


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
        f"labelled {labelled}, predicted as {prediction - half:.0f} to {prediction + half:.0f} by"
        f" the {approach.model.lower()}",
        find,
    )


def of_group(task: Task, approach: Approach | None, group: str) -> Kind:
    """Faces of one group of `evaluation.groups.by_group`, the worst answers first.

    Without an approach, those come first whose scores differ most between the approaches.
    """

    def find(table: pd.DataFrame) -> list[str]:
        rows = next((rows for _, name, rows in by_group(table) if name == group), table[:0])
        if not (rows["task"] == task.name).any():
            return []
        scores = paired_scores(rows, task)
        if approach is None:
            order = -(scores[SINGLE.name] - scores[MULTI.name]).abs()
        else:
            order = scores[approach.name] * (-1 if task.metric.lower_is_better else 1)
        return list(order.sort_values(kind="stable").index)

    if approach is None:
        worst = "largest differences between the models first"
    else:
        worst = f"worst answers of the {approach.model.lower()} first"
    return Kind(f"in the group “{group}”, {worst}", find, task, of_labels=group not in AGE_GROUPS)


def of_confidence(task: Task, approach: Approach, confidence: float) -> Kind:
    """Faces in one confidence bin of the reliability diagram, wrong answers first.

    `confidence` lies in the bin, in percent.
    """
    bin_ = int(confidence_bins(pd.Series([confidence / 100]))[0])

    def find(table: pd.DataFrame) -> list[str]:
        rows = table[(table["task"] == task.name) & (table["approach"] == approach.name)]
        rows = rows[confidence_bins(rows["confidence"]) == bin_]
        right = task.hits(rows["target"].to_numpy(), rows["prediction"].to_numpy())
        rows = rows.assign(right=right).sort_values(
            ["right", "confidence"], ascending=[True, False], kind="stable"
        )
        return list(rows["image"])

    low, high = (100 * end // N_BINS for end in (bin_, bin_ + 1))
    return Kind(
        f"predicted with a confidence of {low} to {high} % by the {approach.model.lower()}, wrong"
        " answers first",
        find,
        task,
    )


def class_kinds(task: Classification) -> list[Kind]:
    """All cells off the diagonal of the task's confusion matrices."""
    pairs = [(i, j) for i in range(len(task.labels)) for j in range(len(task.labels)) if i != j]
    return [of_cell(task, a, i, j) for a in APPROACHES for i, j in pairs]


def of_click(clicked: Mapping[str, object]) -> Kind | None:
    """The faces in the part of a figure that was clicked, or None if it has none.

    `clicked` holds `by`, `task` and `approach` of the figure's trace, the position `x` and `y` on
    its axes, and the `group`, if there is one.
    """
    approach = next((a for a in APPROACHES if a.name == clicked.get("approach")), None)
    task = next((t for t in TASKS if t.name == clicked.get("task")), None)
    given = (clicked.get(name) for name in ("by", "x", "y", "group"))
    # Figures escape labels.
    by, x, y, group = (unescape(value) if isinstance(value, str) else value for value in given)
    if task is None:
        return None
    if by == "group" and isinstance(group, str):
        return of_group(task, approach, group)
    if approach is None:
        return None
    is_place = all(isinstance(v, int | float) and abs(v) <= FARTHEST for v in (x, y))
    if by == "square" and task == AGE and is_place:
        return of_square(approach, x, y)
    if by == "confidence" and is_place:
        return of_confidence(task, approach, x)
    if by == "cell" and task in CLASSES and x in task.labels and y in task.labels:
        return of_cell(task, approach, task.labels.index(y), task.labels.index(x))
    return None


AGES, OTHERS = age_kinds(), [kind for task in CLASSES for kind in class_kinds(task)]
KINDS = [*AGES, *OTHERS]
