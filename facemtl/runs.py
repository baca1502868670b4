"""What short trainings came to: a table with a row per training and task, and what can be told from it."""

from pathlib import Path

import pandas as pd

from .prediction import MULTI, SINGLE, Predictor, approach_of
from .tables import read_table
from .tasks import task_named

RUNS_FILE = "runs.csv"
BASE = "base"  # the experiment that changes nothing; all others differ from it in one thing
ONE_VIEW = "no-mirror"  # base's trainings, measured without the mirror image
WEIGHTINGS = {BASE: "Fixed scales", "equal-weights": "Equal weights", "uncertainty": "Learned weights"}
BEYOND_LUCK = 3  # standard errors between means of a few seeds (Student's t, 4 degrees of freedom: 2.8 in 19 of 20 cases)
_TYPES = {
    "experiment": str, "question": str, "seed": int, "model": str, "task": str, "metric": str, "value": float,
    "epochs": int, "size": int, "seconds": float,
}  # fmt: skip


def load_runs(folder: Path) -> pd.DataFrame:
    """The table that `python -m facemtl experiments` wrote: `experiment, question, seed, model, task, metric, value, ...`."""
    return read_table(folder / RUNS_FILE, _TYPES, "python -m facemtl experiments all")


def merged(runs: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """`runs`, and those of the folder's table that are not among them: trainings may be made in several places."""
    if not (folder / RUNS_FILE).exists():
        return runs
    keys, both = ["experiment", "seed", "model", "task"], pd.concat([runs, load_runs(folder)], ignore_index=True)
    return both.drop_duplicates(keys).sort_values("experiment", key=lambda c: c == ONE_VIEW, kind="stable")


def learning(predictor: Predictor, folder: Path) -> pd.DataFrame:
    """The histories that lie beside the weights in `folder`, where they do: `approach, task, epoch, size, value`.

    The value is the task's metric after that epoch, on the images that training glances at.
    """
    found = []
    for loaded in predictor.models:
        if not (file := folder / f"{loaded.name}.history.csv").is_file():
            continue
        history = read_table(file, {"epoch": int, "size": int}, "python -m facemtl train")
        for task in loaded.model.tasks:
            if (column := f"{task.name}_{task.metric.name}") in history:
                rows = history[["epoch", "size"]].assign(value=history[column], approach=loaded.approach.name, task=task.name)
                found.append(rows.dropna())
    columns = ["approach", "task", "epoch", "size", "value"]
    return pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """Per experiment, model and task: `mean` and `sd` of the metric over its `seeds`, and the `change` from the base.

    The change is the mean over the seeds that both have. It is worth a thought where it is some times the base's `sd`.
    """
    keys = ["model", "task", "metric"]
    base = runs[runs["experiment"] == BASE].set_index(["seed", *keys])["value"].rename("base")
    runs = runs.join(base, on=["seed", *keys])
    runs["change"] = runs["value"] - runs["base"]
    grouped = runs.groupby(["experiment", "question", *keys], sort=False)
    found = grouped.agg(
        seeds=("seed", "nunique"),
        mean=("value", "mean"),
        sd=("value", "std"),
        change=("change", "mean"),
        seconds=("seconds", "mean"),
    )
    return found.reset_index()


def by_approach(runs: pd.DataFrame) -> pd.DataFrame:
    """The base's trainings with their `approach`: `seed, approach, task, metric, value`."""
    base = runs[runs["experiment"] == BASE]
    return base.assign(approach=approach_of(base))[["seed", "approach", "task", "metric", "value"]].reset_index(drop=True)


def luck(runs: pd.DataFrame) -> pd.DataFrame:
    """Per task, over the seeds of the base: mean and standard deviation of both approaches, and of their difference.

    Columns `task, metric, seeds, single, single_sd, multi, multi_sd, difference, t`; the difference is one model's minus
    the three models', and `t` is that divided by its standard error (Welch): beyond BEYOND_LUCK it speaks against luck.
    """
    rows = []
    for task, part in by_approach(runs).groupby("task", sort=False):
        values = {name: group["value"] for name, group in part.groupby("approach")}
        if {*values} != {SINGLE.name, MULTI.name}:
            continue
        row = {"task": task, "metric": task_named(task).metric.name, "seeds": min(len(v) for v in values.values())}
        for name, value in values.items():
            row[name], row[f"{name}_sd"] = value.mean(), value.std()
        row["difference"] = row[MULTI.name] - row[SINGLE.name]
        row["t"] = row["difference"] / sum(value.var() / len(value) for value in values.values()) ** 0.5
        rows.append(row)
    return pd.DataFrame(rows)


def delta_m_by_seed(runs: pd.DataFrame) -> pd.Series:
    """Per seed that has all models: by how much one is better than three, in percent of their metrics, mean over tasks."""
    wide = by_approach(runs).pivot(index=["seed", "task"], columns="approach", values="value")
    gain = 100 * (wide[MULTI.name] - wide[SINGLE.name]) / wide[SINGLE.name]
    better_down = [task_named(task).metric.lower_is_better for task in gain.index.get_level_values("task")]
    return gain.where([not down for down in better_down], -gain).groupby("seed").mean()


def by_weighting(runs: pd.DataFrame) -> pd.DataFrame:
    """The multi-task trainings that differ in how losses are weighed: `weighting, seed, task, metric, value`."""
    rows = runs[approach_of(runs) == MULTI.name]
    rows = rows.assign(weighting=rows["experiment"].map(WEIGHTINGS)).dropna(subset="weighting")
    return rows[["weighting", "seed", "task", "metric", "value"]].reset_index(drop=True)
