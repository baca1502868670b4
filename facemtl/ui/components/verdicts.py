"""The verdict on two answers for one face: whether they agree, or which is closer to the label."""

from dataclasses import dataclass
from functools import singledispatch

import pandas as pd

from ...inference.predictor import MULTI, SINGLE, Approach
from ...tasks import Classification, Regression, Task

EQUAL = 0.5  # years; smaller differences count as none
GOOD = "good"


@dataclass(frozen=True)
class Verdict:
    """What two answers for one face come to."""

    short: str  # for a cell of a table, such as 'One, by 2.1 years'
    long: str  # for the badge of a card, such as 'One model is closer, by 2.1 years'
    ahead: Approach | None = None  # the approach that is closer to the label
    is_good: bool = False  # both agree, or both are right

    @property
    def tone(self) -> str:
        """The CSS class of a badge."""
        return self.ahead.name if self.ahead else GOOD if self.is_good else ""


@singledispatch
def verdict(task: Task, predictions: pd.Series, label: float | None) -> Verdict:
    """The verdict on the predictions of both approaches, a Series indexed by approach.

    Without a label, it says whether both agree.
    """
    raise NotImplementedError(task)


@verdict.register
def _(task: Regression, predictions: pd.Series, label: float | None) -> Verdict:
    single, multi = predictions[SINGLE.name], predictions[MULTI.name]
    if label is None:
        if abs(single - multi) < EQUAL:
            return Verdict("agree", "Agree", is_good=True)
        apart = f"{abs(single - multi):.1f} {task.unit} apart"
        return Verdict(apart, apart)
    lead = abs(single - label) - abs(multi - label)  # of the multi-task model
    if abs(lead) < EQUAL:
        return Verdict("equally close", "Equally close")
    ahead, verb = (MULTI, "is") if lead > 0 else (SINGLE, "are")
    by = f"by {abs(lead):.1f} {task.unit}"
    return Verdict(f"{ahead.count}, {by}", f"{ahead.short.capitalize()} {verb} closer, {by}", ahead)


@verdict.register
def _(task: Classification, predictions: pd.Series, label: float | None) -> Verdict:
    agree = predictions[SINGLE.name] == predictions[MULTI.name]
    if label is None:
        return Verdict("agree", "Agree", is_good=True) if agree else Verdict("disagree", "Disagree")
    right = [a for a in (SINGLE, MULTI) if predictions[a.name] == label]
    if len(right) == 2:
        return Verdict("both right", "Both right", is_good=True)
    if not right:
        return Verdict(
            "both wrong", "Agree, against the label" if agree else "Both differ from the label"
        )
    (ahead,) = right
    words = (
        "One model is right, three are not"
        if ahead is MULTI
        else "Three models are right, one is not"
    )
    return Verdict(f"{ahead.count} right", words, ahead)
