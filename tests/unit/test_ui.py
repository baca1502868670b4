"""The handlers behind the tabs, without a browser."""

import asyncio
import base64
import io
import itertools
import json
import re
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import gradio as gr
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter

from facemtl import plots
from facemtl.errors import FaceMTLError
from facemtl.evaluation.compare import metric_tables
from facemtl.evaluation.confusion import confusion
from facemtl.evaluation.groups import age_groups
from facemtl.evaluation.studies import STUDIES_FILE
from facemtl.evaluation.track_record import track_records
from facemtl.evaluation.validation import load_metrics, metrics_of
from facemtl.faces import open_image, whole
from facemtl.files import write_table
from facemtl.inference.predictor import APPROACHES, Predictor
from facemtl.tasks import AGE, GENDER, RACE, TASKS
from facemtl.ui import photo as photos
from facemtl.ui.answers import Answers
from facemtl.ui.components import cards, closer, error_gallery, figures, questions
from facemtl.ui.faces import ANY, MAX_SEED, FaceFilter, FacePool, as_seed, ready, wait
from facemtl.ui.tabs import about, compare, guess, random_faces, training, validation
from tests import support
from tests.odd_files import lying

MEASURED = support.ROOT / "assets" / "validation"


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> FacePool:
    return FacePool.open(tmp_path_factory.mktemp("no-dataset"), support.COMPOSITES)


def text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def last(pages) -> str:
    *_, page = pages
    return page


# ------------------------------------------------------------------------------------------- faces


def test_without_a_dataset_faces_are_composites_and_called_so(pool):
    assert pool.are_composites
    assert "omposite" in pool.origin


def test_with_a_dataset_faces_are_validation_images(synthetic_faces):
    pool = FacePool.open(synthetic_faces, support.COMPOSITES)
    assert not pool.are_composites
    assert set(pool.table["split"]) == {"validation"}
    assert "UTKFace" in pool.origin


def test_a_seed_is_a_draw(pool):
    a, b, other = (pool.draw(12, FaceFilter(seed)) for seed in (5, 5, 6))
    same = [np.array_equal(x.face.crop, y.face.crop) for x, y in zip(a, b, strict=True)]
    assert all(same)
    assert not all(np.array_equal(x.face.crop, y.face.crop) for x, y in zip(a, other, strict=True))
    assert len({x.face.crop.tobytes() for x in a}) == 12
    assert all(set(x.labels) == {t.name for t in TASKS} for x in a)


def test_a_damaged_image_is_passed_over(synthetic_faces, tmp_path):
    for i, file in enumerate(sorted(synthetic_faces.iterdir())):
        (tmp_path / file.name).write_bytes(b"damaged" + bytes([i]) if i % 2 else file.read_bytes())
    pool = FacePool.open(tmp_path, support.COMPOSITES)
    drawn = pool.draw(len(pool.table), FaceFilter(1))
    assert 0 < len(drawn) < len(pool.table)
    for file in tmp_path.iterdir():
        file.unlink()
    with pytest.raises(FaceMTLError, match="Start the app again"):
        pool.draw(3, FaceFilter(1))


@pytest.mark.parametrize("gender", [ANY, 0, 1])
@pytest.mark.parametrize("race", [ANY, 0, 4])
def test_all_faces_that_are_as_wished_and_no_others(pool, gender, race):
    wish = FaceFilter(3, low=20, high=50, gender=gender, race=race)
    found = pool.table.iloc[pool.select(wish)]
    assert len(found) and found["age"].between(20, 50).all()
    wanted = pool.table.query("20 <= age <= 50")
    for task, value in ((GENDER, gender), (RACE, race)):
        if value != ANY:
            wanted = wanted[wanted[task.name] == value]
    assert sorted(found.index) == sorted(wanted.index)


def test_the_order_is_chance_only_where_nothing_else_is_wished(pool, predictor):
    pool.learn(Answers(predictor))
    table = predictor.predict_crops(
        [whole(open_image(Path(f))).crop for f in pool.table["file"]], list(pool.table["sha256"])
    ).table
    ages = (
        table[table["task"] == "age"]
        .pivot(index="image", columns="model", values="prediction")
        .loc[pool.table["sha256"]]
    )
    errors = (ages.sub(pool.table["age"].to_numpy(), axis=0)).abs().mean(axis=1).to_numpy()
    apart = (ages["age"] - ages["multitask"]).abs().to_numpy()
    for order, amount in (("hardest", errors), ("apart", apart)):
        found = amount[pool.select(FaceFilter(3, order=order))]
        assert len(found) == len(pool.table) and (np.diff(found) < 1e-2).all()
    chance = pool.select(FaceFilter(3))
    assert sorted(chance) == list(range(len(pool.table))) and (np.diff(errors[chance]) > 0).any()


def test_agreeing_and_disagreeing_faces_are_all_faces(pool, predictor):
    pool.learn(Answers(predictor))
    agree, differ = (
        set(pool.select(FaceFilter(3, agreement=agreement))) for agreement in ("agree", "differ")
    )
    assert agree and differ and not agree & differ and len(agree | differ) == len(pool.table)
    ages = pool.predictions["age"]
    classes = [
        pool.predictions[name]["single"] == pool.predictions[name]["multi"]
        for name in ("gender", "race")
    ]
    for position in agree:
        assert (
            all(same[position] for same in classes)
            and abs(ages["single"][position] - ages["multi"][position]) <= AGE.near
        )
    only_age = set(pool.select(FaceFilter(3, agreement="differ"), tasks=(AGE,)))
    assert only_age == set(np.flatnonzero((ages["single"] - ages["multi"]).abs() > AGE.near))


def test_what_is_hidden_is_not_asked_for(pool):
    wish = FaceFilter(3, gender=1, race=2)
    assert len(pool.select(wish, tasks=(AGE,))) == len(pool.table) > len(pool.select(wish))


