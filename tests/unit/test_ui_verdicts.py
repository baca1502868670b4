"""The verdict on the two predictions for a face, short and long."""

from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemtl.inference.predictor import MULTI, SINGLE
from facemtl.tasks import AGE, RACE
from facemtl.ui.components.verdicts import verdict


@pytest.mark.parametrize(
    ("task", "single", "multi", "label", "words", "ahead", "tone"),
    [
        (AGE, 30, 34, None, "4.0 years apart", None, ""),
        (AGE, 30, 30.9, None, "Agree", None, "good"),
        (AGE, 30, 34, 33, "Multi-task is closer, by 2.0 years", MULTI, "multi"),
        (AGE, 30, 34, 30, "Single-task is closer, by 4.0 years", SINGLE, "single"),
        (AGE, 30, 34, 32.1, "Equally close", None, ""),
        (AGE, 30, 31, 31, "Multi-task is closer, by 1.0 years", MULTI, "multi"),
        (AGE, 30, 30.9, 31, "Equally close", None, ""),
        (RACE, 1, 1, None, "Agree", None, "good"),
        (RACE, 1, 2, None, "Disagree: Black / Asian", None, ""),
        (RACE, 1, 1, 1, "Both right", None, "good"),
        (RACE, 1, 2, 1, "Single-task is right, multi-task is not", SINGLE, "single"),
        (RACE, 1, 2, 2, "Multi-task is right, single-task is not", MULTI, "multi"),
        (RACE, 1, 1, 0, "Agree, but not with the label", None, ""),
        (RACE, 1, 2, 0, "Both differ from the label", None, ""),
    ],
)
def test_verdicts(task, single, multi, label, words, ahead, tone):
    found = verdict(task, pd.Series({"single": single, "multi": multi}), label)
    assert (found.text, found.ahead, found.tone) == (words, ahead, tone)


@given(*[st.floats(0, 100)] * 2, st.integers(0, 100))
def test_a_verdict_fits_the_ages_that_are_shown(single, multi, label):
    """Both are shown with one decimal. The verdict can be computed from what is shown."""
    found = verdict(AGE, pd.Series({"single": single, "multi": multi}), label)
    shown = [Decimal(AGE.answer(age).split()[0]) for age in (single, multi)]
    lead = abs(shown[0] - label) - abs(shown[1] - label)
    assert found.ahead == (None if abs(lead) < 1 else MULTI if lead > 0 else SINGLE)
    assert found.ahead is None or f"by {abs(lead)} years" in found.text
