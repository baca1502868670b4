"""Calibration: how far confidences and intervals can be trusted."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from ..data.images import load_image
from ..data.reading import CALIBRATION
from ..data.utkface import CHIP_SIZE
from ..errors import FaceMTLError
from ..files import write_whole
from ..inference.perturbations import BLUR
from ..inference.predictor import LoadedModel, Predictor, to_batch
from ..label_sets import copy_labels, require_used
from ..models.model_file import rewrite_info
from ..models.seen import seen_text
from ..regular import read_bytes
from ..tasks import Task, task_named
from .groups import by_group


def calibrate(
    predictor: Predictor, images: pd.DataFrame, progress: Callable[[int], None] = lambda n: None
) -> Predictor:
    """Fit temperatures and interval margins on the calibration split. Returns the new predictor.

    Each image is used twice, as it is and blurred by 2 % of a side, because visitors' photos are
    worse than UTKFace's. A task without labels in the split keeps its calibration. Raises
    FaceMTLError if there are no calibration images.
    """
    held_out = images[images["split"] == CALIBRATION]
    if held_out.empty:
        raise FaceMTLError(
            "There are no calibration images, so intervals cannot be fitted. Use the whole dataset."
        )
    crops, calibrated = [load_image(file, CHIP_SIZE) for file in held_out["file"]], []
    crops += [BLUR.apply(crop, 2, 0) for crop in crops]
    for loaded in predictor.models:
        logits = _logits(loaded, crops, progress)
        calibration = dict(loaded.info.calibration)
        for task in loaded.tasks:
            labels = np.tile(held_out[task.column].to_numpy(float), 2)
            if (known := ~np.isnan(labels)).any():
                calibration[task.name] = task.calibrate(logits[task.name][known], labels[known])
        seen = loaded.info.seen  # if it is empty, nobody knows what else the model has seen
        seen = seen and seen_text(held_out["sha256"], seen)
        info = replace(loaded.info, calibration=calibration, seen=seen)
        calibrated.append(replace(loaded, info=info))
    return Predictor(calibrated)


def calibrate_files(
    files: Sequence[Path],
    images: pd.DataFrame,
    output: Path,
    progress: Callable[[int], None] = lambda n: None,
) -> None:
    """Write calibrated copies of model files into a folder, with their histories.

    The folder may be that of the files. Raises FaceMTLError as `calibrate` does.
    """
    require_used(output)
    predictor = calibrate(Predictor(map(LoadedModel.load, files)), images, progress)
    for file, loaded in zip(files, predictor.models, strict=True):
        history = file.with_suffix(".history.csv")
        if file.parent != output and history.is_file():
            write_whole(output / history.name, read_bytes(history))
        rewrite_info(file, loaded.info, output / file.name)
    copy_labels(output)


def _logits(
    loaded: LoadedModel, crops: list[np.ndarray], progress: Callable[[int], None]
) -> dict[str, np.ndarray]:
    """The model's logits for crops: {task: (N, n_outputs)}."""
    found = []
    for crop in crops:
        found.append(loaded.answer(to_batch([crop], loaded.info.size)[0])[1])
        progress(1)
    return {task.name: np.stack([each[task.name] for each in found]) for task in loaded.tasks}


N_BINS = 10  # of confidence, in `reliability`


def confidence_bins(confidence: pd.Series) -> pd.Series:
    """The bin of each confidence from 0 to 1, as an index. Bins are equally wide."""
    return (confidence * N_BINS).astype(int).clip(0, N_BINS - 1)


def reliability(table: pd.DataFrame, task: Task) -> pd.DataFrame:
    """Mean confidence and share of hits per approach and confidence bin, both in percent.

    Columns: `approach, confidence, hits, n`. Empty bins are left out.
    """
    rows = table[table["task"] == task.name]
    rows = rows.assign(
        hits=task.hits(rows["target"].to_numpy(), rows["prediction"].to_numpy()),
        bin=confidence_bins(rows["confidence"]),
    )
    found = rows.groupby(["approach", "bin"]).agg(
        confidence=("confidence", "mean"), hits=("hits", "mean"), n=("hits", "size")
    )
    found[["confidence", "hits"]] *= 100
    return found.reset_index().drop(columns="bin")


def trust(table: pd.DataFrame) -> pd.DataFrame:
    """How far confidences and intervals can be trusted, per group, task and approach.

    Columns: `by, group, task, approach, n`; mean `confidence` and share of `hits`, in percent;
    `ece`, the expected calibration error in percentage points; for tasks with intervals their
    `coverage` in percent and their mean `width` in the task's unit, else NaN.
    """
    rows = []
    for by, group, part in by_group(table):
        for (task, approach), some in part.groupby(["task", "approach"], sort=False):
            hits = task_named(task).hits(some["target"].to_numpy(), some["prediction"].to_numpy())
            inside = (some["low"] <= some["target"]) & (some["target"] <= some["high"])
            rows.append(
                {
                    "by": by, "group": group, "task": task, "approach": approach, "n": len(some),
                    "confidence": 100 * some["confidence"].mean(), "hits": 100 * hits.mean(),
                    "ece": 100 * calibration_error(some["confidence"].to_numpy(), hits),
                    "coverage": 100 * inside.mean() if some["low"].notna().all() else np.nan,
                    "width": (some["high"] - some["low"]).mean(),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def calibration_error(confidence: np.ndarray, hits: np.ndarray, n_bins: int = 15) -> float:
    """The expected calibration error (ECE; Guo et al., ICML 2017), from 0 to 1.

    It is the mean over images of |share of hits - mean confidence| in the image's confidence bin.
    `confidence` and `hits` are (N,). Bins are equally wide. Small groups show some error by chance
    alone.
    """
    bins = np.clip((confidence * n_bins).astype(int), 0, n_bins - 1)
    gaps = np.bincount(bins, hits, n_bins) - np.bincount(bins, confidence, n_bins)
    return float(np.abs(gaps).sum() / len(confidence))