def test_pages_hold_every_face_once(pool):
    wish = FaceFilter(8, low=30, high=60)
    total = len(pool.select(wish))
    pages = [pool.draw(12, replace(wish, sheet=sheet)) for sheet in range(-(-total // 12) + 1)]
    crops = [face.face.crop.tobytes() for page in pages for face in page]
    assert len(crops) == len(set(crops)) == total and [len(page) for page in pages[:-2]] == [12] * (
        len(pages) - 2
    )
    assert pages[-1] == []


def saved_results(pool) -> pd.DataFrame:
    """What some evaluation saved of these faces: the multi-task model always said 1, the others
    0.
    """
    rows = [
        (key[:16], model, approach, task.name, 1.0 if approach == "multi" else 0.0, 1.0)
        for key in pool.table["sha256"]
        for task in TASKS
        for model, approach in ((task.name, "single"), ("multitask", "multi"))
    ]
    return pd.DataFrame(
        rows, columns=["image", "model", "approach", "task", "prediction", "target"]
    )


def as_measured(predictor: Predictor, saved: pd.DataFrame) -> Predictor:
    """The models, as if an evaluation of them had come to these results."""
    return Predictor(
        replace(m, info=replace(m.info, metrics=metrics_of(m, saved))) for m in predictor.models
    )


def test_saved_predictions_are_used_where_they_are_of_the_same_models(synthetic_faces, predictor):
    pool, other = (FacePool.open(synthetic_faces, support.COMPOSITES) for _ in range(2))
    saved = saved_results(pool)
    measured = as_measured(predictor, saved)
    pool.learn(Answers(measured, saved))
    assert (pool.predictions["age"]["multi"] == 1).all() and (
        pool.predictions["age"]["single"] == 0
    ).all()
    other.learn(Answers(predictor, saved))  # their files say that they were measured otherwise
    assert len(other.predictions) == len(pool.predictions) and not other.predictions.equals(
        pool.predictions
    )


def test_of_a_face_without_a_label_saved_predictions_say_too_little(synthetic_faces, predictor):
    pool = FacePool.open(synthetic_faces, support.COMPOSITES)
    saved = saved_results(pool)[1:]
    measured = as_measured(predictor, saved)
    pool.learn(Answers(measured, saved))
    assert (pool.predictions["age"]["single"][1:] == 0).all() and pool.predictions["age"]["single"][
        0
    ] > 0
    assert pool.predictions.notna().all(axis=None)


def test_a_face_is_looked_at_once_and_every_answer_is_its_own(pool, predictor, monkeypatch):
    asked, predict = [], predictor.predict_crops
    monkeypatch.setattr(
        predictor,
        "predict_crops",
        lambda crops, names: asked.extend(names) or predict(crops, names),
    )
    answers = Answers(predictor)
    for seed in (1, 2, 1, 3):
        faces = pool.draw(5, FaceFilter(seed))
        found = answers.of(
            [f.image for f in faces],
            lambda positions, faces=faces: [faces[i].face.crop for i in positions],
        )
        table = predict([f.face.crop for f in faces], faces=range(5)).table
        for row in table.itertuples():
            assert found.iloc[row.face][row.task, row.approach] == row.prediction
    assert len(asked) == len(set(asked)) > 5


@pytest.mark.parametrize(
    "wish",
    [
        FaceFilter(5), FaceFilter(0, sheet=3), FaceFilter(9, low=20, high=40),
        FaceFilter(9, gender=0, race=4),
        FaceFilter(1, agreement="differ", order="hardest"), FaceFilter(2, order="apart", sheet=1),
    ],
)  # fmt: skip
def test_a_wish_survives_as_a_link(wish):
    parameters = dict(parse_qsl(urlsplit(wish.query()).query))
    assert FaceFilter.read(parameters) == wish
    assert set(parameters) == {"seed"} | {
        f.name for f in fields(FaceFilter) if getattr(wish, f.name) != f.default
    }


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, {}),
        ({"low": "50", "high": "20"}, {"low": 20, "high": 50}),
        ({"low": "-3", "high": "999", "sheet": "-1"}, {}),
        ({"low": "x", "gender": "7", "race": "nan", "order": "<b>", "agreement": None}, {}),
        ({"gender": 1.0, "race": "2", "sheet": "4"}, {"gender": 1, "race": 2, "sheet": 4}),
    ],
)
def test_what_makes_no_sense_in_a_link_is_not_said(values, expected):
    found = FaceFilter.read({"seed": "1", **values})
    assert found == replace(FaceFilter(1), **expected)


@pytest.mark.parametrize("typed", ["7", 7, 7.0, "7.9"])
def test_a_seed_can_be_typed(typed):
    assert as_seed(typed) == 7


@pytest.mark.parametrize("typed", [None, "", "x", "-1", MAX_SEED + 1, "1e99", "nan", "inf"])
def test_what_is_no_seed_becomes_a_new_one(typed):
    assert 0 < as_seed(typed) <= MAX_SEED


# ----------------------------------------------------------------------------------------- compare


@pytest.fixture
def photo(tmp_path):
    """Two composites in a landscape."""
    canvas = Image.new("RGB", (900, 600), (120, 140, 150))
    for file, size, corner in zip(
        support.composites(140)[70:72], (320, 200), ((80, 150), (560, 220)), strict=True
    ):
        with Image.open(file) as face:
            canvas.paste(face.resize((size, size)), corner)
    canvas.save(tmp_path / "photo.jpg")
    return tmp_path / "photo.jpg"


def test_a_photo_with_two_faces(predictor, photo):
    look = photos.look_at_file(photo)
    assert len(look.faces) == 2
    assert look.labels == {}
    seen = compare.view(predictor, look)
    assert seen.count('data-choice="') == 2
    assert "face 1 of 2" in text(seen)


def test_an_answer_names_every_task_both_approaches_and_the_cost(predictor, photo):
    said = text(compare.answer(predictor, photos.look_at_file(photo)))
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
    look = photos.look_at_file(photo)
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
            on_random = compare.build(predictor, None, opened, few, "", gr.Checkbox())["on_random"]
        seen = [photos.PhotoView()]
        for _ in range(6):
            seen.append(on_random(seen[-1], False)[0])
        faces = [hash(look.photo.tobytes()) for look in seen[1:]]
        assert len(set(faces)) == expected
        assert all((one == other) == (n == 1) for one, other in itertools.pairwise(faces))


def test_a_labelled_face_says_who_is_closer(predictor, pool):
    labelled = pool.draw(1, FaceFilter(3))[0]
    html = compare.answer(predictor, photos.look_at_face(labelled))
    ages = (
        predictor.predict_crops([labelled.face.crop])
        .table.query("task == 'age'")
        .set_index("model")["prediction"]
    )
    errors = (ages - labelled.labels["age"]).abs()
    lead = errors["age"] - errors["multitask"]
    if abs(lead) >= cards.EQUAL:
        assert (
            f"{'One model is' if lead > 0 else 'Three models are'} closer, by {abs(lead):.1f} years"
            in text(html)
        )
        assert f"{'One' if lead > 0 else 'Three'}, by {abs(lead):.1f} years" in text(html)
    assert f"label {labelled.labels['age']:.0f}" in text(html)


