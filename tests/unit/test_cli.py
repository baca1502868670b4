"""The commands predict, evaluate and calibrate from the command line. The tests of download and
train are with their modules.
"""

import io
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from PIL import Image

from facemtl import cli
from facemtl.data import summary
from facemtl.data.images import load_image
from facemtl.data.reading import CALIBRATION, TRAIN, VALIDATION, read_images
from facemtl.data.utkface import CHIP_SIZE
from facemtl.errors import FaceMTLError
from facemtl.escapes import unescaped
from facemtl.evaluation import composites, cost, findings
from facemtl.evaluation.composites import FILE as COMPOSITES_FILE
from facemtl.evaluation.robustness import ROBUSTNESS_FILE
from facemtl.evaluation.validation import (
    PREDICTIONS_FILE,
    RESULT_FILES,
    are_results_of,
    load_validation,
    unseen,
    with_targets,
)
from facemtl.faces import detect, open_image, whole
from facemtl.inference import batch
from facemtl.inference.predictor import COLUMNS, Predictor
from facemtl.models.seen import seen_text
from facemtl.tasks import AGE, TASKS
from research import report
from tests import support
from tests.odd_files import ODD_FILES

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


@pytest.fixture(scope="module")
def small_models(tmp_path_factory) -> Path:
    """Models that have seen one image, which is none of ours. Read only."""
    folder = tmp_path_factory.mktemp("models")
    for tasks in (*((task,) for task in TASKS), TASKS):
        name = "multitask" if tasks is TASKS else ""
        support.write_model(folder, tasks, name, seen=seen_text(["0" * 64]))
    (folder / "age.history.csv").write_text("epoch,age_mae\n1,20\n")
    return folder


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


@pytest.mark.skipif(sys.platform != "linux", reason="not all systems have such names")
def test_any_name_is_reported_and_written(tmp_path, monkeypatch, small_models):
    """On a terminal that shows ASCII only. The tables are UTF-8, and their names lead to files."""
    images, good = tmp_path / "images", support.composites(1)[0].read_bytes()
    images.mkdir()
    for name in (b"a\xff.jpg", b"=1+1.jpg", b"\x1b[31m.jpg", "größe.jpg".encode(), b"a\\b.jpg"):
        Path(os.fsdecode(os.fsencode(images) + b"/" + name)).write_bytes(good)
    Path(os.fsdecode(os.fsencode(images) + b"/bad\xff\x1b\n.jpg")).write_bytes(b"no image")
    streams = {name: io.BytesIO() for name in ("stdout", "stderr")}
    for name, content in streams.items():
        monkeypatch.setattr(sys, name, io.TextIOWrapper(content, "ascii", write_through=True))
    command = (images, "--no-detect", "--models", small_models)
    assert predict(*command) == 0
    out = Path(os.fsdecode(os.fsencode(tmp_path) + b"/out\xff.csv"))
    assert predict(*command, "--csv", out, "--json", tmp_path / "out.json") == 0
    printed, said = (content.getvalue().decode("ascii") for content in streams.values())
    assert said.count(r"facemtl: bad\xff\x1b\x0a.jpg: This file is damaged") == 2
    assert "\x1b" not in said + printed and r"gr\xc3\xb6\xc3\x9fe.jpg,0,age" in printed
    assert r"/out\xff.csv and " in printed.splitlines()[-1]
    table = pd.read_csv(out)  # as UTF-8
    assert {unescaped(name) for name in table["image"]} == {
        file.name for file in images.glob("[!b]*")
    }
    assert not table["image"].str.startswith(("=", "+", "-", "@")).any()
    assert {entry["image"] for entry in pd.read_json(tmp_path / "out.json").to_dict("records")} > {
        *table["image"]
    }


