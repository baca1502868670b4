"""The Compare tab: the photo with its faces, and the predictions of both approaches."""

import itertools
import re
from concurrent.futures import Future

import gradio as gr
import pytest
from PIL import Image, ImageFilter

from facemtl.evaluation.track_record import TrackRecords
from facemtl.inference.predictor import APPROACHES
from facemtl.tasks import AGE, RACE, TASKS
from facemtl.ui import photo as photos
from facemtl.ui.components.verdicts import EQUAL
from facemtl.ui.faces import FaceFilter, FacePool
from facemtl.ui.tabs import compare
from tests import support
from tests.unit.ui_support import text


def test_both_faces_of_a_photo_can_be_chosen(predictor, photo):
    view = photos.open_view(photo)
    assert len(view.faces) == 2
    assert view.labels == {}
    seen = compare.photo_card(predictor, view)
    assert seen.count('data-choice="') == 2
    assert "face 1 of 2" in text(seen)


def test_an_answer_names_every_task_both_approaches_and_the_cost(predictor, photo):
    words = text(compare.answer(predictor, photos.open_view(photo)))
    for part in (
        *(t.title for t in TASKS),
        *(a.title for a in APPROACHES),
        "What it cost",
        " ms ",
        "perceived",
        *RACE.labels,
    ):
        assert part in words
    assert "label" not in words.replace("labels of one dataset", "")


def test_the_answer_matches_the_predictor(predictor, photo):
    view = photos.open_view(photo)
    html = compare.answer(predictor, view)
    for row in predictor.predict_crops([view.face.crop]).table.itertuples():
        if row.task == AGE.name:
            assert (
                f"<b>{row.prediction:.1f}</b> <small>{row.low:.0f} to {row.high:.0f}</small>"
                in html
            )
        else:
            assert f'<span class="share best">{100 * row.confidence:.0f} %</span>' in html


def test_a_random_face_differs_from_the_current_one(predictor, pool):
    """With two faces, always the other one; with one face, always the same."""
    for n, expected in ((2, 2), (1, 1)):
        few, opened = (
            FacePool(pool.table.head(n).reset_index(drop=True), are_composites=True),
            Future(),
        )
        opened.set_result(few)
        with gr.Blocks():
            on_random = compare.build(predictor, None, opened, few, gr.Checkbox())["on_random"]
        seen = [photos.PhotoView()]
        for _ in range(6):
            seen.append(on_random(seen[-1], False)[0])
        faces = [hash(view.photo.tobytes()) for view in seen[1:]]
        assert len(set(faces)) == expected
        assert all((one == other) == (n == 1) for one, other in itertools.pairwise(faces))


def test_a_labelled_face_shows_which_approach_is_closer(predictor, pool):
    labelled = pool.draw(2, FaceFilter(3))[1]
    html = compare.answer(predictor, photos.view_of_face(labelled))
    ages = (
        predictor.predict_crops([labelled.face.crop])
        .table.query("task == 'age'")
        .set_index("model")["prediction"]
    )
    errors = (ages - labelled.labels["age"]).abs()
    lead = errors["age"] - errors["multitask"]
    assert abs(lead) > 2 * EQUAL, "choose a face whose two ages differ more"
    closer = "Multi-task is" if lead > 0 else "Single-task is"
    assert f"{closer} closer, by {abs(lead):.1f} years" in text(html)
    assert f"label {labelled.labels['age']:.0f}" in text(html)


def test_a_box_holds_its_position(predictor, photo):
    """The page uses this position for dragging: dropping a box in place keeps the crop, to one
    pixel.
    """
    view = photos.open_view(photo)
    at = re.findall(r'data-at="([^"]+)"', compare.photo_card(predictor, view))
    for i, position in enumerate(at):
        chosen = photos.choose(view, i)
        assert photos.place(chosen, position.split()).face.box == pytest.approx(
            chosen.face.box, abs=1.01
        )
    assert len(at) == 2


def test_a_poor_crop_is_reported_for_uploads_only(predictor, tmp_path, pool):
    canvas = Image.new("RGB", (900, 600), (120, 140, 150))
    with Image.open(support.composites(140)[70]) as face:
        canvas.paste(face.resize((300, 300)), (300, 150))
    canvas.filter(ImageFilter.GaussianBlur(8)).save(tmp_path / "blurred.jpg")
    assert "A poor crop: blurred" in text(
        compare.photo_card(predictor, photos.open_view(tmp_path / "blurred.jpg"))
    )
    labelled = pool.draw(1, FaceFilter(3))[0]
    assert "poor crop" not in compare.photo_card(predictor, photos.view_of_face(labelled))


def test_an_answer_shows_the_track_record_of_similar_faces(predictor, pool, results):
    labelled, records = pool.draw(1, FaceFilter(3))[0], TrackRecords(results)
    found = records.of(predictor.predict_crops([labelled.face.crop]).table)
    html = compare.answer(predictor, photos.view_of_face(labelled), records=records)
    notes = [text(note) for note in re.findall(r"On \d+ validation faces.*?</p>", html)]
    assert found.keys() >= {AGE.name} and len(notes) == len(found)
    for record in found.values():
        values = [record.single, record.multi]
        if abs(record.single - record.multi) < record.task.metric.close:
            values = [sum(values) / 2]
        words = [f"On {record.n} validation faces", *map(record.task.metric.brief, values)]
        assert any(all(each in note for each in words) for note in notes)


def test_a_missing_face_is_reported_and_the_centre_is_offered(predictor, results, tmp_path):
    Image.new("RGB", (600, 400), (90, 150, 90)).save(tmp_path / "meadow.png")
    view = photos.open_view(tmp_path / "meadow.png")
    assert view.face is None
    assert view.centre.crop.shape == (400, 400, 3)
    assert "No face found" in compare.answer(predictor, view)
    centre = photos.take_centre(view)
    assert "no face was found in it" in compare.photo_card(predictor, centre)
    assert "a similar confidence" not in compare.answer(
        predictor, centre, records=TrackRecords(results)
    )
