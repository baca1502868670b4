"""A user's own faces: a CSV with missing labels, the commands, and the app."""

import contextlib
import csv
import io
import json
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pandas as pd
import pytest

from facemtl.cli import main
from facemtl.data.reading import VALIDATION, split_of
from facemtl.errors import FaceMTLError
from facemtl.evaluation.validation import load_metrics, load_validation
from facemtl.tasks import AGE, GENDER, RACE
from facemtl.ui.components.questions import QUESTIONS
from facemtl.ui.faces import ANY
from facemtl.ui.launch import make_app
from facemtl.ui.photo import PhotoView
from research import label_noise
from tests import support
from tests.support import SMALL

pytestmark = pytest.mark.usefixtures("small_backbone")
TINY = (
    "--backbone", SMALL, "--no-pretrained", "--size", "32", "--frozen-epochs", "0",
    "--epochs", "1", "--batch-size", "32",
)  # fmt: skip


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    """A CSV file of 240 pictures, without race.

    Every third age and every third gender is missing.
    """
    folder = tmp_path_factory.mktemp("own") / "faces"
    with (folder.parent / "labels.csv").open("w", newline="", encoding="utf-8-sig") as file:
        rows = csv.writer(file, delimiter=";")
        rows.writerow(["File", "Age", "Gender", "Remark"])
        for i, picture in enumerate(support.write_pictures(folder, 240)):
            age, gender, *_ = picture.name.split("_")
            renamed = picture.rename(folder / f"{i}.jpg")
            said = [age if i % 3 else "", ("Male", "FEMALE")[int(gender)] if i % 3 < 2 else ""]
            rows.writerow([f"faces/{renamed.name}", *said, ""])
    return (folder.parent / "labels.csv").rename(folder.parent / "people.csv")


@pytest.fixture(scope="module")
def trained(faces) -> SimpleNamespace:
    """The folders of a model that was trained on the faces, and of the evaluation.

    The models of one task are made up. In `said`, it has what the commands printed.
    """
    models, said = faces.parent / "runs", io.StringIO()
    for task in (GENDER, AGE):
        support.write_model(models, [task])
    with contextlib.redirect_stdout(said):
        where = ["--data", str(faces), "--output", str(models)]
        assert main(["train", "--tasks", "all", *where, *TINY]) == 0
        return evaluated(faces, models, said)


def evaluated(data: Path, models: Path, said: io.StringIO) -> SimpleNamespace:
    results = models / "validation"
    where = ["--data", str(data), "--models", str(models), "--output", str(results)]
    assert main(["evaluate", *where]) == 0
    return SimpleNamespace(data=data, models=models, results=results, said=said.getvalue())


def handlers_of(trained: SimpleNamespace) -> dict[str, Callable]:
    """The app's event handlers by module and name, after it has read the faces."""
    demo = make_app(trained.models, trained.results, trained.data)
    found = {
        f"{f.fn.__module__.split('.')[-1]}.{f.fn.__name__}": f.fn
        for f in demo.fns.values()
        if callable(f.fn)
    }
    support.finished(found["app.on_wait"]())
    return found


def test_every_figure_of_own_faces_can_be_drawn(trained):
    demo = make_app(trained.models, trained.results, trained.data)
    seen = [f for f in demo.fns.values() if getattr(f.fn, "__name__", "") in ("fill", "on_sight")]
    assert len(seen) == 3  # Validation, Dataset and Training
    for event in seen:
        values = [getattr(field, "value", None) for field in event.inputs[1:]]
        if event.fn.__name__ == "on_sight":
            unfolded = [question.title for question in QUESTIONS]
            filled = event.fn(SimpleNamespace(query_params={}), unfolded, *values)
        else:
            filled = event.fn(False)
        plots = [
            value
            for value, part in zip(filled, event.outputs, strict=True)
            if isinstance(part, gr.Plot)
        ]
        assert plots and all(json.loads(value.plot)["data"] for value in plots)
        assert not any("Cannot be shown" in str(value) for value in filled)


@pytest.fixture(scope="module")
def handlers(trained) -> dict[str, Callable]:
    return handlers_of(trained)


def labels_of(faces: Path) -> pd.DataFrame:
    """The labels of the validation images, read from the CSV by the test itself.

    Columns: `age, gender`. The index is the key of the image.
    """
    with faces.open(encoding="utf-8-sig") as file:
        rows = [line.rstrip("\r\n").split(";") for line in file][1:]
    hashes = [sha256((faces.parent / row[0]).read_bytes()).hexdigest() for row in rows]
    ages = [float(row[1]) if row[1] else None for row in rows]
    genders = [{"male": 0.0, "female": 1.0}.get(row[2].lower()) for row in rows]
    table = pd.DataFrame({"age": ages, "gender": genders}, index=[h[:16] for h in hashes])
    return table[[split_of(h) == VALIDATION for h in hashes]]


