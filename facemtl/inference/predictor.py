"""Predictor: runs the models on faces and returns the predictions table.

The table is tidy, with one row per image, face, model and task. Columns: `image, face, model,
approach, task, prediction, confidence, low, high`. A prediction is a number: a label's index, or
years. Only the task turns it into words, for display. Probabilities are a second tidy table:
`image, face, model, approach, task, label, probability`.
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

from ..errors import FaceMTLError, file_error, first_line
from ..faces import Face, ImageLike, as_image, whole
from ..faces import detect as detect_faces
from ..label_sets import require_used
from ..models.model_file import INPUT, SUFFIX, ModelInfo
from ..paths import ASSETS, as_path
from ..processes import number_of_threads
from ..regular import MOST_OF_MODEL, files_in, path_or_content, read_bytes
from ..tasks import TASKS, Task, task_named
from .runtime import session_options

COLUMNS = ["image", "face", "model", "approach", "task", "prediction", "confidence", "low", "high"]
MODELS = ASSETS / "models"
RUNTIME = f"ONNX Runtime {onnxruntime.__version__}"


@dataclass(frozen=True)
class Approach:
    """One of the two approaches that are compared, with its names."""

    name: str
    title: str
    short: str
    kind: str

    @property
    def model(self) -> str:
        """The name of the one model that answers a task."""
        return f"{self.kind} model"

    @property
    def count(self) -> str:
        """The number of its models, 'Three' or 'One'."""
        return self.short.split()[0].capitalize()


SINGLE = Approach("single", "Three single-task models", "three models", "Single-task")
MULTI = Approach("multi", "One multi-task model", "one model", "Multi-task")
APPROACHES = (SINGLE, MULTI)


@dataclass(frozen=True)
class LoadedModel:
    """A model file, loaded into ONNX Runtime."""

    info: ModelInfo
    session: onnxruntime.InferenceSession
    mirrored: bool = True  # average the logits of a crop and its mirror image

    @classmethod
    def load(cls, file: Path) -> "LoadedModel":
        """Load a model file.

        Raises FaceMTLError if it cannot be read, is damaged, is not a model of facemtl, or was
        renamed.
        """
        try:
            content = read_bytes(file, MOST_OF_MODEL)
        except OSError as error:
            raise FaceMTLError(f"A model cannot be read. {file_error(error)}") from error
        try:
            source = path_or_content(file, content)
            session = onnxruntime.InferenceSession(
                source, session_options(), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime raises many kinds of errors
            raise FaceMTLError(
                f"{file.name} is damaged or not a model. Fetch it again, or train the model again."
            ) from error
        info = ModelInfo.of_file(content, session.get_modelmeta().custom_metadata_map, file.name)
        if info.name != file.stem:
            raise FaceMTLError(
                f"{file.name} holds the model {info.name}. Rename it to {info.name}{SUFFIX}, or"
                " fetch it again."
            )
        return cls(info, session)._tried()

    def _tried(self) -> "LoadedModel":
        """Return the model itself, after a first run: a file with a right hash may be of no use.

        Raises FaceMTLError if it cannot be run or gives no finite numbers.
        """
        try:
            _, found = self.answer(np.full((3, self.info.size, self.info.size), 0.5, np.float32))
            if not all(np.isfinite(logits).all() for logits in found.values()):
                raise ValueError("its answers are not finite numbers")
            if any(found[task.name].shape != (task.n_outputs,) for task in self.tasks):
                raise ValueError("its answers are not those of its tasks")
        except Exception as error:  # ONNX Runtime raises many kinds of errors
            raise FaceMTLError(
                f"{self.name}{SUFFIX} cannot be used: {first_line(error)}. Train the model again."
            ) from error
        return self

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
        """Run the model on one image (3, size, size) in [0, 1].

        Returns the seconds taken, and {task: logits (n_outputs,)}. Each run takes one face and its
        mirror image, so a face gets exactly the same logits alone and among others. Larger batches
        would not be faster per face.
        """
        started = time.perf_counter()
        # (1 or 2, 3, S, S)
        views = np.stack([image, image[:, :, ::-1]] if self.mirrored else [image])
        names = [task.name for task in self.tasks]
        found = [logits.mean(axis=0) for logits in self.session.run(names, {INPUT: views})]
        return time.perf_counter() - started, dict(zip(names, found, strict=True))


def threads() -> int:
    """The number of models or images that are processed at a time.

    It is `OMP_NUM_THREADS` if set, else the number of cores that this process may use, but at most
    four.
    """
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return number_of_threads(min(cores, 4))


@cache
def _workers() -> ThreadPoolExecutor:
    """The thread pool that runs the models. ONNX Runtime does not block Python meanwhile."""
    return ThreadPoolExecutor(threads(), "models")


@dataclass(frozen=True)
class Predictions:
    """The predictions of all models for some faces."""

    table: pd.DataFrame
    probabilities: pd.DataFrame
    # By model, for all faces and their mirror images. Resizing is not counted: models share it.
    seconds: dict[str, float]


class Predictor:
    """A set of models that are applied to the same faces."""

    def __init__(self, models: Iterable[LoadedModel]):
        self.models = tuple(models)
        self.tasks: tuple[Task, ...] = tuple(
            t for t in TASKS if any(t in m.tasks for m in self.models)
        )

    @property
    def fingerprints(self) -> dict[str, str]:
        """What identifies the weights and the calibration of each model, by its name."""
        return {loaded.name: loaded.info.fingerprint for loaded in self.models}

    @classmethod
    def load(cls, folder: str | Path = MODELS) -> "Predictor":
        """Load all models of a folder, single-task models first.

        Raises FaceMTLError if there are none, if one is damaged, or if the folder cannot be read.
        """
        folder = as_path(folder)
        require_used(folder)
        files = files_in(folder, SUFFIX)
        if not files:
            raise FaceMTLError(
                f"There are no models in {folder}. Train them with `python -m facemtl train`, or"
                " name their folder."
            )
        order = {task.name: position for position, task in enumerate(TASKS)}
        models = [LoadedModel.load(file) for file in files]
        return cls(sorted(models, key=lambda m: (len(m.tasks), order[m.tasks[0].name], m.name)))

    def require_pairs(self) -> "Predictor":
        """Return the predictor itself if each task has one model of each approach.

        Raises FaceMTLError otherwise, since there is nothing to compare.
        """
        for task in self.tasks:
            names = {
                a: [m.name for m in self.models if m.approach is a and task in m.tasks]
                for a in APPROACHES
            }
            if any(len(found) != 1 for found in names.values()):
                found = ", ".join(name for a in APPROACHES for name in names[a])
                raise FaceMTLError(
                    f"The comparison of {task.name} needs exactly one single-task and one"
                    f" multi-task model; found {found or 'none'}. Train the missing one with"
                    " `python -m facemtl train`, or move any others to another folder."
                )
        return self

    def by_approach(self, values: Mapping[str, float]) -> dict[str, float]:
        """Sum values of models, such as costs, over the models of each approach.

        Keys are model names in `values`, and approach names in the result.
        """
        return {
            a.name: sum(values[m.name] for m in self.models if m.approach is a) for a in APPROACHES
        }

    def predict(
        self, images: ImageLike | Sequence[ImageLike], *, detect: bool = True
    ) -> "Predictions":
        """Predictions for one image, or for a list of images.

        An image is a path, a PIL image, or an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of
        uint8, or of floats from 0 to 1. Faces are detected in each image. An image that is already
        framed as a UTKFace crop is taken as it is. With `detect=False`, every image is taken as
        such a crop, and must be square.

        In the tables, `image` is the path of the image or its position in the list. `face` counts
        its faces from 0, largest first. Raises FaceMTLError if an image cannot be read or no face
        is found in it.
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
        """Predictions for square uint8 RGB crops.

        `images` and `faces` name each crop in the tables. `progress` is called with 1 after each
        crop.
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
    """Logits (N, n_outputs) -> calibrated probabilities (N, n_outputs), decoded predictions."""
    calibration = info.calibration.get(task.name, {})
    probabilities = task.probabilities(logits, calibration.get("temperature", 1.0))
    return probabilities, task.decode(probabilities, calibration.get("margin", 0.0))


def in_words(predictions: Predictions) -> list[list[dict]]:
    """The predictions as one list of dicts per face, for JSON.

    Each dict is one model's prediction for one task. It also has the answer in words, and the
    probability of every label.
    """
    if predictions.table.empty:
        return []
    keys = ["image", "face", "model", "task"]
    shares: dict[tuple, dict[str, float]] = {}
    columns = (predictions.probabilities[name] for name in (*keys, "label", "probability"))
    for *key, label, probability in zip(*columns, strict=True):  # faster than groupby
        shares.setdefault(tuple(key), {})[label] = float(probability)
    faces: dict[tuple, list[dict]] = {}
    for row in predictions.table.itertuples():
        is_class = np.isnan(row.low)
        faces.setdefault((row.image, row.face), []).append(
            {
                "task": row.task, "approach": row.approach, "model": row.model,
                "answer": task_named(row.task).answer(row.prediction),
                "prediction": int(row.prediction) if is_class else row.prediction,
                "confidence": row.confidence,
                "low": None if is_class else row.low, "high": None if is_class else row.high,
                "probabilities": shares[row.image, row.face, row.model, row.task],
            }
        )  # fmt: skip
    return list(faces.values())


def to_batch(crops: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Resize square uint8 crops (S, S, 3) to a float32 batch (N, 3, size, size) in [0, 1]."""
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
    """Concatenate tables, each given as a dict of columns.

    Making a DataFrame of each would take longer than running a model.
    """
    return pd.DataFrame(
        {name: np.concatenate([_column(part[name]) for part in parts]) for name in parts[0]}
    )


def _column(values: object) -> np.ndarray:
    """An array of the values, with strings as Python's own objects."""
    array = np.asarray(values)
    return array.astype(object) if array.dtype.kind == "U" else array
