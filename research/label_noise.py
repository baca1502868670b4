"""What the models say of the labels: those that both approaches contradict, and copies that
contradict each other.

And how much of the metrics is owed to pictures that stand on both sides of the split, saved anew
with other bytes.

Neither proves a label wrong. But two models, trained apart, that are sure of the same other answer
are a reason to look; and of two different labels of the same bytes at most one is right, whatever
the models say.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from facemtl.data.images import decode_images, load_image
from facemtl.data.labels_csv import utkface_folder
from facemtl.data.reading import TRAIN, VALIDATION, contradicting_copies, read_images
from facemtl.data.utkface import CHIP_SIZE, default_folder
from facemtl.errors import FaceMTLError
from facemtl.evaluation.compare import compare
from facemtl.evaluation.validation import load_validation
from facemtl.files import write_table
from facemtl.inference.predictor import APPROACHES, Predictor
from facemtl.paths import ASSETS
from facemtl.tasks import Task

from . import run_script

DISPUTED_FILE, COUNTS_FILE, SIDES_FILE = (
    "disputed.csv",
    "disputed_counts.csv",
    "contradicting_copies.csv",
)
NEAR_FILE = "near_copies.csv"
_NAMES = [approach.name for approach in APPROACHES]

# -------------------------------------------------------------------------------- disputed labels


def disputed(table: pd.DataFrame) -> pd.DataFrame:
    """The labels that both approaches contradict in the same way, those they are surest of first.

    A prediction without an interval contradicts every other label, and both approaches must predict
    the same one. A prediction with an interval contradicts the labels outside it, and both
    intervals must lie on the same side of the label: how far off that is grows with the models'
    doubt, from a few years for a child to some 15 for an old face. Intervals of 90 % leave out
    about one label in ten, so some of these are merely unusual.

    `table` is `evaluation.validate`'s. Columns: `image, task, target`, each approach's prediction
    in `single` and `multi`, and `confidence`, the smaller of theirs.
    """
    found = _compared(table)
    chosen = found.loc[found["disputed"], ["image", "task", "target", *_NAMES, "confidence"]]
    return chosen.sort_values(
        ["confidence", "task", "image"], ascending=[False, True, True], ignore_index=True
    )


def disputed_counts(table: pd.DataFrame) -> pd.DataFrame:
    """Per task: `images`, how many of their labels `single` and `multi` contradict, and how many
    are `disputed`.
    """
    columns = {name: f"{name}_contradicts" for name in _NAMES} | {"disputed": "disputed"}
    tasks = _compared(table).groupby("task", sort=False)
    counts = {name: tasks[column].sum() for name, column in columns.items()}
    return pd.DataFrame({"images": tasks.size(), **counts}).reset_index()


def _compared(table: pd.DataFrame) -> pd.DataFrame:
    """`disputed`'s columns for every image and task, with `single_contradicts, multi_contradicts,
    disputed` (bool).
    """
    values = ["prediction", "confidence", "low", "high"]
    order = table["task"].unique()
    wide = table.pivot(index=["task", "image", "target"], columns="approach", values=values)
    wide = wide.reindex(order, level="task")
    prediction, confidence, low, high = (
        wide[value].reindex(columns=_NAMES).to_numpy(float) for value in values
    )  # (N, 2)
    if np.isnan(prediction).any():
        raise FaceMTLError(
            "The results lack predictions of one approach. Make them again with `python -m facemtl"
            " evaluate`."
        )
    found = wide.index.to_frame(index=False)
    target = found["target"].to_numpy(float)[:, None]
    contradicts = np.where(np.isnan(low), prediction != target, (target < low) | (high < target))
    # An interval holds its prediction, so the side on which a prediction lies is its interval's.
    answer = np.where(np.isnan(low), prediction, np.sign(prediction - target))
    found[_NAMES] = prediction
    found["confidence"] = confidence.min(axis=1)
    found[[f"{name}_contradicts" for name in _NAMES]] = contradicts
    found["disputed"] = contradicts.all(axis=1) & (answer[:, 0] == answer[:, 1])
    return found


