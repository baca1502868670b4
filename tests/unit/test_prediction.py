"""The shipped models on the composites, and the two tables that predictions come in."""

import numpy as np
import pandas as pd
import pytest

from facemtl.data import read_folder
from facemtl.detection import open_image, whole
from facemtl.errors import FaceMTLError
from facemtl.evaluation import compare, with_targets
from facemtl.models import Checkpoint, FaceModel
from facemtl.prediction import BATCH_SIZE, COLUMNS, MULTI, SINGLE, Predictor, approach_of, to_batch
from facemtl.tasks import AGE, GENDER, RACE, TASKS, Classification
from tests import support

KEYS = ["image", "face", "model", "task"]


@pytest.fixture(scope="module")
def labels() -> pd.DataFrame:
    table, findings = read_folder(support.COMPOSITES, progress=False)
    assert findings.images == 140
    return table.assign(image=table["sha256"].str[:16])


@pytest.fixture(scope="module")
def crops(labels) -> list[np.ndarray]:
    return [whole(open_image(file)).crop for file in labels["file"]]


@pytest.fixture(scope="module")
def predictions(predictor, labels, crops):
    return predictor.predict(crops, labels["image"])


def test_four_models_are_shipped(predictor):
    assert [m.name for m in predictor.models] == [*(t.name for t in TASKS), "multitask"]
    assert predictor.tasks == TASKS
    assert [m.approach for m in predictor.models] == [SINGLE, SINGLE, SINGLE, MULTI]
    assert len({(m.checkpoint.backbone, m.checkpoint.image_size) for m in predictor.models}) == 1


def test_all_four_come_from_one_recipe(predictor):
    def recipe(training: dict) -> dict:
        differs = ("tasks", "seconds", "loss_scales", "start", "sha256")
        kept = {name: value for name, value in training.items() if name not in differs}
        return kept | {"started_from": recipe(training["started_from"])} if training.get("started_from") else kept

    recipes = [recipe(loaded.checkpoint.training) for loaded in predictor.models]
    assert all(found == recipes[0] for found in recipes)


def test_table_has_a_row_for_each_image_model_and_task(predictions, labels):
    table = predictions.table
    assert list(table.columns) == COLUMNS
    assert len(table) == len(labels) * 2 * len(TASKS)
    assert not table.duplicated(KEYS).any()
    assert (approach_of(table).value_counts() == len(labels) * len(TASKS)).all()


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_probabilities_are_distributions_that_the_predictions_follow(predictions, task):
    long = predictions.probabilities[predictions.probabilities["task"] == task.name]
    wide = long.pivot(index=["image", "face", "model"], columns="label", values="probability")[[str(b) for b in task.bins]]
    assert np.allclose(wide.sum(axis=1), 1, atol=1e-4)
    assert (wide >= 0).all(axis=None)
    rows = predictions.table[predictions.table["task"] == task.name].set_index(["image", "face", "model"]).loc[wide.index]
    if isinstance(task, Classification):
        assert (rows["prediction"].to_numpy() == wide.to_numpy().argmax(axis=1)).all()
        assert np.allclose(rows["confidence"], wide.max(axis=1), atol=1e-6)
        assert rows[["low", "high"]].isna().all(axis=None)
    else:
        below = [p[: int(np.ceil(age - 0.5))].sum() for p, age in zip(wide.to_numpy(), rows["prediction"], strict=True)]
        above = [p[int(np.floor(age + 0.5)) + 1 :].sum() for p, age in zip(wide.to_numpy(), rows["prediction"], strict=True)]
        assert max(below) < 0.501 and max(above) < 0.501  # a median: no more than half lies to either side of its year
        assert (rows["low"] <= rows["prediction"]).all()
        assert (rows["prediction"] <= rows["high"]).all()
        assert rows["low"].min() >= task.low
        assert rows["high"].max() <= task.high
        assert rows["confidence"].between(0, 1).all()


def test_an_answer_does_not_depend_on_its_company(predictor, predictions, labels, crops):
    assert len(crops) > BATCH_SIZE
    alone = predictor.predict([crops[77]], [labels["image"][77]]).table
    together = predictions.table[predictions.table["image"] == labels["image"][77]].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, together, check_exact=False, atol=1e-2)


def test_a_face_and_its_mirror_image_get_the_same_answer(predictor, crops):
    a = predictor.predict([crops[5]]).table["prediction"]
    b = predictor.predict([crops[5][:, ::-1]]).table["prediction"]
    assert np.allclose(a, b, atol=1e-2)


def test_crops_of_any_size_in_one_batch(predictor, crops):
    sizes = [np.ascontiguousarray(crops[0][:n, :n]) for n in (1, 7, 64, 200)]
    table = predictor.predict(sizes, faces=range(4)).table
    assert table["prediction"].notna().all()
    assert to_batch(sizes, 32).shape == (4, 3, 32, 32)


def test_every_image_counts_in_the_progress(predictor, crops):
    seen = []
    predictor.predict(crops[: BATCH_SIZE + 3], progress=seen.append)
    assert seen == [BATCH_SIZE, 3]


def test_no_faces_give_an_empty_table(predictor):
    predictions = predictor.predict([])
    assert list(predictions.table.columns) == COLUMNS
    assert predictions.table.empty


def test_shipped_models_read_the_composites(predictions, labels):
    """Composites are easy (eight faces agree), apart from the ages of the old, whom averaging makes younger."""
    measured = compare(with_targets(predictions.table, labels)).set_index("task")
    for approach in (SINGLE.name, MULTI.name):
        assert measured.at[GENDER.name, approach] > 90
        assert measured.at[RACE.name, approach] > 75
        assert measured.at[AGE.name, approach] < 7


def test_no_models_is_said_plainly(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(FaceMTLError, match="no models in"):
            Predictor.load(folder)


@pytest.mark.parametrize(
    "chosen",
    [(TASKS,), ((GENDER,), (RACE,), (AGE,)), (TASKS, (GENDER,), (RACE,)), (TASKS, (GENDER, AGE), (GENDER,), (RACE,), (AGE,))],
    ids=["no single-task", "no multi-task", "no age", "two multi-task"],
)
def test_what_cannot_be_compared_is_said(tmp_path, chosen):
    for tasks in chosen:
        name = tasks[0].name if len(tasks) == 1 else "+".join(t.name for t in tasks)
        Checkpoint(name, tuple(t.name for t in tasks), "resnet10", 32).save(tmp_path, FaceModel(tasks, "resnet10"))
    with pytest.raises(FaceMTLError, match="takes one single-task and one multi-task model"):
        Predictor.load(tmp_path).require_pairs()


def test_the_shipped_models_can_be_compared(predictor):
    assert predictor.require_pairs() is predictor


def test_models_are_ordered_single_tasks_first(tmp_path):
    for tasks in (TASKS, (AGE,), (GENDER, AGE), (GENDER,)):
        name = "+".join(t.name for t in tasks)
        Checkpoint(name, tuple(t.name for t in tasks), "resnet10", 32).save(tmp_path, FaceModel(tasks, "resnet10"))
    assert [m.name for m in Predictor.load(tmp_path).models] == ["gender", "age", "gender+age", "gender+race+age"]
