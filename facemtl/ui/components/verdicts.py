"""The verdict on two answers for one face: whether they agree, or which is closer to the label."""

from dataclasses import dataclass

import pandas as pd

from ...inference.predictor import MULTI, SINGLE, Approach
from ...tasks import Classification, Regression, Task

EQUAL = 1.0  # years; smaller differences count as none
GOOD = "good"


@dataclass(frozen=True)
class Verdict:
    """A verdict in words, such as 'Multi-task is closer, by 2.1 years'."""

    text: str
    ahead: Approach | None = None  # the approach that is closer to the label
    is_good: bool = False  # both agree, or both are right

    @property
    def tone(self) -> str:
        """The CSS class of a badge."""
        return self.ahead.name if self.ahead else GOOD if self.is_good else ""


def verdict(task: Task, predictions: pd.Series, label: float | None) -> Verdict:
    """The verdict on the predictions of both approaches, a Series indexed by approach.

    Without a label, it says whether both agree.
    """
    compared = _labels if isinstance(task, Classification) else _numbers
    return compared(task, predictions, label)


def _numbers(task: Regression, predictions: pd.Series, label: float | None) -> Verdict:
    # Rounded as they are shown, so that the verdict fits the numbers on the page.
    single, multi = (round(float(predictions[a.name]), 1) for a in (SINGLE, MULTI))
    if label is None:
        apart = round(abs(single - multi), 1)
        if apart < EQUAL:
            return Verdict("Agree", is_good=True)
        return Verdict(f"{apart:.1f} {task.unit} apart")
    lead = round(abs(single - label) - abs(multi - label), 1)  # of the multi-task model
    if abs(lead) < EQUAL:
        return Verdict("Equally close")
    who = "Multi-task is" if lead > 0 else "Single-task is"
    return Verdict(f"{who} closer, by {abs(lead):.1f} {task.unit}", MULTI if lead > 0 else SINGLE)


def _labels(task: Classification, predictions: pd.Series, label: float | None) -> Verdict:
    single, multi = (predictions[a.name] for a in (SINGLE, MULTI))
    if label is None:
        if single == multi:
            return Verdict("Agree", is_good=True)
        return Verdict(f"Disagree: {task.words(single)} / {task.words(multi)}")
    if single == multi == label:
        return Verdict("Both right", is_good=True)
    if single == label:
        return Verdict("Single-task is right, multi-task is not", SINGLE)
    if multi == label:
        return Verdict("Multi-task is right, single-task is not", MULTI)
    return Verdict(
        "Agree, but not with the label" if single == multi else "Both differ from the label"
    )