def test_an_input_is_never_an_output(folder, tmp_path, small_models, capsys):
    photo, model = next(folder.glob("*composite*")), small_models / "age.onnx"
    labels = tmp_path / "metrics.csv"
    labels.write_text(f"file,age\n{photo},30\n")
    where = ["--models", str(small_models)]
    before = support.contents(small_models), support.contents(tmp_path)
    for command in (
        ["predict", str(photo), *where, "--json", str(photo)],
        ["predict", str(folder), *where, "--csv", f"{folder}/../images/{photo.name}"],
        ["predict", str(photo), *where, "--csv", str(model)],
        ["evaluate", "--data", str(labels), *where, "--output", str(tmp_path)],
        ["calibrate", "--data", str(labels), *where, "--output", str(small_models)],
        ["train", "--data", str(labels), "--start", str(model), "--output", str(small_models),
            "--tasks", "age"],
    ):  # fmt: skip
        assert cli.main(command) == 1
        said = capsys.readouterr().err.splitlines()
        assert "is an input of this command" in said[-1] and len(said) == 1, command
    for other in ("./out", ".out.journal", ".out.lock"):
        assert cli.main(["predict", str(photo), *where, "--csv", "out", "--json", other]) == 1
        assert "two outputs" in capsys.readouterr().err
    assert (support.contents(small_models), support.contents(tmp_path)) == before


@pytest.mark.skipif(os.name == "nt", reason="only some users of Windows can make links")
@pytest.mark.parametrize("listed", [False, True], ids=["a folder", "a CSV"])
@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("evaluate", "metrics.csv"), ("robustness", ROBUSTNESS_FILE), ("train", "age.onnx"),
        ("calibrate", "age.onnx"), ("calibrate", "age.history.csv"), ("describe", "counts.csv"),
    ],
)  # fmt: skip
def test_a_labelled_image_is_never_an_output(
    command, output, listed, tmp_path, small_models, capsys
):
    if listed and command == "describe":
        pytest.skip("it takes no CSV")
    faces = tmp_path / "faces"
    faces.mkdir()
    files = [Path(shutil.copy(file, faces)) for file in support.composites(140)[:30]]
    if listed:
        lines = "".join(f"{file.name},{file.name.split('_')[0]}\n" for file in files)
        (faces / "labels.csv").write_text(f"file,age\n{lines}")
    (faces / output).symlink_to(files[7].name)
    before = support.contents(faces)
    given = ["--data", faces, "--output", faces]
    if command == "train":
        given += ["--tasks", "age"]
    elif command != "describe":
        given += ["--models", small_models]
    assert cli.main([command, *map(str, given)]) == 1
    said = capsys.readouterr().err.splitlines()
    assert f"{files[7]} is an input of this command" in said[-1] and len(said) == 1
    assert support.contents(faces) == before


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("evaluate", PREDICTIONS_FILE), ("robustness", ROBUSTNESS_FILE), ("cost", cost.COSTS_FILE),
        ("describe", summary.COUNTS_FILE), ("calibrate", "age.onnx"),
    ],
)  # fmt: skip
def test_a_command_refuses_an_output_that_another_process_writes(
    command, file, tmp_path, small_models, capsys
):
    given = ["--data", support.COMPOSITES] if command != "cost" else []
    given += ["--models", small_models] if command != "describe" else []
    with FileLock(tmp_path / f".{file}.lock"):
        assert cli.main([command, "--output", str(tmp_path), *map(str, given)]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and f"Another process is writing {tmp_path / file}." in said[0]
    assert support.contents(tmp_path).keys() <= {f".{file}.lock"}


def test_robustness_leaves_out_damaged_images(tmp_path, small_models, capsys):
    data = tmp_path / "data"
    data.mkdir()
    for file in support.composites(3):
        shutil.copy(file, data)
    for odd in ODD_FILES:
        if odd.name in ("bomb.png", "half.jpeg"):
            (data / f"1_0_0_{odd.name}.jpg").write_bytes(odd.content)
    given = ["--data", data, "--models", small_models, "--output", tmp_path, "--images", 9]
    assert cli.main(["robustness", *map(str, given)]) == 0
    said, told = capsys.readouterr()
    assert "2 images cannot be read" in told and "metrics of 3 crops" in said


@pytest.mark.parametrize(
    "place",
    [
        "javascript:x", "facemtl", "//faces.example.org", "ftp://faces.example.org", "http://",
        "http://a:x", "http://[a", "/a b", "/a?b", "/a#b", "/a\nb", "\\\\a", "file:///etc",
    ],
)  # fmt: skip
def test_a_place_where_no_proxy_can_serve_the_app_is_refused(place, capsys):
    with pytest.raises(SystemExit):
        cli.main(["app", "--root-path", place])
    assert "expected a URL such as https://faces" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["", "/", "/a/b", "https://a.example.org:8443/b", "http://[::1]"])
