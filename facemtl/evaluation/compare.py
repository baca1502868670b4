"""Comparison of both approaches: metrics, differences and bootstrap intervals.

Every metric is a mean over images of a score per image. Both approaches are resampled with the same
images, so the interval of their difference is paired.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..errors import FaceMTLError
from ..inference.predictor import APPROACHES, MULTI, SINGLE, Approach
from ..tasks import TASKS, Task, task_named
from .groups import GROUPINGS, by_group, grouping_name

N_RESAMPLES = 2000
_CHUNK = 100  # resamples at a time, so that memory stays small
FEW = 30  # smaller groups are marked: their figures are mostly chance


def metric_tables(table: pd.DataFrame, n_resamples: int = N_RESAMPLES) -> pd.DataFrame:
    """`compare` for all images and for each group, as one table.

    The first columns are `by, group`. Column `few` marks groups of fewer than FEW images.
    """
    scores = {task: paired_scores(table, task) for task in tasks_of(table)}
    parts = [
        _compare(
            {t: s[s.index.isin(rows["image"])] for t, s in scores.items()}, n_resamples
        ).assign(by=by, group=group)
        for by, group, rows in by_group(table)
    ]
    stacked = pd.concat(parts, ignore_index=True)
    stacked["few"] = stacked["n"] < FEW
    return stacked[["by", "group", *(c for c in stacked if c not in ("by", "group"))]]


def worst_groups(metrics: pd.DataFrame, by: str = grouping_name(GROUPINGS[-1])) -> pd.DataFrame:
    """The group with the worst metric, per task and approach. Groups marked `few` are left out.

    `metrics` is the table of `metric_tables`. Columns: `task, approach, group, n, value, low, high,
    overall`; `overall` is the metric over all images.
    """
    rows = []
    for name, groups in metrics[(metrics["by"] == by) & ~metrics["few"]].groupby(
        "task", sort=False
    ):
        overall = metrics[(metrics["by"] == "all") & (metrics["task"] == name)].iloc[0]
        for approach in (a.name for a in APPROACHES):
            order = groups.sort_values(
                approach, ascending=not task_named(name).metric.lower_is_better
            )
            worst = order.iloc[0][["group", "n", approach, f"{approach}_low", f"{approach}_high"]]
            rows.append([name, approach, *worst, overall[approach]])
    return pd.DataFrame(
        rows, columns=["task", "approach", "group", "n", "value", "low", "high", "overall"]
    )


def delta_m(
    table: pd.DataFrame, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> tuple[float, float, float]:
    """Delta-m: how much better one model is than three, in percent. Returns value, low and high.

    delta-m = mean over tasks of (-1)^l (M_multi - M_single) / M_single, l = 1 if lower is better
    (Maninis et al., CVPR 2019). Above 0, multi-task is better. `low` and `high` bound the 95 %
    bootstrap interval. If all images have labels of all tasks, the same images are resampled for
    each task.
    """
    gains = []  # per task (1 + n_resamples,): all images, then the resamples
    for task in tasks_of(table):
        scores = paired_scores(table, task).to_numpy()
        means = np.vstack([scores.mean(axis=0), bootstrap(scores, n_resamples, seed)])
        gains.append(task.metric.gain(means[:, 0], means[:, 1]))
    mean = np.mean(gains, axis=0)
    return float(mean[0]), *(float(x) for x in np.percentile(mean[1:], [2.5, 97.5]))


def compare(table: pd.DataFrame, n_resamples: int = N_RESAMPLES, seed: int = 0) -> pd.DataFrame:
    """Per task: both approaches' metric and their paired difference, with 95 % bootstrap intervals.

    Columns: `task, metric, n`; for each of `single`, `multi` and `difference` (multi minus single)
    the value and its `_low` and `_high`.
    """
    return _compare(
        {task: paired_scores(table, task) for task in tasks_of(table)}, n_resamples, seed
    )


def _compare(paired: Mapping[Task, pd.DataFrame], n_resamples: int, seed: int = 0) -> pd.DataFrame:
    paired = {task: scores for task, scores in paired.items() if len(scores)}
    same_images: dict[tuple[str, ...], list[Task]] = {}
    for task, scores in paired.items():
        same_images.setdefault(tuple(scores.index), []).append(task)
    resampled: dict[Task, np.ndarray] = {}  # (n_resamples, 2), for `single` and `multi`
    for tasks in same_images.values():
        # Resampling takes most of the time, so tasks with the same images are resampled together.
        scores = np.column_stack([paired[task].to_numpy() for task in tasks])
        means = np.hsplit(bootstrap(scores, n_resamples, seed), len(tasks))
        resampled |= dict(zip(tasks, means, strict=True))
    rows = []
    for task, scores in paired.items():
        single, multi = scores.to_numpy().mean(axis=0)
        samples = resampled[task]
        row = {"task": task.name, "metric": task.metric.name, "n": len(scores)}
        columns = [a.name for a in APPROACHES] + ["difference"]
        values = [single, multi, multi - single]
        samples = np.column_stack([samples, samples[:, 1] - samples[:, 0]])
        limits = np.percentile(samples, [2.5, 97.5], axis=0)
        for name, value, low, high in zip(columns, values, *limits, strict=True):
            row |= {name: value, f"{name}_low": low, f"{name}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def favoured(row) -> Approach | None:
    """The significantly better approach in a row of `compare`, or None."""
    if row.difference_low <= 0 <= row.difference_high:
        return None
    return MULTI if (row.difference < 0) == task_named(row.task).metric.lower_is_better else SINGLE


def paired_scores(table: pd.DataFrame, task: Task) -> pd.DataFrame:
    """Per-image scores of a task's metric: one row per image, columns `single` and `multi`.

    Raises FaceMTLError unless each approach has one prediction of each image, or if labels are
    missing.
    """
    if "target" not in table:
        raise FaceMTLError(
            "The table has no labels. Add a column `target` with the label of each row, such as"
            " those that `read_images` gives."
        )
    rows = table[table["task"] == task.name]
    target = pd.to_numeric(rows["target"], errors="coerce").to_numpy(float)
    if wrong := int((~np.isfinite(target)).sum()):
        raise FaceMTLError(
            f"{wrong:,} of {len(rows):,} rows of {task.name} have no number as `target`. Leave out"
            " the rows without a label."
        )
    if (again := rows.duplicated(["image", "approach"])).any():
        raise FaceMTLError(
            f"The table has several predictions of {task.name} for {rows[again].iloc[0]['image']}"
            " by one approach. Keep one face of each image, and one model of each approach."
        )
    scores = task.metric.scores(target, rows["prediction"].to_numpy(float))
    paired = rows.assign(score=scores).pivot(index="image", columns="approach", values="score")
    missing = [a.title for a in APPROACHES if a.name not in paired]
    if missing:
        raise FaceMTLError(
            f"The results hold no predictions of {task.name} by {' and '.join(missing).lower()}."
            " Predict with the models of both approaches."
        )
    if alone := int(paired.isna().any(axis=1).sum()):
        raise FaceMTLError(
            f"{alone:,} of {len(paired):,} images lack a prediction of {task.name} by one approach."
            " Predict all images with the models of both."
        )
    return paired[[SINGLE.name, MULTI.name]]


def bootstrap(scores: np.ndarray, n_resamples: int, seed: int) -> np.ndarray:
    """Bootstrap means of scores (N, K) over resampled images: (n_resamples, K)."""
    rng, n, found = np.random.default_rng(seed), len(scores), []
    for start in range(0, n_resamples, _CHUNK):
        count = min(_CHUNK, n_resamples - start)
        drawn = rng.integers(n, size=(count, n)) + n * np.arange(count)[:, None]
        # (count, N): how often each image is drawn
        times = np.bincount(drawn.ravel(), minlength=count * n).reshape(count, n)
        found.append(times.astype(float) @ scores / n)
    return np.concatenate(found)


def tasks_of(table: pd.DataFrame) -> list[Task]:
    return [task for task in TASKS if (table["task"] == task.name).any()]
