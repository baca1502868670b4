"""Faces -> the predictions table that everything else reads.

The table is tidy: `image, face, model, task, prediction, confidence, low, high`, one row per image,
face, model and task. Predictions are numbers (a label's index, a number of years); words appear
only at the edge, through the task. Probabilities are a second tidy table: `image, face, model,
task, label, probability`.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import FaceMTLError
from .inference import faster
from .models import Checkpoint, FaceModel
from .tasks import TASKS, Task, task_named

BATCH_SIZE = 16  # what a batch's layers put out still fits into caches: 64 at once take a fifth longer on two cores
# In so small batches a face gets the answer that it gets alone, to the last digit: larger ones are multiplied otherwise.
SMALL_BATCH = 4
COLUMNS = ["image", "face", "model", "task", "prediction", "confidence", "low", "high"]


@dataclass(frozen=True)
class Approach:
    """One of the two sides that are compared, as it is called everywhere."""

    name: str
    title: str
    short: str


SINGLE = Approach("single", "Three single-task models", "three models")
MULTI = Approach("multi", "One multi-task model", "one model")
APPROACHES = (SINGLE, MULTI)


@dataclass(frozen=True)
class LoadedModel:
    """A checkpoint with its model, ready to predict."""

    checkpoint: Checkpoint
    model: FaceModel
    mirrored: bool = True  # outputs are the mean of a crop's and its mirror image's

    @property
    def name(self) -> str:
        return self.checkpoint.name

    @property
    def approach(self) -> Approach:
        return SINGLE if self.name in self.checkpoint.tasks else MULTI

    def faster(self) -> "LoadedModel":
        """Itself, giving the same answers sooner."""
        return replace(self, model=faster(self.model, self.checkpoint.image_size))

    def outputs(self, crops: Sequence[np.ndarray]) -> dict[str, Tensor]:
        """Square uint8 crops of any size -> {task: outputs (N, n_outputs)}."""
        return self.outputs_of(to_batch(crops, self.checkpoint.image_size))

    def outputs_of(self, images: Tensor) -> dict[str, Tensor]:
        """Images (N, 3, S, S) in [0, 1], of the model's size -> {task: outputs (N, n_outputs)}."""
        views = [images, images.flip(3)] if self.mirrored else [images]
        with torch.inference_mode():
            outputs = self.model(torch.cat(views))
        return {name: out.float().unflatten(0, (len(views), len(images))).mean(dim=0) for name, out in outputs.items()}


@dataclass(frozen=True)
class Predictions:
    """What all models say of some faces."""

    table: pd.DataFrame
    probabilities: pd.DataFrame
    seconds: dict[str, float]  # by model, for faces and their mirror images; without resizing, which is done once for all


class Predictor:
    """The named models that look at the same faces."""

    def __init__(self, models: Iterable[LoadedModel]):
        self.models = tuple(models)
        self.tasks: tuple[Task, ...] = tuple(t for t in TASKS if any(t in m.model.tasks for m in self.models))

    @classmethod
    def load(cls, folder: Path) -> "Predictor":
        """All models of a folder, single-task ones first. Raises FaceMTLError where there are none or one is damaged."""
        descriptions = sorted(folder.glob("*.json")) if folder.is_dir() else []
        if not descriptions:
            raise FaceMTLError(
                f"There are no models in {folder}. Train them with `python -m facemtl train`, or name their folder."
            )
        models = [LoadedModel(*Checkpoint.load(description)).faster() for description in descriptions]
        order = {task.name: position for position, task in enumerate(TASKS)}
        return cls(sorted(models, key=lambda m: (len(m.model.tasks), order.get(m.checkpoint.tasks[0], 0), m.name)))

    def require_pairs(self) -> "Predictor":
        """Itself. Raises FaceMTLError where a task has not just one model of each approach: there is nothing to compare."""
        for task in self.tasks:
            names = {a: [m.name for m in self.models if m.approach is a and task in m.model.tasks] for a in APPROACHES}
            if any(len(found) != 1 for found in names.values()):
                found = ", ".join(name for a in APPROACHES for name in names[a])
                raise FaceMTLError(
                    f"Comparing {task.name} takes one single-task and one multi-task model; found {found or 'none'}. "
                    "Train what is missing with `python -m facemtl train`, or move what is too much to another folder."
                )
        return self

    def by_approach(self, values: Mapping[str, float]) -> dict[str, float]:
        """What each model costs, by its name -> what each approach costs, by its name."""
        return {a.name: sum(values[m.name] for m in self.models if m.approach is a) for a in APPROACHES}

    def predict(
        self,
        crops: Sequence[np.ndarray],
        images: Sequence[str] | None = None,
        faces: Sequence[int] | None = None,
        progress: Callable[[int], None] = lambda n: None,
        batch_size: int = BATCH_SIZE,
    ) -> Predictions:
        """Square uint8 RGB crops -> predictions, in one batch per model and `batch_size` crops.

        `images` and `faces` name each crop in the tables; `progress` is told of each batch's size.
        """
        images = list(images) if images is not None else [""] * len(crops)
        faces = list(faces) if faces is not None else [0] * len(crops)
        tables, probabilities, seconds = [], [], {loaded.name: 0.0 for loaded in self.models}
        for start in range(0, len(crops), batch_size):
            batch, resized = slice(start, start + batch_size), {}
            for loaded in self.models:
                if (size := loaded.checkpoint.image_size) not in resized:  # mostly all models' is the same
                    resized[size] = to_batch(crops[batch], size)
                started = time.perf_counter()
                outputs = loaded.outputs_of(resized[size])
                seconds[loaded.name] += time.perf_counter() - started
                for task in loaded.model.tasks:
                    p, decoded = interpret(loaded.checkpoint, task, outputs[task.name])
                    n = len(crops[batch])
                    names = {"model": [loaded.name] * n, "task": [task.name] * n}
                    keys = {"image": images[batch], "face": faces[batch], **names}
                    tables.append(keys | {name: value.numpy() for name, value in decoded.items()})
                    probabilities.append(_tidy(keys, task, p))
            progress(len(crops[batch]))
        if not tables:
            return Predictions(pd.DataFrame(columns=COLUMNS), pd.DataFrame(), seconds)
        table = _stacked(tables).sort_values(["image", "face"], kind="stable", ignore_index=True)
        return Predictions(table[COLUMNS], _stacked(probabilities), seconds)


