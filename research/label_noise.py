"""Label noise in UTKFace: disputed labels, contradicting copies, and near-copies in both splits.

- Disputed labels are those that both approaches contradict in the same way.
- Contradicting copies are byte-identical files with different labels.
- Near-copies are the same picture saved with other bytes, once in the training split and once in
  the validation split. The script measures how much the metrics owe to them.

None of this proves a label wrong. But if two models that were trained separately are sure of the
same other answer, the label deserves a look. And of two different labels of the same bytes, at most
one is right, whatever the models say.
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
from facemtl.data.utkface import CHIP_SIZE
from facemtl.errors import FaceMTLError
from facemtl.evaluation.compare import compare
from facemtl.evaluation.validation import load_validation
from facemtl.files import write_table
from facemtl.inference.predictor import APPROACHES, Predictor
from facemtl.paths import ASSETS, default_folder
from facemtl.tasks import Task

from . import run_script

DISPUTED_FILE, COUNTS_FILE, ANSWERS_FILE = (
    "disputed.csv",
    "disputed_counts.csv",
    "contradicting_copies.csv",
)
NEAR_FILE = "near_copies.csv"
_NAMES = [approach.name for approach in APPROACHES]

# -------------------------------------------------------------------------------- disputed labels


def disputed(table: pd.DataFrame) -> pd.DataFrame:
    """The labels that both approaches contradict in the same way, most confident first.

    A prediction without an interval contradicts every other label. Both approaches must then
    predict the same label. A prediction with an interval contradicts the labels outside it. Both
    intervals must then be on the same side of the label. The wider the intervals, the larger the
    error they allow: from a few years for a child to about 15 for an old face. Intervals of 90 %
    leave out about one label in ten, so some of these labels are merely unusual.

    `table` is that of `evaluation.validation.validate`. Columns: `image, task, target`; `single`
    and `multi`, the approaches' predictions; `confidence`, the smaller one of both.
    """
    found = _compared(table)
    chosen = found.loc[found["disputed"], ["image", "task", "target", *_NAMES, "confidence"]]
    return chosen.sort_values(
        ["confidence", "task", "image"], ascending=[False, True, True], ignore_index=True
    )


def disputed_counts(table: pd.DataFrame) -> pd.DataFrame:
    """How many labels each approach contradicts and how many are disputed, per task.

    Columns: `task, images, single, multi, disputed`.
    """
    columns = {name: f"{name}_contradicts" for name in _NAMES} | {"disputed": "disputed"}
    tasks = _compared(table).groupby("task", sort=False)
    counts = {name: tasks[column].sum() for name, column in columns.items()}
    return pd.DataFrame({"images": tasks.size(), **counts}).reset_index()


def _compared(table: pd.DataFrame) -> pd.DataFrame:
    """The columns of `disputed`, for every image and task.

    More columns: `single_contradicts, multi_contradicts, disputed`, all bool.
    """
    values = ["prediction", "confidence", "low", "high"]
    order = table["task"].unique()
    wide = table.pivot(index=["task", "image", "target"], columns="approach", values=values)
    wide = wide.reindex(order, level="task")
    # Each is (N, 2).
    prediction, confidence, low, high = (
        wide[value].reindex(columns=_NAMES).to_numpy(float) for value in values
    )
    if np.isnan(prediction).any():
        raise FaceMTLError(
            "The results lack predictions of one approach. Make them again with `python -m facemtl"
            " evaluate`."
        )
    found = wide.index.to_frame(index=False)
    target = found["target"].to_numpy(float)[:, None]
    contradicts = np.where(np.isnan(low), prediction != target, (target < low) | (high < target))
    # An interval contains its prediction, so both are on the same side of a label outside it.
    answer = np.where(np.isnan(low), prediction, np.sign(prediction - target))
    found[_NAMES] = prediction
    found["confidence"] = confidence.min(axis=1)
    found[[f"{name}_contradicts" for name in _NAMES]] = contradicts
    found["disputed"] = contradicts.all(axis=1) & (answer[:, 0] == answer[:, 1])
    return found


# -------------------------------------------------------------------------- contradicting copies


def answers_to_copies(
    predictor: Predictor, copies: pd.DataFrame, progress: Callable[[int], None] = lambda n: None
) -> pd.DataFrame:
    """The models' answers to images whose copies carry different labels, per task and approach.

    `copies` is the table of `data.reading.contradicting_copies`. Each image is predicted once;
    `progress` is called with 1 after each. These images are in no split, so no model was trained on
    them. But a few have a near-copy in a split: the same picture with other bytes (see
    `near_copies`). Columns, over the `images` whose copies disagree in this task:

    - `hits`: percentage of images for which the answer is one of the labels, or near one
      (`Task.hits`); `hits_by_chance`: the same if each image got the answer to another image. For a
      task with only two labels, both are 100.
    - `nearest`, `mean`, `farthest`: the task's `metric` against the label that suits the answer
      best, against all labels of the copies, and against the label that suits it worst. `nearest`
      is optimistic, because its label is chosen after the answer is known. No model can tell copies
      apart, so none can do better than `mean` on all of them.
    - `same`: percentage of images for which both approaches side with the same label.
    - `confidence`: the mean confidence, in percent. If it is high, the images are clear, and labels
      are wrong.
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
    """The columns `hits` to `farthest` of `answers_to_copies`.

    `labels` has the labels of the copies of each of N images. `answers` is (N,).
    """
    # (N, N): image i, answer j
    hits = np.array([task.hits(given[:, None], answers).any(axis=0) for given in labels])
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
    """The label of each image that suits its answer best (N,); NaN if several suit equally."""
    nearest = []
    for given, answer in zip(labels, answers, strict=True):
        distinct = np.unique(given)
        scores = task.metric.scores(distinct, answer)
        best = distinct[scores == (scores.min() if task.metric.lower_is_better else scores.max())]
        nearest.append(best[0] if len(best) == 1 else np.nan)
    return np.array(nearest)


