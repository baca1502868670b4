"""Predictions -> metric tables, overall and per group, with bootstrap intervals.

Every metric is a mean over images of a per-image score. Both approaches are resampled with the same
images, which makes the interval of their difference a paired one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from .data import CALIBRATION, VALIDATION, load_image
from .errors import FaceMTLError
from .inference.perturbations import BLUR
from .inference.predictor import APPROACHES, MULTI, SINGLE, Approach, LoadedModel, Predictor, to_batch
from .models.model_file import SUFFIX, rewrite_info
from .tables import read_table, write_table
from .tasks import AGE, GENDER, RACE, TASKS, Task, task_named

N_RESAMPLES = 2000
AGE_BANDS = (0, 3, 10, 20, 30, 40, 50, 60, 70, 117)  # each band ends before the next one starts


def band_names(bands: Sequence[int]) -> tuple[str, ...]:
    """(0, 3, ..., 117) -> ('0-2', ..., '70+'): each band ends before the next one starts."""
    return tuple(f"{low}+" if high > AGE.high else f"{low}-{high - 1}" for low, high in pairwise(bands))


AGE_GROUPS = band_names(AGE_BANDS)
CHIP_SIZE = 200  # px; UTKFace's own
NO_LABEL = -1.0  # in place of a label's index
FEW = 30  # a group of fewer images is marked: its figures are mostly luck
PREDICTIONS_FILE, METRICS_FILE, TRUST_FILE = "predictions.csv.gz", "metrics.csv", "trust.csv"
_TYPES = {
    "image": str, "model": str, "approach": str, "task": str, "age_group": str,
    "prediction": float, "confidence": float, "target": float, "gender": float, "race": float,
}  # fmt: skip
_GROUPS = ("gender", "race", "age_group")  # of an image without that label there is none


def calibrate(predictor: Predictor, images: pd.DataFrame, progress: Callable[[int], None] = lambda n: None) -> Predictor:
    """The same models with temperatures and interval margins fitted on the calibration split.

    Each image counts twice, as it is and blurred by 2 % of a side: photos of visitors are worse than UTKFace's.
    What a model says of a task that has no labels there stays as it is.
    """
    held_out = images[images["split"] == CALIBRATION]
    if held_out.empty:
        raise FaceMTLError("There are no calibration images, so intervals cannot be fitted. Use the whole dataset.")
    crops, calibrated = [load_image(file, CHIP_SIZE) for file in held_out["file"]], []
    crops += [BLUR.apply(crop, 2, 0) for crop in crops]
    for loaded in predictor.models:
        logits = _logits(loaded, crops, progress)
        calibration = dict(loaded.info.calibration)
        for task in loaded.tasks:
            labels = np.tile(held_out[task.column].to_numpy(float), 2)
            if (known := ~np.isnan(labels)).any():
                calibration[task.name] = task.calibrate(logits[task.name][known], labels[known])
        calibrated.append(replace(loaded, info=replace(loaded.info, calibration=calibration)))
    return Predictor(calibrated)


def _logits(loaded: LoadedModel, crops: list[np.ndarray], progress: Callable[[int], None]) -> dict[str, np.ndarray]:
    """Crops -> {task: logits (N, n_outputs)}."""
    found = []
    for crop in crops:
        found.append(loaded.answer(to_batch([crop], loaded.info.size)[0])[1])
        progress(1)
    return {task.name: np.stack([each[task.name] for each in found]) for task in loaded.tasks}


def validate(
    predictor: Predictor, images: pd.DataFrame, progress: Callable[[int], None] = lambda n: None, split: str = VALIDATION
) -> pd.DataFrame:
    """The predictions table of the validation split, or of another, with `target, gender, race, age_group`.

    Images are named by the first 16 digits of their hash: nothing tells which file they are.
    """
    chosen = images[images["split"] == split].assign(image=lambda table: table["sha256"].str[:16])
    if chosen.empty:
        raise FaceMTLError(f"There are no {split} images. Use the whole dataset.")
    crops = [load_image(file, CHIP_SIZE) for file in chosen["file"]]
    table = with_targets(predictor.predict(crops, chosen["image"], progress=progress).table, chosen)
    if table.empty:
        raise FaceMTLError(f"No {split} image has a label of {' or '.join(task.name for task in predictor.tasks)}.")
    return table


def with_targets(table: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """Add `target, gender, race, age_group` from `labels`: one row per `image`, a column per task.

    Predictions of what an image has no label of are left out; a group that is not known is NaN.
    """
    labels = labels.set_index("image")
    table = table.copy()
    for task in TASKS:
        rows = table["task"] == task.name
        table.loc[rows, "target"] = table.loc[rows, "image"].map(labels[task.column]).astype(float)
    table = table[table["target"].notna()].reset_index(drop=True)
    for task in (GENDER, RACE):
        table[task.name] = table["image"].map(labels[task.column]).astype(float)
    table["age_group"] = age_groups(table["image"].map(labels[AGE.column]))
    return table


def age_groups(ages: pd.Series) -> pd.Series:
    """The band of AGE_GROUPS that each age lies in, as text; NaN of NaN."""
    return pd.cut(ages, AGE_BANDS, right=False, labels=AGE_GROUPS).astype(str).where(ages.notna())


def save_evaluation(predictor: Predictor, table: pd.DataFrame, folder: Path, models: Path) -> None:
    """Write what was measured into `folder`, and calibration and metrics into the model files in `models`.

    Delete old results first, so that a crash never leaves mismatched files.
    """
    (folder / PREDICTIONS_FILE).unlink(missing_ok=True)
    for loaded in predictor.models:
        rewrite_info(models / f"{loaded.name}{SUFFIX}", replace(loaded.info, metrics=metrics_of(loaded, table)))
    save_validation(table, folder)


def save_validation(table: pd.DataFrame, folder: Path) -> None:
    """Write the metric tables, then the predictions: these stand only beside their own metrics."""
    (folder / PREDICTIONS_FILE).unlink(missing_ok=True)
    write_table(metric_tables(table), folder / METRICS_FILE)
    write_table(trust(table), folder / TRUST_FILE)
    rounded = table.round({"prediction": 3, "confidence": 4, "low": 2, "high": 2})
    write_table(rounded.drop(columns="face"), folder / PREDICTIONS_FILE)


def metrics_of(loaded: LoadedModel, table: pd.DataFrame) -> dict[str, float]:
    """A model's metrics, named by task and metric, such as `age_mae`."""
    rows = table[table["model"] == loaded.name]
    return {
        f"{task.name}_{task.metric.name}": round(task.metric(group["target"], group["prediction"]), 4)
        for task in loaded.tasks
        if len(group := rows[rows["task"] == task.name])
    }