def text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def n_faces(page: object) -> int:
    return str(page).count("Open in Compare")


def is_sound(page: object) -> bool:
    """Whether a page shows no missing value, and is no error."""
    return not re.search(r"\bnan\b|\bnone\b|traceback", text(str(page)).lower())


def test_only_tasks_with_labels_are_trained(trained):
    assert {f.stem for f in trained.models.glob("*.onnx")} == {"gender", "age", "gender+age"}
    assert "Training on what the data has labels for: gender, age\n" in trained.said
    assert "80 of gender and 240 of race and 80 of age" in trained.said


def test_metrics_cover_only_the_labelled_validation_images(faces, trained):
    table, labels = load_validation(trained.results), labels_of(faces)
    metrics = load_metrics(trained.results).query("by == 'all'").set_index("task")
    assert set(table["task"]) == set(metrics.index) == {"gender", "age"}
    for task in (GENDER, AGE):
        known = labels[task.name].dropna()
        assert 0 < len(known) < len(labels) and metrics.at[task.name, "n"] == len(known)
        for approach in ("single", "multi"):
            rows = table[(table["task"] == task.name) & (table["approach"] == approach)].set_index(
                "image"
            )
            answers = rows["prediction"].loc[known.index]
            right, off = 100 * (answers == known).mean(), (answers - known).abs().mean()
            assert metrics.at[task.name, approach] == pytest.approx(
                off if task is AGE else right, abs=1e-2
            )
            assert (rows["target"].loc[known.index] == known).all() and len(rows) == len(known)


def test_the_app_shows_random_faces_with_and_without_labels(handlers, faces):
    for values, least in (
        ({}, 12),
        ({"order": "hardest"}, 12),
        ({"agreement": "agree"}, 1),
        ({"agreement": "differ", "order": "apart"}, 1),
        ({"race": 1}, 12),  # ignored: the CSV has no races
    ):
        wanted = {"seed": "5", **{name: str(value) for name, value in values.items()}}
        shown = handlers["app.on_first_sight"](None, False, SimpleNamespace(query_params=wanted))
        assert is_sound(shown) and least <= n_faces(shown) <= 12, values
    everybody = handlers["app.on_first_sight"](
        None, False, SimpleNamespace(query_params={"seed": "5"})
    )
    page = text(str(everybody))
    assert f"Drawn from {len(labels_of(faces))} validation images of people.csv" in page
    assert "no label" in page and "Mean age error on these 12 faces (" in page
    assert not any(race in page for race in ("White", "Asian", "Indian"))


def test_compare_shows_the_labels_that_a_face_has(handlers, faces):
    """Each face of the first page is opened. Its labels are those in the CSV."""
    seen = set()
    page = handlers["app.on_first_sight"](None, False, SimpleNamespace(query_params={"seed": "5"}))
    images = re.findall(r'data-choice="(\w+)"', str(page))
    assert len(images) == 12
    for image in images:
        _, look, view, answer, *_ = handlers["random_faces.open_face"](
            False, SimpleNamespace(choice=image)
        )
        assert isinstance(look, PhotoView) and is_sound(answer) and is_sound(view)
        marked = ('<em class="tag">label</em>' in str(answer), 'class="truth' in str(answer))
        assert marked == ("gender" in look.labels, "age" in look.labels)
        seen |= {frozenset(look.labels)}
    assert seen == {frozenset({"age", "gender"}), frozenset({"age"}), frozenset({"gender"})}


def test_the_game_shows_only_faces_with_an_age(handlers, faces):
    game, page, *_ = handlers["app.on_first_game"](None)
    ages = set(labels_of(faces)["age"].dropna())
    for _ in range(10):
        assert is_sound(page) and "<img" in str(page)
        game, page, _, _, _, said, points = handlers["guess.on_guess"](game, 40)
        label = game.turns[-1].label
        assert is_sound(said) and f"The label says {label:.0f} year" in text(said)
        assert is_sound(points) and label in ages
        game, page, *_ = handlers["guess.on_next"](game)