def test_all_faces_of_a_photo_are_in_a_table_and_a_file(predictor, photo):
    look = photos.look_at_file(photo)
    html = last(closer.faces_card(predictor, look, TASKS))
    table = predictor.predict_crops([face.crop for face in look.faces], faces=range(2)).table
    rows = re.findall(r"<tr><th scope=\"row\">(.*?)</tr>", html)
    assert len(rows) == 2
    for row in table.itertuples():
        task = next(task for task in TASKS if task.name == row.task)
        assert (
            f"<b>{task.words(row.prediction)}</b> <span>({100 * row.confidence:.0f} %)"
            in rows[row.face]
        )
    content = base64.b64decode(re.search(r'href="data:text/csv;base64,([^"]+)"', html).group(1))
    saved = pd.read_csv(io.BytesIO(content))
    assert list(saved["face"]) == [face + 1 for face in table["face"]]
    assert np.allclose(saved["prediction"], table["prediction"], rtol=1e-4)


def test_steps_move_and_resize_the_crop_and_can_be_undone(photo):
    look = photos.choose(photos.look_at_file(photo), 1)
    left, top, right, bottom = look.face.box
    side, step = right - left, photos.STEP * (right - left)
    assert photos.correct(look, "Right").face.box == pytest.approx(
        (left + step, top, right + step, bottom + 0)
    )
    assert photos.correct(look, "Up").face.box == pytest.approx(
        (left, top - step, right, bottom - step)
    )
    closer_ = photos.correct(look, "Tighter").face.box
    assert closer_[2] - closer_[0] == pytest.approx(side / (1 + photos.GROWTH))
    assert (closer_[0] + closer_[2]) / 2 == pytest.approx((left + right) / 2)
    there_and_back = photos.correct(photos.correct(look, "Left"), "Right")
    assert there_and_back.face.box == pytest.approx(look.face.box)
    assert there_and_back.faces[0] is look.faces[0], "other faces stay"
    assert photos.reset(photos.correct(look, "Wider")).face is look.face
    wider = photos.correct(look, "Wider").face
    assert wider.angle == pytest.approx(look.face.angle, abs=3) and wider.pose == look.face.pose
    assert np.abs(wider.landmarks - look.face.landmarks).max() < 0.05 * side


def test_a_box_that_is_dragged_becomes_the_crop(photo):
    look = photos.choose(photos.look_at_file(photo), 1)
    moved = photos.place(look, [0.25, 0.1, 0.4])
    assert moved.face.box == pytest.approx((225, 60, 585, 420), abs=1)
    assert moved.faces[0] is look.faces[0] and photos.reset(moved).face is look.face
    assert photos.place(moved, [0.25, 0.1, 0.4]).face.box == moved.face.box


@pytest.mark.parametrize(
    "at",
    [
        None,
        7,
        "abc",
        [0.1, 0.1],
        [0.1, 0.1, "x"],
        [float("nan")] * 3,
        [9, 9, 0.1],
        [0.1, 0.1, 0],
        [0.1, 0.1, -1],
        [0, 0, 1e9],
    ],
)
def test_what_no_box_can_be_dragged_to_changes_nothing(photo, at):
    look = photos.look_at_file(photo)
    assert photos.place(look, at) is look
    assert photos.place(photos.PhotoView(), [0.1, 0.1, 0.5]) == photos.PhotoView()


def test_a_box_tells_where_it_lies(predictor, photo):
    """What the page drags by: to let it go where it was gives the same crop, to a pixel."""
    look = photos.look_at_file(photo)
    at = re.findall(r'data-at="([^"]+)"', compare.view(predictor, look))
    for i, said in enumerate(at):
        chosen = photos.choose(look, i)
        assert photos.place(chosen, said.split()).face.box == pytest.approx(
            chosen.face.box, abs=1.01
        )
    assert len(at) == 2


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("kept_bytes", [photos.KEPT_BYTES, 0])
def test_a_corrected_crop_is_that_part_of_the_photo(tmp_path, monkeypatch, kept_bytes, orientation):
    """Colours tell where a pixel comes from: red grows to the right, green downwards."""
    monkeypatch.setattr(photos, "KEPT_BYTES", kept_bytes)
    ramp = np.linspace(0, 255, 800).astype(np.uint8)
    pixels = np.stack(
        [
            np.tile(ramp, (800, 1)),
            np.tile(ramp[:, None], (1, 800)),
            np.full((800, 800), 90, np.uint8),
        ],
        axis=-1,
    )
    image, exif = lying(Image.fromarray(pixels[:500]), orientation)
    image.save(tmp_path / "ramp.png", exif=exif)
    look = photos.take_centre(photos.look_at_file(tmp_path / "ramp.png"))
    assert (look.kept == (tmp_path / "ramp.png").read_bytes()) == bool(kept_bytes)
    for step in ("Tighter", "Tighter", "Tighter", "Right", "Down"):
        look = photos.correct(look, step)
    left, top, right, bottom = look.face.box
    for value, expected in zip(
        look.face.crop.mean(axis=(0, 1)), ((left + right) / 2, (top + bottom) / 2), strict=False
    ):
        assert value == pytest.approx(255 * expected / 800, abs=2)


def test_of_a_large_photo_no_more_is_kept_than_corrections_need(tmp_path):
    """However small its file: reading it anew takes as long as it has pixels."""
    Image.new("RGB", (3000, 2400), "gray").save(tmp_path / "plain.png")
    look = photos.look_at_file(tmp_path / "plain.png")
    assert max(open_image(io.BytesIO(look.kept)).size) == photos.KEPT_SIDE


@pytest.mark.parametrize("step", photos.STEPS)
def test_a_crop_never_leaves_its_photo(photo, step):
    look = photos.look_at_file(photo)
    for _ in range(80):
        look = photos.correct(look, step)
    x, y = (look.face.box[0] + look.face.box[2]) / 2, (look.face.box[1] + look.face.box[3]) / 2
    assert 0 < x < 900 and 0 < y < 600
    assert 8 <= look.face.box[2] - look.face.box[0] <= 2 * 900
    assert len(look.face.crop) >= 8


