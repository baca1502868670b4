"""Predictions for labelled images, and the files that store them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from ..data.images import load_image
from ..data.reading import VALIDATION
from ..data.utkface import CHIP_SIZE
from ..errors import FaceMTLError
from ..files import read_table, write_table
from ..inference.predictor import MULTI, SINGLE, LoadedModel, Predictor
from ..models.seen import has_seen
from ..tasks import AGE, CLASSES, TASKS
from .calibration import trust
from .compare import metric_tables
from .groups import age_groups

PREDICTIONS_FILE, METRICS_FILE, TRUST_FILE = "predictions.csv.gz", "metrics.csv", "trust.csv"
RESULT_FILES = (PREDICTIONS_FILE, METRICS_FILE, TRUST_FILE)
_TYPES = {
    "image": str, "model": str, "approach": str, "task": str, "age_group": str,
    "prediction": float, "confidence": float, "target": float,
}  # fmt: skip


def unseen(predictor: Predictor, images: pd.DataFrame) -> pd.DataFrame:
    """The table of images, all of them for validation if no model has seen any of them.

    Otherwise, or if a model does not say what it has seen, the split stays as it is.
    """
    for loaded in predictor.models:
        if not loaded.info.seen or has_seen(loaded.info.seen, images["sha256"]):
            return images
    return images.assign(split=VALIDATION)


def validate(
    predictor: Predictor,
    images: pd.DataFrame,
    progress: Callable[[int], None] = lambda n: None,
    split: str = VALIDATION,
) -> pd.DataFrame:
    """The predictions table of a split, with labels as `with_targets` adds them.

    Images are named by the first 16 digits of their hash, which do not reveal the files' names.
    The column `made_by` is the fingerprint of the model. Raises FaceMTLError if the split has no
    images, or none with a label of the predictor's tasks.
    """
    chosen = images[images["split"] == split].assign(image=lambda table: table["sha256"].str[:16])
    if chosen.empty:
        raise FaceMTLError(f"There are no {split} images. Use the whole dataset.")
    crops = [load_image(file, CHIP_SIZE) for file in chosen["file"]]
    table = with_targets(
        predictor.predict_crops(crops, chosen["image"], progress=progress).table, chosen
    )
    if table.empty:
        raise FaceMTLError(
            f"No {split} image has a label of {' or '.join(task.name for task in predictor.tasks)}."
            " Add labels, or name other models."
        )
    return table.assign(made_by=table["model"].map(predictor.fingerprints))


def with_targets(table: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """Add labels to predictions: `target`, one column per classification task, and `age_group`.

    `labels` has one row per `image` and one column per task. Predictions without a label are left
    out. An unknown group is NaN.
    """
    labels = labels.set_index("image")
    table = table.copy()
    for task in TASKS:
        rows = table["task"] == task.name
        table.loc[rows, "target"] = table.loc[rows, "image"].map(labels[task.column]).astype(float)
    table = table[table["target"].notna()].reset_index(drop=True)
    for task in CLASSES:
        table[task.name] = table["image"].map(labels[task.column]).astype(float)
    table["age_group"] = age_groups(table["image"].map(labels[AGE.column]))
    return table


def save_validation(table: pd.DataFrame, folder: Path) -> None:
    """Write the metric tables and the predictions."""
    write_table(metric_tables(table), folder / METRICS_FILE)
    write_table(trust(table), folder / TRUST_FILE)
    rounded = table.round({"prediction": 3, "confidence": 4, "low": 2, "high": 2})
    write_table(rounded.drop(columns="face"), folder / PREDICTIONS_FILE)


def metrics_of(loaded: LoadedModel, table: pd.DataFrame) -> dict[str, float]:
    """A model's metrics, named by task and metric, such as `age_mae`."""
    rows = table[table["model"] == loaded.name]
    return {
        f"{task.name}_{task.metric.name}": round(
            task.metric(group["target"], group["prediction"]), 4
        )
        for task in loaded.tasks
        if len(group := rows[rows["task"] == task.name])
    }


def load_validation(folder: Path) -> pd.DataFrame:
    """The predictions table that `save_validation` wrote."""
    command = _command(folder)
    table = read_table(folder / PREDICTIONS_FILE, _TYPES, command, gaps=["age_group"])
    for task in CLASSES:  # a task that was added later has no labels in the file
        table[task.name] = table[task.name].astype(float) if task.name in table else np.nan
    return table.assign(face=0)


def are_results_of(predictor: Predictor, results: pd.DataFrame) -> bool:
    """Whether saved results come from exactly these models, with their calibration."""
    return "made_by" in results and bool(
        (results["made_by"] == results["model"].map(predictor.fingerprints)).all()
    )


def load_metrics(folder: Path) -> pd.DataFrame:
    """The metric tables that `save_validation` wrote."""
    columns = [
        f"{name}{end}"
        for name in (SINGLE.name, MULTI.name, "difference")
        for end in ("", "_low", "_high")
    ]
    types = {
        "by": str,
        "group": str,
        "task": str,
        "n": int,
        **dict.fromkeys(columns, float),
        "few": bool,
    }
    return read_table(folder / METRICS_FILE, types, _command(folder))


def _command(folder: Path) -> str:
    return f"python -m facemtl evaluate --output {folder}"
