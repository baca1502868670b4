"""Predictor: faces -> the predictions table that everything else reads.

The table is tidy: `image, face, model, approach, task, prediction, confidence, low, high`, one row
per image, face, model and task. Predictions are numbers (a label's index, a number of years); words
appear only at the edge, through the task. Probabilities are a second tidy table: `image, face,
model, approach, task, label, probability`.
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
from PIL import Image

from ..errors import FaceMTLError
from ..faces import Face, ImageLike, as_image, whole
from ..faces import detect as detect_faces
from ..models.model_file import INPUT, SUFFIX, ModelInfo
from ..paths import ASSETS
from ..tasks import TASKS, Task, task_named

COLUMNS = ["image", "face", "model", "approach", "task", "prediction", "confidence", "low", "high"]
MODELS = ASSETS / "models"
RUNTIME = f"ONNX Runtime {onnxruntime.__version__}"


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
    """A model file, ready to answer on ONNX Runtime."""

    info: ModelInfo
    session: onnxruntime.InferenceSession
    mirrored: bool = True  # logits are the mean of a crop's and its mirror image's

    @classmethod
    def load(cls, file: Path) -> "LoadedModel":
        """The model of a file. FaceMTLError where it cannot be read, is damaged, or is no model of
        facemtl.
        """
        try:
            content = file.read_bytes()
        except OSError as error:
            raise FaceMTLError(f"The model {file} cannot be read: {error.strerror}.") from error
        try:
            # Not of `content`, which the session would keep for as long as it lives.
            session = onnxruntime.InferenceSession(
                file, session_options(), providers=["CPUExecutionProvider"]
            )
        except (
            Exception
        ) as error:  # the runtime has an error for each way in which a file can be wrong
            raise FaceMTLError(
                f"{file.name} is damaged, or no model. Fetch it again, or train the model again."
            ) from error
        info = ModelInfo.of_file(content, session.get_modelmeta().custom_metadata_map, file.name)
        if info.name != file.stem:
            raise FaceMTLError(
                f"{file.name} holds the model {info.name}. Rename it to {info.name}{SUFFIX}, or"
                " fetch it again."
            )
        return cls(info, session)

    @property
    def name(self) -> str:
        return self.info.name

    @property
    def tasks(self) -> tuple[Task, ...]:
        return self.info.tasks

    @property
    def approach(self) -> Approach:
        return SINGLE if len(self.tasks) == 1 else MULTI

    def logits(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Images (N, 3, size, size) in [0, 1] -> {task: logits (N, n_outputs)}."""
        found = [logits for _, logits in _workers().map(self.answer, images)]
        return {task.name: np.stack([logits[task.name] for logits in found]) for task in self.tasks}

    def answer(self, image: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
        """An image (3, size, size) in [0, 1] -> the seconds that it took, and {task: logits
        (n_outputs,)}.

        The runtime sees one face at a time, with its mirror image: so a face gets the same digits
        alone and among others. Larger batches would take as long for each.
        """
        started = time.perf_counter()
        views = np.stack(
            [image, image[:, :, ::-1]] if self.mirrored else [image]
        )  # (1 or 2, 3, S, S)
        names = [task.name for task in self.tasks]
        found = [logits.mean(axis=0) for logits in self.session.run(names, {INPUT: views})]
        return time.perf_counter() - started, dict(zip(names, found, strict=True))


def session_options() -> onnxruntime.SessionOptions:
    """How all models run: each on one core, several at a time (`_workers`). Several cores for one
    model save little.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # errors only
    return options


def threads() -> int:
    """How many models or images run at a time: `OMP_NUM_THREADS`, else the cores that this process
    may use, four at most.
    """
    given = os.environ.get("OMP_NUM_THREADS", "")
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return int(given) if given.isdigit() and int(given) else min(cores, 4)


@cache
def _workers() -> ThreadPoolExecutor:
    """The threads in which models run; ONNX Runtime lets Python go on meanwhile."""
    return ThreadPoolExecutor(threads(), "models")


@dataclass(frozen=True)
class Predictions:
    """What all models say of some faces."""

    table: pd.DataFrame
    probabilities: pd.DataFrame
    seconds: dict[
        str, float
    ]  # by model, for faces and their mirror images; without resizing, which is done once for all


class Predictor:
    """The named models that look at the same faces."""

    def __init__(self, models: Iterable[LoadedModel]):
        self.models = tuple(models)
        self.tasks: tuple[Task, ...] = tuple(
            t for t in TASKS if any(t in m.tasks for m in self.models)
        )

    @classmethod
    def load(cls, folder: str | Path = MODELS) -> "Predictor":
        """All models of a folder, single-task ones first. Raises FaceMTLError where there are none
        or one is damaged.
        """
        folder = Path(folder)
        files = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
        if not files:
            raise FaceMTLError(
                f"There are no models in {folder}. Train them with `python -m facemtl train`, or"
                " name their folder."
            )
        order = {task.name: position for position, task in enumerate(TASKS)}
        models = [LoadedModel.load(file) for file in files]
        return cls(sorted(models, key=lambda m: (len(m.tasks), order[m.tasks[0].name], m.name)))

    def require_pairs(self) -> "Predictor":
        """Itself. Raises FaceMTLError where a task has not just one model of each approach: there
        is nothing to compare.
        """
        for task in self.tasks:
            names = {
                a: [m.name for m in self.models if m.approach is a and task in m.tasks]
                for a in APPROACHES
            }
            if any(len(found) != 1 for found in names.values()):
                found = ", ".join(name for a in APPROACHES for name in names[a])
                raise FaceMTLError(
                    f"Comparing {task.name} takes one single-task and one multi-task model; found"
                    f" {found or 'none'}. Train what is missing with `python -m facemtl train`, or"
                    " move what is too much to another folder."
                )
        return self

    def by_approach(self, values: Mapping[str, float]) -> dict[str, float]:
        """What each model costs, by its name -> what each approach costs, by its name."""
        return {
            a.name: sum(values[m.name] for m in self.models if m.approach is a) for a in APPROACHES
        }

    def predict(
        self, images: ImageLike | Sequence[ImageLike], *, detect: bool = True
    ) -> "Predictions":
        """Predictions for one image, or for a list of images.

        An image is a path, a PIL image, or an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of
        uint8, or of floats from 0 to 1. Each is searched for faces; a crop that a face fills as in
        UTKFace is taken as it is. With `detect=False` every image is taken as such a crop, and must
        be square.

        In the tables,
        `image` is an image's path, or its position in the list, and `face` counts its
        faces from 0, largest first. Raises FaceMTLError if an image cannot be understood,
        or no face is
        found in it.
        """
        several = images if isinstance(images, list | tuple) else [images]
        crops, names, numbers = [], [], []
        for position, given in enumerate(several):
            name = str(given) if isinstance(given, str | Path) else str(position)
            try:
                faces = _faces(given, detect)
            except FaceMTLError as error:
                raise FaceMTLError(f"Image {name}: {error}") from error
            crops += [face.crop for face in faces]
            names += [name] * len(faces)
            numbers += range(len(faces))
        return self.predict_crops(crops, names, numbers)

    def predict_crops(
        self,
        crops: Sequence[np.ndarray],
        images: Sequence[str] | None = None,
        faces: Sequence[int] | None = None,
        progress: Callable[[int], None] = lambda n: None,
    ) -> Predictions:
        """Square uint8 RGB crops -> predictions. `images` and `faces` name each crop; `progress` is
        told of each face.
        """
        images = list(images) if images is not None else [""] * len(crops)
        faces = list(faces) if faces is not None else [0] * len(crops)
        seconds = {loaded.name: 0.0 for loaded in self.models}
        logits: dict[tuple[str, str], list[np.ndarray]] = {}
        for crop in crops:
            resized = {
                size: to_batch([crop], size)
                for size in {loaded.info.size for loaded in self.models}
            }
            answers = _workers().map(
                lambda m, images=resized: m.answer(images[m.info.size][0]), self.models
            )
            for loaded, (took, found) in zip(self.models, answers, strict=True):
                seconds[loaded.name] += took
                for task, values in found.items():
                    logits.setdefault((loaded.name, task), []).append(values)
            progress(1)
        tables, probabilities = [], []
        for loaded in self.models if logits else ():
            for task in loaded.tasks:
                p, decoded = interpret(loaded.info, task, np.stack(logits[loaded.name, task.name]))
                names = {"model": loaded.name, "approach": loaded.approach.name, "task": task.name}
                keys = {
                    "image": images,
                    "face": faces,
                    **{key: [name] * len(crops) for key, name in names.items()},
                }
                tables.append(keys | decoded)
                probabilities.append(_tidy(keys, task, p))
        if not tables:
            return Predictions(pd.DataFrame(columns=COLUMNS), pd.DataFrame(), seconds)
        table = _stacked(tables).sort_values(["image", "face"], kind="stable", ignore_index=True)
        return Predictions(table[COLUMNS], _stacked(probabilities), seconds)


def _faces(given: ImageLike, detect: bool) -> list[Face]:
    image = as_image(given)
    if not detect:
        if image.width != image.height:
            raise FaceMTLError(
                f"expected a square crop, found {image.width} x {image.height} pixels. "
                "Leave out detect=False to search it for faces."
            )
        return [whole(image)]
    if not (faces := detect_faces(image)):
        raise FaceMTLError("no face found. If it is a crop of a face, pass detect=False.")
    return faces


def interpret(
    info: ModelInfo, task: Task, logits: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Logits (N, n_outputs) -> calibrated probabilities (N, n_outputs) and what they decode to."""
    calibration = info.calibration.get(task.name, {})
    probabilities = task.probabilities(logits, calibration.get("temperature", 1.0))
    return probabilities, task.decode(probabilities, calibration.get("margin", 0.0))


def in_words(predictions: Predictions) -> list[list[dict]]:
    """By face, in their order, each row as it is told outside of Python: in words too, with the
    probability of every label.
    """
    if predictions.table.empty:
        return []
    keys = ["image", "face", "model", "task"]
    shares = {
        key: dict(zip(found["label"], map(float, found["probability"]), strict=True))
        for key, found in predictions.probabilities.groupby(keys)
    }
    faces: dict[tuple, list[dict]] = {}
    for row in predictions.table.itertuples():
        is_class = np.isnan(row.low)
        faces.setdefault((row.image, row.face), []).append(
            {
                "task": row.task, "approach": row.approach, "model": row.model,
                "answer": task_named(row.task).words(row.prediction),
                "prediction": int(row.prediction) if is_class else row.prediction,
                "confidence": row.confidence,
                "low": None if is_class else row.low, "high": None if is_class else row.high,
                "probabilities": shares[row.image, row.face, row.model, row.task],
            }
        )  # fmt: skip
    return list(faces.values())


def to_batch(crops: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Square uint8 (S, S, 3) crops of any sizes -> float32 (N, 3, size, size) in [0, 1]."""
    resized = [
        Image.fromarray(np.asarray(crop)).resize((size, size), Image.Resampling.BILINEAR)
        for crop in crops
    ]
    return np.stack([np.asarray(image, np.float32).transpose(2, 0, 1) / 255 for image in resized])


def _tidy(keys: dict, task: Task, probabilities: np.ndarray) -> dict:
    n, k = probabilities.shape
    repeated = {name: np.repeat(_column(values), k) for name, values in keys.items()}
    labels = np.tile(_column([str(b) for b in task.bins]), n)
    return {**repeated, "label": labels, "probability": probabilities.flatten()}


def _stacked(parts: Sequence[dict]) -> pd.DataFrame:
    """One table of many, given as dicts of columns: as tables of their own they would take longer
    than a model.
    """
    return pd.DataFrame(
        {name: np.concatenate([_column(part[name]) for part in parts]) for name in parts[0]}
    )


def _column(values: object) -> np.ndarray:
    """Words stay Python's own."""
    array = np.asarray(values)
    return array.astype(object) if array.dtype.kind == "U" else array
