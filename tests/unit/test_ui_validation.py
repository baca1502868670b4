"""The Validation tab: the summary table, its verdicts and the selection of images."""

import re
from types import SimpleNamespace

import pytest

from facemtl.evaluation.compare import FEW
from facemtl.evaluation.compare import compare as compare_approaches
from facemtl.evaluation.findings import load_findings
from facemtl.tasks import AGE
from facemtl.ui.components.metrics_summary import summary, verdict
from facemtl.ui.faces import ANY
from facemtl.ui.tabs import validation
from tests.unit.ui_support import MEASURED, text


def test_the_summary_shows_the_measured_numbers(results):
    words = text(summary(compare_approaches(results)))
    for row in compare_approaches(results).itertuples():
        digits = 2 if row.task == AGE.name else 1
        assert f"{row.single:.{digits}f}" in words
        assert f"{row.multi:.{digits}f}" in words
        assert f"{row.difference:+.{digits}f}" in words


def test_the_summary_adds_the_findings_over_seeds_and_judges_by_them(results):
    compared = compare_approaches(results)
    assert "seeds:" not in summary(compared)
    found = [
        row | {"difference_low": 0.01, "difference_high": 0.2, "difference": 0.1}
        for row in load_findings(MEASURED)["tasks"]
        if row["task"] == AGE.name
    ]
    words = text(summary(compared, found))
    assert f"{found[0]['seeds']} seeds: +0.10, +0.01 to +0.20" in words
    assert words.count("Three models are better") == 1
    row = compared.set_index("task").loc[AGE.name]
    assert f"{row['difference_low']:+.2f} to {row['difference_high']:+.2f}" in words


def test_seeds_of_other_images_are_not_shown(results, tmp_path):
    assert validation._age_errors_of_seeds(tmp_path, results) is None
    assert validation._findings_of_seeds(tmp_path) == []
    found = validation._age_errors_of_seeds(MEASURED, results)
    assert found["seed"].nunique() > 1
    fewer = results[results["image"] != results["image"].iloc[0]]
    assert validation._age_errors_of_seeds(MEASURED, fewer) is None


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
        task=task, n=FEW, difference=(low + high) / 2, difference_low=low, difference_high=high
    )
    assert verdict(row).startswith(says)
    row.n = FEW - 1
    assert verdict(row) == "Too few images to tell"


def test_tables_mark_sensitive_rows(results):
    rows = re.findall(
        r"<tr( class=\"sensitive\")?><th scope=\"row\">(\w+)", summary(compare_approaches(results))
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
