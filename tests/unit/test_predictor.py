"""The shipped models on the composites, the tables of predictions, and the imports of inference."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from facemtl.data.reading import read_images
from facemtl.errors import FaceMTLError
from facemtl.evaluation.compare import compare
from facemtl.evaluation.validation import with_targets
from facemtl.faces import detector, open_image, whole
from facemtl.inference.predictor import (
    COLUMNS,
    MULTI,
    SINGLE,
    LoadedModel,
    Predictor,
    threads,
    to_batch,
)
from facemtl.tasks import AGE, GENDER, RACE, TASKS, Classification
from tests import support

KEYS = ["image", "face", "model", "task"]


@pytest.fixture(scope="module")
def labels() -> pd.DataFrame:
    table, findings = read_images(support.COMPOSITES, progress=False)
    assert findings.images == 140
    return table.assign(image=table["sha256"].str[:16])


@pytest.fixture(scope="module")
def crops(labels) -> list[np.ndarray]:
    return [whole(open_image(file)).crop for file in labels["file"]]


@pytest.fixture(scope="module")
def predictions(predictor, labels, crops):
    return predictor.predict_crops(crops, labels["image"])


def test_four_models_are_shipped(predictor):
    assert [m.name for m in predictor.models] == [*(t.name for t in TASKS), "multitask"]
    assert predictor.tasks == TASKS
    assert [m.approach for m in predictor.models] == [SINGLE, SINGLE, SINGLE, MULTI]
    assert len({(m.info.backbone, m.info.size) for m in predictor.models}) == 1


def test_all_four_models_share_one_recipe(predictor):
    differs = ("tasks", "seconds", "loss_scales")
    recipes = [
        {k: v for k, v in loaded.info.training.items() if k not in differs}
        for loaded in predictor.models
    ]
    assert recipes[0] and all(found == recipes[0] for found in recipes)


def test_table_has_a_row_for_each_image_model_and_task(predictions, labels):
    table = predictions.table
    assert list(table.columns) == COLUMNS
    assert len(table) == len(labels) * 2 * len(TASKS)
    assert not table.duplicated(KEYS).any()
    assert (table["approach"].value_counts() == len(labels) * len(TASKS)).all()


def test_the_approach_matches_the_model(predictor, predictions):
    for table in (predictions.table, predictions.probabilities):
        approaches = table.groupby("model")["approach"].agg(set)
        assert approaches.to_dict() == {
            m.name: {"single" if len(m.tasks) == 1 else "multi"} for m in predictor.models
        }


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_predictions_follow_from_the_probabilities(predictions, task):
    long = predictions.probabilities[predictions.probabilities["task"] == task.name]
    wide = long.pivot(index=["image", "face", "model"], columns="label", values="probability")[
        [str(b) for b in task.bins]
    ]
    assert np.allclose(wide.sum(axis=1), 1, atol=1e-4)
    assert (wide >= 0).all(axis=None)
    rows = (
        predictions.table[predictions.table["task"] == task.name]
        .set_index(["image", "face", "model"])
        .loc[wide.index]
    )
    if isinstance(task, Classification):
        assert (rows["prediction"].to_numpy() == wide.to_numpy().argmax(axis=1)).all()
        assert np.allclose(rows["confidence"], wide.max(axis=1), atol=1e-6)
        assert rows[["low", "high"]].isna().all(axis=None)
    else:
        below = [
            p[: int(np.ceil(age - 0.5))].sum()
            for p, age in zip(wide.to_numpy(), rows["prediction"], strict=True)
        ]
        above = [
            p[int(np.floor(age + 0.5)) + 1 :].sum()
            for p, age in zip(wide.to_numpy(), rows["prediction"], strict=True)
        ]
        assert (
            max(below) < 0.501 and max(above) < 0.501
        )  # a median: at most half of the probability is on each side
        assert (rows["low"] <= rows["prediction"]).all()
        assert (rows["prediction"] <= rows["high"]).all()
        assert rows["low"].min() >= task.low
        assert rows["high"].max() <= task.high
        assert rows["confidence"].between(0, 1).all()


def test_a_face_gets_identical_values_alone_and_in_a_batch(predictor, predictions, labels, crops):
    for i in (0, 77, len(crops) - 1):
        name = labels["image"][i]
        alone = predictor.predict_crops([crops[i]], [name])
        together = predictions.table[predictions.table["image"] == name].reset_index(drop=True)
        pd.testing.assert_frame_equal(alone.table, together, check_exact=True)
        shares = predictions.probabilities[predictions.probabilities["image"] == name].reset_index(
            drop=True
        )
        pd.testing.assert_frame_equal(alone.probabilities, shares, check_exact=True)


def test_a_face_and_its_mirror_image_get_the_same_answer(predictor, crops):
    a = predictor.predict_crops([crops[5]]).table["prediction"]
    b = predictor.predict_crops([crops[5][:, ::-1]]).table["prediction"]
    assert np.allclose(a, b, atol=1e-2)


def test_crops_of_several_sizes_get_the_same_predictions_as_each_alone(predictor, crops):
    sizes = [np.ascontiguousarray(crops[0][:n, :n]) for n in (1, 7, 64, 200)]
    together = predictor.predict_crops(sizes, faces=range(4)).table
    alone = [predictor.predict_crops([crop], faces=[i]).table for i, crop in enumerate(sizes)]
    pd.testing.assert_frame_equal(together, pd.concat(alone, ignore_index=True), check_exact=True)
    assert together["prediction"].nunique() > 6  # the predictions differ
    batch = to_batch(sizes, 32)
    assert all(np.array_equal(batch[i], to_batch([crop], 32)[0]) for i, crop in enumerate(sizes))


@pytest.mark.parametrize("side", [150, 200, 431])
def test_the_model_sees_the_resized_pixels_in_0_to_1(side, crops):
    crop = np.asarray(Image.fromarray(crops[3]).resize((side, side)))
    (found,) = to_batch([crop], 150)
    assert found.dtype == np.float32 and found.min() >= 0 and found.max() <= 1
    expected = np.asarray(Image.fromarray(crop).resize((150, 150), Image.Resampling.BILINEAR))
    assert np.array_equal(np.round(255 * found.transpose(1, 2, 0)), expected)


def test_every_image_counts_in_the_progress(predictor, crops):
    seen = []
    predictor.predict_crops(crops[:5], progress=seen.append)
    assert seen == [1] * 5


def test_no_faces_give_an_empty_table(predictor):
    predictions = predictor.predict_crops([])
    assert list(predictions.table.columns) == COLUMNS
    assert predictions.table.empty


def test_shipped_models_are_accurate_on_the_composites(predictions, labels):
    """Composites are easy (averages of eight faces), except old ages, because averaging makes faces
    look younger.
    """
    measured = compare(with_targets(predictions.table, labels)).set_index("task")
    for approach in (SINGLE.name, MULTI.name):
        assert measured.at[GENDER.name, approach] > 90
        assert measured.at[RACE.name, approach] > 75
        assert measured.at[AGE.name, approach] < 7


def test_missing_models_are_reported(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(FaceMTLError, match="no models in"):
            Predictor.load(folder)


def test_an_unreadable_model_is_reported(tmp_path):
    with pytest.raises(FaceMTLError, match=r"cannot be read.*age\.onnx"):
        LoadedModel.load(tmp_path / "age.onnx")
    (tmp_path / "race.onnx").mkdir()
    with pytest.raises(FaceMTLError, match=r"cannot be read.*race\.onnx"):
        Predictor.load(tmp_path)


@pytest.mark.parametrize(
    "chosen",
    [
        (TASKS,),
        ((GENDER,), (RACE,), (AGE,)),
        (TASKS, (GENDER,), (RACE,)),
        (TASKS, (GENDER, AGE), (GENDER,), (RACE,), (AGE,)),
    ],
    ids=["no single-task", "no multi-task", "no age", "two multi-task"],
)
def test_models_that_cannot_be_compared_are_refused(tmp_path, chosen):
    for tasks in chosen:
        support.write_model(tmp_path, tasks)
    with pytest.raises(FaceMTLError, match="needs exactly one single-task and one multi-task"):
        Predictor.load(tmp_path).require_pairs()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_models_and_the_detector_may_lie_in_any_folder(tmp_path, monkeypatch):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    support.write_model(tmp_path / "models", [AGE])
    (tmp_path / "models").rename(folder)
    assert [loaded.name for loaded in Predictor.load(folder).models] == ["age"]
    monkeypatch.setattr(detector, "NETWORK", shutil.copy(detector.NETWORK, folder))
    detector._load.__wrapped__()


def test_the_shipped_models_can_be_compared(predictor):
    assert predictor.require_pairs() is predictor


def test_models_are_ordered_single_tasks_first(tmp_path):
    for tasks in (TASKS, (AGE,), (GENDER, AGE), (GENDER,)):
        support.write_model(tmp_path, tasks)
    assert [m.name for m in Predictor.load(tmp_path).models] == [
        "gender",
        "age",
        "gender+age",
        "gender+race+age",
    ]


@pytest.mark.parametrize(("given", "expected"), [("1", 1), ("3", 3)])
def test_the_number_of_threads_can_be_set(given, expected, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert threads() == expected


@pytest.mark.parametrize("given", ["", "0", "many", "-1", "²", "99999999999", "9" * 5000])
def test_an_invalid_number_of_threads_is_ignored(given, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    found = threads()
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert found == threads() and 1 <= found <= 4


def test_an_impossible_number_of_threads_is_no_fault_of_the_image(tmp_path):
    arguments = ["predict", IMAGE, "--models", tmp_path]
    support.write_model(tmp_path, TASKS, "multitask")
    process = support.facemtl(*arguments, cwd=tmp_path, OMP_NUM_THREADS="99999999999")
    status, printed, said = support.finish(process)
    assert status == 0 and IMAGE.name in printed, said


# ---------------------------------------------------------------------------- imports and telemetry

IMAGE = support.composites(1)[0]
INFER = """
import sys
from pathlib import Path
from facemtl.cli import main
from facemtl.ui.launch import make_app

