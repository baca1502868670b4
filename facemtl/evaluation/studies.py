"""Results of the training studies, which `research/studies.py` runs."""

from pathlib import Path

import pandas as pd

from ..files import read_table
from ..inference.predictor import MULTI, SINGLE, Predictor
from ..tasks import task_named

STUDIES_FILE, PHOTOS_FILE = "studies.csv", "photos.csv"
SEEDS = "seeds"  # the study whose first seed is the shipped models
MODEST_STUDY = "modest"  # the recipe at a small budget; other starts and weightings have it, too
SHARES = {"share-10": 10, "share-30": 30, SEEDS: 100}  # percent of the training images
STARTS = {
    "from-random": "random weights",
    "from-imagenet": "ImageNet weights",
    MODEST_STUDY: "face-recognition weights",
}
WEIGHTINGS = {
    MODEST_STUDY: "Fixed scales",
    "equal-weights": "Equal weights",
    "learned-weights": "Learned weights",
}
_TYPES = {
    "study": str, "seed": int, "model": str, "approach": str, "task": str, "metric": str,
    "value": float,
    "images": int, "epochs": int, "seconds": float,
}  # fmt: skip
COLUMNS = [*_TYPES]


def load_studies(folder: Path) -> pd.DataFrame:
    """The results of all studies, one row per training and task.

    Columns: `study, seed, model, approach, task, metric, value, images, epochs, seconds`.
    """
    return read_table(folder / STUDIES_FILE, _TYPES, "python -m research.studies")


def learning(predictor: Predictor, folder: Path) -> pd.DataFrame:
    """Learning curves, from the histories beside the model files in `folder`.

    Columns: `approach, task, epoch, value`. `value` is the task's metric on the calibration images
    after that epoch. Models without a history are left out.
    """
    found = []
    for loaded in predictor.models:
        if not (file := folder / f"{loaded.name}.history.csv").is_file():
            continue
        history = read_table(file, {"epoch": int}, "python -m facemtl train")
        for task in loaded.tasks:
            if (column := f"{task.name}_{task.metric.name}") in history:
                rows = history[["epoch"]].assign(
                    value=history[column], approach=loaded.approach.name, task=task.name
                )
                found.append(rows.dropna())
    columns = ["approach", "task", "epoch", "value"]
    return pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)


def named(studies: pd.DataFrame, names: dict[str, object], column: str) -> pd.DataFrame:
    """The rows of the studies in `names`, with a new `column`: the study's value in `names`."""
    rows = studies[studies["study"].isin(names)]
    return rows.assign(**{column: rows["study"].map(names)}).reset_index(drop=True)


def complete(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """The rows of those values of `column` for which all trainings are done.

    Each approach and task then has as many trainings as for any other value.
    """
    counts = rows.groupby([column, "approach", "task"]).size().unstack(["approach", "task"])
    return rows[rows[column].isin(counts.index[(counts == counts.max()).all(axis=1)])]


def over_seeds(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Mean and standard deviation of the metric over seeds.

    Columns: `column, approach, task, seeds, mean, sd`. `sd` is NaN for one seed.
    """
    grouped = rows.groupby([column, "approach", "task"], sort=False)["value"]
    return grouped.agg(seeds="size", mean="mean", sd="std").reset_index()


def gaps(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """The `gain` of one model over three per value of `column`, seed and task, in percent.

    It is in percent of the three models' metric. Above 0, one model is better. Rows that only one
    approach has are left out.
    """
    wide = rows.pivot(index=[column, "seed", "task"], columns="approach", values="value")
    wide = wide.reindex(columns=[SINGLE.name, MULTI.name]).dropna().reset_index()
    gains = [task_named(r.task).metric.gain(r.single, r.multi) for r in wide.itertuples()]
    return wide.assign(gain=pd.Series(gains, wide.index, dtype=float))