def load_validation(folder: Path) -> pd.DataFrame:
    """The predictions table that `save_validation` wrote."""
    return read_table(folder / PREDICTIONS_FILE, _TYPES, "python -m facemtl evaluate", _GROUPS).assign(face=0)


def load_metrics(folder: Path) -> pd.DataFrame:
    """The metric tables that `save_validation` wrote."""
    columns = [f"{name}{end}" for name in (SINGLE.name, MULTI.name, "difference") for end in ("", "_low", "_high")]
    types = {"by": str, "group": str, "task": str, "n": int, **dict.fromkeys(columns, float), "few": bool}
    return read_table(folder / METRICS_FILE, types, "python -m facemtl evaluate")


def metric_tables(table: pd.DataFrame, n_resamples: int = N_RESAMPLES) -> pd.DataFrame:
    """`compare` for everybody and for each group, stacked, with `by, group` in front and `few`: are there under 30 images?"""
    scores = {task: paired_scores(table, task) for task in _tasks(table)}
    parts = [
        _compare({t: s[s.index.isin(rows["image"])] for t, s in scores.items()}, n_resamples).assign(by=by, group=group)
        for by, group, rows in _groups(table)
    ]
    stacked = pd.concat(parts, ignore_index=True)
    stacked["few"] = stacked["n"] < FEW
    return stacked[["by", "group", *(c for c in stacked if c not in ("by", "group"))]]