def test_a_place_where_a_proxy_can_serve_the_app_is_accepted(place):
    assert cli._parser().parse_args(["app", "--root-path", place]).root_path == place


EMPTY = [
    ["predict", ""],
    ["predict", "faces", ""],
    *(["predict", "faces", option, ""] for option in ("--csv", "--json", "--models")),
    ["predict", "faces", "--csv", "new/"],
    *(["train", option, ""] for option in ("--data", "--output")),
    ["download", "--archive", ""],
]


@pytest.mark.parametrize("arguments", EMPTY, ids=" ".join)
def test_a_path_that_is_empty_or_a_folder_in_place_of_a_file_is_refused(
    arguments, folder, tmp_path, monkeypatch, capsys
):
    """A variable that is not set, as in `predict "$photo"`, does not stand for this folder."""
    monkeypatch.chdir(tmp_path)
    folder.rename("faces")
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments)
    assert "expected a " in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["faces"]


@pytest.mark.parametrize("given", ["", "a\0b", None, b"faces"], ids=repr)
def test_what_can_be_no_path_is_refused_in_python_too(given):
    for read in (read_images, Predictor.load):
        with pytest.raises(FaceMTLError, match="expected a path, found"):
            read(given)


@pytest.mark.parametrize("number", ["0", "-1", "x", "1.5"])
def test_a_number_of_images_that_cannot_be_is_refused(number, capsys):
    with pytest.raises(SystemExit):
        cli.main(["robustness", "--images", number])
    assert f"expected 1 or more, found {number}" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["", "0", "-1", "two"])
