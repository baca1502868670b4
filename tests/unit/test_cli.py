"""The commands predict and evaluate from the command line. The tests of download and train are with
their modules.
"""

import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from facemtl import cli
from facemtl.data.images import load_image
from facemtl.data.reading import CALIBRATION, read_images
from facemtl.data.utkface import CHIP_SIZE
from facemtl.errors import FaceMTLError
from facemtl.evaluation import cost
from facemtl.evaluation.validation import with_targets
from facemtl.faces import detect, open_image, whole
from facemtl.inference.predictor import COLUMNS, Predictor
from facemtl.tasks import AGE, TASKS
from research import report
from tests import support

MODELS = support.ROOT / "assets" / "models"
ROWS_PER_FACE = 2 * len(TASKS)


def predict(*arguments) -> int:
    return cli.main(["predict", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path):
    """Two composites, a damaged image file, and a text file."""
    images = tmp_path / "images"
    images.mkdir()
    for file in support.composites(140)[70:72]:
        shutil.copy(file, images)
    (images / "broken.jpg").write_text("hello")
    (images / "notes.txt").write_text("hello")
    return images


def test_a_folder_with_a_broken_file(folder, tmp_path, predictor, capsys):
    out = tmp_path / "new" / "out.csv"
    assert predict(folder, "--no-detect", "--csv", out) == 0
    output = capsys.readouterr()
    assert "broken.jpg" in output.err and "Traceback" not in output.err
    assert "notes.txt" not in output.err
    table = pd.read_csv(out)
    assert list(table.columns) == COLUMNS
    files = sorted(folder.glob("*composite*"))
    assert list(table["image"].unique()) == [f.name for f in files]
    assert set(table["model"]) == {"gender", "race", "age", "multitask"}
    expected = predictor.predict_crops(
        [whole(open_image(f)).crop for f in files], [f.name for f in files]
    ).table
    for column in ("prediction", "confidence", "low", "high"):
        assert np.allclose(table[column], expected[column], rtol=1e-5, atol=1e-6, equal_nan=True)
    classes = table["task"].isin(["gender", "race"])
    assert (table.loc[classes, "prediction"] % 1 == 0).all()
    assert table.loc[classes, ["low", "high"]].isna().all(axis=None)
    assert table.loc[~classes, ["low", "high"]].notna().all(axis=None)


def test_files_of_the_same_name_are_distinguished(tmp_path, predictor, capsys):
    files = support.composites(140)[20:120:50]
    for folder, file in zip("ab", files, strict=False):
        (tmp_path / folder).mkdir()
        shutil.copy(file, tmp_path / folder / "x.jpg")
    assert (
        predict(tmp_path / "a", tmp_path / "b", "--no-detect", "--csv", tmp_path / "out.csv") == 0
    )
    assert "of 2 images" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "out.csv", dtype=str)
    assert (
        list(table["image"].unique()) == ["a/x.jpg", "b/x.jpg"] and len(table) == 2 * ROWS_PER_FACE
    )
    for file, rows in zip(files, (table[:ROWS_PER_FACE], table[ROWS_PER_FACE:]), strict=False):
        expected = predictor.predict_crops([whole(open_image(file)).crop]).table
        assert np.allclose(rows["prediction"].astype(float), expected["prediction"], atol=1e-3)
        assert all(value.isdigit() for value in rows.loc[rows["task"] != "age", "prediction"])


def test_unreadable_images_leave_no_empty_table(tmp_path):
    (tmp_path / "broken.jpg").write_text("hello")
    assert predict(tmp_path / "broken.jpg", "--csv", tmp_path / "out.csv") == 1
    assert not (tmp_path / "out.csv").exists()


def test_every_face_of_a_photo_has_its_rows(tmp_path, capsys):
    canvas = Image.new("RGB", (900, 600), (120, 140, 150))
    for file, corner in zip(support.composites(140)[70:72], ((80, 150), (500, 150)), strict=True):
        with Image.open(file) as face:
            canvas.paste(face.resize((300, 300)), corner)
    canvas.save(tmp_path / "two.png")
    n_faces = len(detect(canvas))
    assert n_faces == 2
    assert predict(tmp_path / "two.png") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == ",".join(COLUMNS)
    assert len(lines) == 1 + n_faces * ROWS_PER_FACE


