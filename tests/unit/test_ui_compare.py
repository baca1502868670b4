"""The Compare tab: the photo with its faces, and the answers of both approaches."""

import itertools
import re
from concurrent.futures import Future

import gradio as gr
import pytest
from PIL import Image, ImageFilter

from facemtl.evaluation.groups import age_groups
from facemtl.evaluation.track_record import track_records
from facemtl.inference.predictor import APPROACHES
from facemtl.tasks import AGE, GENDER, RACE, TASKS
from facemtl.ui import photo as photos
from facemtl.ui.components.verdicts import EQUAL
from facemtl.ui.faces import FaceFilter, FacePool
from facemtl.ui.tabs import compare
from tests import support
from tests.unit.ui_support import text


def test_a_photo_with_two_faces(predictor, photo):
    look = photos.open_view(photo)
    assert len(look.faces) == 2
    assert look.labels == {}
    seen = compare.photo_card(predictor, look)
    assert seen.count('data-choice="') == 2
    assert "face 1 of 2" in text(seen)


def test_an_answer_names_every_task_both_approaches_and_the_cost(predictor, photo):
    said = text(compare.answer(predictor, photos.open_view(photo)))
    for part in (
        *(t.title for t in TASKS),
        *(a.title for a in APPROACHES),
        "What it cost",
        " ms ",
        "perceived",
        *RACE.labels,
    ):
        assert part in said
    assert "label" not in said.replace("labels of one dataset", "")


def test_the_answer_is_the_predictor_s(predictor, photo):
    look = photos.open_view(photo)
    html = compare.answer(predictor, look)
    for row in predictor.predict_crops([look.face.crop]).table.itertuples():
        if row.task == AGE.name:
            assert (
                f"<b>{row.prediction:.0f}</b> <small>{row.low:.0f} to {row.high:.0f}</small>"
                in html
            )
        else:
            assert f'<span class="share best">{100 * row.confidence:.0f} %</span>' in html


def test_a_random_face_is_another_one(predictor, pool):
    """Of two faces, each time the other; of a single one, that one."""
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
        faces = [hash(look.photo.tobytes()) for look in seen[1:]]
        assert len(set(faces)) == expected
        assert all((one == other) == (n == 1) for one, other in itertools.pairwise(faces))


def test_a_labelled_face_says_who_is_closer(predictor, pool):
    labelled = pool.draw(1, FaceFilter(3))[0]
    html = compare.answer(predictor, photos.view_of_face(labelled))
    ages = (
        predictor.predict_crops([labelled.face.crop])
        .table.query("task == 'age'")
        .set_index("model")["prediction"]
    )
    errors = (ages - labelled.labels["age"]).abs()
    lead = errors["age"] - errors["multitask"]
    if abs(lead) >= EQUAL:
        assert (
            f"{'One model is' if lead > 0 else 'Three models are'} closer, by {abs(lead):.1f} years"
            in text(html)
        )
        assert f"{'One' if lead > 0 else 'Three'}, by {abs(lead):.1f} years" in text(html)
    assert f"label {labelled.labels['age']:.0f}" in text(html)


def test_a_box_tells_where_it_lies(predictor, photo):
    """What the page drags by: to let it go where it was gives the same crop, to a pixel."""
    look = photos.open_view(photo)
    at = re.findall(r'data-at="([^"]+)"', compare.photo_card(predictor, look))
    for i, said in enumerate(at):
        chosen = photos.choose(look, i)
        assert photos.place(chosen, said.split()).face.box == pytest.approx(
            chosen.face.box, abs=1.01
        )
    assert len(at) == 2


def test_a_poor_crop_is_said_of_what_somebody_uploads(predictor, tmp_path, pool):
    canvas = Image.new("RGB", (900, 600), (120, 140, 150))
    with Image.open(support.composites(140)[70]) as face:
        canvas.paste(face.resize((300, 300)), (300, 150))
    canvas.filter(ImageFilter.GaussianBlur(8)).save(tmp_path / "blurred.jpg")
    assert "A poor crop: blurred" in text(
        compare.photo_card(predictor, photos.open_view(tmp_path / "blurred.jpg"))
    )
    labelled = pool.draw(1, FaceFilter(3))[0]
    assert "poor crop" not in compare.photo_card(predictor, photos.view_of_face(labelled))


def test_an_answer_says_how_good_such_answers_were(predictor, pool, results):
    labelled = pool.draw(1, FaceFilter(3))[0]
    said = text(
        compare.answer(predictor, photos.view_of_face(labelled), records=track_records(results))
    )
    table = predictor.predict_crops([labelled.face.crop]).table
    validated = results.assign(band=age_groups(results["prediction"]))
    for approach in APPROACHES:
        mine = table[table["approach"] == approach.name].set_index("task")["prediction"]
        rows = validated[validated["approach"] == approach.name]
        alike = rows[(rows["task"] == "age") & (rows["band"] == age_groups(mine[["age"]]).iloc[0])]
        errors = (alike["prediction"] - alike["target"]).abs()
        assert len(alike) > 30 and AGE.metric.words(errors.mean()) in said
        same = rows[
            (rows["task"] == "gender")
            & rows["image"].isin(alike["image"])
            & (rows["prediction"] == mine["gender"])
        ]
        hits = 100 * (same["prediction"] == same["target"]).mean()
        assert len(same) > 30 and GENDER.metric.words(hits) in said


def test_no_face_is_said_and_the_centre_is_offered(predictor, results, tmp_path):
    Image.new("RGB", (600, 400), (90, 150, 90)).save(tmp_path / "meadow.png")
    look = photos.open_view(tmp_path / "meadow.png")
    assert look.face is None
    assert look.centre.crop.shape == (400, 400, 3)
    assert "No face found" in compare.answer(predictor, look)
    centre = photos.take_centre(look)
    assert "no face was found in it" in compare.photo_card(predictor, centre)
    assert "such answers" not in compare.answer(predictor, centre, records=track_records(results))
