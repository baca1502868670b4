"""The closer look at an answer: all faces of a photo, heat maps, steadiness and saved files."""

import base64
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from facemtl.inference.predictor import APPROACHES, Predictor
from facemtl.tasks import AGE, GENDER, RACE, TASKS
from facemtl.ui import photo as photos
from facemtl.ui.components import cards, cover, looks, panes, saved
from facemtl.ui.faces import FaceFilter
from facemtl.ui.prediction_cache import PredictionCache
from facemtl.ui.tabs import compare, random_faces
from tests import support
from tests.unit.ui_support import last, text

WORDS = [word for task in (GENDER, RACE) for word in (task.title, task.name, *task.labels)]


def test_all_faces_of_a_photo_are_in_a_table_and_a_file(predictor, photo):
    view = photos.open_view(photo)
    html = last(panes.faces_card(predictor, view, TASKS))
    table = predictor.predict_crops([face.crop for face in view.faces], faces=range(2)).table
    rows = re.findall(r"<tr><th scope=\"row\">(.*?)</tr>", html)
    assert len(rows) == 2
    for row in table.itertuples():
        task = next(task for task in TASKS if task.name == row.task)
        assert (
            f"<b>{task.answer(row.prediction)}</b> <span>({100 * row.confidence:.0f} %)"
            in rows[row.face]
        )
    content = base64.b64decode(re.search(r'href="data:text/csv;base64,([^"]+)"', html).group(1))
    saved = pd.read_csv(io.BytesIO(content))
    assert list(saved["face"]) == [face + 1 for face in table["face"]]
    assert np.allclose(saved["prediction"], table["prediction"], rtol=1e-4)


def test_the_heat_map_overlays_the_face_and_brightens_high_values(labelled):
    values = np.zeros((112, 112))
    values[40:60, 40:60] = 5.0
    image = panes.overlay(labelled.face.crop, values, top=5.0)
    assert image.shape == (112, 112, 3) and image.dtype == np.uint8
    assert image[40:60, 40:60].mean() > 1.5 * image[values == 0].mean()
    gray = image[values == 0].astype(int)
    assert np.ptp(gray, axis=1).max() < 20, (
        "where nothing changes there is no colour, and the face can be seen"
    )


def test_heat_maps_are_shown_for_every_task_and_approach(predictor, labelled, monkeypatch):
    """Both maps of a task have one scale: it ends at the largest change of the two."""
    largest = {"gender": (40, 31), "race": (12, 27), "age": (0.3, 0.9)}  # of both approaches

    def maps(loaded, crop):
        assert crop is labelled.face.crop
        i = APPROACHES.index(loaded.approach)
        return {t.name: np.linspace(0, largest[t.name][i], 64).reshape(8, 8) for t in loaded.tasks}

    monkeypatch.setattr(panes, "occlusion_maps", maps)
    html = last(panes.where_card(predictor, photos.view_of_face(labelled), TASKS))
    for task in predictor.tasks:
        for approach in APPROACHES:
            assert f"{task.title}, {approach.title}: " in html
        part = text(html.split(f"<h3>{task.title}</h3>")[1].split("<h3>")[0])
        assert f" 0 to {max(panes.LEAST, *largest[task.name]):.0f} {task.change_unit}" in part
    assert "occlusion sensitivity" in html and html.count("<img") == 6


def test_steadiness_is_described_in_words(predictor, labelled):
    html = last(panes.steadiness_card(predictor, photos.view_of_face(labelled), TASKS))
    assert [html.count(f'class="dot {a.name}"') for a in APPROACHES] == [
        12,
        12,
    ]  # a mark for each view on the age axis
    words = text(html)
    assert words.count("of 12 views") == 4 and words.count("years in 12 views") == 2
    rows = re.findall(r'<th scope="row">(.*?)</th>', html)
    assert [row[: len(task.title)] for row, task in zip(rows, TASKS, strict=True)] == [
        task.title for task in TASKS
    ]


def test_spreads_match_hand_computed_values():
    assert GENDER.spread(np.array([1, 1, 0, 1])) == "female in 3, male in 1 of 4 views"
    assert RACE.spread(np.zeros(3)) == "White in 3 of 3 views"
    assert AGE.spread(np.array([31.2, 35.8, 33.0])) == "31 to 36 years in 3 views"


