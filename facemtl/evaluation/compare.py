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
    rows = []
    for task, scores in ((task, found) for task, found in paired.items() if len(found)):
        values, resampled = (
            scores.mean().to_numpy(),
            bootstrap(scores.to_numpy(), n_resamples, seed),
        )
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
    """The significantly better approach in a row of `compare`, or None."""
    if row.difference_low <= 0 <= row.difference_high:
        return None
    return MULTI if (row.difference < 0) == task_named(row.task).metric.lower_is_better else SINGLE


def paired_scores(table: pd.DataFrame, task: Task) -> pd.DataFrame:
    """Per-image scores of a task's metric: one row per image, columns `single` and `multi`.

    Raises FaceMTLError if an approach has no predictions of the task.
    """
    rows = table[table["task"] == task.name]
    scores = task.metric.scores(rows["target"].to_numpy(float), rows["prediction"].to_numpy(float))
    paired = rows.assign(score=scores).pivot(index="image", columns="approach", values="score")
    missing = [a.title for a in APPROACHES if a.name not in paired]
    if missing:
        raise FaceMTLError(
            f"The results hold no predictions of {task.name} by {' and '.join(missing).lower()}."
            " Predict with the models of both approaches."
        )
    return paired[[SINGLE.name, MULTI.name]]


def bootstrap(scores: np.ndarray, n_resamples: int, seed: int) -> np.ndarray:
    """Bootstrap means of scores (N, K) over resampled images: (n_resamples, K)."""
    drawn = np.random.default_rng(seed).integers(len(scores), size=(n_resamples, len(scores)))
    return np.column_stack([column[drawn].mean(axis=1) for column in scores.T])


def tasks_of(table: pd.DataFrame) -> list[Task]:
    return [task for task in TASKS if (table["task"] == task.name).any()]
