"""Disputed labels and contradicting copies: hand-computed cases and a synthetic table."""

import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from facemtl.data.reading import CALIBRATION, TRAIN, VALIDATION, contradicting_copies
from facemtl.errors import FaceMTLError
from facemtl.inference.predictor import MULTI, SINGLE, Predictions, Predictor
from facemtl.tasks import AGE, GENDER, RACE, TASKS
from research import label_noise
from research.label_noise import answers_to_copies, disputed, disputed_counts, near_copies, without
from tests import support

NAN = float("nan")
N = 150


def rows_of(image: str, task, target: float, single: tuple, multi: tuple) -> list[dict]:
    """The rows of both approaches. A prediction is (prediction, confidence) or (prediction,
    confidence, low, high).
    """
    rows = []
    for model, approach, answer in ((task.name, SINGLE, single), ("multitask", MULTI, multi)):
        prediction, confidence, low, high = (*answer, NAN, NAN)[:4]
        names = {"model": model, "approach": approach.name, "task": task.name}
        keys = {"image": image, "face": 0, **names, "target": target}
        rows.append(
            {**keys, "prediction": prediction, "confidence": confidence, "low": low, "high": high}
        )
    return rows


def is_disputed(*case) -> bool:
    return len(disputed(pd.DataFrame(rows_of("0" * 16, *case)))) == 1


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Synthetic predictions for 150 images, often wrong and with low confidence."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(N):
        for task in TASKS:
            if task is AGE:
                target = float(rng.integers(1, 100))
                centre = target + rng.normal(0, 10)
                both = [
                    (p := centre + rng.normal(0, 4), rng.random(), p - 9, p + 11) for _ in range(2)
                ]
            else:
                target = float(rng.integers(task.n_outputs))
                both = [(float(rng.integers(task.n_outputs)), rng.random()) for _ in range(2)]
            rows += rows_of(f"{i:016x}", task, target, *both)
    return pd.DataFrame(rows).sample(frac=1, random_state=1, ignore_index=True)


# ---------------------------------------------------------------------------------- disputed labels


@pytest.mark.parametrize(
    ("single", "multi", "expected"),
    [(0, 0, False), (1, 1, True), (1, 0, False), (0, 1, False), (3, 3, True), (1, 3, False)],
)
def test_a_label_is_disputed_if_both_approaches_predict_the_same_other_label(
    single, multi, expected
):
    assert is_disputed(RACE, 0, (single, 0.9), (multi, 0.8)) is expected


@pytest.mark.parametrize(
    ("single", "multi", "expected"),
    [
        ((30, 0.5, 25, 35), (31, 0.5, 22, 38), True),  # both intervals below 40
        ((60, 0.5, 50, 70), (55, 0.5, 41, 69), True),  # both above
        ((30, 0.5, 25, 35), (35, 0.5, 28, 41), False),  # one interval contains 40
        ((30, 0.5, 25, 40), (31, 0.5, 22, 38), False),  # an interval includes its ends
        ((30, 0.5, 25, 35), (50, 0.5, 45, 55), False),  # one below, one above
        ((20, 0.1, 0, 60), (21, 0.1, 0, 60), False),  # a large error, but low confidence
    ],
)
def test_an_age_is_disputed_if_both_intervals_lie_on_the_same_side(single, multi, expected):
    assert is_disputed(AGE, 40, single, multi) is expected


def expected_rows(table: pd.DataFrame) -> list[tuple]:
    rows = []
    for (image, task), pair in table.groupby(["image", "task"]):
        by_model = pair.set_index("model")
        single, multi, target = (
            by_model.loc[task],
            by_model.loc["multitask"],
            pair["target"].iloc[0],
        )
        if task == AGE.name:
            found = (
                max(single["high"], multi["high"]) < target
                or min(single["low"], multi["low"]) > target
            )
        else:
            found = single["prediction"] == multi["prediction"] != target
        if found:
            confidence = min(single["confidence"], multi["confidence"])
            rows.append(
                (image, task, target, single["prediction"], multi["prediction"], confidence)
            )
    return rows


def test_disputed_labels_of_many_images(table):
    found = disputed(table)
    assert list(found.columns) == ["image", "task", "target", "single", "multi", "confidence"]
    assert sorted(found.itertuples(index=False, name=None)) == sorted(expected_rows(table))
    assert set(found["task"]) == {task.name for task in TASKS}
    assert found["confidence"].is_monotonic_decreasing
    pd.testing.assert_frame_equal(found, disputed(table.iloc[::-1]))


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_counts_of_contradictions(table, task):
    counts = disputed_counts(table).set_index("task").loc[task.name]
    rows = table[table["task"] == task.name]
    inside = rows["target"].between(rows["low"], rows["high"]) | (
        rows["target"] == rows["prediction"]
    )
    assert counts["images"] == N
    assert counts["single"] == (~inside & (rows["model"] == task.name)).sum()
    assert counts["multi"] == (~inside & (rows["model"] != task.name)).sum()
    assert counts["disputed"] == sum(row[1] == task.name for row in expected_rows(table))


