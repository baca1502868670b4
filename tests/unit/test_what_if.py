"""What if: answers along a change of the crop, and for a covered crop."""

import numpy as np
import pytest

from facemtl.inference.predictor import APPROACHES
from facemtl.inference.what_if import CHANGES, GRID, along, covered, curves
from facemtl.tasks import Classification

every_change = pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b.astype(float)).mean())


@every_change
def test_a_change_covers_its_range_and_has_one_unchanged_point(change, labelled):
    crop = labelled.face.crop
    changed = [change.apply(crop, amount) for amount in change.amounts]
    assert 7 <= len(changed) <= 9
    assert [np.array_equal(other, crop) for other in changed].count(True) == 1
    assert np.array_equal(changed[change.start], crop)
    # The further from the unchanged point, the larger the difference.
    off = [difference(other, crop) for other in changed]
    assert off[: change.start + 1] == sorted(off[: change.start + 1], reverse=True)
    assert off[change.start :] == sorted(off[change.start :])


@every_change
def test_amounts_are_different_words(change):
    words = [change.words(amount) for amount in change.amounts]
    assert words[change.start] == "unchanged"
    assert len({*words}) == len(words) and all(words)


def test_a_turn_and_the_light_go_in_the_direction_that_is_said(labelled):
    crop = labelled.face.crop
    by_name = {change.name: change for change in CHANGES}
    light, turn = by_name["light"], by_name["rotation"]
    assert "darker" in light.words(-30) and light.apply(crop, -30).mean() < crop.mean()
    assert "brighter" in light.words(30) and light.apply(crop, 30).mean() > crop.mean()
    top = np.zeros((100, 100, 3), np.uint8)
    top[20:30, 45:55] = 255  # a spot above the centre goes to the right if turned clockwise
    x = {a: np.nonzero(turn.apply(top, a).max(axis=2))[1].mean() for a in (-40, 40)}
    assert "anticlockwise" in turn.words(-40) and x[-40] < 45
    assert turn.words(40).endswith(" clockwise") and x[40] > 55


def test_curves_follow_the_answers_of_the_predictor(predictor, labelled):
    change = CHANGES[0]
    crops, found = zip(*along(predictor, labelled.face.crop, change), strict=True)
    for i in (0, change.start, len(crops) - 1):
        alone = predictor.predict_crops([change.apply(labelled.face.crop, change.amounts[i])])
        table = alone.table.set_index(["task", "approach"])
        shares = alone.probabilities.set_index(["task", "approach", "label"])["probability"]
        for task in predictor.tasks:
            by = curves(task, found, change.start)
            for approach in APPROACHES:
                curve, row = by[approach.name], table.loc[task.name, approach.name]
                assert curve.answers[i] == task.answer(row["prediction"])
                assert curve.confidences[i] == row["confidence"]
                if isinstance(task, Classification):
                    share = shares[task.name, approach.name, curve.label]
                    assert curve.values[i] == pytest.approx(100 * share)
                else:
                    assert curve.values[i] == row["prediction"]


def test_a_curve_of_a_class_shows_the_label_of_the_unchanged_face(predictor, labelled):
    change = CHANGES[0]
    found = [predictions for _, predictions in along(predictor, labelled.face.crop, change)]
    first = predictor.predict_crops([labelled.face.crop]).table.set_index(["task", "approach"])
    for task in predictor.tasks:
        for name, curve in curves(task, found, change.start).items():
            if isinstance(task, Classification):
                assert curve.label == task.answer(first.loc[(task.name, name), "prediction"])
                assert curve.values[change.start] == pytest.approx(
                    100 * curve.confidences[change.start]
                )


@pytest.mark.parametrize("side", [16, 97, 200])
def test_covered_cells_have_the_mean_colour_and_others_are_unchanged(labelled, side):
    rng = np.random.default_rng(0)
    crop = rng.integers(0, 256, (side, side, 3), np.uint8)
    mask = np.zeros((GRID, GRID), bool)
    mask[2:5, 8:] = True
    before, result = crop.copy(), covered(crop, mask)
    assert np.array_equal(crop, before)
    mean = crop.mean(axis=(0, 1)).round()
    middles = [int((cell + 0.5) * side / GRID) for cell in range(GRID)]
    assert np.array_equal((result[middles][:, middles] == mean).all(axis=2), mask)
    changed = (result != crop).any(axis=2)
    assert (result[changed] == mean).all()
    assert changed.mean() == pytest.approx(mask.mean(), abs=0.01)


def test_an_empty_mask_changes_nothing(labelled):
    crop = labelled.face.crop
    assert np.array_equal(covered(crop, np.zeros((GRID, GRID), bool)), crop)