# -------------------------------------------------------------------------- contradicting copies


def sides(
    predictor: Predictor, copies: pd.DataFrame, progress: Callable[[int], None] = lambda n: None
) -> pd.DataFrame:
    """Per task and approach: what the models answer where copies of an image carry different
    labels.

    `copies` is `data.contradicting_copies`'s; each image is predicted once, and `progress` is told
    of each. These bytes are on no side of the split, so no model was trained on them; but a few
    have a near-copy, the same picture saved anew, that is (see `near_copies`). Columns, over the
    `images` whose copies disagree in this task:

    - `hits`: percent on which the answer is one of the labels, or near one (`Task.hits`);
      `hits_by_chance`: the same if each image got the answer to another one. Where there are two
      labels in all, both are 100.
    - `nearest`, `mean`, `farthest`: the task's `metric` against the label that suits the answer
      best, against all the copies' labels, and against the one that suits it worst. The label that
      suits best is chosen after the answer is known, so `nearest` flatters; and no model can tell
      copies apart, so none can do better than `mean` on all of them.
    - `same`: percent on which both approaches side with the same label.
    - `confidence`: its mean, in percent. High, the image is clear, and it is a label that is wrong.
    """
    if copies.empty:
        raise FaceMTLError("There are no copies with contradicting labels. Use the whole dataset.")
    copies = copies.assign(image=copies["sha256"].str[:16])
    once = copies.drop_duplicates("image")
    crops = [load_image(file, CHIP_SIZE) for file in once["file"]]
    table = predictor.predict_crops(crops, once["image"], progress=progress).table
    rows = []
    for task in predictor.tasks:
        groups = copies.groupby("image")[task.column]
        given = {image: labels.to_numpy(float) for image, labels in groups if labels.nunique() > 1}
        if not given:
            continue
        answers = table[(table["task"] == task.name) & table["image"].isin(given)]
        answers = answers.pivot(
            index="image", columns="approach", values=["prediction", "confidence"]
        ).loc[list(given)]
        predictions = {name: answers["prediction"][name].to_numpy(float) for name in _NAMES}
        labels = list(given.values())
        single, multi = (_nearest(task, labels, predictions[name]) for name in _NAMES)
        for name in _NAMES:
            row = {
                "task": task.name,
                "approach": name,
                "images": len(given),
                "metric": task.metric.name,
            }
            row |= _scores(task, labels, predictions[name])
            row |= {
                "same": 100 * np.mean(single == multi),
                "confidence": 100 * answers["confidence"][name].mean(),
            }
            rows.append(row)
    return pd.DataFrame(rows)


def _scores(task: Task, labels: list[np.ndarray], answers: np.ndarray) -> dict[str, float]:
    """The labels of each of N images' copies and the answers (N,) -> `sides`'s `hits` to
    `farthest`.
    """
    hits = np.array(
        [task.hits(given[:, None], answers).any(axis=0) for given in labels]
    )  # (N, N): image i, answer j
    n, own = len(answers), np.trace(hits)
    scores = [
        task.metric.scores(given, answer) for given, answer in zip(labels, answers, strict=True)
    ]
    best, worst = (min, max) if task.metric.lower_is_better else (max, min)
    return {
        "hits": 100 * own / n,
        "hits_by_chance": 100 * (hits.sum() - own) / (n * (n - 1)) if n > 1 else np.nan,
        **{
            name: np.mean([of(s) for s in scores])
            for name, of in (("nearest", best), ("mean", np.mean), ("farthest", worst))
        },
    }


def _nearest(task: Task, labels: list[np.ndarray], answers: np.ndarray) -> np.ndarray:
    """The label of each image that suits its answer best (N,); NaN where several do, or, equally
    badly, all.
    """
    sided = []
    for given, answer in zip(labels, answers, strict=True):
        distinct = np.unique(given)
        scores = task.metric.scores(distinct, answer)
        best = distinct[scores == (scores.min() if task.metric.lower_is_better else scores.max())]
        sided.append(best[0] if len(best) == 1 else np.nan)
    return np.array(sided)