def test_results_of_only_one_approach_are_refused(table):
    for some in (table[table["model"] != "multitask"], table[table["model"] != GENDER.name]):
        for of in (disputed, disputed_counts):
            with pytest.raises(FaceMTLError, match="facemtl evaluate"):
                of(some)


def test_shipped_results_dispute_few_labels(results):
    """Both approaches together dispute some labels, but no more than the errors of each alone."""
    counts = disputed_counts(results).set_index("task")
    assert (counts["disputed"] <= counts[["single", "multi"]].min(axis=1)).all()
    assert (counts["disputed"] > 0).all()
    assert (counts["images"] == results["image"].nunique()).all()
    for task in (GENDER, RACE):
        rows = results[results["task"] == task.name]
        errors = (rows["prediction"] != rows["target"]).groupby(rows["model"] == task.name).sum()
        assert (counts.at[task.name, "single"], counts.at[task.name, "multi"]) == (
            errors[True],
            errors[False],
        )


# ----------------------------------------------------------------------------- contradicting copies


class Known(Predictor):
    """Returns the given predictions by picture number and records its calls."""

    def __init__(self, answers: dict, names: dict[int, str]):
        self.models, self.tasks, self.asked = (), TASKS, []
        self.answers, self.names = answers, names

    def predict_crops(self, crops, images=None, faces=None, progress=lambda n: None) -> Predictions:
        assert all(crop.shape == (200, 200, 3) for crop in crops)
        self.asked += list(images)
        rows = []
        for number, image in self.names.items():
            for task in TASKS:
                single, multi = self.answers.get((number, task.name), (0, 0))
                rows += rows_of(image, task, NAN, (single, 0.6), (multi, 0.8))
        progress(len(crops))
        return Predictions(pd.DataFrame(rows).drop(columns="target"), pd.DataFrame(), {})


# Number of a picture -> the labels of its copies.
COPIES = {
    0: {"age": (20, 30)},
    1: {"age": (40, 41, 41)},
    2: {"race": (0, 4)},
    3: {"race": (1, 2, 3)},
    4: {"gender": (0, 1)},
    5: {"age": (50, 50)},  # no contradiction
}
# The predictions of the single-task and the multi-task model.
ANSWERS = {
    (0, "age"): (22, 42), (1, "age"): (50, 44),
    (2, "race"): (4, 4), (3, "race"): (0, 2),
    (4, "gender"): (1, 1),
}  # fmt: skip
COLUMNS = ["images", "hits", "hits_by_chance", "nearest", "mean", "farthest", "same"]
# Computed by hand.
EXPECTED = {
    ("age", "single"): (2, 50, 0, 5.5, 43 / 6, 9, 50),
    ("age", "multi"): (2, 50, 50, 7.5, 61 / 6, 13, 50),
    ("race", "single"): (2, 50, 50, 50, 25, 0, 50),
    ("race", "multi"): (2, 100, 0, 100, 125 / 3, 0, 50),
    ("gender", "single"): (1, 100, NAN, 100, 50, 0, 100),
}


@pytest.fixture
def copies(tmp_path) -> pd.DataFrame:
    """Pictures of COPIES as files with the labels in their names, read like UTKFace."""
    rng, stamp = np.random.default_rng(0), 20990101000000000
    for number, labels in COPIES.items():
        content = support.jpeg(support.picture(30, 0, 0, rng))
        for i in range(max(map(len, labels.values()))):
            age, gender, race = (
                labels.get(task, (0,) * 3)[i] for task in ("age", "gender", "race")
            )
            (
                tmp_path / f"{age}_{gender}_{race}_{stamp + 10 * number + i}.jpg.chip.jpg"
            ).write_bytes(content)
    return contradicting_copies(tmp_path, progress=False)


