"""Comparison over several seeds, with bootstrap intervals over both seeds and images.

Each of the four models is trained once per seed. The table of `load_seeds` holds the predictions of
all of them for the validation images. The first seed is that of the shipped models.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import FaceMTLError
from ..files import read_table, write_table
from ..inference.predictor import MULTI, SINGLE
from ..tasks import AGE, TASKS, task_named
from .compare import N_RESAMPLES, paired_scores
from .groups import age_groups

SEEDS_FILE = "seeds.csv.gz"
COLUMNS = ["seed", "image", "approach", "task", "prediction", "target"]
_TYPES = {
    "seed": int,
    "image": str,
    "approach": str,
    "task": str,
    "prediction": float,
    "target": float,
}
_COMMAND = "python -m research.studies seeds"
_CHUNK = 200  # resamples at a time, so that their weights fit into the processor's cache


def load_seeds(folder: Path) -> pd.DataFrame:
    """The saved predictions of all complete seeds, with COLUMNS.

    A seed is complete if the predictions of all its models are saved. Raises FaceMTLError if no
    seed is complete, or if the file is missing or damaged.
    """
    table = read_table(folder / SEEDS_FILE, _TYPES, _COMMAND)
    answers = table.groupby("seed").apply(
        lambda part: set(zip(part["approach"], part["task"], strict=True)), include_groups=False
    )
    needed = {
        (approach, task)
        for approach in (SINGLE.name, MULTI.name)
        for task in table["task"].unique()
    }
    whole = [seed for seed, found in answers.items() if found == needed]
    if not whole:
        raise FaceMTLError(
            f"No seed in {SEEDS_FILE} has the predictions of all its models. Continue with"
            f" `{_COMMAND}`."
        )
    return table[table["seed"].isin(whole)].reset_index(drop=True)


def add_seeds(table: pd.DataFrame, folder: Path) -> None:
    """Add trainings to the saved ones. A training that is already saved is replaced."""
    if (folder / SEEDS_FILE).exists():
        table = pd.concat(
            [read_table(folder / SEEDS_FILE, _TYPES, _COMMAND), table[COLUMNS]], ignore_index=True
        )
        table = table.drop_duplicates(["seed", "image", "approach", "task"], keep="last")
    save_seeds(table, folder)


def save_seeds(table: pd.DataFrame, folder: Path) -> None:
    write_table(table[COLUMNS].round({"prediction": 3}), folder / SEEDS_FILE)


def compare_seeds(
    table: pd.DataFrame, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Per task: both approaches' mean metric over seeds, and the difference (multi minus single).

    Columns: `task, metric, n, seeds`; for each of `single`, `multi` and `difference` the value, its
    standard deviation over seeds `_sd` (NaN for one seed) and its 95 % interval `_low`, `_high`.
    The interval is from a hierarchical bootstrap (Davison and Hinkley, 1997, section 3.8). Seeds
    and images are both drawn with replacement. The images are the same for both approaches. With
    one seed, this is the bootstrap over images.
    """
    rows = []
    for task, scores in _scores(table).items():
        # (K, 2) for K seeds, (R, 2) for R resamples
        means, resampled = scores.mean(axis=1), _resampled(scores, n_resamples, seed)
        row = {
            "task": task,
            "metric": task_named(task).metric.name,
            "n": scores.shape[1],
            "seeds": len(scores),
        }
        for name, values, samples in _with_difference(means, resampled):
            row[name], row[f"{name}_sd"] = (
                values.mean(),
                values.std(ddof=1) if len(values) > 1 else np.nan,
            )
            row[f"{name}_low"], row[f"{name}_high"] = np.percentile(samples, [2.5, 97.5])
        rows.append(row)
    return pd.DataFrame(rows)


def delta_m_of_seeds(
    table: pd.DataFrame, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> dict[str, float]:
    """The mean of delta-m over seeds, with its standard deviation and 95 % interval.

    Keys: `seeds, value, sd, low, high`. `evaluation.compare.delta_m` defines delta-m.
    """
    gains, resampled = [], []
    for task, scores in _scores(table).items():
        means, samples = scores.mean(axis=1), _resampled(scores, n_resamples, seed)
        gain = task_named(task).metric.gain
        gains.append(gain(means[:, 0], means[:, 1]))
        resampled.append(gain(samples[:, 0], samples[:, 1]))
    by_seed, low, high = (
        np.mean(gains, axis=0),
        *np.percentile(np.mean(resampled, axis=0), [2.5, 97.5]),
    )
    sd = by_seed.std(ddof=1) if len(by_seed) > 1 else np.nan
    return {"seeds": len(by_seed), "value": by_seed.mean(), "sd": sd, "low": low, "high": high}


def age_errors_of_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """The mean absolute age error of each seed, per age group: one row per seed and group.

    Columns: `seed, age_group`, and in years `single, multi, difference` (multi minus single).
    """
    rows = table[table["task"] == AGE.name]
    rows = rows.assign(
        error=(rows["prediction"] - rows["target"]).abs(), age_group=age_groups(rows["target"])
    )
    found = rows.groupby(["seed", "age_group", "approach"])["error"].mean().unstack("approach")
    found = found.reindex(columns=[SINGLE.name, MULTI.name])  # adds them if there are no ages
    found["difference"] = found[MULTI.name] - found[SINGLE.name]
    return found.rename_axis(columns=None).reset_index()


def _scores(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Per-image scores by task: (seeds, images, 2), for `single` and `multi`.

    Raises FaceMTLError if the seeds have different images.
    """
    found = {}
    for task in TASKS:
        rows = table[table["task"] == task.name]
        if rows.empty:
            continue
        of_seeds = [paired_scores(part, task) for _, part in rows.groupby("seed")]
        if any(not each.index.equals(of_seeds[0].index) for each in of_seeds):
            raise FaceMTLError(
                f"The seeds' predictions of {task.name} are of different images. Measure all seeds"
                " again."
            )
        found[task.name] = np.stack(
            [each[[SINGLE.name, MULTI.name]].to_numpy() for each in of_seeds]
        )
    return found


def _resampled(scores: np.ndarray, n_resamples: int, seed: int) -> np.ndarray:
    """Means of (K, N, 2) scores over resampled seeds and images: (n_resamples, 2)."""
    rng, (k, n, _) = np.random.default_rng(seed), scores.shape
    found = []
    for start in range(0, n_resamples, _CHUNK):
        count = min(_CHUNK, n_resamples - start)
        # (R, N): how often each image is drawn, divided by N
        images = rng.multinomial(n, np.full(n, 1 / n), size=count) / n
        seeds = rng.multinomial(k, np.full(k, 1 / k), size=count) / k  # (R, K)
        of_seeds = np.einsum("rn,knc->rkc", images, scores, optimize=True)
        found.append(np.einsum("rk,rkc->rc", seeds, of_seeds))
    return np.concatenate(found)


def _with_difference(means: np.ndarray, resampled: np.ndarray):
    """(name, (K,), (R,)) for `single`, `multi` and `difference`, which is multi minus single.

    `means` is (K, 2) and `resampled` is (R, 2).
    """
    for i, name in enumerate((SINGLE.name, MULTI.name)):
        yield name, means[:, i], resampled[:, i]
    yield "difference", means[:, 1] - means[:, 0], resampled[:, 1] - resampled[:, 0]
