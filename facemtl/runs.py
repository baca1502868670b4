"""What short trainings came to: a table with a row per training and task, and what can be told from it."""

from pathlib import Path

import pandas as pd
import scipy  # special functions are imported where they are first called: it takes a while

from .prediction import MULTI, SINGLE, Predictor, approach_of
from .tables import read_table
from .tasks import task_named

RUNS_FILE = "runs.csv"
BASE = "base"  # the experiment that changes nothing; all others differ from it in one thing
ONE_VIEW = "no-mirror"  # base's trainings, measured without the mirror image
WEIGHTINGS = {BASE: "Fixed scales", "equal-weights": "Equal weights", "uncertainty": "Learned weights"}
BEYOND_LUCK = 0.05  # what luck alone makes as large less often than this is told as a difference
_TYPES = {
    "experiment": str, "question": str, "seed": int, "model": str, "task": str, "metric": str, "value": float,
    "epochs": int, "size": int, "seconds": float,
}  # fmt: skip


def load_runs(folder: Path) -> pd.DataFrame:
    """The table that `python -m facemtl experiments` wrote: `experiment, question, seed, model, task, metric, value, ...`."""
    return read_table(folder / RUNS_FILE, _TYPES, "python -m facemtl experiments all")


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

    The change is the mean over the seeds that both have. `luck` is how large luck alone makes such a change in one of 20
    cases: Student's t times the standard deviation of a difference of means, both of the base's seeds; missing where the base
    has one seed.
    """
    keys = ["model", "task", "metric"]
    base = runs[runs["experiment"] == BASE]
    spread = base.groupby(keys)["value"].agg(base_seeds="size", base_sd="std")
    runs = runs.join(base.set_index(["seed", *keys])["value"].rename("base"), on=["seed", *keys])
    runs["change"] = runs["value"] - runs["base"]
    grouped = runs.groupby(["experiment", "question", *keys], sort=False)
    found = grouped.agg(
        seeds=("seed", "nunique"),
        mean=("value", "mean"),
        sd=("value", "std"),
        change=("change", "mean"),
        seconds=("seconds", "mean"),
    )
    found = found.reset_index().join(spread, on=keys)
    bar = scipy.special.stdtrit(found["base_seeds"] - 1, 1 - BEYOND_LUCK / 2)
    found["luck"] = bar * found["base_sd"] * (2 / found["seeds"]) ** 0.5
    return found.drop(columns=["base_seeds", "base_sd"])


def by_approach(runs: pd.DataFrame, experiment: str = BASE) -> pd.DataFrame:
    """An experiment's trainings with their `approach`: `seed, approach, task, metric, value`."""
    own = runs[runs["experiment"] == experiment]
    return own.assign(approach=approach_of(own))[["seed", "approach", "task", "metric", "value"]].reset_index(drop=True)


def luck(runs: pd.DataFrame) -> pd.DataFrame:
    """Per task, over the seeds of the base: mean and standard deviation of both approaches, and of their difference.

    Columns `task, metric, seeds, single, single_sd, multi, multi_sd, difference, t, p`; the difference is one model's minus
    the three models', `t` is that divided by its standard error, and `p` how often luck alone makes it as large (Welch,
    1947); both are missing where an approach has one seed. Tasks that an approach lacks are left out.
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
        errors = [value.var() / len(value) for value in values.values()]  # squared
        freedom = sum(errors) ** 2 / sum(e**2 / (len(v) - 1) for e, v in zip(errors, values.values(), strict=True) if e)
        row["t"] = row["difference"] / sum(errors) ** 0.5
        row["p"] = _by_luck(row["t"], freedom)
        rows.append(row)
    columns = ["task", "metric", "seeds", "single", "single_sd", "multi", "multi_sd", "difference", "t", "p"]
    return pd.DataFrame(rows, columns=columns)


def _by_luck(t: float, freedom: float) -> float:
    """The probability that Student's t, of so many degrees of freedom, is as far from 0."""
    return float(2 * scipy.special.stdtr(freedom, -abs(t)))


def delta_m_by_seed(runs: pd.DataFrame, experiment: str = BASE) -> pd.Series:
    """Per seed that has all models: by how much one is better than three, in percent of their metrics, mean over tasks."""
    wide = by_approach(runs, experiment).pivot(index=["seed", "task"], columns="approach", values="value")
    wide = wide.reindex(columns=[SINGLE.name, MULTI.name])
    gains = [task_named(task).metric.gain(row[SINGLE.name], row[MULTI.name]) for (_, task), row in wide.iterrows()]
    return pd.Series(gains, wide.index, dtype=float).groupby("seed").mean()


def delta_m_over_seeds(runs: pd.DataFrame) -> dict[str, float]:
    """`seeds, mean, sd, t, p` of delta-m: is it 0 but for luck? `t` and `p` are missing where there is one seed."""
    gains = delta_m_by_seed(runs).dropna()
    t = gains.mean() / gains.sem()
    return {"seeds": len(gains), "mean": gains.mean(), "sd": gains.std(), "t": t, "p": _by_luck(t, len(gains) - 1)}


def at_best_rates(runs: pd.DataFrame) -> pd.DataFrame:
    """Per task: the `difference`, one model minus three, where each of the four has the best of `rates` learning rates.

    A single-task model's best rate is that of its task; the multi-task model is one training, so it has one: that with the
    largest relative gain over the base's, mean over tasks. `base` is the difference at the base's rate. One seed, the lowest,
    is looked at: that which all rates have. Without other rates than the base's, no row.
    """
    rates = runs["experiment"].str.startswith("lr-")
    runs = runs[(runs["experiment"].eq(BASE) | rates) & runs["seed"].eq(runs["seed"].min())]
    columns = ["task", "rates", "base", "difference"]
    wide = runs.assign(approach=approach_of(runs)).pivot(index="experiment", columns=["approach", "task"], values="value")
    wide = wide.dropna()  # experiments that have all models
    if len(wide) < 2 or BASE not in wide.index or {*wide.columns.levels[0]} != {SINGLE.name, MULTI.name}:
        return pd.DataFrame(columns=columns)
    gains = wide.apply(lambda values: task_named(values.name[1]).metric.gain(values[BASE], values))
    together = gains[MULTI.name].mean(axis=1).idxmax()
    rows = []
    for task in wide[MULTI.name]:
        if task not in wide[SINGLE.name]:
            continue
        alone = gains[SINGLE.name, task].idxmax()
        one, three = wide[MULTI.name, task], wide[SINGLE.name, task]
        rows.append([task, len(wide), one[BASE] - three[BASE], one[together] - three[alone]])
    return pd.DataFrame(rows, columns=columns)


def by_weighting(runs: pd.DataFrame) -> pd.DataFrame:
    """The multi-task trainings that differ in how losses are weighed: `weighting, seed, task, metric, value`."""
    rows = runs[approach_of(runs) == MULTI.name]
    rows = rows.assign(weighting=rows["experiment"].map(WEIGHTINGS)).dropna(subset="weighting")
    return rows[["weighting", "seed", "task", "metric", "value"]].reset_index(drop=True)
