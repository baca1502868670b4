"""fastai's stock training on a folder of images, beside ours: the images per second of both."""

from ..models.vision import torchvision  # before fastai, which imports it, too

# isort: split
import time
from pathlib import Path

import numpy as np
import pandas as pd
from fastai.callback.core import Callback, CancelFitException
from fastai.learner import Learner
from fastai.metrics import accuracy
from fastai.vision.augment import Resize, aug_transforms
from fastai.vision.data import ImageDataLoaders
from fastai.vision.learner import vision_learner
from torch import nn

from ..data.reading import CALIBRATION, TRAIN
from ..models import FACE_RESNET
from ..models.face_resnet import FaceResNet
from ..tasks import GENDER
from .config import TrainConfig
from .learner import face_learner

SETTLING = 3  # batches that are not counted: workers start, memory is allocated


class Pace(Callback):
    """Notes when each training batch ends, and ends the training after `n_batches`."""

    order = 100  # after all that a batch takes

    def __init__(self, n_batches: int):
        self.n_batches, self.ends = n_batches, []

    def after_batch(self):
        if self.training:
            self.ends.append(time.perf_counter())
            if len(self.ends) == self.n_batches:
                raise CancelFitException


def rates(
    images: pd.DataFrame, backbone: str, size: int, batch_size: int, n_batches: int = 10
) -> dict[str, np.ndarray]:
    """Images per second of each of `n_batches` batches: facemtl's, and fastai's stock pipeline's.

    Both train on gender from the same files, with the same backbone from random weights, image size
    and batch size. `images` is the table of `data.read_images`.
    """
    config = TrainConfig(
        tasks=(GENDER.name,), backbone=backbone, pretrained=False, size=size, batch_size=batch_size
    )
    ours = face_learner(images, config, device="cpu")
    return {
        name: batch_size / _seconds_of_batches(learner, n_batches)
        for name, learner in (
            ("facemtl", ours),
            ("fastai", stock_learner(images, backbone, size, batch_size)),
        )
    }


def stock_learner(images: pd.DataFrame, backbone: str, size: int, batch_size: int) -> Learner:
    """As fastai documents it: `ImageDataLoaders`, `aug_transforms`, `vision_learner`, float32.

    It trains on the images that ours trains on, and validates on the same ones after each epoch.
    """
    chosen = images[images["split"].isin([TRAIN, CALIBRATION])]
    files = [Path(file).absolute() for file in chosen["file"]]
    table = pd.DataFrame(
        {
            "file": [str(file.relative_to(file.anchor)) for file in files],
            "gender": chosen[GENDER.column].map(GENDER.words).to_numpy(),
            "is_looked_at": (chosen["split"] == CALIBRATION).to_numpy(),
        }
    )
    loaders = ImageDataLoaders.from_df(
        table, files[0].anchor, fn_col="file", label_col="gender", valid_col="is_looked_at",
        item_tfms=Resize(size), batch_tfms=aug_transforms(), bs=batch_size, device="cpu",
    )  # fmt: skip
    build = (
        _face_resnet if backbone == FACE_RESNET else torchvision.models.get_model_builder(backbone)
    )
    return vision_learner(loaders, build, pretrained=False, metrics=accuracy)


def _face_resnet(**_) -> nn.Sequential:
    """With batch normalisation, as ours is trained; fastai puts its head in place of the mean."""
    model = FaceResNet()
    model.insert_norms()
    return nn.Sequential(
        model.stem, nn.ReLU(), nn.MaxPool2d(3, 2), model.blocks, nn.AdaptiveAvgPool2d(1)
    )


def _seconds_of_batches(learner: Learner, n_batches: int) -> np.ndarray:
    pace = Pace(SETTLING + n_batches)
    n_epochs = -(-pace.n_batches // max(1, len(learner.dls.train)))
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(n_epochs, cbs=[pace])
    return np.diff(pace.ends[SETTLING - 1 :])