def numbered(copies: pd.DataFrame) -> dict[int, str]:
    """Map each picture's number to its key, from the file names."""
    stamps = copies["file"].map(lambda file: int(Path(file).name.split("_")[3].split(".")[0]))
    return dict(zip(stamps % 1000 // 10, copies["sha256"].str[:16], strict=True))


def test_predictions_side_with_one_of_two_contradicting_labels(copies):
    known, seen = Known(ANSWERS, numbered(copies)), []
    table = answers_to_copies(known, copies, seen.append).set_index(["task", "approach"])
    assert list(table.loc["age"].index) == list(table.loc["race"].index) == ["single", "multi"]
    for key, expected in EXPECTED.items():
        assert table.loc[key, COLUMNS].tolist() == pytest.approx(expected, nan_ok=True), key
    assert set(table["metric"]) == {"accuracy", "mae"}
    assert table.xs("single", level="approach")["confidence"].to_numpy() == pytest.approx(60)
    assert table.xs("multi", level="approach")["confidence"].to_numpy() == pytest.approx(80)
    assert len(known.asked) == len(set(known.asked)) == 5 and seen == [
        5
    ]  # each image once for all its copies


def test_a_task_without_contradictions_has_no_row(copies):
    some = copies[copies["gender"].groupby(copies["sha256"]).transform("nunique") == 1]
    assert set(answers_to_copies(Known(ANSWERS, numbered(some)), some)["task"]) == {"race", "age"}


def test_missing_copies_are_reported(copies, predictor):
    with pytest.raises(FaceMTLError, match="copies"):
        answers_to_copies(predictor, copies.head(0))


def test_the_shipped_models_on_copies_of_composites(predictor, tmp_path):
    """Each composite once with its labels and once with the other gender: each prediction matches
    one of the two.
    """
    for file in support.composites(6)[:6]:
        age, gender, race, rest = file.name.split("_")
        shutil.copy(file, tmp_path / file.name)
        shutil.copy(file, tmp_path / f"{age}_{1 - int(gender)}_{race}_{rest}")
    table = answers_to_copies(predictor, contradicting_copies(tmp_path, progress=False))
    assert list(table["task"]) == ["gender", "gender"] and list(table["approach"]) == [
        "single",
        "multi",
    ]
    assert (table[["hits", "nearest", "hits_by_chance"]] == 100).all(axis=None)
    assert (
        (table["mean"] == 50).all()
        and (table["farthest"] == 0).all()
        and (table["images"] == 6).all()
    )
    assert table["confidence"].between(50, 100).all()


# -------------------------------------------------------------------------------------------- files


def test_all_tables_are_written(table, copies, tmp_path):
    folder = tmp_path / "made" / "labels"
    label_noise.save_disputed(disputed(table), folder)
    label_noise.save_summary(
        disputed_counts(table),
        answers_to_copies(Known(ANSWERS, numbered(copies)), copies),
        without(table, table["image"].head(2)),
        folder,
    )
    assert {f.name for f in folder.iterdir()} == {
        label_noise.DISPUTED_FILE, label_noise.COUNTS_FILE, label_noise.ANSWERS_FILE,
        label_noise.NEAR_FILE,
    }  # fmt: skip
    read = pd.read_csv(folder / label_noise.DISPUTED_FILE, dtype={"image": str})
    pd.testing.assert_frame_equal(
        read, disputed(table), check_exact=False, rtol=1e-5, check_dtype=False
    )
    for name in (
        label_noise.COUNTS_FILE,
        label_noise.ANSWERS_FILE,
        label_noise.NEAR_FILE,
    ):  # they contain no image keys
        assert "image" not in pd.read_csv(folder / name).columns


# -------------------------------------------------------------------------------------- near-copies


def test_near_copies_across_the_split_are_found(tmp_path):
    """Recompressed, mirrored and reduced copies are found. Other images and copies on the same side
    are not.
    """
    rows = []

    def add(image: Image.Image, name: str, split: str, quality: int = 95) -> str:
        image.save(file := tmp_path / f"{name}.jpg", quality=quality)
        digest = sha256(file.read_bytes()).hexdigest()
        rows.append({"file": str(file), "sha256": digest, "split": split})
        return digest[:16]

    noise = [
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (12, 12, 3), np.uint8))
        for i in range(9)
    ]
    pictures = [image.resize((120, 120), Image.Resampling.BICUBIC) for image in noise]
    for i, picture in enumerate(pictures[:6]):
        add(picture, f"train{i}", TRAIN)
    expected = {
        add(pictures[0], "recompressed", VALIDATION, quality=60),
        add(ImageOps.mirror(pictures[1]), "mirrored", VALIDATION),
        add(pictures[2].resize((60, 60)), "smaller", VALIDATION),
    }
    for name in ("first", "second"):
        add(pictures[8], name, VALIDATION)
    add(pictures[4], "calibration", CALIBRATION)
    found = near_copies(pd.DataFrame(rows))
    assert set(found["image"]) == expected
    assert (found["likeness"] > 0.98).all()


def test_metrics_without_some_images():
    """Every second image is answered wrongly, by 6 years. Without these, all answers are right."""
    rows, wrong = [], pd.Series([f"{i:016x}" for i in range(1, 40, 2)])
    for i in range(40):
        for task in TASKS:
            label, off = (30.0, 6.0) if task is AGE else (0.0, 1.0)
            answer = (label + off * (i % 2), 0.9)
            rows += rows_of(f"{i:016x}", task, label, answer, answer)
    found = without(pd.DataFrame(rows), wrong).set_index("task")
    assert (found["n"] == 40).all() and (found["n_without"] == 20).all()
    for task in TASKS:
        for approach in ("single", "multi"):
            values = found.loc[task.name, [approach, f"{approach}_without"]]
            assert values.tolist() == ([3, 0] if task is AGE else [50, 100])