def test_validation_filters_labelled_and_unlabelled_images(handlers, faces):
    labels, on_choice = labels_of(faces), handlers["validation.on_choice"]
    for values, n in (
        ((0, 116, ANY, ANY), labels.notna().sum().max()),
        ((0, 116, 1, ANY), (labels["gender"] == 1).sum()),
        ((20, 60, ANY, ANY), labels["age"].between(20, 60).sum()),
    ):
        head, *rest = on_choice([], False, "both", *values)
        assert f"{n} validation images" in text(head) and is_sound(head)
        tables = [below for below in rest if isinstance(below, str)]
        assert tables and all(is_sound(below) for below in tables)
    assert "No images match" in on_choice([], False, "both", 0, 116, ANY, 2)[0]
    # Also after the server has dropped the visitor's state, the filter applies.
    chosen = on_choice([], False, "both", 0, 116, 1, ANY)
    on_sight = handlers["validation.on_sight"]
    fields, link = ["both", 0, 116, 1, ANY], SimpleNamespace(query_params={})
    assert on_sight(link, [], False, False, *fields) == [True, *fields, *chosen]
    assert all(value == gr.skip() for value in on_sight(link, [], False, True, *fields))
    link = SimpleNamespace(query_params={"tab": "validation", "gender": "1", "low": "x"})
    assert on_sight(link, [], False, False, "both", 0, 116, ANY, ANY) == [True, *fields, *chosen]
    # A link to a choice without images shows the figures of all images.
    link.query_params = {"tab": "validation", "race": "2"}
    _, *said = on_sight(link, [], False, False, "both", 0, 116, ANY, ANY)
    assert said[:5] == ["both", 0, 116, ANY, 2] and "No images match" in said[5]
    assert said[6:] == on_choice([], False, "both", 0, 116, ANY, ANY)[1:]


def test_other_commands_work_or_report_that_they_need_utkface(faces, trained, capfd):
    common = ["--data", str(faces), "--models", str(trained.models)]
    assert main(["robustness", *common, "--images", "8", "--output", str(trained.results)]) == 0
    capfd.readouterr()
    assert main(["describe", "--data", str(faces)]) == 1
    assert re.fullmatch(r"facemtl: .*UTKFace.*people\.csv.*\n", capfd.readouterr().err)
    with pytest.raises(FaceMTLError, match=r"UTKFace.*people\.csv"):
        label_noise.main([*common, "--results", str(trained.results)])


def test_a_wrong_csv_stops_every_command_at_its_start(faces, trained, tmp_path, capfd, monkeypatch):
    wrong = faces.with_name("wrong.csv")
    wrong.write_text("file,age\nfaces/0.jpg,31\nfaces/1.jpg,old\nfaces/nobody.jpg,20\n")
    for arguments in (
        ["train", "--output", str(tmp_path / "runs"), *TINY],
        ["evaluate", "--models", str(trained.models), "--output", str(tmp_path / "runs")],
        ["robustness", "--models", str(trained.models), "--output", str(tmp_path / "runs")],
    ):
        assert main([*arguments, "--data", str(wrong)]) == 1
        said = capfd.readouterr().err
        assert (
            "line 3, age: found 'old'" in said
            and "line 4, file: found 'faces/nobody.jpg'" in said
            and said.count("\n") == 1
        )
    assert not (tmp_path / "runs").exists()
    assert main(["app", "--data", str(wrong)]) == 1
    assert "line 3, age" in capfd.readouterr().err


def test_a_task_without_a_column_in_the_csv_is_refused(faces, tmp_path, capfd):
    assert (
        main(["train", "--data", str(faces), "--tasks", "race", "--output", str(tmp_path), *TINY])
        == 1
    )
    assert "the column race" in capfd.readouterr().err


def test_the_app_works_without_ages(tmp_path):
    rng = np.random.default_rng(0)
    with (tmp_path / "labels.csv").open("w") as file:
        file.write("file,gender,race\n")
        for i in range(240):
            gender, race = int(rng.integers(2)), int(rng.integers(5))
            (tmp_path / f"{i}.jpg").write_bytes(
                support.jpeg(support.picture(30, gender, race, rng))
            )
            file.write(f"{i}.jpg,{gender},{RACE.labels[race] if i % 4 else ''}\n")
    models = tmp_path / "runs"
    for tasks in ([GENDER], [RACE], [GENDER, RACE]):
        support.write_model(models, tasks)
    handlers = handlers_of(evaluated(tmp_path, models, io.StringIO()))
    for wanted in (
        {"seed": "5", "order": "hardest"},
        {"seed": "5", "agreement": "differ", "low": "20"},
    ):
        page = str(
            handlers["app.on_first_sight"](None, False, SimpleNamespace(query_params=wanted))
        )
        assert is_sound(page) and "age error" not in page
        assert (n_faces(page) > 0) == ("low" not in wanted)
    for hidden in (False, True):
        _, _, answer, *_ = handlers["app.on_load"](hidden, SimpleNamespace(query_params={}))
        assert is_sound(answer) and ("female" in answer) != hidden
    head, *_ = handlers["validation.on_choice"]([], False, "both", 0, 116, 1, ANY)
    assert is_sound(head) and "Race" in head and "Age" not in head
