"""The sentences above the figures of Validation: they name what made-up tables hold."""

import re

import numpy as np
import pandas as pd
import pytest

from facemtl.evaluation.compare import FEW, metric_tables
from facemtl.evaluation.groups import AGE_GROUPS, age_groups
from facemtl.inference.predictor import APPROACHES, MULTI, SINGLE
from facemtl.tasks import AGE, CLASSES, GENDER, RACE, TASKS
from facemtl.ui.components import sentences
from facemtl.ui.components.questions import QUESTIONS
from facemtl.ui.components.view import View
from tests.unit.ui_support import text

N = 120  # images in each age group of a made-up table
MIDDLES = (1, 6, 15, 25, 35, 45, 55, 65, 75)  # an age in each of AGE_GROUPS


def made_up(errors=None, *, n=N, noise=1.0, seed=0) -> pd.DataFrame:
    """Predictions of age. `errors` is {(approach, age group): years off}, 3 if it is not named."""
    rng, rows = np.random.default_rng(seed), []
    for group, age in zip(AGE_GROUPS, MIDDLES, strict=True):
        for i in range(n):
            chance = rng.normal(0, noise)  # the same for both approaches
            for approach in APPROACHES:
                off = (errors or {}).get((approach.name, group), 3.0) + chance
                rows.append((f"{group}/{i}", approach.name, float(age), age + off))
    table = pd.DataFrame(rows, columns=["image", "approach", "target", "prediction"])
    return with_columns(table, AGE)


def answered(task, wrong=None, *, n=N, confidence=0.9) -> pd.DataFrame:
    """Predictions of a classification.

    `wrong` is {(approach, label, answer): share of the label's images}.
    """
    rows = []
    for label in range(task.n_outputs):
        for approach in APPROACHES:
            answers = np.full(n, label)
            start = 0
            for (name, of_label, answer), share in (wrong or {}).items():
                if (name, of_label) == (approach.name, label):
                    end = start + round(share * n)
                    answers[start:end], start = answer, end
            rows += [
                (f"{label}/{i}", approach.name, float(label), a) for i, a in enumerate(answers)
            ]
    table = pd.DataFrame(rows, columns=["image", "approach", "target", "prediction"])
    return with_columns(table, task).assign(confidence=confidence)


def with_columns(table: pd.DataFrame, task) -> pd.DataFrame:
    table = table.assign(
        task=task.name,
        confidence=0.7,
        low=table["prediction"] - 5,
        high=table["prediction"] + 5,
        **{each.name: np.nan for each in CLASSES},
    )
    ages = table["target"] if task == AGE else pd.Series(np.nan, table.index)
    table["age_group"] = age_groups(ages)
    if task in CLASSES:
        table[task.name] = table["target"]
    return table


def view_of(table: pd.DataFrame) -> View:
    return View(table, metric_tables(table, n_resamples=300))


def both(group: str, years: float) -> dict:
    return {(a.name, group): years for a in APPROACHES}


@pytest.mark.parametrize("group", AGE_GROUPS)
def test_the_age_group_with_the_largest_error_is_named(group):
    said = text(sentences.largest_errors(view_of(made_up(both(group, 9.0)))))
    assert f"at {sentences.age_words(group)}:" in said and re.search(r"(8\.[89]|9\.[0-2])", said)
    others = {sentences.age_words(other) for other in AGE_GROUPS} - {sentences.age_words(group)}
    assert not any(f"at {other}" in said for other in others)


def test_approaches_that_err_most_at_other_ages_are_told_apart():
    errors = {(SINGLE.name, "20-29"): 8.0, (MULTI.name, "70+"): 9.0}
    said = text(sentences.largest_errors(view_of(made_up(errors))))
    assert re.search(r"Single-task model: 20 to 29 \((7\.9|8\.[01]) years\)", said)
    assert re.search(r"Multi-task model: 70 and over \((8\.[89]|9\.[0-2]) years\)", said)


def test_no_age_is_named_if_all_are_alike():
    said = sentences.largest_errors(view_of(made_up(noise=2.0)))
    assert not any(sentences.age_words(group) in said for group in AGE_GROUPS)


@pytest.mark.parametrize("better", APPROACHES, ids=lambda a: a.name)
@pytest.mark.parametrize("group", ["3-9", "70+"])
def test_the_better_approach_is_named_at_its_age(better, group):
    said = text(sentences.difference_by_age(view_of(made_up({(better.name, group): 1.0}))))
    (other,) = {*APPROACHES} - {better}
    words = f"{better.model.lower()} is better at"
    assert words in said.lower() and sentences.age_words(group) in said
    assert len(said) < 120 and f"{other.model.lower()} is better" not in said.lower()


def test_no_winner_is_named_if_the_approaches_are_alike():
    table = made_up()
    view = view_of(table)
    for question in QUESTIONS:
        if question.task == AGE:
            assert "better at" not in question.sentence(view)
            assert "model is" not in text(question.sentence(view)), question.title