# ------------------------------------------------------------------------------------ near-copies


def near_copies(
    images: pd.DataFrame, likeness: float = 0.98, cache: Path | None = None
) -> pd.DataFrame:
    """The validation images that show the same picture as a training image, in other bytes.

    Columns: `image, likeness`. Likeness is the correlation of the two gray images at 36 px, or of
    one with the mirror image of the other. Above 0.98, pairs are the same picture as judged by
    eye. The split cannot keep such pairs together, because it goes by bytes alone.
    """
    gray = decode_images(images, 36, cache).astype(np.float32).mean(axis=3)  # (N, 36, 36)
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
    """Both approaches' metrics with and without the given images.

    Columns: `task, metric, n, n_without`; for each approach its metric, and the same `_without`
    these images.
    """
    columns = ["task", "metric", "n", *_NAMES]
    left = compare(table[~table["image"].isin(images)])[columns]
    return compare(table)[columns].merge(left, on=["task", "metric"], suffixes=("", "_without"))


# ------------------------------------------------------------------------------------------ files


def save_disputed(table: pd.DataFrame, folder: Path) -> None:
    """Write the table of `disputed`.

    It lists images of UTKFace, so it must stay on this machine.
    """
    write_table(table, folder / DISPUTED_FILE)


def save_summary(
    counts: pd.DataFrame, answers: pd.DataFrame, leaks: pd.DataFrame, folder: Path
) -> None:
    """Write the tables of `disputed_counts`, `answers_to_copies` and `without`.

    They describe no single image, so they may be passed on.
    """
    write_table(counts, folder / COUNTS_FILE)
    write_table(answers, folder / ANSWERS_FILE)
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
        answers = answers_to_copies(predictor, copies, bar.update)
    counts = disputed_counts(table)
    images, _ = read_images(options.data)
    near = near_copies(images, cache=options.data.absolute().parent / "cache")
    leaks = without(table, near["image"])
    save_disputed(disputed(table), options.output)
    save_summary(counts, answers, leaks, options.results)
    for found in (counts, answers.round(1), leaks.round(2)):
        print(found.to_string(index=False), end="\n\n")
    print(f"Wrote the list to {options.output} and the counts to {options.results}")


if __name__ == "__main__":
    run_script(main)
