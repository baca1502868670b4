"""The benchmark measures all its parts, and a table shows the two editions.

The tests do not check how fast anything is.
"""

import json
import os
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from facemtl.data.reading import read_images
from facemtl.errors import FaceMTLError
from facemtl.faces import detect, open_image
from facemtl.inference.predictor import MULTI, SINGLE
from facemtl.tasks import TASKS
from research import bench, speed
from tests import support


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder of four small models."""
    folder = tmp_path_factory.mktemp("models")
    for tasks in (*((task,) for task in TASKS), TASKS):
        support.write_model(folder, tasks)
    return folder


@pytest.mark.parametrize("megapixels", bench.MEGAPIXELS)
def test_photos_have_their_size_and_one_face(megapixels, tmp_path):
    width, height = bench.MEGAPIXELS[megapixels]
    assert width * height / 1e6 == pytest.approx(megapixels, rel=0.05)
    image = open_image(bench.make_photo(tmp_path / "photo.jpg", (width, height)))
    assert len(detect(image)) == 1


def test_models_and_photos_are_measured(models, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "MANY", 4)
    photos = {0.3: bench.make_photo(tmp_path / "photo.jpg", (640, 480))}
    measured = [*bench._models(models, repeats=1), *bench._photos(photos, repeats=1)]
    assert all(len(values) and np.all(values > 0) for _, _, values in measured)


def test_ratios_are_those_of_medians():
    rows = {f"one face, {SINGLE.short}": 5.0, f"one face, {MULTI.short}": 2.0}
    rows |= {"training, facemtl": 3.0, "training, fastai": 2.0}
    table = pd.DataFrame({"what": [*rows], "median": [*rows.values()]})
    assert [*bench.ratios(table).values()] == [0.4, 1.5]


def test_requests_are_answered_while_they_are_measured(models, tmp_path):
    photos = {0.3: bench.make_photo(tmp_path / "photo.jpg", (640, 480))}
    measured = {what: values for what, _, values in bench._requests(models, photos, repeats=1)}
    assert len(measured) == 5
    assert all(len(values) and np.all(values > 0) for values in measured.values())


def test_a_start_is_measured(models, monkeypatch):
    """Of a process that is there at once. How the app starts is tested by other measurements."""

    @contextmanager
    def started(folder):
        assert folder == models
        yield "http://127.0.0.1", SimpleNamespace(pid=os.getpid())

    monkeypatch.setattr(bench, "running_app", started)
    (what, unit, seconds), (_, other_unit, memory) = bench._start(models)
    assert "served page" in what and (unit, other_unit) == ("s", "MiB")
    assert len(seconds) == len(memory) == bench._STARTS
    assert (seconds < 5).all() and (memory > 10).all()


def test_an_app_that_does_not_start_is_reported(tmp_path):
    (tmp_path / "facemtl").mkdir()
    (tmp_path / "facemtl" / "__init__.py").touch()  # else an installed package comes first
    (tmp_path / "facemtl" / "__main__.py").write_text('raise SystemExit("no models")')
    failing = bench.running_app(tmp_path, tree=tmp_path)
    with pytest.raises(FaceMTLError, match="did not start: no models"), failing:
        pass


@pytest.mark.usefixtures("small_backbone")
def test_both_pipelines_learn_from_the_same_files(synthetic_faces):
    from facemtl.training.config import TrainConfig
    from facemtl.training.learner import face_learner
    from research.stock import stock_learner

    images, _ = read_images(synthetic_faces, progress=False)
    config = TrainConfig(tasks=("gender",), backbone=support.SMALL, size=32, batch_size=4)
    ours = face_learner(images, config, device="cpu").dls
    stock = stock_learner(images, "face-resnet", 112, 4).dls
    for one, other in ((ours.train, stock.train), (ours.valid, stock.valid)):
        files = {Path(file).name for file in images["file"].iloc[one.indices]}
        assert files == {Path(file).name for file in other.items["file"]}


def test_the_pace_of_both_pipelines_is_measured(synthetic_faces):
    from research.stock import rates

    images, _ = read_images(synthetic_faces, progress=False)
    found = rates(images, "resnet18", 32, batch_size=4, n_batches=2)
    assert {name: len(values) for name, values in found.items()} == {"facemtl": 2, "fastai": 2}


def test_training_is_skipped_without_training_libraries(models, synthetic_faces, monkeypatch):
    monkeypatch.setattr(bench, "find_spec", lambda name: None)
    assert list(bench._training(models, synthetic_faces)) == []


def test_editions_are_compared_in_a_table(tmp_path):
    with pytest.raises(FaceMTLError, match="--json"):
        speed.editions(tmp_path)
    row = {"what": "a start, in the dark, s", "before": 8.0, "now": 2.0}
    found = {"machine": {"processor": "P", "threads": 2, "runtime": "R"}, "measured": [row]}
    (tmp_path / speed.EDITIONS_FILE).write_text(json.dumps(found))
    text = speed.editions(tmp_path)
    assert "| a start, in the dark | 8 s | 2 s | 0.25 |" in text
    assert "On 2 threads of P, R." in text