def test_a_number_of_processes_that_cannot_be_is_refused(number, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", number)
    assert predict("x.jpg") == 1
    said = f"facemtl: WORLD_SIZE is {number!r}, expected a number of processes."
    assert capsys.readouterr().err.startswith(said)


@pytest.mark.parametrize("name", ["WORLD_SIZE", "RANK", "LOCAL_RANK"])
def test_processes_that_were_not_launched_are_refused(name, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.setenv(name, "abc")
    for command in (["predict", folder], ["train", "--data", folder, "--output", tmp_path / "o"]):
        assert cli.main([*map(str, command)]) == 1
        assert f"{name} is 'abc', expected a number" in capsys.readouterr().err
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv(name, "2")
    assert predict(folder) == 1
    assert "Start the processes with `accelerate launch`" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="paths are short, and there is no rm")
def test_deep_folders_are_searched(tmp_path, monkeypatch):
    """Python's own functions fail in them, so `rm` deletes them."""
    monkeypatch.chdir(tmp_path)
    Path("top.jpg").touch()
    try:
        for _ in range(1200):
            os.mkdir("d")
            os.chdir("d")
        Path("deep.jpg").touch()
        closed = []
        found = [file.name for file in batch._below(tmp_path, closed)]
        assert sorted(found) == ["deep.jpg", "top.jpg"] and not closed
    finally:
        os.chdir(tmp_path)
        subprocess.run(["rm", "-r", "d"], check=True)


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
    assert ended.stderr.splitlines()[-1].endswith("Run `pip install fastai`")


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


def test_evaluate_reads_models_and_measures_all_that_they_have_not_seen(
    tmp_path, small_models, monkeypatch, capsys
):
    """Without --output, its tables are in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    images, _ = read_images(support.COMPOSITES, progress=False)
    before = support.contents(small_models), support.contents(MODELS.parent / "validation")
    where = ["evaluate", "--data", str(support.COMPOSITES), "--models", str(small_models)]
    assert cli.main(where) == 0
    assert before == (
        support.contents(small_models),
        support.contents(MODELS.parent / "validation"),
    )
    folder = tmp_path / "runs" / "validation"
    written = {*RESULT_FILES, findings.FINDINGS_FILE, COMPOSITES_FILE}
    assert [*tmp_path.iterdir()] == [tmp_path / "runs"]
    assert {file.name for file in folder.iterdir()} == written
    results, predictor = load_validation(folder), Predictor.load(small_models)
    assert set(results["image"]) == {each[:16] for each in images["sha256"]}
    assert are_results_of(predictor, results)
    output, said = capsys.readouterr()
    assert f"all {len(images)} images, which the models were not trained on" in output
    assert "gender, race, age, multitask: not calibrated" in said


def test_old_results_stay_until_all_new_ones_are_written(
    tmp_path, small_models, monkeypatch, capsys
):
    """The findings belong to the predictions, and the costs to the findings."""
    where = ["--models", str(small_models), "--output", str(tmp_path)]
    assert cli.main(["evaluate", "--data", str(support.COMPOSITES), *where]) == 0
    few = tmp_path.with_name("few")
    few.mkdir()
    for file in support.composites(140)[:60]:
        shutil.copy(file, few)
    before = support.contents(tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    for module, save in ((findings, "write_whole"), (composites, "write_table")):
        with monkeypatch.context() as patch:
            patch.setattr(module, save, full)
            assert cli.main(["evaluate", "--data", str(few), *where]) == 1
        assert "No space left" in capsys.readouterr().err
        assert support.contents(tmp_path) == before
    assert cli.main(["evaluate", "--data", str(few), *where]) == 0
    found = findings.load_findings(tmp_path)
    assert {row["n"] for row in found["tasks"]} == {60} and found["cost_share"] is None
    assert cli.main(["cost", *where]) == 0
    assert findings.load_findings(tmp_path) == findings.findings(tmp_path)
    assert findings.load_findings(tmp_path)["cost_share"]


def test_data_that_any_model_has_seen_keep_their_split(small_models):
    images, _ = read_images(support.COMPOSITES, progress=False)
    predictor = Predictor.load(small_models)
    assert set(unseen(predictor, images)["split"]) == {VALIDATION}
    first, *rest = predictor.models
    one = images.loc[images["split"] == TRAIN, "sha256"].iloc[:1]
    for seen in (seen_text(one, first.info.seen), ""):  # empty: it is not known
        knows = replace(first, info=replace(first.info, seen=seen))
        assert unseen(Predictor([*rest, knows]), images) is images


def test_calibrate_writes_copies(tmp_path, small_models):
    images, _ = read_images(support.COMPOSITES, progress=False)
    before, output = support.contents(small_models), tmp_path / "calibrated"
    where = ["--models", str(small_models), "--output", str(output)]
    assert cli.main(["calibrate", "--data", str(support.COMPOSITES), *where]) == 0
    assert support.contents(small_models) == before
    assert {file.name for file in output.iterdir()} == {*before}
    assert (output / "age.history.csv").read_bytes() == before["age.history.csv"]
    calibrated = Predictor.load(output)
    for one, other in zip(calibrated.models, Predictor.load(small_models).models, strict=True):
        assert one.info.is_calibrated and not other.info.is_calibrated
        assert one.info.weights == other.info.weights
    # They have seen these data now.
    assert unseen(calibrated, images) is images


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
    page, link = tmp_path / "page.md", tmp_path / "link.md"
    link.symlink_to(page)
    page.write_text("# Größe\n<!-- begin: results -->\n<!-- end: results -->\nrest\n", "utf-8")
    report.main([str(link)])
    assert link.is_symlink()
    lines = page.read_text("utf-8").splitlines()
    assert lines[0] == "# Größe" and lines[-1] == "rest"
    assert sum(line.startswith("|") for line in lines) == 3 + len(TASKS)
    with pytest.raises(FaceMTLError, match="facemtl evaluate"):
        report.main(["--results", str(tmp_path), str(page)])
    assert page.read_text("utf-8").splitlines() == lines
