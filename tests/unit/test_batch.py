"""Many images: what is found and how it is named, all digits of the answers, runs that are killed,
continued and joined.
"""

import csv
import json
import re
import shutil

import pytest
from PIL import Image

from facemtl import cli
from facemtl.faces import detect, open_image, weaknesses, whole
from facemtl.inference import batch
from facemtl.inference.predictor import Predictor
from facemtl.tasks import TASKS, task_named
from facemtl.ui import api
from tests import support
from tests.odd_files import FACE, NO_FACE, ODD_FILES

N_IMAGES = 21  # six batches, the last of one image


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures in folders of folders, of which one is damaged."""
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
    """One model is enough, and faster."""
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
    """The tables of one run over all images."""
    target = tmp_path_factory.mktemp("single") / "out.csv"
    assert predict("--csv", target, "--json", target.with_suffix(".json")) == 0
    assert sorted(f.name for f in target.parent.iterdir()) == ["out.csv", "out.json"]
    return target


def journal_of(target, shard="1-of-1"):
    return target.with_name(f"out.{shard}.jsonl")


# ------------------------------------------------------------------------------------------ images


def test_images_are_found_below_folders_and_named_from_there(tmp_path):
    for name in ("b/x.jpg", "a/y.PNG", "a/c/x.jpg", ".hidden/x.jpg", "a/.x.jpg", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list(batch.find_images([tmp_path])) == ["a/c/x.jpg", "a/y.PNG", "b/x.jpg"]
    assert list(batch.find_images([tmp_path / "a" / "c"])) == ["x.jpg"]
    several = batch.find_images(
        [tmp_path / "b", tmp_path / "a" / "c", tmp_path / "b" / "x.jpg"]
    )  # one of them twice
    assert several == {
        "b/x.jpg": tmp_path / "b" / "x.jpg",
        "a/c/x.jpg": tmp_path / "a" / "c" / "x.jpg",
    }


def test_any_file_is_answered_or_refused_in_a_sentence_and_none_stops_the_others(models, tmp_path):
    for file in ODD_FILES:
        (tmp_path / file.name).write_bytes(file.content)
    given, told = [str(tmp_path / file.name) for file in ODD_FILES], tmp_path / "told.json"
    assert cli.main(["predict", *given, "--models", str(models), "--json", str(told)]) == 0
    records = {record["image"]: record for record in json.loads(told.read_text())}
    assert list(records) == [file.name for file in ODD_FILES]
    for file in ODD_FILES:
        record = records[file.name]
        if file.outcome == FACE:
            assert len(record["faces"]) == 1, record
        else:
            refusal = "no face found" if file.outcome == NO_FACE else file.outcome
            assert re.search(refusal, record["error"]) and "\n" not in record["error"], record


@pytest.mark.parametrize("count", [1, 2, 3, 8, 40])
@pytest.mark.parametrize("n", [0, 1, 4, 5, 21, 64])
def test_each_image_is_in_one_shard_and_shares_its_batch_with_the_same_images(n, count):
    names = [str(i) for i in range(n)]
    shards = [batch.Shard(number, count) for number in range(1, count + 1)]
    dealt = {}
    for shard in shards:
        assert not dealt.keys() & shard.batches(names).keys()
        assert shard.n_images(n) == sum(len(images) for images in shard.batches(names).values())
        dealt |= shard.batches(names)
    assert dealt == batch.Shard().batches(names)
    assert [name for number in sorted(dealt) for name in dealt[number]] == names


# ----------------------------------------------------------------------------------------- answers


def test_json_holds_the_same_numbers_as_csv_with_all_their_digits_and_the_errors(
    single, folder, models
):
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
        said = predictor.predict_crops([whole(open_image(folder / record["image"])).crop])
        for name in ("prediction", "confidence", "low", "high"):
            assert (
                float(rows[record["image"]][name]) == answer[name] == said.table[name].iloc[0]
            )  # nothing is rounded
        assert rows[record["image"]]["approach"] == answer["approach"] == "single"
        assert answer["answer"] == task_named("age").words(answer["prediction"])
        assert list(answer["probabilities"].values()) == said.probabilities["probability"].tolist()


def test_every_face_has_its_box_and_the_answers_that_it_has_alone(tmp_path, predictor):
    """Seven faces, to the last digit."""
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
    for face, said in zip(faces, record["faces"], strict=True):
        assert said["box"] == list(face.box) and said["score"] == face.score
        alone = predictor.predict_crops([face.crop]).table
        assert [(a["model"], a["task"]) for a in said["answers"]] == list(
            zip(alone["model"], alone["task"], strict=True)
        )
        assert [a["prediction"] for a in said["answers"]] == alone["prediction"].tolist()
        assert [a["confidence"] for a in said["answers"]] == alone["confidence"].tolist()
        assert said["poor"] == weaknesses(face)
        assert {a["task"] for a in said["answers"] if a["low"] is not None} == {"age"}
        for answer in said["answers"]:
            assert [*answer["probabilities"]] == [str(b) for b in task_named(answer["task"]).bins]
    assert {a["task"] for a in record["faces"][0]["answers"]} == {task.name for task in TASKS}


def test_an_image_that_breaks_what_reads_it_is_an_error_of_its_own(
    predict, tmp_path, monkeypatch, single
):
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


# ------------------------------------------------------------------------------- killed and joined


def kill_midway(folder, models, target) -> bytes:
    """Run and kill `predict` when two of its batches are done; what its journal holds then."""
    journal = journal_of(target)
    arguments = (folder, "--no-detect", "--models", models, "--csv", target)
    process = support.facemtl("predict", *arguments, cwd=target.parent, OMP_NUM_THREADS="1")
    support.kill_once(process, lambda: journal.is_file() and journal.read_bytes().count(b"\n") > 2)
    assert not target.exists()
    return journal.read_bytes()


def count_predicted(monkeypatch) -> list[int]:
    """How many crops models are asked about from now on, call by call."""
    asked, predict = [], Predictor.predict_crops
    monkeypatch.setattr(
        Predictor,
        "predict_crops",
        lambda self, crops, **how: asked.append(len(crops)) or predict(self, crops, **how),
    )
    return asked


@pytest.mark.parametrize(
    "rest", [b"", b'{"batch": 3, "images": [{"ima'], ids=["between lines", "within a line"]
)
def test_a_killed_run_goes_on_where_it_stopped(
    folder, models, predict, single, tmp_path, monkeypatch, rest
):
    target = tmp_path / "out.csv"
    kept = kill_midway(folder, models, target)
    n_done = kept.count(b"\n") - 1
    assert 2 <= n_done < 6
    journal_of(target).write_bytes(kept[: kept.rindex(b"\n") + 1] + rest)
    asked = count_predicted(monkeypatch)
    assert predict("--csv", target, "--json", target.with_suffix(".json")) == 0
    assert len(asked) == 6 - n_done
    assert target.read_bytes() == single.read_bytes()
    assert target.with_suffix(".json").read_bytes() == single.with_suffix(".json").read_bytes()
    assert not journal_of(target).exists()


def test_another_run_is_not_continued(folder, models, predict, tmp_path, capsys):
    target = tmp_path / "out.csv"
    kept = kill_midway(folder, models, target)
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


def test_joined_shards_are_the_single_run(predict, single, tmp_path, capsys, monkeypatch):
    target = tmp_path / "out.csv"
    join = ["join", "--csv", str(target), "--json", str(target.with_suffix(".json"))]

    def refused(words: str) -> bool:
        capsys.readouterr()
        return cli.main(join) == 1 and words in capsys.readouterr().err and not target.exists()

    assert refused("There are no shards")
    for number in (2, 3, 1):
        assert number == 2 or refused("of 3 of out.csv")
        assert predict("--csv", target, "--shard", f"{number}/3") == 0
        assert "join" in capsys.readouterr().out

    whole_journal = journal_of(target, "3-of-3").read_bytes()
    for length in (0, 10, len(whole_journal) - 1, whole_journal[:-1].rindex(b"\n") + 1):
        journal_of(target, "3-of-3").write_bytes(whole_journal[:length])
        assert refused("out.3-of-3.jsonl is not complete")
    journal_of(target, "3-of-3").write_bytes(
        whole_journal + whole_journal.splitlines(keepends=True)[-1]
    )
    assert refused("two processes")
    journal_of(target, "3-of-3").write_bytes(
        whole_journal.replace(b'"no_detect": true', b'"no_detect": false')
    )
    assert refused("not of the same run")
    journal_of(target, "3-of-3").write_bytes(whole_journal)
    shutil.copy(journal_of(target, "3-of-3"), journal_of(target, "3-of-4"))
    assert refused("of 3 and of 4")
    journal_of(target, "3-of-4").unlink()

    assert cli.main(join) == 0
    assert target.read_bytes() == single.read_bytes()
    assert target.with_suffix(".json").read_bytes() == single.with_suffix(".json").read_bytes()

    asked = count_predicted(monkeypatch)
    assert predict("--csv", target, "--shard", "2/3") == 0
    assert asked == []  # it was whole


def test_more_shards_than_batches_are_joined_too(predict, single, tmp_path):
    target = tmp_path / "out.csv"
    for number in range(1, 9):
        assert predict("--csv", target, "--shard", f"{number}/8") == 0
    assert cli.main(["join", "--csv", str(target)]) == 0
    assert target.read_bytes() == single.read_bytes()


@pytest.mark.parametrize("shard", ["0/2", "3/2", "2", "a/b", "-1/2", "1/0"])
def test_what_is_no_shard_is_refused(predict, shard, capsys):
    with pytest.raises(SystemExit):
        predict("--csv", "out.csv", f"--shard={shard}")
    assert "such as 2/8" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [f"predict {support.COMPOSITES} --shard 1/2", "join"])
def test_shards_need_the_name_of_a_table(arguments, capsys):
    assert cli.main(arguments.split()) == 1
    assert "--csv" in capsys.readouterr().err
