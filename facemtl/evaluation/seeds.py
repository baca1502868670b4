"""The comparison over several seeds: intervals that count the seed of a training and the choice of
images.

Each of the four models is trained once per seed. The table of `load_seeds` holds what all of them
answer on the validation images; the first seed is that of the shipped models.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import FaceMTLError
from ..files import read_table, write_table
from ..inference.predictor import MULTI, SINGLE
from ..tasks import TASKS, task_named
from .compare import N_RESAMPLES, paired_scores

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
_CHUNK = 200  # resamples at a time: their weights of all images fit into the cache


def load_seeds(folder: Path) -> pd.DataFrame:
    """The table COLUMNS of those seeds of which `save_seeds` wrote all models. FaceMTLError where
    there is none.
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
            f"{SEEDS_FILE} has no seed of which all models are measured. Go on with `{_COMMAND}`."
        )
    return table[table["seed"].isin(whole)].reset_index(drop=True)


def add_seeds(table: pd.DataFrame, folder: Path) -> None:
    """Add trainings to those that are saved; one that is there already is replaced."""
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
    """Per task, the mean metric over seeds of both approaches, and their difference (multi minus
    single).

    Columns `task, metric, n, seeds`; for each of `single`, `multi` and `difference` the value, its
    standard deviation over seeds `_sd` (NaN of one seed) and the 95 % interval `_low`, `_high` of a
    hierarchical bootstrap: seeds are drawn with replacement, and for them images, the same ones for
    both approaches (Davison and Hinkley, 1997, section 3.8). Of one seed it is the bootstrap over
    images.
    """
    rows = []
    for task, scores in _scores(table).items():
        means, resampled = (
            scores.mean(axis=1),
            _resampled(scores, n_resamples, seed),
        )  # (K, 2), (R, 2)
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
    """`seeds, value, sd, low, high` of delta-m, as `evaluation.delta_m` defines it: mean over
    seeds, and its interval.
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


def _scores(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """By task, per-image scores (seeds, images, 2), of `single` and `multi`. Every seed has the
    same images.
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
        images = (
            rng.multinomial(n, np.full(n, 1 / n), size=count) / n
        )  # (R, N): how often each is drawn, over n
        seeds = rng.multinomial(k, np.full(k, 1 / k), size=count) / k  # (R, K)
        of_seeds = np.einsum("rn,knc->rkc", images, scores, optimize=True)
        found.append(np.einsum("rk,rkc->rc", seeds, of_seeds))
    return np.concatenate(found)


def _with_difference(means: np.ndarray, resampled: np.ndarray):
    """(K, 2), (R, 2) -> name, (K,), (R,) of both approaches and of multi minus single."""
    for i, name in enumerate((SINGLE.name, MULTI.name)):
        yield name, means[:, i], resampled[:, i]
    yield "difference", means[:, 1] - means[:, 0], resampled[:, 1] - resampled[:, 0]
