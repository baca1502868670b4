"""The saved predictions for the composites match the shipped models."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facemtl.errors import FaceMTLError
from facemtl.evaluation import composites
from facemtl.faces import open_image, whole
from facemtl.inference.predictor import Predictor, in_words
from facemtl.ui import prediction_cache
from facemtl.ui.faces import FacePool
from facemtl.ui.prediction_cache import PredictionCache
from tests import support

MEASURED = support.ROOT / "assets" / "validation"


def with_info(predictor: Predictor, **changes) -> Predictor:
    """The same models, one of them with other metadata."""
    first, *others = predictor.models
    return Predictor([replace(first, info=replace(first.info, **changes)), *others])


def test_saved_predictions_match_the_shipped_models_and_cover_all_composites(predictor):
    table, pool = composites.load(MEASURED, predictor), FacePool.of_composites(support.COMPOSITES)
    assert set(table["image"]) == set(pool.names)
    assert (table.groupby("image").size() == 6).all()
    some = pool.table.iloc[::40]
    crops = [whole(open_image(Path(file))).crop for file in some["file"]]
    fresh = predictor.predict_crops(crops, some["sha256"].str[:16]).table
    both = fresh.merge(table, on=["image", "model", "approach", "task"], suffixes=("", "_saved"))
    assert len(both) == 6 * len(some)
    assert np.abs(both["prediction"] - both["prediction_saved"]).max() < 0.02


def test_composites_need_no_new_predictions(predictor, monkeypatch):
    pool, saved = FacePool.of_composites(support.COMPOSITES), composites.load(MEASURED, predictor)
    monkeypatch.setattr(
        predictor, "predict_crops", lambda *arguments, **options: pytest.fail("a model was asked")
    )
    pool.learn(PredictionCache(predictor, None, saved))
    assert len(pool.predictions) == len(pool.table)


@pytest.mark.parametrize("changes", [{"weights": "0" * 32}, {"calibration": {}}])
def test_a_changed_model_does_not_use_saved_predictions(predictor, changes):
    other = with_info(predictor, **changes)
    saved = composites.load(MEASURED, other)
    assert set(saved["model"]) == {loaded.name for loaded in other.models[1:]}
    name = FacePool.of_composites(support.COMPOSITES).names[0]
    asked = []
    PredictionCache(other, None, saved).of(
        [name], lambda positions: asked.extend(positions) or [np.zeros((8, 8, 3), np.uint8)]
    )
    assert asked == [0]


def test_no_saved_predictions_match_other_models(predictor):
    other = Predictor(replace(m, info=replace(m.info, weights="0" * 32)) for m in predictor.models)
    saved = composites.load(MEASURED, other)
    assert saved.empty
    asked = []
    PredictionCache(other, None, saved).of(
        [FacePool.of_composites(support.COMPOSITES).names[0]],
        lambda positions: asked.extend(positions) or [np.zeros((8, 8, 3), np.uint8)],
    )
    assert asked == [0]


def test_saved_predictions_are_loaded_and_damage_is_reported(predictor, tmp_path):
    table = composites.load(MEASURED, predictor)
    composites.save(table, tmp_path)
    assert composites.load(tmp_path, predictor).equals(table)
    (tmp_path / composites.FILE).write_text("image,model\n1,")
    with pytest.raises(FaceMTLError, match="facemtl evaluate"):
        composites.load(tmp_path, predictor)


def test_cached_predictions_in_words_equal_fresh_ones(predictor, monkeypatch):
    pool = FacePool.of_composites(support.COMPOSITES)
    faces = pool.of_images(pool.names[:6], 6)
    names, asked, predict = [face.image for face in faces], [], predictor.predict_crops
    monkeypatch.setattr(
        predictor,
        "predict_crops",
        lambda crops, **options: asked.append(len(crops)) or predict(crops, **options),
    )
    cache = PredictionCache(predictor)
    found = cache.in_words(names, lambda positions: [faces[i].face.crop for i in positions])
    again = cache.in_words(names[::-1], lambda positions: [faces[i].face.crop for i in positions])
    assert asked == [6, 0] and again == found[::-1]
    for face, words in zip(faces, found, strict=True):
        fresh = in_words(predict([face.face.crop]))[0]
        assert words == fresh


def test_the_cache_is_limited_in_size(predictor, monkeypatch):
    monkeypatch.setattr(prediction_cache, "KEEP", 3)
    pool = FacePool.of_composites(support.COMPOSITES)
    faces = pool.of_images(pool.names[:5], 5)
    cache, asked = PredictionCache(predictor), []

    def words_of(chosen):
        def crops(positions):
            asked.append(len(positions))
            return [chosen[i].face.crop for i in positions]

        return cache.in_words([face.image for face in chosen], crops)

    found = words_of(faces)
    assert words_of(faces[2:]) == found[2:] and words_of(faces[:2]) == found[:2]
    assert asked == [5, 0, 2]