image, faces, models, output = sys.argv[1:]

def check(what):
    heavy = {
        "fastai", "matplotlib", "onnx", "onnxscript", "safetensors", "scipy", "torch", "torchvision"
    }
    assert not heavy & {*sys.modules}, (what, heavy & {*sys.modules})

assert main(["predict", image, "--no-detect", "--models", models]) == 0
check("predict")
assert main(["evaluate", "--data", faces, "--models", models, "--output", output]) == 0
check("evaluate")
make_app(Path(models), Path(output) / "no results", Path(output) / "no dataset")
check("the app")
"""


def test_predicting_writes_no_telemetry_files(tmp_path):
    """ONNX Runtime's telemetry would write files: a session, a machine identifier and queued
    events.
    """
    support.write_model(tmp_path / "models", (AGE,))
    folders = {
        name: tmp_path / name for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_DATA_HOME")
    }
    for folder in folders.values():
        folder.mkdir()
    arguments = ("predict", IMAGE, "--no-detect", "--models", tmp_path / "models")
    status, output, _ = support.finish(
        support.facemtl(*arguments, cwd=tmp_path, **{k: str(v) for k, v in folders.items()})
    )
    assert status == 0 and "age" in output
    assert not [file for folder in folders.values() for file in folder.rglob("*")]


def test_inference_imports_no_library_for_training(tmp_path):
    """To predict, to evaluate and to make the app."""
    for tasks in (*((task,) for task in TASKS), TASKS):
        support.write_model(tmp_path / "models", tasks)
    given = [IMAGE, support.COMPOSITES, tmp_path / "models", tmp_path / "output"]
    command = [sys.executable, "-c", INFER, *map(str, given)]
    done = subprocess.run(command, cwd=support.ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