def test_an_image_without_a_face_is_reported_and_can_be_used_whole(tmp_path, capsys):
    Image.new("RGB", (300, 200), (90, 150, 90)).save(tmp_path / "meadow.png")
    assert predict(tmp_path / "meadow.png") == 1
    assert "no face found" in capsys.readouterr().err
    assert predict(tmp_path / "meadow.png", "--no-detect") == 0


@pytest.mark.parametrize("what", ["missing.jpg", "empty"])
def test_nothing_to_predict_gives_a_one_line_error(tmp_path, capsys, what):
    (tmp_path / "empty").mkdir()
    assert predict(tmp_path / what) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("facemtl: ")


def test_an_unwritable_target_is_refused_before_the_predictions(folder, tmp_path, capsys):
    (tmp_path / "taken").mkdir()
    assert predict(folder, "--no-detect", "--csv", tmp_path / "taken") == 1
    error = capsys.readouterr().err
    assert "Predicting" not in error and "Traceback" not in error
    assert "taken" in error.splitlines()[-1]


def test_a_missing_library_is_named():
    """Runs in its own process, where no other test has loaded the library."""
    left_out = (
        "import sys; sys.modules['fastai'] = None; from facemtl.cli import main;"
        " sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", left_out, "train", "--data", str(support.COMPOSITES)]
    ended = subprocess.run(command, cwd=support.ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].endswith("pip install fastai")


def test_evaluate_on_calibration_images_prints_metrics_and_writes_nothing(tmp_path, capsys):
    """Validation images are not read. One model is enough."""
    models, out, one = (tmp_path / name for name in ("models", "out", "one"))
    for tasks in (*((task,) for task in TASKS), TASKS):
        support.write_model(models, tasks)
    images, _ = read_images(support.COMPOSITES, progress=False)
    labels = images[images["split"] == CALIBRATION]
    few = tmp_path / "few"
    few.mkdir()
    for file in labels["file"]:
        shutil.copy(file, few)
    before = support.contents(models)
    where = ["evaluate", "--split", "calibration", "--data", str(few), "--models"]
    assert cli.main([*where, str(models), "--output", str(out)]) == 0
    output = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in output] == [task.name for task in TASKS]
    assert not out.exists() and support.contents(models) == before
    labels = labels.assign(image=labels["sha256"].str[:16])
    crops = [load_image(file, CHIP_SIZE) for file in labels["file"]]
    answers = Predictor.load(models).predict_crops(crops, labels["image"]).table
    answers = with_targets(answers, labels).query("task == 'age'")
    errors = (answers["prediction"] - answers["target"]).abs()
    means = errors.groupby(answers["model"]).mean()
    said = {model: f"{model} {AGE.metric.words(mean)}" for model, mean in means.items()}
    assert len(said) == 2 and all(words in output[-1] for words in said.values())
    one.mkdir()
    shutil.copy(models / "gender+race+age.onnx", one)
    assert cli.main([*where, str(one)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(said["gender+race+age"])


def test_evaluate_refuses_a_missing_model_before_the_predictions(tmp_path, capsys):
    models = tmp_path / "models"
    shutil.copytree(MODELS, models)
    (models / "age.onnx").unlink()
    assert cli.main(["evaluate", "--data", str(support.COMPOSITES), "--models", str(models)]) == 1
    assert "The comparison of age needs" in capsys.readouterr().err


def test_costs_are_measured_and_written(tmp_path, capsys):
    assert cli.main(["cost", "--models", str(MODELS), "--output", str(tmp_path / "new")]) == 0
    assert "multitask" in capsys.readouterr().out
    assert cost.load(tmp_path / "new")["model"].tolist() == [
        *(t.name for t in TASKS),
        "multitask",
        cost.ALL,
        cost.ALL,
    ]


def test_a_report_updates_only_the_measured_tables(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Größe\n<!-- begin: results -->\n<!-- end: results -->\nrest\n", "utf-8")
    report.main([str(page)])
    lines = page.read_text("utf-8").splitlines()
    assert lines[0] == "# Größe" and lines[-1] == "rest"
    assert sum(line.startswith("|") for line in lines) == 3 + len(TASKS)
    with pytest.raises(FaceMTLError, match="facemtl evaluate"):
        report.main(["--results", str(tmp_path), str(page)])
    assert page.read_text("utf-8").splitlines() == lines
