"""Three single-task models and one multi-task model predict gender, race and age of the same face.

>>> from facemtl import Predictor
>>> predictor = Predictor.load()
>>> table = predictor.predict("assets/faces/31_1_3_composite078.jpg").table
>>> table[["model", "approach", "task"]].head(3)
    model approach    task
0  gender   single  gender
1    race   single    race
2     age   single     age

docs/python.md shows more. Names are imported when they are first used, so that prediction needs
neither torch nor fastai.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .data.reading import read_images
    from .errors import FaceMTLError
    from .evaluation.compare import compare
    from .faces import Face, detect
    from .inference.predictor import Predictor
    from .models.face_model import FaceModel
    from .tasks import TASKS, Classification, Regression
    from .training.callbacks import TaskMetric
    from .training.config import TrainConfig
    from .training.learner import face_learner
    from .training.losses import JointLoss
    from .training.train import train

__version__ = "0.2.0"

_HOMES = {
    "Classification": "tasks",
    "Face": "faces",
    "FaceMTLError": "errors",
    "FaceModel": "models.face_model",
    "JointLoss": "training.losses",
    "Predictor": "inference.predictor",
    "Regression": "tasks",
    "TASKS": "tasks",
    "TaskMetric": "training.callbacks",
    "TrainConfig": "training.config",
    "compare": "evaluation.compare",
    "detect": "faces",
    "face_learner": "training.learner",
    "read_images": "data.reading",
    "train": "training.train",
}
__all__ = [*_HOMES]

# ONNX Runtime would report each start to Microsoft. It reads this when it is first imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
