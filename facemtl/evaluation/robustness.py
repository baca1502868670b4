"""Robustness to shifted, scaled, rotated, blurred, gray, recompressed, dark or bright crops."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from ..data.images import load_image
from ..data.reading import VALIDATION
from ..data.utkface import CHIP_SIZE
from ..errors import FaceMTLError
from ..files import read_table, write_table
from ..inference.perturbations import PERTURBATIONS, Perturbation, turn_of
from ..inference.predictor import Predictor
from ..metrics import Metric
from ..tasks import task_named
from .validation import with_targets

N_IMAGES = 600
ROBUSTNESS_FILE = "robustness.csv"
COLUMNS = ["perturbation", "amount", "model", "approach", "task", "metric", "n", "value", "change"]
_TYPES = dict(zip(COLUMNS, (str, float, str, str, str, str, int, float, float), strict=True))


def robustness(
    predictor: Predictor,
    images: pd.DataFrame,
    n: int = N_IMAGES,
    progress: Callable[[int], None] = lambda n: None,
    perturbations: tuple[Perturbation, ...] = PERTURBATIONS,
) -> pd.DataFrame:
    """Each model's metrics per perturbation and amount, over `n` validation images.

    The images are the first ones in the order of their hashes. Columns: `perturbation, amount,
    model, approach, task, metric, n, value, change`. At the amount `none` of a perturbation,
    `value` is that of the unchanged crops. `change` is the difference from there, in `change_unit`.
    `progress` is called with 1 for each crop, `passes()` times per image. Raises FaceMTLError if
    there are no validation images.
    """
    reported = images[images["split"] == VALIDATION].sort_values("sha256").head(n)
    if reported.empty:
        raise FaceMTLError("There are no validation images. Use the whole dataset.")
    reported = reported.assign(image=reported["sha256"].str[:16])
    crops = [load_image(file, CHIP_SIZE) for file in reported["file"]]
    turns = [turn_of(image) for image in reported["image"]]
    before, parts = _measure(predictor, crops, reported, progress), []
    for p in perturbations:
        for amount in (p.none, *p.amounts):
            if amount == p.none:
                after = before
            else:
                perturbed = [
                    p.apply(crop, amount, turn) for crop, turn in zip(crops, turns, strict=True)
                ]
                after = _measure(predictor, perturbed, reported, progress)
            parts.append(
                after.assign(
                    perturbation=p.name, amount=float(amount), change=_change(after, before)
                )
            )
    return pd.concat(parts, ignore_index=True)[COLUMNS]


def passes(perturbations: tuple[Perturbation, ...] = PERTURBATIONS) -> int:
    """How many times `robustness` runs the models on each image."""
    return 1 + sum(len(p.amounts) for p in perturbations)


def change_unit(metric: Metric) -> str:
    """The unit of a metric's change: percentage points for a metric in percent, else percent.

    Percent means percent of the value of the unchanged crops.
    """
    return "points" if metric.unit == "%" else "%"


def _measure(
    predictor: Predictor,
    crops: list[np.ndarray],
    labels: pd.DataFrame,
    progress: Callable[[int], None],
) -> pd.DataFrame:
    """Metrics, one row per model and task, always in the same order.

    Columns: `model, approach, task, metric, n, value`.
    """
    predicted = with_targets(
        predictor.predict_crops(crops, labels["image"], progress=progress).table, labels
    )
    rows = []
    for (model, approach, name), group in predicted.groupby(["model", "approach", "task"]):
        metric = task_named(name).metric
        value = metric(group["target"], group["prediction"])
        names = {"model": model, "approach": approach, "task": name, "metric": metric.name}
        rows.append({**names, "n": len(group), "value": value})
    return pd.DataFrame(rows)


def _change(after: pd.DataFrame, before: pd.DataFrame) -> pd.Series:
    """The change of each value from `before` to `after`, in `change_unit`."""
    difference = after["value"] - before["value"]
    in_points = after["task"].map(lambda name: change_unit(task_named(name).metric) == "points")
    return difference.where(in_points, 100 * difference / before["value"])


# ------------------------------------------------------------------------------------------ on disk


def save_robustness(table: pd.DataFrame, folder: Path) -> None:
    """Write the table of `robustness`."""
    write_table(table, folder / ROBUSTNESS_FILE)


def load_robustness(folder: Path) -> pd.DataFrame:
    """The table that `save_robustness` wrote."""
    return read_table(
        folder / ROBUSTNESS_FILE, _TYPES, f"python -m facemtl robustness --output {folder}"
    )
