"""The cache of predictions for dataset faces: saved predictions and new ones."""

from dataclasses import replace

import pandas as pd

from facemtl.inference.predictor import Predictor
from facemtl.tasks import TASKS
from facemtl.ui.faces import FaceFilter, FacePool
from facemtl.ui.prediction_cache import PredictionCache
from tests import support


def saved_results(pool, predictor: Predictor) -> pd.DataFrame:
    """Saved predictions: always 1 by the multi-task model, always 0 by the others."""
    rows = [
        (key[:16], model, approach, task.name, 1.0 if approach == "multi" else 0.0, 1.0)
        for key in pool.table["sha256"]
        for task in TASKS
        for model, approach in ((task.name, "single"), ("multitask", "multi"))
    ]
    table = pd.DataFrame(
        rows, columns=["image", "model", "approach", "task", "prediction", "target"]
    )
    return table.assign(made_by=table["model"].map(predictor.fingerprints))


def test_saved_predictions_are_used_only_for_the_same_models(synthetic_faces, predictor):
    pool, other = (FacePool.open(synthetic_faces, support.COMPOSITES) for _ in range(2))
    saved = saved_results(pool, predictor)
    pool.learn(PredictionCache(predictor, saved))
    assert (pool.predictions["age"]["multi"] == 1).all() and (
        pool.predictions["age"]["single"] == 0
    ).all()
    first, *rest = predictor.models
    calibrated = replace(first, info=replace(first.info, calibration={}))
    other.learn(PredictionCache(Predictor([calibrated, *rest]), saved))
    assert len(other.predictions) == len(pool.predictions) and not other.predictions.equals(
        pool.predictions
    )


def test_a_face_with_incomplete_saved_predictions_is_predicted_again(synthetic_faces, predictor):
    pool = FacePool.open(synthetic_faces, support.COMPOSITES)
    pool.learn(PredictionCache(predictor, saved_results(pool, predictor)[1:]))
    assert (pool.predictions["age"]["single"][1:] == 0).all() and pool.predictions["age"]["single"][
        0
    ] > 0
    assert pool.predictions.notna().all(axis=None)


def test_each_face_is_predicted_once_and_gets_its_own_values(pool, predictor, monkeypatch):
    asked, predict = [], predictor.predict_crops
    monkeypatch.setattr(
        predictor,
        "predict_crops",
        lambda crops, names: asked.extend(names) or predict(crops, names),
    )
    answers = PredictionCache(predictor)
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
