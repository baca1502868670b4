"""Many images: finding and naming them, exact predictions, and runs that are killed, resumed and
distributed.
"""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time

import pytest
from filelock import FileLock
from PIL import Image

from facemtl import cli
from facemtl.faces import detect, open_image, weaknesses, whole
from facemtl.inference import batch
from facemtl.inference.predictor import Predictor
from facemtl.tasks import TASKS, task_named
from facemtl.ui import api
from tests import support
from tests.odd_files import FACE, NO_FACE, SENT

N_IMAGES = 21  # six rounds, the last of one image
# Runs the command that follows in two processes, on CPUs if the program asks for no GPU.
LAUNCH_TWO = [
    sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures in nested folders, one of them damaged."""
    images = tmp_path_factory.mktemp("batch") / "images"
    for i, file in enumerate(support.composites(140)[:N_IMAGES]):
        parent = images / ("" if i % 3 else "deep") / ("er" if i % 2 else "")
        parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, parent)
    damaged = sorted(images.rglob("*.jpg"))[5]
    damaged.write_bytes(damaged.read_bytes()[:300])
    return images


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """One model is enough and faster."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copy(support.ROOT / "assets" / "models" / "age.onnx", folder)
    return folder


@pytest.fixture(scope="module")
def predict(folder, models):
    def run(*arguments) -> int:
        return cli.main(
            ["predict", *map(str, (folder, "--no-detect", "--models", models, *arguments))]
        )

    return run


@pytest.fixture(scope="module")
def single(predict, tmp_path_factory):
    """The tables of one complete run."""
    target = tmp_path_factory.mktemp("single") / "out.csv"
    assert predict("--csv", target, "--json", target.with_suffix(".json")) == 0
    assert sorted(f.name for f in target.parent.iterdir()) == ["out.csv", "out.json"]
    return target


def journal_of(target):
    return target.with_name(f".{target.name}.journal")


# ------------------------------------------------------------------------------------------- images


def test_images_in_subfolders_are_found_and_named_by_relative_path(tmp_path):
    for name in ("b/x.jpg", "a/y.PNG", "a/c/x.jpg", ".hidden/x.jpg", "a/.x.jpg", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list(batch.find_images([tmp_path])) == ["a/c/x.jpg", "a/y.PNG", "b/x.jpg"]
    assert list(batch.find_images([tmp_path / "a" / "c"])) == ["x.jpg"]
    several = batch.find_images(
        [tmp_path / "b", tmp_path / "a" / "c", tmp_path / "b" / "x.jpg"]
    )  # one of them is given twice
    assert several == {
        "b/x.jpg": tmp_path / "b" / "x.jpg",
        "a/c/x.jpg": tmp_path / "a" / "c" / "x.jpg",
    }


def test_every_file_gets_a_prediction_or_a_one_line_error(models, tmp_path):
    for file in SENT:
        (tmp_path / file.name).write_bytes(file.content)
    given, json_file = [str(tmp_path / file.name) for file in SENT], tmp_path / "out.json"
    assert cli.main(["predict", *given, "--models", str(models), "--json", str(json_file)]) == 0
    records = {record["image"]: record for record in json.loads(json_file.read_text())}
    assert list(records) == [file.name for file in SENT]
    for file in SENT:
        record = records[file.name]
        if file.outcome == FACE:
            assert len(record["faces"]) == 1, record
        else:
            refusal = "no face found" if file.outcome == NO_FACE else file.outcome
            assert re.search(refusal, record["error"]) and "\n" not in record["error"], record


def test_the_summary_counts_faces_and_images(models, tmp_path, capsys):
    face, damaged = support.composites(1)[0], tmp_path / "damaged.jpg"
    damaged.write_bytes(face.read_bytes()[:300])
    command = ["predict", str(face), str(damaged), "--no-detect", "--models", str(models)]
    assert cli.main([*command, "--csv", str(tmp_path / "out.csv")]) == 0
    assert "1 face of 1 image; 1 image left out" in capsys.readouterr().out


def test_json_holds_the_exact_numbers_of_the_csv_and_the_errors(single, folder, models):
    records = json.loads(single.with_suffix(".json").read_text())
    assert [record["image"] for record in records] == list(batch.find_images([folder]))
    failed = [record for record in records if "error" in record]
    assert len(failed) == 1 and "damaged" in failed[0]["error"]
    with single.open(newline="") as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    assert rows.keys() == {record["image"] for record in records if "error" not in record}
    predictor = Predictor.load(models)
    for record in records:
        if "error" in record:
            continue
        (face,) = record["faces"]
        (answer,) = face["answers"]
        predictions = predictor.predict_crops([whole(open_image(folder / record["image"])).crop])
        for name in ("prediction", "confidence", "low", "high"):
            assert (
                float(rows[record["image"]][name])
                == answer[name]
                == predictions.table[name].iloc[0]
            )  # nothing is rounded
        assert rows[record["image"]]["approach"] == answer["approach"] == "single"
        assert answer["answer"] == task_named("age").answer(answer["prediction"])
        assert (
            list(answer["probabilities"].values())
            == predictions.probabilities["probability"].tolist()
        )


def test_every_face_has_its_box_and_the_predictions_it_gets_alone(tmp_path, predictor):
    """The values of seven faces are exactly equal."""
    canvas = Image.new("RGB", (1000, 600), (120, 140, 150))
    for i, file in enumerate(support.composites(140)[70:77]):
        with Image.open(file) as face:
            canvas.paste(face.resize((200, 200)), (40 + 240 * (i % 4), 60 + 270 * (i // 4)))
    canvas.save(tmp_path / "group.png")
    (tmp_path / "empty").mkdir()
    Image.new("RGB", (300, 200)).save(tmp_path / "empty" / "dark.png")
    assert cli.main(["predict", str(tmp_path), "--json", str(tmp_path / "out.json")]) == 0
    nothing, record = json.loads((tmp_path / "out.json").read_text())
    assert (
        nothing == {"image": "empty/dark.png", "error": nothing["error"]}
        and "no face" in nothing["error"]
    )
    assert record["faces"] == api.predict(predictor, tmp_path / "group.png")["faces"]
    faces = detect(canvas)
    assert len(faces) == len(record["faces"]) == 7
    for face, entry in zip(faces, record["faces"], strict=True):
        assert entry["box"] == list(face.box) and entry["score"] == face.score
        alone = predictor.predict_crops([face.crop]).table
        assert [(a["model"], a["task"]) for a in entry["answers"]] == list(
            zip(alone["model"], alone["task"], strict=True)
        )
        assert [a["prediction"] for a in entry["answers"]] == alone["prediction"].tolist()
        assert [a["confidence"] for a in entry["answers"]] == alone["confidence"].tolist()
        assert entry["poor"] == weaknesses(face)
        assert {a["task"] for a in entry["answers"] if a["low"] is not None} == {"age"}
        for answer in entry["answers"]:
            assert [*answer["probabilities"]] == [str(b) for b in task_named(answer["task"]).bins]
    assert {a["task"] for a in record["faces"][0]["answers"]} == {task.name for task in TASKS}


def test_an_unexpected_error_is_recorded_for_its_image_only(predict, tmp_path, monkeypatch, single):
    expected = json.loads(single.with_suffix(".json").read_text())
    monkeypatch.setattr(
        batch, "open_image", lambda file: 1 / 0 if file.name == victim else open_image(file)
    )
    victim = expected[3]["image"].split("/")[-1]
    assert predict("--json", tmp_path / "out.json") == 0
    records = json.loads((tmp_path / "out.json").read_text())
    assert "ZeroDivisionError" in records[3]["error"]
    damaged = [record["image"] for record in expected if "error" in record]
    assert [record["image"] for record in records if "error" in record] == [
        expected[3]["image"],
        *damaged,
    ]


# ---------------------------------------------------------------------- killed and distributed runs


@pytest.fixture(scope="module")
def kept(folder, models, tmp_path_factory) -> bytes:
    """The journal of a run that was killed after two rounds. It does not name its target."""
    target = tmp_path_factory.mktemp("killed") / "out.csv"
    journal = journal_of(target)
    arguments = (folder, "--no-detect", "--models", models, "--csv", target)
    process = support.facemtl("predict", *arguments, cwd=target.parent, OMP_NUM_THREADS="1")
    support.kill_once(process, lambda: journal.is_file() and journal.read_bytes().count(b"\n") > 8)
    assert not target.exists()
    return journal.read_bytes()


def count_predicted(monkeypatch) -> list[int]:
    """Record the number of crops in each later call of a model."""
    asked, predict = [], Predictor.predict_crops
    monkeypatch.setattr(
        Predictor,
        "predict_crops",
        lambda self, crops, **how: asked.append(len(crops)) or predict(self, crops, **how),
    )
    return asked


@pytest.mark.parametrize(
    "rest", [b"", b'{"image": "deep/1'], ids=["between lines", "within a line"]
)
def test_a_killed_run_resumes_where_it_stopped(kept, predict, single, tmp_path, monkeypatch, rest):
    target = tmp_path / "out.csv"
    n_done = kept.count(b"\n") - 1
    assert 8 <= n_done < N_IMAGES and n_done % batch.ROUND == 0
    journal_of(target).write_bytes(kept[: kept.rindex(b"\n") + 1] + rest)
    asked = count_predicted(monkeypatch)
    assert predict("--csv", target, "--json", target.with_suffix(".json")) == 0
    assert len(asked) == 6 - n_done / batch.ROUND
    assert target.read_bytes() == single.read_bytes()
    assert target.with_suffix(".json").read_bytes() == single.with_suffix(".json").read_bytes()
    assert not journal_of(target).exists()


def test_an_image_that_has_changed_is_predicted_again(models, tmp_path, monkeypatch):
    """Also if size and time of the file are as before. Images before it are not predicted again."""
    predictor, journal = Predictor.load(models), tmp_path / "journal"
    for i, file in enumerate(support.composites(140)[:8]):
        with Image.open(file) as image:
            image.resize((64, 64)).save(tmp_path / f"{i}.bmp")
    images = batch.find_images([tmp_path])

    def answers() -> list[dict]:
        said = []
        batch.predict(predictor, images, journal, no_detect=True, report=said.append)
        return said

    first, changed = answers(), tmp_path / "5.bmp"
    times = changed.stat()
    changed.write_bytes((tmp_path / "1.bmp").read_bytes())
    os.utime(changed, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert changed.stat().st_size == times.st_size
    asked = count_predicted(monkeypatch)
    again = answers()
    assert asked == [3] and len(again) == 8
    assert again[5]["faces"] == first[1]["faces"] != first[5]["faces"]
    assert [r for r in again if r["image"] != "5.bmp"] == [
        r for r in first if r["image"] != "5.bmp"
    ]
    changed.unlink()
    assert "error" in answers()[5] and asked == [3, 2]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
def test_a_second_run_leaves_the_work_of_the_first_one(predict, folder, models, single, tmp_path):
    """The first one waits, after its last image, for somebody who reads its pipe."""
    target, pipe = tmp_path / "out.csv", tmp_path / "pipe"
    os.mkfifo(pipe)
    tables = ["--csv", target, "--json", pipe]
    arguments = (folder, "--no-detect", "--models", models, *tables)
    first = support.facemtl("predict", *arguments, cwd=tmp_path)
    until = time.monotonic() + 60
    while not target.exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert predict("--csv", target) == 1
    with pipe.open("rb") as reader:
        assert reader.read() == single.with_suffix(".json").read_bytes()
    status, printed, said = support.finish(first)
    assert status == 0 and not printed and "Wrote 20 faces" in said  # a pipe may be the output
    assert target.read_bytes() == single.read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.csv", "pipe"]


def test_another_run_is_not_continued(kept, folder, models, tmp_path, capsys):
    target = tmp_path / "out.csv"
    journal_of(target).write_bytes(kept)
    arguments = ["predict", str(folder), "--csv", str(target)]
    for more, other in (
        ([], "models, no_detect"),
        (["--no-detect"], "models"),
        (["--models", str(models)], "no_detect"),
    ):
        assert cli.main(arguments + more) == 1
        assert f"other {other}." in capsys.readouterr().err
    assert (
        cli.main(
            [
                "predict",
                str(folder / "deep"),
                "--no-detect",
                "--models",
                str(models),
                "--csv",
                str(target),
            ]
        )
        == 1
    )
    assert "other images." in capsys.readouterr().err
    assert journal_of(target).read_bytes() == kept and not target.exists()


def test_two_processes_write_the_same_tables_as_one(folder, models, single, tmp_path):
    target = tmp_path / "out.csv"
    arguments = [folder, "--no-detect", "--models", models, "--csv", target]
    command = [*LAUNCH_TWO, "-m", "facemtl", "predict", *arguments, "--json", tmp_path / "out.json"]
    done = subprocess.run(
        [*map(str, command)], cwd=support.ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Wrote") == 1
    assert target.read_bytes() == single.read_bytes()
    assert target.with_suffix(".json").read_bytes() == single.with_suffix(".json").read_bytes()
    assert sorted(f.name for f in tmp_path.iterdir()) == ["out.csv", "out.json"]


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_each_process_predicts_its_part_of_each_round(models, tmp_path, rank):
    """The test simulates the other processes of the team."""
    predictor = Predictor.load(models)
    images = batch.find_images([support.COMPOSITES])
    images = dict(list(images.items())[:N_IMAGES])
    asked = []

    class Played(batch.Team):
        def __init__(self):
            self.rank, self.size = rank, 3

        def gather(self, values):
            asked.extend(v["image"] for v in values if isinstance(v, dict))
            return values

        def from_first(self, value):
            return value

    journal = tmp_path / "journal"
    batch.predict(predictor, images, journal, team=Played(), no_detect=True)
    names, of_round = list(images), 3 * batch.ROUND
    first = rank * batch.ROUND
    expected = [n for i, n in enumerate(names) if first <= i % of_round < first + batch.ROUND]
    assert asked == expected
    assert journal.exists() == (rank == 0)


@pytest.mark.parametrize("taken", ["out.csv", "out.json"])
def test_a_second_run_onto_a_table_is_refused_at_its_start(taken, predict, tmp_path, capsys):
    """Also by another name of the table. The first run's files stay as they are."""
    target = tmp_path / "out.csv"
    (tmp_path / "link.csv").symlink_to(target)
    journal_of(target).write_bytes(b"of the first run")
    with FileLock(tmp_path / f".{taken}.lock"):
        for csv_file in (target, tmp_path / "link.csv"):
            assert predict("--csv", csv_file, "--json", tmp_path / "out.json") == 1
            (said,) = capsys.readouterr().err.splitlines()
            assert said.startswith("facemtl: Another process is writing") and taken in said
    assert journal_of(target).read_bytes() == b"of the first run" and not target.exists()


def test_a_journal_in_another_order_is_refused_as_damaged(kept, predict, tmp_path, capsys):
    target = tmp_path / "out.csv"
    head, *records = kept.splitlines(keepends=True)
    journal_of(target).write_bytes(head + b"".join(records[::-1]))
    assert predict("--csv", target) == 1
    assert "damaged. Delete it" in capsys.readouterr().err


def test_a_run_without_predictions_leaves_no_files(models, tmp_path, capsys):
    Image.new("RGB", (300, 200), (90, 150, 90)).save(tmp_path / "meadow.png")
    arguments = ["predict", str(tmp_path / "meadow.png"), "--models", str(models)]
    assert cli.main([*arguments, "--csv", str(tmp_path / "out.csv")]) == 1
    assert "None of the 1 images" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["meadow.png"]
