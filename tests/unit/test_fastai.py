"""fastai's own idioms around `face_learner`: a DataBlock with several targets, fine_tune, MixUp."""

import matplotlib
import numpy as np
import pytest
import torch

from facemtl.models import vision as _vision  # noqa: F401  (before fastai, which imports torchvision)

# isort: split
from fastai.callback.core import Callback
from fastai.callback.schedule import *  # noqa: F403  (patches fine_tune and lr_find into Learner)
from fastai.data.block import CategoryBlock, DataBlock, RegressionBlock
from fastai.data.transforms import ColReader, ColSplitter
from fastai.vision.augment import Resize, aug_transforms
from fastai.vision.data import ImageBlock

from facemtl import TASKS, JointLoss, TrainConfig, face_learner, read_images
from facemtl.data.reading import CALIBRATION, TRAIN
from facemtl.tasks import AGE, CLASSES
from facemtl.training.callbacks import MixUp
from tests import support

TINY = TrainConfig(backbone="resnet18", pretrained=False, batch_size=16)


@pytest.fixture(scope="module")
def table():
    images, _ = read_images(support.COMPOSITES, progress=False)
    images = images[images["split"].isin([TRAIN, CALIBRATION])].reset_index(drop=True)
    images["is_valid"] = images["split"] == CALIBRATION
    for task in CLASSES:
        images[task.name] = images[task.name].map(task.words)
    return images


@pytest.fixture(scope="module")
def loaders(table):
    categories = [CategoryBlock(vocab=list(task.labels), sort=False) for task in CLASSES]
    block = DataBlock(
        blocks=(ImageBlock, *categories, RegressionBlock),
        n_inp=1,
        get_x=ColReader("file"),
        get_y=[ColReader(task.name) for task in TASKS],
        splitter=ColSplitter("is_valid"),
        item_tfms=Resize(32),
        batch_tfms=aug_transforms(size=32),
    )
    return block.dataloaders(table, bs=16, num_workers=0, device=torch.device("cpu"))


@pytest.fixture
def learner(loaders, tmp_path):
    learner = face_learner(loaders, TINY)
    learner.path = tmp_path
    return learner


def test_a_data_block_feeds_the_loss_and_the_metrics(loaders, learner):
    images, *targets = loaders.one_batch()
    assert images.shape[1:] == (3, 32, 32) and images.min() >= 0 and images.max() <= 1
    loss = JointLoss(TASKS)(learner.model(images), *targets)
    assert loss.ndim == 0 and torch.isfinite(loss)
    with learner.no_bar():
        _, *values = learner.validate()
    found = dict(zip((f"{t.name}_{t.metric.name}" for t in TASKS), values, strict=True))
    rows = [learner.dls.valid_ds[i] for i in range(len(learner.dls.valid_ds))]
    with torch.no_grad():
        batches = [(learner.model.eval()(x), y) for x, *y in learner.dls.valid]
    predicted = np.concatenate(
        [AGE.decode(AGE.probabilities(p["age"].numpy()))["prediction"] for p, _ in batches]
    )
    errors = np.abs(predicted - [float(row[-1]) for row in rows])
    assert found["age_mae"] == pytest.approx(errors.mean(), rel=1e-3)


def test_fine_tune_freezes_the_backbone_first(learner):
    moved = {}

    class Watch(Callback):
        def before_fit(self):
            self.before = [p.detach().clone() for p in self.model.backbone.parameters()]

        def after_fit(self):
            pairs = zip(self.before, self.model.backbone.parameters(), strict=True)
            moved[len(moved)] = any(not torch.equal(a, b) for a, b in pairs)

    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(1, 1e-3, cbs=Watch())
    assert moved == {0: False, 1: True}


def test_the_learning_rate_finder_and_mixup_are_fastai_s(learner):
    losses = []

    class Losses(Callback):
        def after_loss(self):
            if self.training:
                losses.append(self.loss)

    with learner.no_bar(), learner.no_logging():
        assert 1e-7 < learner.lr_find(show_plot=False, num_it=12).valley < 10
        learner.fit(1, 1e-3, cbs=[MixUp(), Losses()])
    assert losses and all(loss.ndim == 0 and torch.isfinite(loss) for loss in losses)


def test_show_batch_draws_the_images(loaders):
    matplotlib.use("agg")
    loaders.show_batch(max_n=4)


def test_our_own_loader_feeds_mixup_too(tmp_path):
    images, _ = read_images(support.COMPOSITES, progress=False)
    learner = face_learner(images, TrainConfig(**{**vars(TINY), "size": 32}), device="cpu")
    with learner.no_bar(), learner.no_logging():
        learner.fit(1, 1e-3, cbs=MixUp())
    assert np.isfinite(float(learner.recorder.losses[-1]))