def worst_groups(metrics: pd.DataFrame, by: str = "gender x race") -> pd.DataFrame:
    """Of `metric_tables`: per task and approach the group with the worst metric, `few` ones apart.

    Columns `task, approach, group, n, value, low, high, overall`.
    """
    rows = []
    for name, groups in metrics[(metrics["by"] == by) & ~metrics["few"]].groupby("task", sort=False):
        overall = metrics[(metrics["by"] == "all") & (metrics["task"] == name)].iloc[0]
        for approach in (a.name for a in APPROACHES):
            order = groups.sort_values(approach, ascending=not task_named(name).metric.lower_is_better)
            worst = order.iloc[0][["group", "n", approach, f"{approach}_low", f"{approach}_high"]]
            rows.append([name, approach, *worst, overall[approach]])
    return pd.DataFrame(rows, columns=["task", "approach", "group", "n", "value", "low", "high", "overall"])


def delta_m(table: pd.DataFrame, n_resamples: int = N_RESAMPLES, seed: int = 0) -> tuple[float, float, float]:
    """By how much one model is better than three, in percent of their metrics, mean over tasks; with its 95 % interval.

    delta-m = mean over tasks of (-1)^l (M_multi - M_single) / M_single, l = 1 where lower is better
    (Maninis et al., CVPR 2019). Above 0, multi-task is better. The same images are resampled for all tasks, where all have
    labels of all.
    """
    gains = []  # by task: (1 + n_resamples,), the images themselves first
    for task in _tasks(table):
        scores = paired_scores(table, task).to_numpy()
        means = np.vstack([scores.mean(axis=0), _bootstrap(scores, n_resamples, seed)])
        gains.append(task.metric.gain(means[:, 0], means[:, 1]))
    mean = np.mean(gains, axis=0)
    return float(mean[0]), *(float(x) for x in np.percentile(mean[1:], [2.5, 97.5]))


def compare(table: pd.DataFrame, n_resamples: int = N_RESAMPLES, seed: int = 0) -> pd.DataFrame:
    """Per task: both approaches' metric and their paired difference, with 95 % bootstrap intervals.

    Columns: `task, metric, n`, then for each of `single`, `multi` and `difference` (multi minus
    single) the value and its `_low` and `_high`.
    """
    return _compare({task: paired_scores(table, task) for task in _tasks(table)}, n_resamples, seed)


def _compare(paired: Mapping[Task, pd.DataFrame], n_resamples: int, seed: int = 0) -> pd.DataFrame:
    rows = []
    for task, scores in ((task, found) for task, found in paired.items() if len(found)):
        values, resampled = scores.mean().to_numpy(), _bootstrap(scores.to_numpy(), n_resamples, seed)
        row = {"task": task.name, "metric": task.metric.name, "n": len(scores)}
        columns = [a.name for a in APPROACHES] + ["difference"]
        values = [*values, values[1] - values[0]]
        resampled = np.column_stack([resampled, resampled[:, 1] - resampled[:, 0]])
        for name, value, samples in zip(columns, values, resampled.T, strict=True):
            row[name] = value
            row[f"{name}_low"], row[f"{name}_high"] = np.percentile(samples, [2.5, 97.5])
        rows.append(row)
    return pd.DataFrame(rows)


def favoured(row) -> Approach | None:
    """Which approach the interval of a row of `compare` speaks for, if it speaks for one."""
    if row.difference_low <= 0 <= row.difference_high:
        return None
    return MULTI if (row.difference < 0) == task_named(row.task).metric.lower_is_better else SINGLE