def test_a_poor_crop_is_said_of_what_somebody_uploads(predictor, tmp_path, pool):
    canvas = Image.new("RGB", (900, 600), (120, 140, 150))
    with Image.open(support.composites(140)[70]) as face:
        canvas.paste(face.resize((300, 300)), (300, 150))
    canvas.filter(ImageFilter.GaussianBlur(8)).save(tmp_path / "blurred.jpg")
    assert "A poor crop: blurred" in text(
        compare.view(predictor, photos.look_at_file(tmp_path / "blurred.jpg"))
    )
    labelled = pool.draw(1, FaceFilter(3))[0]
    assert "poor crop" not in compare.view(predictor, photos.look_at_face(labelled))


def test_an_answer_says_how_good_such_answers_were(predictor, pool, results):
    labelled = pool.draw(1, FaceFilter(3))[0]
    said = text(
        compare.answer(predictor, photos.look_at_face(labelled), records=track_records(results))
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
    look = photos.look_at_file(tmp_path / "meadow.png")
    assert look.face is None
    assert look.centre.crop.shape == (400, 400, 3)
    assert "No face found" in compare.answer(predictor, look)
    centre = photos.take_centre(look)
    assert "no face was found in it" in compare.view(predictor, centre)
    assert "such answers" not in compare.answer(predictor, centre, records=track_records(results))


def test_what_is_no_image_is_refused(tmp_path):
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(FaceMTLError, match="not an image"):
        photos.look_at_file(tmp_path / "text.jpg")


@pytest.mark.parametrize(
    ("single", "multi", "label", "says"),
    [
        (1, 1, None, "Agree"),
        (1, 0, None, "Disagree"),
        (1, 1, 1, "Both right"),
        (1, 0, 1, "Three models are right, one is not"),
        (0, 1, 1, "One model is right, three are not"),
        (0, 0, 1, "Agree, against the label"),
    ],
)
def test_badges_of_a_classification(single, multi, label, says):
    assert badge(GENDER, single, multi, label) == says


def test_both_wrong_in_different_ways():
    assert badge(RACE, 0, 1, 2) == "Both differ from the label"


@pytest.mark.parametrize(
    ("single", "multi", "label", "says"),
    [
        (30.0, 34.0, None, "4.0 years apart"),
        (30.0, 30.01, None, "Agree"),
        (30.0, 34.0, 33, "One model is closer, by 2.0 years"),
        (30.0, 34.0, 30, "Three models are closer, by 4.0 years"),
        (30.0, 34.0, 32, "Equally close"),
    ],
)
def test_badges_of_a_regression(single, multi, label, says):
    assert badge(AGE, single, multi, label) == says


@pytest.mark.parametrize(
    ("task", "single", "multi", "label", "says"),
    [
        (AGE, 30, 34, None, "4.0 years apart"),
        (AGE, 30, 30.3, None, "agree"),
        (AGE, 30, 34, 33, "One, by 2.0 years"),
        (AGE, 30, 34, 30, "Three, by 4.0 years"),
        (AGE, 30, 34, 32.1, "equally close"),
        (RACE, 1, 1, None, "agree"),
        (RACE, 1, 2, None, "disagree"),
        (RACE, 1, 1, 1, "both right"),
        (RACE, 1, 2, 1, "Three right"),
        (RACE, 1, 2, 2, "One right"),
        (RACE, 1, 2, 0, "both wrong"),
    ],
)
def test_verdicts_at_a_glance(task, single, multi, label, says):
    words, ahead = cards.verdict(task, pd.Series({"single": single, "multi": multi}), label)
    assert words == says
    assert (ahead is not None) == says.startswith(("One", "Three"))
    assert ahead is None or says.lower().startswith(ahead.short.split()[0])


def test_the_time_of_a_face_is_the_median_of_the_last_ones(predictor, pool):
    seconds = [{"single": s, "multi": s / 2} for s in (0.5, 0.04, 0.06, 0.04, 0.5)]
    said = text(cards.cost_card(seconds, {"single": 3_000_000, "multi": 1_000_000}))
    assert "60 ms" in said and "30 ms" in said and "the last 5 answers" in said
    timings = deque(maxlen=2)
    for labelled in pool.draw(3, FaceFilter(3)):
        html = compare.answer(predictor, photos.look_at_face(labelled), timings=timings)
    assert len(timings) == 2 and "the last 2 answers" in html


def badge(task, single: float, multi: float, label: float | None) -> str:
    import pandas as pd

    rows = pd.DataFrame(
        {"prediction": [single, multi], "low": [1.0, 1.0], "high": [90.0, 90.0]},
        index=["single", "multi"],
    )
    bins = [str(b) for b in task.bins]
    probabilities = pd.DataFrame(
        {"label": bins * 2, "probability": 1 / len(bins)},
        index=["single"] * len(bins) + ["multi"] * len(bins),
    )
    html = cards.task_card(task, rows, probabilities, label)
    return re.search(r'class="badge[^"]*">([^<]*)<', html)[1]


def test_messages_are_escaped():
    assert "<script" not in cards.message("<script>", "<script>alert(1)</script>")


# ------------------------------------------------------------------------- random faces, validation


def test_the_grid_shows_each_face_with_its_truth_and_both_predictions(predictor, pool):
    faces = pool.draw(6, FaceFilter(11))
    html = random_faces.grid(Answers(predictor), faces, pool.origin)
    assert html.count('class="tile"') == 6
    assert "omposite" in html
    table = predictor.predict_crops([f.face.crop for f in faces], faces=range(6)).table.query(
        "task == 'age'"
    )
    tiles = html.split('class="tile"')[1:]
    for i, (tile, face) in enumerate(zip(tiles, faces, strict=True)):
        assert f"label <b>{face.labels['age']:.0f}</b>" in tile
        for age in table[table["face"] == i]["prediction"]:
            assert f"<b>{age:.0f}</b>" in tile


def test_the_summary_shows_the_measured_numbers(results):
    from facemtl.evaluation.compare import compare as compare_approaches

    said = text(validation.summary(compare_approaches(results)))
    for row in compare_approaches(results).itertuples():
        digits = 2 if row.task == AGE.name else 1
        assert f"{row.single:.{digits}f}" in said
        assert f"{row.difference:+.{digits}f}" in said


@pytest.mark.parametrize(
    ("task", "low", "high", "says"),
    [
        ("age", -1.0, -0.2, "One model is better"),
        ("age", 0.2, 1.0, "Three models are better"),
        ("gender", 0.2, 1.0, "One model is better"),
        ("gender", -1.0, -0.2, "Three models are better"),
        ("race", -0.2, 0.2, "May be the luck"),
    ],
)
def test_verdicts_follow_the_interval(task, low, high, says):
    from types import SimpleNamespace

    row = SimpleNamespace(
        task=task, difference=(low + high) / 2, difference_low=low, difference_high=high
    )
    assert validation.verdict(row).startswith(says)


def test_history_stands_beside_what_is_measured_here(results):
    from facemtl.evaluation.compare import compare as compare_approaches

    metrics = load_metrics(MEASURED)
    errors = training.age_then_and_now(metrics).set_index(["experiment", "approach"])["value"]
    assert errors["2018"].to_dict() == {"single": 10.63, "multi": 5.47}
    measured = compare_approaches(results).set_index("task").loc["age"]
    assert errors["This app"].to_dict() == pytest.approx(
        {"single": measured["single"], "multi": measured["multi"]}, abs=1e-3
    )
    note = text(training.history_note(errors.reset_index()))
    assert "10.63 years for the single-task" in note and "5.47 years for the multi-task" in note


def test_the_model_card_has_a_page_of_its_own():
    page = about.readable(
        "a <!-- begin: x -->\n| b |\n<!-- end: x -->\n[here](README.md) and"
        " [there](https://example.org)"
    )
    assert page == "a | b |\nhere and [there](https://example.org)"


# ------------------------------------------------------------------------------------ a closer look


@pytest.fixture(scope="module")
def labelled(pool):
    (found,) = pool.draw(1, FaceFilter(3))
    return found


def test_the_map_lies_over_the_face_and_bright_is_much(labelled):
    values = np.zeros((112, 112))
    values[40:60, 40:60] = 5.0
    image = closer.overlay(labelled.face.crop, values, top=5.0)
    assert image.shape == (112, 112, 3) and image.dtype == np.uint8
    assert image[40:60, 40:60].mean() > 1.5 * image[values == 0].mean()
    gray = image[values == 0].astype(int)
    assert np.ptp(gray, axis=1).max() < 20, (
        "where nothing changes there is no colour, and the face can be seen"
    )


def test_where_it_looks_is_said_for_every_task_and_both_approaches(predictor, labelled):
    html = last(closer.where_card(predictor, photos.look_at_face(labelled), TASKS))
    for task in predictor.tasks:
        for approach in APPROACHES:
            assert f"{task.title}, {approach.title}: " in html
        assert f"0 to {_top(html, task)} {task.change_unit}" in text(html)
    assert "occlusion sensitivity" in html and html.count("<img") == 6


def _top(html: str, task) -> str:
    return re.search(rf"<h3>{task.title}</h3>.*?0 to (\d+) ", html, re.DOTALL).group(1)


def test_steadiness_is_said_in_words(predictor, labelled):
    html = last(closer.steadiness_card(predictor, photos.look_at_face(labelled), TASKS))
    assert [html.count(f'class="dot {a.name}"') for a in APPROACHES] == [
        12,
        12,
    ]  # a mark for each view, on the ruler of ages
    said = text(html)
    assert said.count("of 12 views") == 4 and said.count("years in 12 views") == 2


def test_spreads_worked_out_by_hand():
    assert GENDER.spread(np.array([1, 1, 0, 1])) == "female in 3, male in 1 of 4 views"
    assert RACE.spread(np.zeros(3)) == "White in 3 of 3 views"
    assert AGE.spread(np.array([31.2, 35.8, 33.0])) == "31 to 36 years in 3 views"


def test_the_saved_numbers_are_the_predictor_s(predictor, labelled):
    content = json.loads(closer.as_json(predictor, labelled.face.crop, TASKS, labelled.labels))
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


def test_the_saved_picture_shows_the_crop_and_follows_the_answers(predictor, labelled, pool):
    """Two faces give two pictures; where the crop stands, there is the crop."""
    image = Image.open(io.BytesIO(closer.as_picture(predictor, labelled.face.crop, TASKS, {})))
    assert image.size == closer.PICTURE
    expected = Image.fromarray(labelled.face.crop).resize((380, 380), Image.Resampling.LANCZOS)
    shown = np.asarray(image.crop((30, 50, 410, 430)), int)
    assert np.abs(shown - np.asarray(expected, int)).mean() < 1
    other = Image.open(
        io.BytesIO(closer.as_picture(predictor, labelled.face.crop, TASKS, labelled.labels))
    )
    right = (430, 0, *closer.PICTURE)
    assert np.any(np.asarray(image.crop(right)) != np.asarray(other.crop(right))), (
        "labels are shown where they are known"
    )


def test_what_is_saved_stays_in_the_page(predictor, labelled):
    html = last(closer.save_card(predictor, photos.look_at_face(labelled), TASKS))
    addresses = re.findall(r'(?:src|href)="([^"]{0,40})', html)
    assert addresses and all(address.startswith("data:") for address in addresses)


# -------------------------------------------------------------- what a visitor does not want to see

WORDS = [word for task in (GENDER, RACE) for word in (task.title, task.name, *task.labels)]


def test_what_is_sensitive_is_not_said_where_it_is_hidden(predictor, labelled, pool):
    visible = cards.shown(predictor.tasks, hide=True)
    assert visible == (AGE,) and cards.shown(predictor.tasks, hide=False) == predictor.tasks
    look, face = photos.look_at_face(labelled), (labelled.face.crop, visible, labelled.labels)
    said = [
        compare.answer(predictor, photos.look_at_face(labelled), hide=True),
        random_faces.grid(Answers(predictor), pool.draw(6, FaceFilter(1)), "", hide=True),
        last(closer.where_card(predictor, look, visible)),
        last(closer.steadiness_card(predictor, look, visible)),
        last(closer.faces_card(predictor, look, visible)),
        closer.as_json(predictor, *face),
    ]
    for html in said:
        assert not [
            word for word in WORDS if re.search(rf"\b{word}\b", re.sub(r'data:[^"]+', "", html))
        ]
        assert "Age" in html or "age" in html


def test_tables_mark_the_rows_that_can_be_hidden(results):
    from facemtl.evaluation.compare import compare as compare_approaches

    rows = re.findall(
        r"<tr( class=\"sensitive\")?><th scope=\"row\">(\w+)",
        validation.summary(compare_approaches(results)),
    )
    assert [(bool(css), name) for css, name in rows] == [
        (True, "Gender"),
        (True, "Race"),
        (False, "Age"),
    ]


def test_the_findings_mark_what_can_be_hidden(tmp_path):
    for file in (MEASURED).iterdir():
        (tmp_path / file.name).symlink_to(file)
    for line in training.findings(tmp_path).splitlines():
        assert bool(re.search(r"\b(gender|race)\b", line, re.IGNORECASE)) is (
            'class="sensitive"' in line
        )
        assert line.endswith("</span>") is ('class="sensitive"' in line)


# ----------------------------------------------------------------------------------------- guessing


def a_game(*turns: tuple[float, float, float, float], is_open: bool = True) -> guess.Game:
    """A game of (label, you, single, multi)."""
    said = [
        guess.Turn(label, dict(zip(guess.NAMES, values, strict=True))) for label, *values in turns
    ]
    return guess.Game(1, tuple(said), is_open)


def test_the_models_answers_are_the_predictor_s_and_the_guess_is_the_visitor_s(predictor, labelled):
    game = guess.uncover(predictor, guess.Game(5), labelled, 33)
    (turn,) = game.turns
    ages = (
        predictor.predict_crops([labelled.face.crop])
        .table.query("task == 'age'")
        .set_index("model")["prediction"]
    )
    assert turn.label == labelled.labels["age"] and game.is_open
    assert turn.said == {
        "you": 33,
        "single": pytest.approx(ages["age"]),
        "multi": pytest.approx(ages["multitask"]),
    }
    assert guess.uncover(predictor, guess.Game(5), labelled, -4).turns[0].said["you"] == 0


def test_nothing_is_told_before_the_guess(labelled):
    html = text(guess.picture(guess.Game(5), labelled, "origin"))
    assert "Face 1 of 10" in html and str(int(labelled.labels["age"])) not in html
    assert guess.score(guess.Game(5)) == ""


def test_a_game_counts_its_faces():
    assert [
        g.number
        for g in (a_game(is_open=False), a_game((1, 2, 3, 4)), a_game((1, 2, 3, 4), is_open=False))
    ] == [0, 0, 1]
    ten = [(30.0, 30.0, 30.0, 30.0)] * guess.ROUNDS
    assert a_game(*ten).is_over and not a_game(*ten[1:]).is_over


@pytest.mark.parametrize(
    ("turns", "says", "order"),
    [
        ([(30, 31, 40, 50)], "You are ahead of the models", ["You", "Three", "One"]),
        (
            [(30, 60, 40, 35), (20, 20, 30, 30)],
            "Both approaches are ahead of you",
            ["One", "Three", "You"],
        ),
        ([(30, 36, 40, 31)], "You are between the two", ["One", "You", "Three"]),
    ],
)
def test_the_score_is_the_mean_error_best_first(turns, says, order):
    said = text(guess.score(a_game(*turns)))
    assert says in said
    positions = [said.index(f" {name} ") for name in order]
    assert positions == sorted(positions)
    for column in (1, 2, 3):
        mean = sum(abs(turn[column] - turn[0]) for turn in turns) / len(turns)
        assert f"{mean:.1f} years" in said


def test_after_the_last_face_all_are_told():
    ten = [(30.0 + i, 31.0 + i, 60.0, 70.0) for i in range(guess.ROUNDS)]
    assert "at a glance" not in guess.score(a_game(*ten[1:]))
    said = guess.score(a_game(*ten))
    assert said.count("(closest)") == guess.ROUNDS
    assert all(f"<td>{turn[0]:.0f}</td><td><b>{turn[1]:.0f} ✓<" in said for turn in ten[:5])


def test_the_closest_is_named_and_so_are_all_that_tie():
    assert text(guess.result(a_game((30, 35, 25, 20)).turns[0])).count("closest") == 2
    assert "10.0 off" in text(guess.result(a_game((30, 35, 25, 20)).turns[0]))


# --------------------------------------------------------------------------------------- validation


@pytest.fixture(scope="module")
def view(results):
    return questions.View(results, load_metrics(MEASURED))


@pytest.mark.parametrize("question", questions.QUESTIONS, ids=lambda q: q.title)
def test_every_figure_has_its_numbers_as_a_table(view, question):
    assert question.title.endswith("?") and len(question.draw(view).data) >= 1
    html = question.numbers(view)
    rows = re.findall(r"<tr>(.*?)</tr>", html)
    assert len(rows) > 2 and len({row.count("<t") for row in rows}) == 1
    assert not re.search(r"\bnan\b|\binf\b", html)


@pytest.mark.parametrize("approach", APPROACHES, ids=lambda a: a.name)
@pytest.mark.parametrize("question", questions.QUESTIONS, ids=lambda q: q.title)
def test_a_figure_of_one_approach_shows_what_that_of_both_shows_of_it(view, question, approach):
    both, one = question.draw(view), plots.only(question.draw(view), approach)
    (other,) = {a.title for a in APPROACHES} - {approach.title}
    assert other not in {trace.name for trace in one.data}
    before = [trace for trace in both.data if trace.name == approach.title]
    if not before:  # the difference of both
        assert len(one.data) == len(both.data)
        return
    after = [trace for trace in one.data if trace.name == approach.title]
    assert len(after) == len(before)
    for was, is_ in zip(before, after, strict=True):
        same = was.z if was.type == "heatmap" else was.y
        np.testing.assert_array_equal(
            np.asarray(same, float), np.asarray(is_.z if was.type == "heatmap" else is_.y, float)
        )
        assert getattr(is_, "xaxis", None) in (None, "x")


def test_images_are_selected_by_their_labels(results):
    chosen = validation.select(results, 20, 29, {"gender": 1, "race": ANY})
    ages = chosen[chosen["task"] == "age"]
    assert ages["target"].between(20, 29).all() and (chosen["gender"] == 1).all()
    wanted = results[
        (results["task"] == "age") & results["target"].between(20, 29) & (results["gender"] == 1)
    ]
    assert (
        set(ages["image"]) == set(wanted["image"]) and len(chosen) == 6 * wanted["image"].nunique()
    )
    everybody = {"gender": ANY, "race": ANY}
    assert validation.select(results, 116, 0, everybody).equals(results)
    assert validation.select(results, 115, 115, {"gender": 0, "race": 4}).empty


def test_figures_of_few_images_can_be_drawn(results):
    chosen = validation.select(results, 90, 95, {"gender": 1, "race": ANY})
    few = questions.View(chosen, metric_tables(chosen, n_resamples=20))
    assert 0 < chosen["image"].nunique() < 30
    for question in questions.QUESTIONS:
        assert question.draw(few) and question.numbers(few)
    assert f"{chosen['image'].nunique()} validation images" in text(validation.summary(few.overall))


def test_what_is_sensitive_can_be_hidden_whole():
    for question in questions.QUESTIONS:
        says = any(word in question.title for word in ("Gender", "Race"))
        assert question.sensitive or not says


def test_nobody_s_models_wait_for_faces_that_are_still_read(pool):
    reading = Future()
    with pytest.raises(FaceMTLError, match="still being read"):
        ready(reading)

    async def waits() -> bool:
        waiting = asyncio.ensure_future(wait(reading))
        await asyncio.sleep(0.01)
        was_done = waiting.done()
        reading.set_result(pool)
        await waiting
        return was_done

    assert support.finished(waits()) is False
    assert ready(reading) is pool


# ------------------------------------------------------------------------- the faces behind figures


@pytest.mark.parametrize("kind", error_gallery.OTHERS, ids=lambda kind: kind.title)
def test_faces_taken_for_others_are_those_of_the_confusion_matrix(results, kind):
    labelled, answered, approach = re.fullmatch(
        r"labelled (\w+), answered (\w+) by (three models|one model)", kind.title
    ).groups()
    task = next(task for task in (GENDER, RACE) if labelled in task.labels)
    cells = confusion(results, task).set_index(["approach", "target", "prediction"])["n"]
    name = next(a.name for a in APPROACHES if a.short == approach)
    found = kind.find(results)
    assert (
        len(found)
        == len(set(found))
        == cells[name, task.labels.index(labelled), task.labels.index(answered)]
    )
    rows = results[results["image"].isin(found) & (results["task"] == task.name)]
    assert (rows["target"] == task.labels.index(labelled)).all()


def test_faces_read_too_old_come_first_where_they_are_so_most(results):
    old, young, apart = (kind.find(results) for kind in error_gallery.AGES)
    ages = results[results["task"] == "age"]
    error = (ages["prediction"] - ages["target"]).groupby(ages["image"]).mean()
    assert old[0] == error.idxmax() and young[0] == error.idxmin()
    assert set(old).isdisjoint(young)
    assert error[old].is_monotonic_decreasing
    assert error[old].min() >= error_gallery.FAR and error[young].max() <= -error_gallery.FAR
    assert len(apart) <= ages["image"].nunique()


@pytest.fixture(scope="module")
def mislabelled(predictor, pool):
    """Predictions for the composites, with labels that make many of them taken for something else,
    and far too old.
    """
    crops = [whole(open_image(Path(file))).crop for file in pool.table["file"]]
    table = predictor.predict_crops(crops, list(pool.table["sha256"].str[:16])).table
    return table.assign(
        target=table["task"].map({"age": 0, "gender": 0, "race": 4}), age_group="0-9"
    )


@pytest.fixture
def behind_figures(predictor, pool, mislabelled):
    """The handlers of the card, by name, where composites stand for an installed dataset."""
    found, opened = FacePool(pool.table, are_composites=False), Future()
    opened.set_result(found)
    with gr.Blocks() as demo:
        hide, tabs = gr.Checkbox(), gr.Tabs()
        shared = {"outputs": [], "show": lambda look, hidden: (look,)}
        by_race = mislabelled[mislabelled["image"].isin(mislabelled["image"].unique()[::2])]
        chosen = lambda hidden, values: by_race if "race" in values and not hidden else mislabelled  # noqa: E731
        error_gallery.build(
            Answers(predictor), opened, chosen, gr.State(()), tabs, shared, hide, ""
        )
    return {f.fn.__name__: f.fn for f in demo.fns.values() if callable(f.fn)}, found


def test_a_click_on_a_cell_finds_its_faces(results):
    """All cells together hold every image, and so do all squares; each face where the figure counts
    it.
    """
    everybody = results["image"].nunique()
    for task in (GENDER, RACE):
        clicks = [
            {"task": task.name, "approach": "multi", "x": answer, "y": label}
            for answer in task.labels
            for label in task.labels
        ]
        kinds = [error_gallery.of_click(click) for click in clicks]
        assert sum(len(kind.find(results)) for kind in kinds) == everybody and all(
            kind.sensitive for kind in kinds
        )
        n = (
            confusion(results, task)
            .query("approach == 'multi'")
            .set_index(["target", "prediction"])["n"]
        )
        assert all(
            len(kind.find(results))
            == n[task.labels.index(click["y"]), task.labels.index(click["x"])]
            for kind, click in zip(kinds, clicks, strict=True)
        )
    figure = plots.predicted_against_true(questions.View(results, results).errors)
    for trace in figure.data:
        filled = [(i, j) for i, j in np.ndindex(trace.customdata.shape) if trace.customdata[i, j]]
        for i, j in filled[:: len(filled) // 20]:
            kind = error_gallery.of_click(
                {**trace.meta, "x": float(trace.x[j]), "y": float(trace.y[i])}
            )
            assert len(kind.find(results)) == trace.customdata[i, j]


@pytest.mark.parametrize(
    "clicked",
    [
        {},
        {"task": "age", "approach": "multi", "x": "20", "y": None},
        {"task": "race", "approach": "both", "x": "White", "y": "Black"},
        {"task": "race", "approach": "multi", "x": "White", "y": "Martian"},
        {"task": "height", "approach": "multi", "x": 1, "y": 2},
    ],
)
def test_a_click_on_nothing_finds_nobody(clicked):
    assert error_gallery.of_click(clicked) is None


def test_faces_on_display_say_no_more_than_may_be_said(behind_figures):
    handlers, _ = behind_figures
    number = next(
        i
        for i, kind in enumerate(error_gallery.KINDS)
        if kind.title == "labelled male, answered female by one model"
    )
    drawn, html, _ = handlers["on_show"](number, False, ())
    says = re.compile(r"\b(" + "|".join([*GENDER.labels, *RACE.labels]) + r")\b")
    assert drawn.images and says.search(html)
    assert handlers["on_hide"](drawn, True)[:2] == (error_gallery.Drawn(), "")
    drawn, html, _ = handlers["on_show"](0, False, ())
    assert drawn.images and says.search(html)
    again, hidden, _ = handlers["on_hide"](drawn, True)
    assert again == drawn and not says.search(hidden) and "Face 1," in hidden
    assert handlers["on_hide"](again, False)[1] == html


def test_faces_that_were_chosen_by_race_go_when_it_is_hidden(behind_figures):
    handlers, _ = behind_figures
    drawn, _, _ = handlers["on_show"](0, False, ("race",))
    assert drawn.images and handlers["on_hide"](drawn, True)[:2] == (error_gallery.Drawn(), "")
    everybody, _, _ = handlers["on_show"](0, True, ("race",))
    assert len(everybody.images) > len(drawn.images)


def test_what_is_sensitive_in_a_tile_can_be_hidden_by_the_page_itself(predictor, pool):
    """As where the server has forgotten what is on display."""
    html = random_faces.grid(Answers(predictor), pool.draw(6, FaceFilter(1)), "")
    left = re.sub(
        r"<span"
        r' class="[^"]*sensitive[^"]*">(?:<span[^>]*>(?:<i[^>]*></i>|[^<])*</span>|[^<])*</span>',
        "",
        html,
    )
    assert not re.search(r"\b(" + "|".join([*GENDER.labels, *RACE.labels]) + r")\b", text(left))
    assert "years" in left


def test_all_faces_can_be_paged_through(behind_figures):
    handlers, _ = behind_figures
    drawn, html, _ = handlers["on_show"](0, False, ())
    first, n_tiles = html, 0
    assert len(drawn.images) > random_faces.N_FACES and "Mean age error" not in html
    for _ in range(drawn.n_sheets):
        n_tiles += html.count('class="tile"')
        drawn, html, _ = handlers["on_more"](drawn, False)
    assert n_tiles == len(drawn.images) and html == first
    assert handlers["on_more"](error_gallery.Drawn(), False)[:2] == (error_gallery.Drawn(), "")


def test_faces_that_are_not_here_are_passed_over(behind_figures):
    """Of a dataset that is there in part the others are shown; of one without them, that they are
    missing.
    """
    handlers, found = behind_figures
    whole_table = found.table
    drawn, _, _ = handlers["on_show"](0, False, ())
    gone = whole_table["sha256"].str[:16].isin(drawn.images[: random_faces.N_FACES])
    found.table = whole_table[~gone].reset_index(drop=True)
    assert handlers["on_show"](0, False, ())[1].count('class="tile"') == min(
        12, len(drawn.images) - gone.sum()
    )
    found.table = whole_table[[False] * len(whole_table)]
    assert handlers["on_show"](0, False, ())[1] == error_gallery.NONE_HERE


def test_a_pool_finds_the_faces_of_images(pool):
    keys = list(pool.table["sha256"].str[:16])
    found = pool.of_images([keys[5], "0" * 16, keys[2], keys[9]], 2)
    assert [face.labels["age"] for face in found] == [pool.table["age"].iloc[i] for i in (5, 2)]
    assert pool.of_images([], 12) == []


def test_a_damaged_history_costs_only_its_curves(predictor, tmp_path):
    for loaded in predictor.models:
        (tmp_path / f"{loaded.name}.history.csv").write_text("epoch,train_loss\n")
    with gr.Blocks() as demo, gr.Tab() as tab:
        training.build(predictor, tmp_path, load_metrics(MEASURED), MEASURED, tab)
    said = [block.value for block in demo.blocks.values() if isinstance(block, gr.HTML)]
    assert any("Cannot be shown" in html and "history.csv" in html for html in said)
    assert any("What is multi-task learning?" in html for html in said)


def test_figures_are_drawn_once_and_not_before_they_are_seen():
    drawings = []

    def draw():
        drawings.append(plots.blank())
        return drawings[-1]

    with gr.Blocks() as demo, gr.Tab() as tab:
        sheet = figures.Sheet()
        sheet.card("How?", draw, lambda: "42", "A note")
        sheet.when_seen(tab)
    plot, _ = sheet.components
    assert not drawings and plot.value is None
    (select,) = demo.fns.values()
    with ThreadPoolExecutor(2) as visitors:
        first, second = visitors.map(select.fn, [False, False])
    assert len(drawings) == 1 and first == second
    assert (
        first[0] is True and first[1].type == "plotly" and "42" in first[2] and "A note" in first[2]
    )
    assert select.fn(True) == [True, gr.skip(), gr.skip()]


@pytest.mark.parametrize(
    ("error", "said"),
    [(FaceMTLError("It is gone."), "It is gone."), (KeyError("x"), "log of the server")],
)
def test_a_figure_that_cannot_be_drawn_costs_no_other(error, said, capsys):
    def fail():
        raise error

    with gr.Blocks():
        sheet = figures.Sheet()
        sheet.card("Broken?", fail, lambda: "41")
        sheet.card("Whole?", plots.blank, lambda: "42")
    plot, below, other, other_below = sheet.made()
    assert plot is None and "Cannot be shown" in below and said in below and "KeyError" not in below
    assert other.type == "plotly" and "42" in other_below
    assert ("KeyError" in capsys.readouterr().err) == isinstance(
        error, KeyError
    )  # whoever runs the server can find out


@pytest.mark.parametrize("content", ["study,seed\nseeds,", "", "\x00\x01"])
def test_damaged_trainings_are_named_and_stop_nothing(predictor, tmp_path, content):
    for file in MEASURED.iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / STUDIES_FILE).unlink(missing_ok=True)
    (tmp_path / STUDIES_FILE).write_text(content)
    with gr.Blocks() as demo, gr.Tab() as tab:
        training.build(predictor, tmp_path, load_metrics(MEASURED), tmp_path, tab)
    said = [block.value for block in demo.blocks.values() if isinstance(block, gr.HTML)]
    assert any("Cannot be shown" in html and STUDIES_FILE in html for html in said)
    assert any("What is multi-task learning?" in html for html in said)


@pytest.mark.parametrize(
    ("left", "told", "not_told"),
    [
        (
            "study == 'equal-weights' or study == 'learned-weights'",
            "how losses are weighed",
            "seed of a training",
        ),
        ("study == 'seeds'", "seed of a training", "how losses are weighed"),
    ],
)
def test_studies_tell_what_they_ask_and_nothing_else(predictor, tmp_path, left, told, not_told):
    write_table(support.made_up_studies().query(left), tmp_path / STUDIES_FILE)
    with gr.Blocks() as demo, gr.Tab() as tab:
        training.build(predictor, tmp_path, load_metrics(MEASURED), tmp_path, tab)
    said = " ".join(block.value for block in demo.blocks.values() if isinstance(block, gr.HTML))
    assert told in said and not_told not in said