def test_the_saved_numbers_match_the_predictor(predictor, labelled):
    content = json.loads(saved.as_json(predictor, labelled.face.crop, TASKS, labelled.labels))
    table = predictor.predict_crops([labelled.face.crop]).table.set_index(["model", "task"])
    assert len(content["answers"]) == len(table) == 6
    for found in content["answers"]:
        row = table.loc[found["model"], found["task"]]
        task = next(t for t in TASKS if t.name == found["task"])
        assert found["prediction"] == pytest.approx(row["prediction"], abs=1e-3)
        assert (found["low"] is None) == np.isnan(row["low"])
        assert len(found["probabilities"]) == task.n_outputs
        assert sum(found["probabilities"].values()) == pytest.approx(1, abs=1e-3)
        assert found["label"] == labelled.labels[task.name]
    assert content["note"] == cards.NOTE


def test_the_saved_picture_shows_the_crop_and_its_predictions(predictor, labelled, pool):
    """The picture contains the crop, and labels change the picture."""
    image = Image.open(io.BytesIO(saved.as_picture(predictor, labelled.face.crop, TASKS, {})))
    assert image.size == saved.picture_size(TASKS)
    expected = Image.fromarray(labelled.face.crop).resize((380, 380), Image.Resampling.LANCZOS)
    shown = np.asarray(image.crop((30, 50, 410, 430)), int)
    assert np.abs(shown - np.asarray(expected, int)).mean() < 1
    other = Image.open(
        io.BytesIO(saved.as_picture(predictor, labelled.face.crop, TASKS, labelled.labels))
    )
    right = (430, 0, *saved.picture_size(TASKS))
    assert np.any(np.asarray(image.crop(right)) != np.asarray(other.crop(right))), (
        "labels are shown where they are known"
    )


def test_the_saved_picture_has_room_for_more_tasks(predictor, labelled):
    """A blank strip separates the last task from the note below."""
    for tasks in (TASKS[:1], TASKS, (*TASKS, RACE, AGE)):
        picture = saved.as_picture(predictor, labelled.face.crop, tasks, labelled.labels)
        image = np.asarray(Image.open(io.BytesIO(picture)).convert("L"), int)
        assert image.shape[::-1] == saved.picture_size(tasks)
        drawn = np.flatnonzero((image[:, 440:] != image[0, 0]).any(axis=1))  # rows of pixels
        gaps = np.flatnonzero(np.diff(drawn) > 10)
        assert len(gaps) >= len(tasks), "the title, each task, and the note are apart"
        assert drawn[-1] < len(image) - 10


def test_saved_files_are_embedded_in_the_page(predictor, labelled):
    html = last(saved.save_card(predictor, photos.view_of_face(labelled), TASKS))
    addresses = re.findall(r'(?:src|href)="([^"]{0,40})', html)
    assert addresses and all(address.startswith("data:") for address in addresses)


def test_hidden_tasks_are_not_mentioned(labelled, pool, tmp_path):
    for task in TASKS:
        support.write_model(tmp_path, [task])
    support.write_model(tmp_path, TASKS, "multitask")
    predictor = Predictor.load(tmp_path)
    visible = cards.shown(predictor.tasks, hide=True)
    assert visible == (AGE,) and cards.shown(predictor.tasks, hide=False) == predictor.tasks
    view, face = photos.view_of_face(labelled), (labelled.face.crop, visible, labelled.labels)
    pages = [
        compare.answer(predictor, photos.view_of_face(labelled), hide=True),
        random_faces.grid(PredictionCache(predictor), pool.draw(6, FaceFilter(1)), "", hide=True),
        *(last(look.make(predictor, view, visible)) for look in looks.LOOKS if look != looks.SAVE),
        cover.covered_card(predictor, view, visible, cover.places()["Eyes"]),
        saved.as_json(predictor, *face),
    ]
    for html in pages:
        assert not [
            word for word in WORDS if re.search(rf"\b{word}\b", re.sub(r'data:[^"]+', "", html))
        ]
        assert re.search(r"\bage\b", text(html), re.IGNORECASE) or 'class="painter"' in html