def paired_scores(table: pd.DataFrame, task: Task) -> pd.DataFrame:
    """Per-image scores of a task's metric: one row per image, columns `single` and `multi`."""
    rows = table[table["task"] == task.name]
    scores = task.metric.scores(rows["target"].to_numpy(float), rows["prediction"].to_numpy(float))
    paired = rows.assign(score=scores).pivot(index="image", columns="approach", values="score")
    missing = [a.title for a in APPROACHES if a.name not in paired]
    if missing:
        raise FaceMTLError(f"The results hold no predictions of {task.name} by {' and '.join(missing).lower()}.")
    return paired[[SINGLE.name, MULTI.name]]


def age_errors(table: pd.DataFrame) -> pd.DataFrame:
    """One row per image and approach: `image, approach, target, prediction, error, low, high, age_group`.

    The error is signed, in years.
    """
    rows = table[table["task"] == AGE.name]
    rows = rows.assign(error=rows["prediction"] - rows["target"])
    return rows[["image", "approach", "target", "prediction", "error", "low", "high", "age_group"]].reset_index(drop=True)


def track_records(table: pd.DataFrame) -> pd.DataFrame:
    """How good answers of each kind were on validation images: `n` and the metric's `value`.

    The index is `task, approach, band, answer`: a kind is the same label (NO_LABEL for ages), for a face that the same
    approach thinks of the same age band, where it is asked. So it is known for a face without labels too.
    """
    kinds = _kinds(table)
    keys = ["task", "approach", "band", "answer"]
    scores = pd.concat(
        pd.Series(task.metric.scores(rows["target"].to_numpy(float), rows["prediction"].to_numpy(float)), rows.index)
        for task in _tasks(table)
        for rows in [table[table["task"] == task.name]]
    )
    return kinds.assign(value=scores).groupby(keys)["value"].agg(n="size", value="mean")


def track_record(records: pd.DataFrame, predictions: pd.DataFrame) -> dict[str, dict[str, float]]:
    """By task and approach: the value for answers such as those to one face, but for kinds of fewer than FEW images."""
    found: dict[str, dict[str, float]] = {name: {} for name in predictions["task"].unique()}
    for key in _kinds(predictions).itertuples(index=False):
        if tuple(key) in records.index and (row := records.loc[tuple(key)])["n"] >= FEW:
            found[key.task][key.approach] = float(row["value"])
    return found


def _kinds(table: pd.DataFrame) -> pd.DataFrame:
    """`task, approach, band, answer` of each row of a predictions table."""
    rows = table[["image", "task", "approach"]]
    ages = rows[rows["task"] == AGE.name].assign(band=age_groups(table["prediction"]))
    bands = rows.merge(ages[["image", "approach", "band"]], how="left", on=["image", "approach"])["band"]
    answers = table["prediction"].where(table["low"].isna(), NO_LABEL)
    return rows[["task", "approach"]].assign(band=bands.fillna("").to_numpy(), answer=answers)


def age_error_by_group(table: pd.DataFrame, n_resamples: int = N_RESAMPLES, seed: int = 0) -> pd.DataFrame:
    """Per age group and approach: `mae` and `bias` (years) with their 95 % bootstrap intervals, `n`, and `coverage`.

    Coverage is the share of labels, in percent, that lie between `low` and `high`.
    """
    rows = []
    errors = age_errors(table)
    for (name, approach), group in errors.groupby(["age_group", "approach"]):
        signed = group["error"].to_numpy()
        resampled = _bootstrap(np.column_stack([np.abs(signed), signed]), n_resamples, seed)
        row = {"age_group": name, "approach": approach, "n": len(group)}
        for column, value, samples in zip(("mae", "bias"), (np.abs(signed).mean(), signed.mean()), resampled.T, strict=True):
            row[column] = value
            row[f"{column}_low"], row[f"{column}_high"] = np.percentile(samples, [2.5, 97.5])
        row["coverage"] = 100 * float(((group["low"] <= group["target"]) & (group["target"] <= group["high"])).mean())
        rows.append(row)
    order = {name: position for position, name in enumerate(AGE_GROUPS)}
    result = pd.DataFrame(rows)
    return result.sort_values(
        ["age_group", "approach"], key=lambda c: c.map(order) if c.name == "age_group" else c, ignore_index=True
    )


