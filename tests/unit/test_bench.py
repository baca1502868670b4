"""The benchmark measures all its parts, and its tables show the measurements.

The tests do not check how fast anything is.
"""

import json

import numpy as np
import pandas as pd
import pytest

from facemtl.data.reading import read_images
from facemtl.errors import FaceMTLError
from facemtl.faces import detect, open_image
from facemtl.inference.predictor import APPROACHES
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
    table = pd.DataFrame(
        [(what, unit, *np.percentile(v, [50, 25, 75]), len(v)) for what, unit, v in measured],
        columns=bench.COLUMNS,
    )
    found = bench.ratios(table)
    median = table.set_index("what")["median"]
    single, multi = (median[f"one face, {a.short}"] for a in APPROACHES)
    assert found == {"one model over three, one face": multi / single}
    bench.save(table, tmp_path / speed.PERFORMANCE_FILE)
    text = speed.performance(tmp_path)
    saved = json.loads((tmp_path / speed.PERFORMANCE_FILE).read_text())
    assert all(what in text for what in table["what"])
    assert all(f"{ratio:.2f}" in text for ratio in saved["ratios"].values())
    assert saved["ratios"] == pytest.approx(found, abs=1e-3)
    assert saved["machine"]["runtime"] in text


def test_requests_are_answered_while_they_are_measured(models, tmp_path):
    photos = {0.3: bench.make_photo(tmp_path / "photo.jpg", (640, 480))}
    measured = {what: values for what, _, values in bench._requests(models, photos, repeats=1)}
    assert len(measured) == 5
    assert all(len(values) and np.all(values > 0) for values in measured.values())


def test_a_start_is_measured(models, monkeypatch):
    monkeypatch.setattr(bench, "_STARTS", 1)
    measured = {what: (unit, values) for what, unit, values in bench._start(models)}
    assert [unit for unit, _ in measured.values()] == ["s", "MiB"]
    assert all(len(values) == 1 and values[0] > 0 for _, values in measured.values())


def test_an_app_that_does_not_start_is_reported(tmp_path):
    with pytest.raises(FaceMTLError, match="no models"), bench.running_app(tmp_path):
        pass


@pytest.mark.parametrize(("backbone", "size"), [("face-resnet", 112), ("resnet18", 32)])
def test_both_pipelines_learn_from_the_same_files(synthetic_faces, backbone, size):
    from research.stock import rates

    images, _ = read_images(synthetic_faces, progress=False)
    found = rates(images, backbone, size, batch_size=16, n_batches=3)
    assert set(found) == {"facemtl", "fastai"}
    assert all(len(values) == 3 and (values > 0).all() for values in found.values())


def test_training_is_skipped_without_training_libraries(models, synthetic_faces, monkeypatch):
    monkeypatch.setattr(bench, "find_spec", lambda name: None)
    assert list(bench._training(models, synthetic_faces)) == []


def test_missing_measurements_name_their_command(tmp_path):
    (tmp_path / speed.LOAD_FILE).write_text("{")
    for section, command in (
        (speed.performance, "research.bench"),
        (speed.editions, "research.editions"),
        (speed.page, "research.page"),
        (speed.load, "research.load"),
    ):
        with pytest.raises(FaceMTLError, match=command):
            section(tmp_path)


def test_the_load_test_reports_failed_requests(tmp_path):
    found = json.loads((support.ROOT / "assets" / "validation" / speed.LOAD_FILE).read_text())
    (tmp_path / speed.LOAD_FILE).write_text(json.dumps({**found, "failed": 7}))
    assert "7 of them failed" in speed.load(tmp_path)
