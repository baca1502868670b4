"""The questions of the Validation tab: their figures and the tables below them."""

import re

import numpy as np
import pandas as pd
import pytest

from facemtl import plots
from facemtl.evaluation.compare import metric_tables
from facemtl.evaluation.validation import load_metrics
from facemtl.inference.predictor import APPROACHES
from facemtl.ui.components import questions
from facemtl.ui.components.metrics_summary import summary
from facemtl.ui.components.view import View
from facemtl.ui.faces import ANY
from facemtl.ui.tabs import validation
from tests.unit.ui_support import MEASURED, text


@pytest.fixture(scope="module")
def view(results):
    return View(results, load_metrics(MEASURED))


@pytest.mark.parametrize("question", questions.QUESTIONS, ids=lambda q: q.title)
def test_every_figure_has_its_numbers_as_a_table(view, question):
    assert question.title.endswith("?") and len(question.draw(view).data) >= 1
    html = question.numbers(view)
    rows = re.findall(r"<tr>(.*?)</tr>", html)
    assert len(rows) > 2 and len({row.count("<t") for row in rows}) == 1
    assert not re.search(r"\bnan\b|\binf\b", html)


@pytest.mark.parametrize("approach", APPROACHES, ids=lambda a: a.name)
@pytest.mark.parametrize("question", questions.QUESTIONS, ids=lambda q: q.title)
def test_a_figure_of_one_approach_matches_its_part_of_the_full_figure(view, question, approach):
    both, one = question.draw(view), plots.of_approach(question.draw(view), approach)
    (other,) = {a.model for a in APPROACHES} - {approach.model}
    assert other not in {trace.name for trace in one.data}
    before = [trace for trace in both.data if trace.name == approach.model]
    if not before:  # a figure of the difference
        assert len(one.data) == len(both.data)
        return
    after = [trace for trace in one.data if trace.name == approach.model]
    assert len(after) == len(before)
    for was, is_ in zip(before, after, strict=True):
        same = was.z if was.type == "heatmap" else was.y
        np.testing.assert_array_equal(
            np.asarray(same, float), np.asarray(is_.z if was.type == "heatmap" else is_.y, float)
        )
        assert getattr(is_, "xaxis", None) in (None, "x")


def test_figures_of_few_images_can_be_drawn(results):
    chosen = validation.select(results, 90, 95, {"gender": 1, "race": ANY})
    few = View(chosen, metric_tables(chosen, n_resamples=20))
    assert 0 < chosen["image"].nunique() < 30
    for question in questions.QUESTIONS:
        assert question.draw(few) and question.numbers(few)
    assert f"{chosen['image'].nunique()} validation images" in text(summary(few.overall))


def test_sensitive_questions_can_be_hidden():
    for question in questions.QUESTIONS:
        says = any(word in question.title for word in ("Gender", "Race"))
        assert question.sensitive or not says


def test_five_figures_are_open_and_come_first_in_their_part():
    assert sum(question.is_open for question in questions.QUESTIONS) == 5
    for part in questions.PARTS:
        is_open = [question.is_open for question in part.questions]
        assert is_open == sorted(is_open, reverse=True), part.title
    assert all(question.task.name == "age" for question in questions.PARTS[0].questions)


def test_seeds_are_shown_only_where_they_are_measured(view):
    seeds = pd.DataFrame(
        [(seed, "20-29", 3.0, 3.5, 0.5) for seed in range(2)],
        columns=["seed", "age_group", "single", "multi", "difference"],
    )
    measured = View(view.table, view.metrics, seeds)
    for question in questions.QUESTIONS:
        before, after = question.figure(view), question.figure(measured)
        assert (len(after.data) > len(before.data)) == question.shows_seeds, question.title
        assert ("2 trainings" in question.below(measured)) == question.shows_seeds
        assert "trainings" not in question.below(view)