def cumulative_scores(errors: pd.DataFrame, most: int = 20) -> pd.DataFrame:
    """`age_errors` -> `approach, years, share`: the share of images, in percent, that are at most so many years off."""
    rows = [
        (approach, years, 100 * float((group["error"].abs() <= years).mean()))
        for approach, group in errors.groupby("approach")
        for years in range(most + 1)
    ]
    return pd.DataFrame(rows, columns=["approach", "years", "share"])


def confusion(table: pd.DataFrame, task: Task) -> pd.DataFrame:
    """`approach, target, prediction, n, share`: how often each label is answered by each, all pairs of labels.

    The share is in percent of the label's images; NaN where there are none.
    """
    rows = table[table["task"] == task.name]
    labels = range(task.n_outputs)
    keys = {"approach": [a.name for a in APPROACHES], "target": labels, "prediction": labels}
    every = pd.MultiIndex.from_product(keys.values(), names=keys)
    counts = rows.groupby(list(keys)).size().reindex(every, fill_value=0).rename("n").reset_index()
    of_label = counts.groupby(["approach", "target"])["n"].transform("sum")
    return counts.assign(share=100 * counts["n"] / of_label.where(of_label > 0))


def reliability(table: pd.DataFrame, task: Task, n_bins: int = 10) -> pd.DataFrame:
    """`approach, confidence, hits, n`: per bin of confidence its mean, and how often it came true, in percent.

    Bins are equally wide, and left out where they are empty.
    """
    rows = table[table["task"] == task.name]
    rows = rows.assign(
        hits=task.hits(rows["target"].to_numpy(), rows["prediction"].to_numpy()),
        bin=(rows["confidence"] * n_bins).astype(int).clip(0, n_bins - 1),
    )
    found = rows.groupby(["approach", "bin"]).agg(confidence=("confidence", "mean"), hits=("hits", "mean"), n=("hits", "size"))
    found[["confidence", "hits"]] *= 100
    return found.reset_index().drop(columns="bin")


def trust(table: pd.DataFrame) -> pd.DataFrame:
    """Per group, task and approach: are confidences and intervals worth what they claim?

    Columns: `by, group, task, approach, n`; mean `confidence` and the share of `hits`, in percent; `ece`, the
    expected calibration error in percentage points; for tasks with intervals their `coverage` in percent and
    mean `width` in units.
    """
    rows = []
    for by, group, part in _groups(table):
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
    """ECE: the mean over images of |share of hits - mean confidence| in each image's bin of confidence (Guo et al., ICML 2017).

    (N,), (N,) -> a number from 0 to 1. Bins are equally wide. Small groups show some error by luck alone.
    """
    bins = np.clip((confidence * n_bins).astype(int), 0, n_bins - 1)
    gaps = np.bincount(bins, hits, n_bins) - np.bincount(bins, confidence, n_bins)
    return float(np.abs(gaps).sum() / len(confidence))


def _groups(table: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """(by, group, its rows): everybody, then by gender, race, both, and age group."""
    yield "all", "all", table
    for tasks in ((GENDER,), (RACE,), (GENDER, RACE)):
        for values, rows in table.groupby([task.name for task in tasks]):
            words = [task.words(value) for task, value in zip(tasks, values, strict=True)]
            yield " x ".join(task.name for task in tasks), ", ".join(words), rows
    for group in AGE_GROUPS:
        if len(rows := table[table["age_group"] == group]):
            yield "age_group", group, rows


def _bootstrap(scores: np.ndarray, n_resamples: int, seed: int) -> np.ndarray:
    """Means of each column of (N, K) scores over resampled images: (n_resamples, K)."""
    drawn = np.random.default_rng(seed).integers(len(scores), size=(n_resamples, len(scores)))
    return np.column_stack([column[drawn].mean(axis=1) for column in scores.T])


def _tasks(table: pd.DataFrame) -> list[Task]:
    return [task for task in TASKS if (table["task"] == task.name).any()]
