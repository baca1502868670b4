"""Track records: how good the answers to similar validation images were."""

from dataclasses import dataclass

import pandas as pd

from ..inference.predictor import MULTI, SINGLE
from ..tasks import AGE, Task, task_named
from .compare import FEW, tasks_of

MOST = 200  # similar images, those nearest in confidence
CLOSE = 0.1  # similar images differ by at most this in confidence


@dataclass(frozen=True)
class TrackRecord:
    """The metric of both approaches on `n` validation images that are similar to a face."""

    task: Task
    n: int
    single: float
    multi: float
    age: float | None  # the predicted age of the face, or None if no model predicts age


class TrackRecords:
    """Saved predictions of validation images, to look up those that are similar to a face.

    On similar images, both approaches agree. They give the same answer as on the face (or the same
    age, up to `AGE.near` years), predict about the same age, and are about as confident. Only
    predictions are compared, so there are records for unlabelled faces, too.
    """

    def __init__(self, table: pd.DataFrame):
        self._answers = {task.name: _answers(table, task) for task in tasks_of(table)}
        targets = table.drop_duplicates(["image", "task"]).set_index(["task", "image"])["target"]
        for name, answers in self._answers.items():
            answers["target"] = targets[name].reindex(answers.index)

    def of(self, predictions: pd.DataFrame) -> dict[str, TrackRecord]:
        """The records for one face, by task, from its rows of a predictions table.

        A task is left out if the approaches disagree on the face, or if fewer than FEW images are
        similar.
        """
        mine = {task.name: _answers(predictions, task).iloc[0] for task in tasks_of(predictions)}
        age = mine[AGE.name]["answer"] if AGE.name in mine else None
        found = {}
        for name in mine.keys() & self._answers.keys():
            task, face = task_named(name), mine[name]
            alike = self._similar(task, face, age)
            if face["agree"] and len(alike) >= FEW:
                scores = (task.metric(alike["target"], alike[a.name]) for a in (SINGLE, MULTI))
                found[name] = TrackRecord(task, len(alike), *scores, age)
        return found

    def _similar(self, task: Task, face: pd.Series, age: float | None) -> pd.DataFrame:
        rows = self._answers[task.name]
        apart = (rows["confidence"] - face["confidence"]).abs()
        chosen = rows["agree"] & task.hits(rows["answer"], face["answer"]) & (apart <= CLOSE)
        if age is not None:
            ages = self._answers[AGE.name]["answer"].reindex(rows.index)
            chosen &= AGE.hits(ages, age)
        return rows.loc[apart[chosen].sort_values(kind="stable").index[:MOST]]


def _answers(table: pd.DataFrame, task: Task) -> pd.DataFrame:
    """Both approaches' predictions for each image, and what they have in common.

    Indexed by image. Columns: `single`, `multi`, `agree`; `answer` and `confidence`, their means.
    """
    rows = table[table["task"] == task.name]
    wide = rows.pivot(index="image", columns="approach", values=["prediction", "confidence"])
    both = wide["prediction"][[SINGLE.name, MULTI.name]].astype(float)
    return both.assign(
        agree=task.hits(both[SINGLE.name], both[MULTI.name]),
        answer=both.mean(axis=1),
        confidence=wide["confidence"].mean(axis=1),
    )
