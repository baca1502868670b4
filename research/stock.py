"""Compare the speed of fastai's stock training with ours, in images per second."""

# Must be imported before fastai, which imports torchvision, too.
from facemtl.models.vision import torchvision

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

from facemtl.data.reading import CALIBRATION, TRAIN
from facemtl.models import FACE_RESNET
from facemtl.models.face_resnet import FaceResNet
from facemtl.tasks import GENDER
from facemtl.training.config import TrainConfig
from facemtl.training.learner import face_learner

SETTLING = 3  # first batches, which are not counted: workers start, memory is allocated


class Pace(Callback):
    """Record when each training batch ends, and stop the training after `n_batches`."""

    order = 100  # after all other callbacks, so that their time is counted

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
    """Images per second in each batch, of our training and of fastai's stock training.

    Returns {"facemtl": (n_batches,), "fastai": (n_batches,)}. Both train on gender, from the same
    files, with the same backbone, image size and batch size. Both start from random weights.
    `images` is the table of `data.reading.read_images`.
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
    """The training that fastai documents: `ImageDataLoaders`, `aug_transforms`, `vision_learner`.

    It uses float32. It trains on the same images as ours, and validates on the same images after
    each epoch.
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
    """The backbone with batch normalisation, as in our training.

    fastai replaces the pooling at the end with its head.
    """
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
