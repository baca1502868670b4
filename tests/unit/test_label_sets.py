"""Labels declared beside the data: reading, choosing, checking and using them."""

import math
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from facemtl import cli, label_sets
from facemtl.data.labels_csv import read_csv
from facemtl.data.reading import read_images
from facemtl.errors import FaceMTLError
from facemtl.evaluation.validation import load_validation
from facemtl.inference.predictor import Predictor
from facemtl.label_sets import NAME, VARIABLE, read_labels
from facemtl.tasks import AGE, CLASSES, GENDER, RACE, TASKS, with_labels
from facemtl.ui.faces import FaceFilter
from tests import support

SEVEN = '["White", "Black", "Latino", "East Asian", "Southeast Asian", "Indian", "Middle Eastern"]'


def declared(folder, text):
    folder.mkdir(exist_ok=True)
    file = folder / NAME
    file.write_text(text, "utf-8")
    return file


def test_a_known_name_replaces_labels_and_a_new_one_adds_a_task(tmp_path):
    labels = read_labels(declared(tmp_path, f'race = {SEVEN}\nglasses = ["without", "with"]'))
    gender, race, age, glasses = with_labels((GENDER, RACE, AGE), labels)
    assert (gender, age) == (GENDER, AGE)
    assert (race.name, race.n_outputs, race.words(4)) == ("race", 7, "Southeast Asian")
    assert (race.sensitive, race.label_smoothing) == (RACE.sensitive, RACE.label_smoothing)
    assert (glasses.name, glasses.labels, glasses.sensitive) == (
        "glasses", ("without", "with"), False,
    )  # fmt: skip


def test_declared_labels_get_loss_scales_close_to_the_built_in_ones():
    same = {task.name: task.labels for task in (GENDER, RACE)}
    for task in with_labels((GENDER, RACE), same):
        built_in = {"gender": GENDER, "race": RACE}[task.name]
        assert math.isclose(task.loss_scale, built_in.loss_scale, rel_tol=0.05)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("race = [", "not a TOML file"),
        ("race = " + 5000 * "[", "not a TOML file"),
        ('race = "White"', "two or more different texts"),
        ('race = ["White"]', "two or more different texts"),
        ("race = []", "two or more different texts"),
        ('race = ["White", "white"]', "two or more different texts"),
        ('race = ["White", " "]', "two or more different texts"),
        ('race = ["White", 1]', "two or more different texts"),
        ('[race]\nlabels = ["White", "Black"]', "two or more different texts"),
        ('split = ["a", "b"]', "'split'"),
        ('order = ["a", "b"]', "'order'"),
        ('all = ["a", "b"]', "'all'"),
        ('Race = ["a", "b"]', "'Race'"),
        ('"eye colour" = ["a", "b"]', "'eye colour'"),
        ('class = ["a", "b"]', "'class'"),
    ],
)
def test_an_invalid_file_is_refused_with_a_message(tmp_path, text, said):
    with pytest.raises(FaceMTLError, match=said) as error:
        read_labels(declared(tmp_path, text))
    assert str(tmp_path / NAME) in str(error.value)


def test_a_binary_or_missing_file_is_refused_with_a_message(tmp_path):
    (tmp_path / NAME).write_bytes(b"\xff\xfe")
    with pytest.raises(FaceMTLError, match="UTF-8"):
        read_labels(tmp_path / NAME)
    with pytest.raises(FaceMTLError, match="cannot be read"):
        read_labels(tmp_path / "missing.toml")


def test_no_task_takes_the_name_of_a_part_of_the_filter():
    own = {each.name for each in fields(FaceFilter)} - {task.name for task in CLASSES}
    own |= {name for name in vars(FaceFilter) if not name.startswith("_")}
    assert own and own <= {*label_sets.RESERVED}


def test_no_task_takes_the_name_of_a_column():
    images, _ = read_images(support.COMPOSITES, progress=False)
    columns = {*load_validation(support.ROOT / "assets" / "validation"), *images}
    assert "made_by" in columns
    assert columns - {task.name for task in TASKS} <= {*label_sets.RESERVED}


def test_a_regression_has_no_labels():
    with pytest.raises(FaceMTLError, match="age is a number"):
        with_labels((AGE,), {"age": ("young", "old")})


def test_the_first_folder_wins_unless_the_variable_is_set(tmp_path, monkeypatch):
    data, models = tmp_path / "data", tmp_path / "models"
    for folder in (data, models):
        declared(folder, f"race = {SEVEN}")
    monkeypatch.delitem(sys.modules, "facemtl.tasks")
    for places, file in (
        ((data / "labels.csv", models), data), ((data, models), data),
        ((tmp_path / "other.csv", models), models),
    ):  # fmt: skip
        monkeypatch.setenv(VARIABLE, "")  # so that monkeypatch restores it
        monkeypatch.delenv(VARIABLE)
        label_sets.use_labels_beside(*places)
        assert label_sets.os.environ[VARIABLE] == str(file / NAME)
    label_sets.use_labels_beside(data)
    assert label_sets.os.environ[VARIABLE] == str(models / NAME)


def test_labels_are_found_by_shortened_options_too(monkeypatch):
    places = []
    monkeypatch.setattr(cli, "use_labels_beside", lambda *found: places.extend(found))
    cli._choose_labels(["evaluate", "--dat", "faces", "--mod=models", "--split", "calibration"])
    assert places == [Path("faces"), Path("models")]


def test_labels_are_not_used_after_tasks_are_created(tmp_path):
    declared(tmp_path, f"race = {SEVEN}")
    label_sets.use_labels_beside(tmp_path)
    assert VARIABLE not in label_sets.os.environ


def test_reading_data_or_models_with_unused_labels_is_refused(tmp_path):
    declared(tmp_path, f"race = {SEVEN}")
    (tmp_path / "labels.csv").write_text("file,race\na.jpg,Latino\n", "utf-8")
    for read in (
        lambda: read_csv(tmp_path / "labels.csv"), lambda: Predictor.load(tmp_path),
    ):  # fmt: skip
        with pytest.raises(FaceMTLError, match=f"Set {VARIABLE}={tmp_path / NAME}"):
            read()


def test_models_of_other_labels_are_refused_by_name(tmp_path):
    file = declared(tmp_path, f"race = {SEVEN}")
    code = "from facemtl import Predictor; Predictor.load()"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**support.inherited(), VARIABLE: str(file)}, capture_output=True, text=True,
    )  # fmt: skip
    assert "FaceMTLError" in found.stderr and "Latino" in found.stderr