def test_ages_that_are_read_too_young_and_too_old_are_named():
    table = made_up({(a.name, g): 0.0 for a in APPROACHES for g in AGE_GROUPS}, noise=0.5)
    for group, off in (("70+", -6.0), ("10-19", 4.0)):
        table.loc[table["age_group"] == group, "prediction"] += off
    said = text(sentences.bias_by_age(view_of(table)))
    assert re.search(r"too low by .*(6\.0|5\.9|6\.1).* at ages 70 and over", said)
    assert re.search(r"too high by .*(4\.0|3\.9|4\.1).* at ages 10 to 19", said)
    balanced = made_up({(a.name, g): 0.0 for a in APPROACHES for g in AGE_GROUPS}, noise=3.0)
    centred = balanced["prediction"] - balanced["target"]
    mean = centred.groupby([balanced["age_group"], balanced["approach"]]).transform("mean")
    balanced["prediction"] -= mean
    said = sentences.bias_by_age(view_of(balanced))
    assert "clearly" in said and "years" not in said


@pytest.mark.parametrize("say", [sentences.closeness, sentences.large_errors, sentences.within])
def test_errors_are_counted_over_all_images(results, say):
    view = View(results, results)
    said = text(say(view))
    for approach in APPROACHES:
        rows = results[(results["task"] == "age") & (results["approach"] == approach.name)]
        off = np.sort((rows["prediction"] - rows["target"]).abs())
        expected = {
            sentences.closeness: f"{off[len(off) // 2]:.1f}",
            sentences.large_errors: f"{off[int(0.9 * len(off))]:.1f}",
            sentences.within: f"{100 * (off <= AGE.near).mean():.0f}",
        }[say]
        assert expected in said


def test_the_coverage_is_the_share_of_labels_inside():
    table = made_up({(a.name, g): 0.0 for a in APPROACHES for g in AGE_GROUPS}, noise=0.1)
    outside = (table["age_group"] == "40-49") & (table["approach"] == MULTI.name)
    table.loc[outside, ["low", "high"]] += 20
    said = text(sentences.coverage(view_of(table)))
    assert "Single-task model: 100" in said and f"Multi-task model: {100 * 8 / 9:.0f}" in said
    assert "Multi-task model: 40 to 49 (0 %)" in said


@pytest.mark.parametrize("task", [GENDER, RACE], ids=lambda t: t.name)
def test_the_labels_that_are_confused_most_are_named(task):
    last = task.n_outputs - 1
    wrong = {(a.name, last, 0): share for a, share in zip(APPROACHES, (0.2, 0.3), strict=True)}
    wrong |= {(a.name, 0, last): 0.1 for a in APPROACHES}
    said = text(sentences.confused(view_of(answered(task, wrong)), task))
    assert f"{task.labels[last]} predicted as {task.labels[0]}" in said
    assert f"{task.labels[0]} predicted as {task.labels[last]}" not in said
    assert "Single-task model: 20" in said and "Multi-task model: 30" in said
    assert "right" in sentences.confused(view_of(answered(task)), task)


@pytest.mark.parametrize(
    ("confidence", "says"),
    [(0.99, "overconfident"), (0.6, "underconfident"), (0.8, "no significant")],
)
def test_calibration_is_judged_by_the_gap(confidence, says):
    wrong = {(a.name, label, 1 - label): 0.2 for a in APPROACHES for label in (0, 1)}
    view = view_of(answered(GENDER, wrong, confidence=confidence))
    said = sentences.calibration(view, GENDER)
    assert says in said and "80.0 %" in said and f"{100 * confidence:.1f} %" in said
    assert "model" not in text(said), "both are judged alike, so none is named"


def test_the_worst_and_the_best_group_are_named():
    wrong = {(a.name, label, 0): share for a in APPROACHES for label, share in ((2, 0.5), (3, 0.2))}
    wrong |= {(a.name, label, 0): 0.1 for a in APPROACHES for label in (1, 4)}
    said = text(sentences.groups(view_of(answered(RACE, wrong)), RACE))
    assert re.search(
        rf"lowest for {RACE.labels[2]}: 50 % ?, highest for {RACE.labels[0]}: 100 %", said
    )
    alike = {(a.name, label, (label + 1) % 5): 0.3 for a in APPROACHES for label in range(5)}
    said = sentences.groups(view_of(answered(RACE, alike)), RACE)
    assert not any(label in said for label in RACE.labels)


@pytest.mark.parametrize("approach", APPROACHES, ids=lambda a: a.name)
def test_a_view_of_one_approach_speaks_of_that_one(results, approach):
    view = View(results, metric_tables(results, n_resamples=50)).of(approach)
    (other,) = {*APPROACHES} - {approach}
    for question in QUESTIONS:
        said = text(question.sentence(view))
        if "which approach" not in question.title.lower():
            assert other.model not in said, question.title


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda q: q.title)
def test_a_sentence_is_short_and_has_no_gaps(results, question):
    said = text(question.sentence(View(results, metric_tables(results, n_resamples=50))))
    assert said.strip().endswith(".") and 20 < len(said) < 330
    assert not re.search(r"\bnan\b|\binf\b|\bNone\b", said)
    if not question.sensitive:
        words = [*GENDER.labels, *RACE.labels, "gender", "race"]
        assert not any(re.search(rf"\b{word}\b", said, re.IGNORECASE) for word in words)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda q: q.title)
def test_few_images_are_not_judged(results, question):
    images = results["image"].unique()[: FEW - 1]
    few = results[results["image"].isin(images)]
    said = question.sentence(View(few, metric_tables(few, n_resamples=20)))
    assert said.startswith("Too few images"), said


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_without_labels_nothing_is_said(results, task):
    rest = results[results["task"] != task.name]
    view = View(rest, metric_tables(rest, n_resamples=20))
    for question in QUESTIONS:
        assert bool(question.sentence(view)) == (question.task != task)
