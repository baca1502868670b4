"""What is saved of the composites is what these models say of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facemtl.errors import FaceMTLError
from facemtl.evaluation import composites
from facemtl.faces import open_image, whole
from facemtl.inference.predictor import Predictor, in_words
from facemtl.ui import answers
from facemtl.ui.faces import FacePool
from facemtl.ui.prediction_cache import PredictionCache
from tests import support

MEASURED = support.ROOT / "assets" / "validation"


def with_info(predictor: Predictor, **changes) -> Predictor:
    """The same models, of which one has other metadata."""
    first, *others = predictor.models
    return Predictor([replace(first, info=replace(first.info, **changes)), *others])


def test_the_shipped_answers_are_of_the_shipped_models_and_of_all_composites(predictor):
    table, pool = composites.load(MEASURED, predictor), FacePool.of_composites(support.COMPOSITES)
    assert set(table["image"]) == set(pool.names)
    assert (table.groupby("image").size() == 6).all()
    some = pool.table.iloc[::40]
    crops = [whole(open_image(Path(file))).crop for file in some["file"]]
    fresh = predictor.predict_crops(crops, some["sha256"].str[:16]).table
    both = fresh.merge(table, on=["image", "model", "approach", "task"], suffixes=("", "_saved"))
    assert len(both) == 6 * len(some)
    assert np.abs(both["prediction"] - both["prediction_saved"]).max() < 0.02


def test_nobody_asks_a_model_about_a_composite(predictor, monkeypatch):
    pool, saved = FacePool.of_composites(support.COMPOSITES), composites.load(MEASURED, predictor)
    monkeypatch.setattr(
        predictor, "predict_crops", lambda *arguments, **options: pytest.fail("a model was asked")
    )
    pool.learn(PredictionCache(predictor, None, saved))
    assert len(pool.predictions) == len(pool.table)


@pytest.mark.parametrize("changes", [{"weights": "0" * 32}, {"calibration": {}}])
def test_other_models_do_not_take_over_what_these_said(predictor, changes):
    other = with_info(predictor, **changes)
    saved = composites.load(MEASURED, other)
    assert set(saved["model"]) == {loaded.name for loaded in other.models[1:]}
    name = FacePool.of_composites(support.COMPOSITES).names[0]
    asked = []
    PredictionCache(other, None, saved).of(
        [name], lambda positions: asked.extend(positions) or [np.zeros((8, 8, 3), np.uint8)]
    )
    assert asked == [0]


def test_answers_of_wholly_other_models_are_none(predictor):
    other = Predictor(replace(m, info=replace(m.info, weights="0" * 32)) for m in predictor.models)
    saved = composites.load(MEASURED, other)
    assert saved.empty
    asked = []
    PredictionCache(other, None, saved).of(
        [FacePool.of_composites(support.COMPOSITES).names[0]],
        lambda positions: asked.extend(positions) or [np.zeros((8, 8, 3), np.uint8)],
    )
    assert asked == [0]


def test_what_is_saved_comes_back_and_damage_is_named(predictor, tmp_path):
    table = composites.load(MEASURED, predictor)
    composites.save(table, tmp_path)
    assert composites.load(tmp_path, predictor).equals(table)
    (tmp_path / composites.FILE).write_text("image,model\n1,")
    with pytest.raises(FaceMTLError, match="facemtl evaluate"):
        composites.load(tmp_path, predictor)


def test_answers_in_words_are_remembered_and_those_of_a_fresh_look(predictor, monkeypatch):
    pool = FacePool.of_composites(support.COMPOSITES)
    faces = pool.of_images(pool.names[:6], 6)
    names, asked, predict = [face.image for face in faces], [], predictor.predict_crops
    monkeypatch.setattr(
        predictor,
        "predict_crops",
        lambda crops, **options: asked.append(len(crops)) or predict(crops, **options),
    )
    remembered = PredictionCache(predictor)
    found = remembered.in_words(names, lambda positions: [faces[i].face.crop for i in positions])
    again = remembered.in_words(
        names[::-1], lambda positions: [faces[i].face.crop for i in positions]
    )
    assert asked == [6, 0] and again == found[::-1]
    for face, said in zip(faces, found, strict=True):
        fresh = in_words(predict([face.face.crop]))[0]
        assert said == fresh


def test_no_more_faces_are_remembered_than_meant(predictor, monkeypatch):
    monkeypatch.setattr(answers, "KEEP", 3)
    pool = FacePool.of_composites(support.COMPOSITES)
    faces = pool.of_images(pool.names[:5], 5)
    remembered, asked = PredictionCache(predictor), []

    def look(chosen):
        def crops(positions):
            asked.append(len(positions))
            return [chosen[i].face.crop for i in positions]

        return remembered.in_words([face.image for face in chosen], crops)

    found = look(faces)
    assert look(faces[2:]) == found[2:] and look(faces[:2]) == found[:2]
    assert asked == [5, 0, 2]
