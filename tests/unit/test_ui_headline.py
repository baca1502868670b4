"""The headline: the answer of the comparison in one line."""

import re

import pytest

from facemtl.evaluation.findings import conclusion, load_findings
from facemtl.ui.components.headline import headline
from tests.unit.ui_support import MEASURED, text


def visible(html: str, hides: bool) -> str:
    """The text, with or without what the page hides together with gender and race."""
    css = "sensitive" if hides else "hidden-note"
    return text(re.sub(rf'<(b|span) class="{css}">.*?</\1>(?=<|$)', "", html))


def test_it_shows_the_figures_of_the_findings():
    found = load_findings(MEASURED)
    words = visible(headline(found), hides=False)
    assert conclusion(found["tasks"]) in words
    for row in found["tasks"]:
        assert row["task"] in words and f"{row['n']:,}" in words
        digits = 1 if row["metric"] == "accuracy" else 2
        for approach in ("single", "multi"):
            assert f"{row[approach]:.{digits}f}" in words
    assert f"100 / One multi-task model: {found['cost_share']['milliseconds']:.0f} %" in words
    assert words.index("Three single-task models: ") < words.index("One multi-task model: ")


@pytest.mark.parametrize(
    ("seeds", "says"),
    [(3, "Means of 3 trainings, on 2,954 validation"), (1, " On 2,954 validation")],
)
def test_it_says_of_how_many_trainings_its_figures_are_means(seeds, says):
    found = load_findings(MEASURED)
    for row in found["tasks"]:
        row |= {"seeds": seeds, "n": 2954}
    words = text(headline(found))
    assert says in words and ("trainings" in words) is (seeds > 1)


def test_if_gender_and_race_are_hidden_the_conclusion_is_about_age():
    found = load_findings(MEASURED)
    for row in found["tasks"]:
        row["better"] = "multi" if row["task"] == "age" else "single"
    html = headline(found)
    assert "better on some tasks, and worse on others" in visible(html, hides=False)
    words = visible(html, hides=True)
    assert "better on some tasks, and not significantly worse on any" in words
    assert "at one question and worse" not in words and "age" in words
    assert "gender" not in words and "race" not in words


def test_own_data_may_lack_tasks_and_costs():
    found = load_findings(MEASURED)
    rows = [row for row in found["tasks"] if row["task"] == "gender"]
    words = text(headline({**found, "tasks": rows, "cost_share": None}))
    assert "gender" in words and "age" not in words and "of the time" not in words
