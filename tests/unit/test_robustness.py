"""Robustness: the table holds the predictions for perturbed crops."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from facemtl.data.images import load_image
from facemtl.data.reading import CALIBRATION, TRAIN, VALIDATION, read_images
from facemtl.data.utkface import CHIP_SIZE
from facemtl.errors import FaceMTLError
from facemtl.evaluation.robustness import (
    COLUMNS,
    ROBUSTNESS_FILE,
    change_unit,
    load_robustness,
    passes,
    robustness,
    save_robustness,
)
from facemtl.evaluation.validation import validate
from facemtl.inference.perturbations import BLUR, JPEG, LIGHT, PERTURBATIONS, ROTATION, SCALE, SHIFT
from facemtl.inference.predictor import APPROACHES, INPUT, LoadedModel, Predictor
from facemtl.models.model_file import ModelInfo
from facemtl.tasks import AGE, TASKS, task_named
from tests import support


@pytest.fixture(scope="module")
def composites() -> pd.DataFrame:
    return read_images(support.COMPOSITES, progress=False)[0]


@pytest.fixture(scope="module")
def predictor(tmp_path_factory) -> Predictor:
    """Four made-up models, because the tests are about rows and differences."""
    folder = tmp_path_factory.mktemp("models")
    for tasks in (*((task,) for task in TASKS), TASKS):
        support.write_model(folder, tasks)
    return Predictor.load(folder)


@pytest.fixture(scope="module")
def table(predictor, composites) -> pd.DataFrame:
    return robustness(predictor, composites, n=3)


# ---------------------------------------------------------------------------------------- measuring


class Brightness:
    """A session that predicts an age proportional to the mean brightness."""

    def run(self, names, inputs):
        assert names == [AGE.name]
        ages = AGE.high * inputs[INPUT].mean(axis=(1, 2, 3))
        return [-((np.array(AGE.bins) - ages[:, None]) ** 2)]


@pytest.fixture
def brightness() -> Predictor:
    return Predictor([LoadedModel(ModelInfo("age", (AGE,), "none", 48), Brightness())])


def test_table_has_a_row_for_each_amount_model_and_task(table, predictor):
    assert list(table.columns) == COLUMNS
    assert not table.duplicated(["perturbation", "amount", "model", "task"]).any()
    for p in PERTURBATIONS:
        rows = table[table["perturbation"] == p.name]
        assert set(rows["amount"]) == {p.none, *p.amounts}
        assert len(rows) == (1 + len(p.amounts)) * len(APPROACHES) * len(TASKS)
    assert set(table["model"]) == {m.name for m in predictor.models}
    assert (table["n"] == 3).all()
    assert not table.isna().any(axis=None)
    assert (table["approach"].value_counts() == len(table) / 2).all()


def test_unperturbed_crops_have_the_validation_metrics(table, predictor, composites):
    first = composites[composites["split"] == VALIDATION].sort_values("sha256")[:3]
    validated = validate(predictor, first)
    for p in PERTURBATIONS:
        for row in table[
            (table["perturbation"] == p.name) & (table["amount"] == p.none)
        ].itertuples():
            rows = validated[(validated["model"] == row.model) & (validated["task"] == row.task)]
            assert row.value == pytest.approx(
                task_named(row.task).metric(rows["target"], rows["prediction"])
            )
            assert row.change == 0


def test_changes_are_relative_to_the_unperturbed_crops(table):
    for _, rows in table.groupby(["perturbation", "model", "task"]):
        undisturbed = rows["value"].iloc[0]
        for row in rows.itertuples():
            if change_unit(task_named(row.task).metric) == "points":
                assert undisturbed + row.change == pytest.approx(row.value)
            else:
                assert undisturbed * (1 + row.change / 100) == pytest.approx(row.value)


def test_only_the_first_validation_images_are_used(brightness, composites):
    """The files of all other images are missing, so that reading one fails."""
    chosen = set(composites.loc[composites["split"] == VALIDATION, "sha256"].sort_values()[:5])
    missing = composites["file"].where(composites["sha256"].isin(chosen), "missing.jpg")
    seen = []
    table = robustness(
        brightness, composites.assign(file=missing).sample(frac=1, random_state=0), 5, seen.append
    )
    pd.testing.assert_frame_equal(table, robustness(brightness, composites, 5))
    assert (table["n"] == 5).all()
    assert sum(seen) == 5 * passes()


def test_missing_validation_images_are_reported(brightness, composites):
    for split in (TRAIN, CALIBRATION):
        with pytest.raises(FaceMTLError, match="no validation images"):
            robustness(brightness, composites[composites["split"] == split])


def test_a_model_of_brightness_is_sensitive_to_light_only(brightness, synthetic_faces):
    images, _ = read_images(synthetic_faces, progress=False)
    measured = robustness(brightness, images, perturbations=(SHIFT, ROTATION, BLUR, JPEG, LIGHT))
    assert (measured["n"] == (images["split"] == VALIDATION).sum()).all()
    change = measured.groupby("perturbation")["change"].agg(lambda values: values.abs().max())
    assert change["light"] > 25
    assert change.drop("light").max() < 5
    assert change["blur"] < 1


def test_halved_light_halves_the_age_of_a_brightness_model(brightness, synthetic_faces):
    """The label is the brightness of the crop, so half the light gives an error of half the age."""
    images, _ = read_images(synthetic_faces, progress=False)
    images = images[images["split"] == VALIDATION].head(6)
    brightness_of = [load_image(file, CHIP_SIZE).mean() / 255 for file in images["file"]]
    images = images.assign(age=AGE.high * np.array(brightness_of))
    half = robustness(
        brightness, images, perturbations=(replace(LIGHT, amounts=(-50,)),)
    ).set_index("amount")
    assert half.at[0, "value"] < 0.2
    assert half.at[-50, "value"] == pytest.approx(AGE.high * np.mean(brightness_of) / 2, abs=0.5)


# ------------------------------------------------------------------------------------------ on disk


def test_results_survive_being_saved(table, tmp_path):
    save_robustness(table, tmp_path / "new")
    loaded = load_robustness(tmp_path / "new")
    pd.testing.assert_frame_equal(loaded, table, check_exact=False, rtol=1e-4)
    assert [f.name for f in (tmp_path / "new").iterdir()] == [ROBUSTNESS_FILE]
    content = (tmp_path / "new" / ROBUSTNESS_FILE).read_bytes()
    save_robustness(loaded, tmp_path)
    assert (tmp_path / ROBUSTNESS_FILE).read_bytes() == content


def test_missing_and_damaged_results_are_reported(table, tmp_path):
    with pytest.raises(FaceMTLError, match="facemtl robustness"):
        load_robustness(tmp_path)
    save_robustness(table, tmp_path)
    file = tmp_path / ROBUSTNESS_FILE
    header, first, *_ = file.read_bytes().splitlines(keepends=True)
    for damaged in (
        b"",
        header,
        header + first[:12],
        header + first.replace(b",3,", b",three,"),
        b"\xff\x00no table",
    ):
        file.write_bytes(damaged)
        with pytest.raises(FaceMTLError, match="damaged"):
            load_robustness(tmp_path)


# ------------------------------------------------------------------------------- the shipped models


@pytest.fixture(scope="module")
def shipped() -> pd.DataFrame:
    return load_robustness(support.ROOT / "assets" / "validation")


def test_shipped_ages_are_robust_to_small_perturbations(shipped):
    """Small perturbations raise the age error by less than 15 %."""
    little = ((SHIFT.name, 10), (SCALE.name, -15), (SCALE.name, 15))
    ages = shipped[shipped["task"] == AGE.name].set_index(["perturbation", "amount"])
    changes = ages.loc[[*little], "change"]
    assert len(changes) == 6 and changes.max() < 15


def test_the_shipped_table_starts_at_the_shipped_results(shipped, results):
    """Without a perturbation, its metrics are those of the first shipped predictions."""
    for p in PERTURBATIONS:
        rows = shipped[(shipped["perturbation"] == p.name) & (shipped["amount"] == p.none)]
        assert len(rows) == len(APPROACHES) * len(TASKS)
        for row in rows.itertuples():
            of_model = results[(results["model"] == row.model) & (results["task"] == row.task)]
            first = of_model.sort_values("image").head(row.n)
            metric = task_named(row.task).metric
            assert row.value == pytest.approx(metric(first["target"], first["prediction"]), 1e-4)
