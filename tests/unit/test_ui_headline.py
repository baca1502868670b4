"""The headline: the answer of the comparison in one line."""

import re

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
    assert f"{found['cost_share']['milliseconds']:.0f} / Three single-task models: 100 %" in words


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
