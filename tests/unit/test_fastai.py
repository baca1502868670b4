"""fastai functions with `face_learner`: a DataBlock with several targets, fine_tune, MixUp."""

from dataclasses import replace

import matplotlib
import matplotlib.pyplot as plt
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

pytestmark = pytest.mark.usefixtures("small_backbone")
TINY = TrainConfig(backbone=support.SMALL, pretrained=False, batch_size=16)


@pytest.fixture(scope="module")
def table():
    images, _ = read_images(support.COMPOSITES, progress=False)
    images = images[images["split"].isin([TRAIN, CALIBRATION])][::2].reset_index(drop=True)
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


class Mixed(Callback):
    """Record the loss of each mixed batch and the mixture of the losses of its two labels."""

    order = 1  # after MixUp

    def before_fit(self):
        self.found, self.expected = [], []

    def after_loss(self):
        if self.training:
            of_images = JointLoss(TASKS, reduction="none")
            one, other = (of_images(self.pred, *y) for y in (self.mix_up.yb1, self.yb))
            self.found.append(self.loss.item())
            self.expected.append(torch.lerp(one, other, self.mix_up.lam).mean().item())


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


def test_the_learning_rate_finder_suggests_a_tried_rate_and_restores_the_weights(learner):
    before = {name: value.clone() for name, value in learner.model.state_dict().items()}
    with learner.no_bar(), learner.no_logging():
        rate = learner.lr_find(show_plot=False, num_it=12).valley
    assert np.isclose(learner.recorder.lrs, rate).any()
    assert all(torch.equal(v, before[name]) for name, v in learner.model.state_dict().items())


def test_show_batch_draws_images_with_their_labels(loaders):
    matplotlib.use("agg")
    loaders.show_batch(max_n=4)
    panels = plt.gcf().axes
    plt.close("all")
    assert [panel.images[0].get_array().shape for panel in panels] == [(32, 32, 3)] * 4
    for panel in panels:
        gender, race, age = panel.get_title().splitlines()
        assert gender in CLASSES[0].labels and race in CLASSES[1].labels
        assert 0 <= float(age) <= AGE.high


@pytest.mark.parametrize("own", [True, False], ids=["our own loader", "a data block"])
def test_mixup_mixes_the_losses_and_not_the_labels(own, learner):
    if own:
        images, _ = read_images(support.COMPOSITES, progress=False)
        learner = face_learner(images, replace(TINY, size=32), device="cpu")
    mixed = Mixed()
    with learner.no_bar(), learner.no_logging():
        learner.fit(1, 1e-3, cbs=[MixUp(), mixed])
    assert len(mixed.found) == len(learner.dls.train) > 0
    assert mixed.found == pytest.approx(mixed.expected, rel=1e-4)
