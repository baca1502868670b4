"""The Validation tab: the summary table, its verdicts and the selection of images."""

import re
from types import SimpleNamespace

import pytest

from facemtl.evaluation.compare import compare as compare_approaches
from facemtl.tasks import AGE
from facemtl.ui.faces import ANY
from facemtl.ui.tabs import validation
from tests.unit.ui_support import text


def test_the_summary_shows_the_measured_numbers(results):
    words = text(validation.summary(compare_approaches(results)))
    for row in compare_approaches(results).itertuples():
        digits = 2 if row.task == AGE.name else 1
        assert f"{row.single:.{digits}f}" in words
        assert f"{row.difference:+.{digits}f}" in words


@pytest.mark.parametrize(
    ("task", "low", "high", "says"),
    [
        ("age", -1.0, -0.2, "One model is better"),
        ("age", 0.2, 1.0, "Three models are better"),
        ("gender", 0.2, 1.0, "One model is better"),
        ("gender", -1.0, -0.2, "Three models are better"),
        ("race", -0.2, 0.2, "Could be chance"),
    ],
)
def test_verdicts_follow_the_interval(task, low, high, says):
    row = SimpleNamespace(
        task=task, difference=(low + high) / 2, difference_low=low, difference_high=high
    )
    assert validation.verdict(row).startswith(says)


def test_tables_mark_sensitive_rows(results):
    rows = re.findall(
        r"<tr( class=\"sensitive\")?><th scope=\"row\">(\w+)",
        validation.summary(compare_approaches(results)),
    )
    assert [(bool(css), name) for css, name in rows] == [
        (True, "Gender"),
        (True, "Race"),
        (False, "Age"),
    ]


def test_images_are_selected_by_their_labels(results):
    chosen = validation.select(results, 20, 29, {"gender": 1, "race": ANY})
    ages = chosen[chosen["task"] == "age"]
    assert ages["target"].between(20, 29).all() and (chosen["gender"] == 1).all()
    wanted = results[
        (results["task"] == "age") & results["target"].between(20, 29) & (results["gender"] == 1)
    ]
    assert (
        set(ages["image"]) == set(wanted["image"]) and len(chosen) == 6 * wanted["image"].nunique()
    )
    no_filter = {"gender": ANY, "race": ANY}
    assert validation.select(results, 116, 0, no_filter).equals(results)
    assert validation.select(results, 115, 115, {"gender": 0, "race": 4}).empty
