"""Track records: how good the answers to similar validation images were."""

import numpy as np
import pandas as pd
import pytest

from facemtl.evaluation.compare import FEW
from facemtl.evaluation.track_record import CLOSE, MOST, TrackRecords
from facemtl.tasks import AGE, GENDER, RACE

SPREAD = {"single": 0.4, "multi": -0.4}  # how far predicted ages are from their mean


def rows(image: str, age: float, gender: int, sure: float, label: float = 30, *, apart: float = 1):
    """The predictions for one image. `apart` spreads the predicted ages."""
    found = []
    for approach, by in SPREAD.items():
        shared = {"image": image, "approach": approach, "confidence": sure}
        found.append({**shared, "task": "age", "prediction": age + by * apart, "target": label})
        found.append({**shared, "task": "gender", "prediction": gender, "target": 1})
    return found


def table(*images) -> pd.DataFrame:
    return pd.DataFrame([row for image in images for row in image])


def many(name: str, n: int, *values, **settings) -> list:
    return [rows(f"{name}{i}", *values, **settings) for i in range(n)]


FACE = table(rows("me", 30, 1, 0.8))


def test_a_record_is_the_metric_over_similar_images_alone():
    similar = many("similar", FEW, 33, 1, 0.75, 31.0)
    other = [
        *many("older", FEW, 36, 1, 0.8, 90.0),  # more than 5 years from the face's predicted age
        *many("less sure", FEW, 30, 1, 0.8 - CLOSE - 0.01, 90.0),
        *many("disagreed on", FEW, 30, 1, 0.8, 90.0, apart=10),
    ]
    found = TrackRecords(table(*similar, *other)).of(FACE)[AGE.name]
    assert (found.n, found.age) == (FEW, pytest.approx(30))
    assert (found.single, found.multi) == (pytest.approx(2.4), pytest.approx(1.6))


def test_classes_need_the_same_answer():
    images = [*many("a", FEW, 30, 1, 0.8), *many("b", FEW, 30, 0, 0.8)]
    found = TrackRecords(table(*images)).of(FACE)[GENDER.name]
    assert (found.n, found.single, found.multi) == (FEW, 100, 100)
    other = TrackRecords(table(*images)).of(table(rows("me", 30, 0, 0.8)))[GENDER.name]
    assert (other.n, other.single, other.multi) == (FEW, 0, 0)


def test_there_is_no_record_of_few_images_or_of_answers_that_disagree():
    assert not TrackRecords(table(*many("a", FEW - 1, 30, 1, 0.8))).of(FACE)
    records = TrackRecords(table(*many("a", FEW, 30, 1, 0.8)))
    assert set(records.of(FACE)) == {AGE.name, GENDER.name}
    assert AGE.name not in records.of(table(rows("me", 30, 1, 0.8, apart=10)))


def test_the_images_nearest_in_confidence_are_used():
    near, far = many("near", MOST, 30, 1, 0.81, 30.0), many("far", 50, 30, 1, 0.85, 90.0)
    found = TrackRecords(table(*far, *near)).of(FACE)[AGE.name]
    assert found.n == MOST and found.single == pytest.approx(SPREAD["single"])


def test_models_without_ages_have_records(results):
    classes = results[results["task"] != AGE.name]
    one = classes[classes["image"] == classes["image"].iloc[0]]
    found = TrackRecords(classes).of(one)
    assert found and set(found) <= {GENDER.name, RACE.name}
    assert all(record.age is None and record.n >= FEW for record in found.values())


def test_missing_labels_and_faces_of_the_table_are_no_problem(results):
    gaps = results[~((results["task"] == RACE.name) & (results["target"] == 0))]
    records = TrackRecords(gaps)
    for name in gaps["image"].unique()[:20]:
        for record in records.of(results[results["image"] == name]).values():
            assert np.isfinite([record.single, record.multi]).all()
