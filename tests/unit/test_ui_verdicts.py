"""The verdict on two answers for one face, short and long."""

import pandas as pd
import pytest

from facemtl.inference.predictor import MULTI, SINGLE
from facemtl.tasks import AGE, RACE
from facemtl.ui.components.verdicts import verdict


@pytest.mark.parametrize(
    ("task", "single", "multi", "label", "short", "ahead", "tone"),
    [
        (AGE, 30, 34, None, "4.0 years apart", None, ""),
        (AGE, 30, 30.3, None, "agree", None, "good"),
        (AGE, 30, 34, 33, "One, by 2.0 years", MULTI, "multi"),
        (AGE, 30, 34, 30, "Three, by 4.0 years", SINGLE, "single"),
        (AGE, 30, 34, 32.1, "equally close", None, ""),
        (RACE, 1, 1, None, "agree", None, "good"),
        (RACE, 1, 2, None, "disagree", None, ""),
        (RACE, 1, 1, 1, "both right", None, "good"),
        (RACE, 1, 2, 1, "Three right", SINGLE, "single"),
        (RACE, 1, 2, 2, "One right", MULTI, "multi"),
        (RACE, 1, 2, 0, "both wrong", None, ""),
    ],
)
def test_short_verdicts(task, single, multi, label, short, ahead, tone):
    found = verdict(task, pd.Series({"single": single, "multi": multi}), label)
    assert (found.short, found.ahead, found.tone) == (short, ahead, tone)