# ------------------------------------------------------------------------------------ near-copies


def near_copies(
    images: pd.DataFrame, likeness: float = 0.98, cache: Path | None = None
) -> pd.DataFrame:
    """The validation images of which a training image shows the same picture in other bytes:
    `image, likeness`.

    Likeness is the correlation of the gray images at 36 px, or that of one with the other's mirror
    image. At 0.98 pairs are the same picture saved anew, by eye. The split cannot know of them: it
    sees bytes alone.
    """
    gray = decode_images(images["file"], 36, cache).astype(np.float32).mean(axis=3)  # (N, 36, 36)
    gray -= gray.mean(axis=(1, 2), keepdims=True)
    gray /= np.linalg.norm(gray, axis=(1, 2), keepdims=True) + 1e-6
    train, validation = (
        gray[(images["split"] == split).to_numpy()] for split in (TRAIN, VALIDATION)
    )
    train = train.reshape(len(train), -1).T
    best = np.maximum(
        *((v.reshape(len(v), -1) @ train).max(axis=1) for v in (validation, validation[:, :, ::-1]))
    )
    found = images.loc[images["split"] == VALIDATION, ["sha256"]].assign(
        image=lambda t: t["sha256"].str[:16], likeness=best
    )
    return found.loc[best > likeness, ["image", "likeness"]].reset_index(drop=True)


def without(table: pd.DataFrame, images: pd.Series) -> pd.DataFrame:
    """Both approaches' metrics with and without some of the images.

    Columns `task, metric, n, n_without`, and for each approach its metric and that `_without` them.
    """
    columns = ["task", "metric", "n", *_NAMES]
    left = compare(table[~table["image"].isin(images)])[columns]
    return compare(table)[columns].merge(left, on=["task", "metric"], suffixes=("", "_without"))


# ------------------------------------------------------------------------------------------ files


def save_disputed(table: pd.DataFrame, folder: Path) -> None:
    """Write what `disputed` found. It is a list of UTKFace's images, so it stays on this
    machine.
    """
    write_table(table, folder / DISPUTED_FILE)


def save_summary(
    counts: pd.DataFrame, sided: pd.DataFrame, leaks: pd.DataFrame, folder: Path
) -> None:
    """Write `disputed_counts`'s, `sides`'s and `without`'s tables: they speak of no single image
    and may be passed on.
    """
    write_table(counts, folder / COUNTS_FILE)
    write_table(sided, folder / SIDES_FILE)
    write_table(leaks, folder / NEAR_FILE)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="What the models say of UTKFace's labels.")
    parser.add_argument("--data", type=Path, default=default_folder(), help="UTKFace's images")
    parser.add_argument("--models", type=Path, default=ASSETS / "models")
    parser.add_argument(
        "--results", type=Path, default=ASSETS / "validation", help="the folder `evaluate` wrote"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("runs") / "labels",
        help="the folder for the list of images, which may not be passed on",
    )
    options = parser.parse_args(arguments)
    table = load_validation(options.results)
    predictor = Predictor.load(options.models).require_pairs()
    copies = contradicting_copies(utkface_folder(options.data))
    with tqdm(total=copies["sha256"].nunique(), desc="Predicting copies") as bar:
        sided = sides(predictor, copies, bar.update)
    counts = disputed_counts(table)
    images, _ = read_images(options.data)
    near = near_copies(images, cache=options.data.absolute().parent / "cache")
    leaks = without(table, near["image"])
    save_disputed(disputed(table), options.output)
    save_summary(counts, sided, leaks, options.results)
    for found in (counts, sided.round(1), leaks.round(2)):
        print(found.to_string(index=False), end="\n\n")
    print(f"Wrote the list to {options.output} and the counts to {options.results}")


if __name__ == "__main__":
    run_script(main)
