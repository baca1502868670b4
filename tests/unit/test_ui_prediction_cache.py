"""The cache of predictions for dataset faces: saved predictions and new ones."""

from dataclasses import replace

import pandas as pd

from facemtl.evaluation.validation import metrics_of
from facemtl.inference.predictor import Predictor
from facemtl.tasks import TASKS
from facemtl.ui.faces import FaceFilter, FacePool
from facemtl.ui.prediction_cache import PredictionCache
from tests import support


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
    pool.learn(PredictionCache(measured, saved))
    assert (pool.predictions["age"]["multi"] == 1).all() and (
        pool.predictions["age"]["single"] == 0
    ).all()
    other.learn(
        PredictionCache(predictor, saved)
    )  # their files say that they were measured otherwise
    assert len(other.predictions) == len(pool.predictions) and not other.predictions.equals(
        pool.predictions
    )


def test_of_a_face_without_a_label_saved_predictions_say_too_little(synthetic_faces, predictor):
    pool = FacePool.open(synthetic_faces, support.COMPOSITES)
    saved = saved_results(pool)[1:]
    measured = as_measured(predictor, saved)
    pool.learn(PredictionCache(measured, saved))
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