def interpret(checkpoint: Checkpoint, task: Task, outputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Outputs (N, n_outputs) -> calibrated probabilities (N, n_outputs) and what they decode to."""
    calibration = checkpoint.calibration.get(task.name, {})
    probabilities = task.probabilities(outputs, calibration.get("temperature", 1.0))
    return probabilities, task.decode(probabilities, calibration.get("margin", 0.0))


def in_words(predictions: Predictions) -> list[list[dict]]:
    """By face, in their order, each row as it is told outside of Python: in words too, with the probability of every label."""
    if predictions.table.empty:
        return []
    keys = ["image", "face", "model", "task"]
    shares = {
        key: dict(zip(found["label"], map(float, found["probability"]), strict=True))
        for key, found in predictions.probabilities.groupby(keys)
    }
    faces: dict[tuple, list[dict]] = {}
    for row, approach in zip(predictions.table.itertuples(), approach_of(predictions.table), strict=True):
        is_class = np.isnan(row.low)
        faces.setdefault((row.image, row.face), []).append(
            {
                "task": row.task, "approach": approach, "model": row.model,
                "answer": task_named(row.task).words(row.prediction),
                "prediction": int(row.prediction) if is_class else row.prediction, "confidence": row.confidence,
                "low": None if is_class else row.low, "high": None if is_class else row.high,
                "probabilities": shares[row.image, row.face, row.model, row.task],
            }
        )  # fmt: skip
    return list(faces.values())


def to_batch(crops: Sequence[np.ndarray], size: int) -> Tensor:
    """Square uint8 (S, S, 3) crops of any sizes -> float (N, 3, size, size) in [0, 1]."""
    resized = [
        F.interpolate(
            torch.from_numpy(np.array(crop)).permute(2, 0, 1)[None].float(),
            size=(size, size), mode="bilinear", antialias=True, align_corners=False,
        )
        for crop in crops
    ]  # fmt: skip
    return torch.cat(resized) / 255


def approach_of(table: pd.DataFrame) -> pd.Series:
    """The name of each row's approach: a single-task model is named after its task."""
    return pd.Series(np.where(table["model"] == table["task"], SINGLE.name, MULTI.name), index=table.index)


def _tidy(keys: dict, task: Task, probabilities: Tensor) -> dict:
    n, k = probabilities.shape
    repeated = {name: np.repeat(_column(values), k) for name, values in keys.items()}
    labels = np.tile(_column([str(b) for b in task.bins]), n)
    return {**repeated, "label": labels, "probability": probabilities.flatten().numpy()}


def _stacked(parts: Sequence[dict]) -> pd.DataFrame:
    """One table of many, given as dicts of columns: as tables of their own they would take longer than a model."""
    return pd.DataFrame({name: np.concatenate([_column(part[name]) for part in parts]) for name in parts[0]})


def _column(values: object) -> np.ndarray:
    """Words stay Python's own."""
    array = np.asarray(values)
    return array.astype(object) if array.dtype.kind == "U" else array
