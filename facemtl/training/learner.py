"""A fastai Learner for a TrainConfig and a table of images."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

# Importing SuggestionMethod patches fit_one_cycle and lr_find into Learner.
from fastai.callback.schedule import SuggestionMethod  # noqa: F401
from fastai.callback.training import GradientClip
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.optimizer import Adam
from torch import nn

from ..data.images import decode_images
from ..data.reading import CALIBRATION, TRAIN
from ..errors import FaceMTLError
from ..models.face_model import FaceModel
from ..models.model_file import load_weights
from ..tasks import Task, task_named
from .augment import augment
from .callbacks import Autocast, LearnableLossWeights, PrepareBatches, RunningMean, TaskMetric
from .config import Augmentation, TrainConfig
from .loader import FaceLoader
from .losses import JointLoss

# Images are stored this much larger than the model sees them, so that rotating and scaling lose
# less detail.
STORED = 1.125
CALIBRATION_IMAGES = 1280  # number of training images to calibrate inserted normalisations on


def face_learner(
    data: pd.DataFrame | DataLoaders,
    config: TrainConfig | None = None,
    *,
    cache: Path | None = None,
    device: str = "auto",
    is_new: bool = True,
) -> Learner:
    """A fastai Learner with a metric per task, and two parameter groups: backbone and heads.

    `data` is the table of `read_images`. The model is trained on its training images, augmented as
    `config` says, and validated on its calibration images after each epoch. `cache` is a folder for
    decoded images.

    `data` can also be your own DataLoaders, with images (B, 3, H, W) in [0, 1] and one target (B,)
    per task, in the order of the tasks. They then determine size, augmentation and device.

    With `is_new=False`, the model starts with random weights, because those of an interrupted
    training will replace them.
    """
    config = config or TrainConfig()
    tasks = tuple(_as_trained(task_named(name), config) for name in config.tasks)
    torch.manual_seed(config.seed)
    model = _new_model(tasks, config, is_new)
    if isinstance(data, DataLoaders):
        loaders, prepare = data, []
        batch = loaders.one_batch()[0].cpu().as_subclass(torch.Tensor)
        _check_size(model, replace(config, size=batch.shape[-1]))
    else:
        check_images(data, tasks)
        _check_size(model, config)
        loaders = _loaders(data, tasks, config, cache, _device(device))
        prepare = [PrepareBatches(config), RunningMean(config.ema)]
    if model.insert_norms() and is_new:
        model.calibrate_norms(_calibration_images(loaders.train, config) if prepare else batch)
    where = torch.device(loaders.device)
    model.to(device=where, memory_format=torch.channels_last)
    loss = JointLoss(tasks, config.weighting).to(where)

    def splitter(model: nn.Module) -> list[list[nn.Parameter]]:
        return [list(model.backbone.parameters()), [*model.heads.parameters(), *loss.parameters()]]

    return Learner(
        loaders,
        model,
        loss_func=loss,
        opt_func=Adam,  # fastai's Adam is AdamW: weight decay is decoupled
        splitter=splitter,
        metrics=[TaskMetric(task, i) for i, task in enumerate(tasks)],
        lr=config.head_lr,
        wd=config.weight_decay,
        # Freeze normalisations with the backbone: their gradients would take most of the time.
        train_bn=False,
        cbs=[
            *prepare, Autocast(where, precision(where) == "bfloat16"), LearnableLossWeights(),
            GradientClip(config.grad_clip),
        ],
        path=".",
    )  # fmt: skip


def _new_model(tasks: tuple[Task, ...], config: TrainConfig, is_new: bool) -> FaceModel:
    start = load_weights(Path(config.start)) if config.start and is_new else None
    is_pretrained = config.pretrained and is_new and not start
    model = FaceModel(tasks, config.backbone, pretrained=is_pretrained, dropout=config.dropout)
    if start:
        model.start_from(start)
    return model


def _loaders(
    images: pd.DataFrame,
    tasks: tuple[Task, ...],
    config: TrainConfig,
    cache: Path | None,
    device: torch.device,
) -> DataLoaders:
    """DataLoaders of training and calibration images."""
    train_rows, calibration_rows = _rows(images, tasks, config)
    decoded = torch.from_numpy(decode_images(images, round(config.size * STORED), cache))
    targets = [torch.tensor(images[task.column].to_numpy(np.float32)) for task in tasks]
    return DataLoaders(
        FaceLoader(decoded, targets, train_rows, config.batch_size, seed=config.seed),
        FaceLoader(decoded, targets, calibration_rows, config.batch_size),
        device=device,
    )


def _as_trained(task: Task, config: TrainConfig) -> Task:
    """The task with the loss settings of `config`: label smoothing or sigma."""
    return replace(
        task,
        **{
            name: getattr(config, name)
            for name in ("label_smoothing", "sigma")
            if hasattr(task, name)
        },
    )


def check_images(images: pd.DataFrame, tasks: Sequence[Task]) -> None:
    """Raise FaceMTLError if a table is not like that of `read_images`, or cannot be learned from.

    That is so if all training or all calibration images lack a task's label.
    """
    if not isinstance(images, pd.DataFrame):
        raise FaceMTLError(
            f"The images must be given as the table of read_images; found {type(images).__name__}."
        )
    columns = ["file", "sha256", "split", *(task.column for task in tasks)]
    if missing := [name for name in columns if name not in images]:
        raise FaceMTLError(
            f"The table of images has no column {', '.join(missing)}. Make it with read_images."
        )
    for task in tasks:
        _check_values(images[task.column], task)
        for split in (TRAIN, CALIBRATION):
            labels = images.loc[images["split"] == split, task.column]
            if len(labels) and labels.isna().all():
                raise FaceMTLError(
                    f"None of the {len(labels):,} {split} images has a label in the column"
                    f" {task.column}. Add labels, or choose other --tasks."
                )


def _check_values(labels: pd.Series, task: Task) -> None:
    for label in labels.dropna():
        try:
            number = float(label)
        except (TypeError, ValueError) as error:
            raise FaceMTLError(
                f"The labels in the column {task.column} must be numbers; found {label!r}."
            ) from error
        try:
            task.value(str(number))
        except ValueError as error:
            raise FaceMTLError(
                f"The labels in the column {task.column} must be {task.accepts}; found {label}."
            ) from error


def _rows(
    images: pd.DataFrame, tasks: tuple[Task, ...], config: TrainConfig
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the images to train on, and of the calibration images.

    The model is validated on the calibration images after each epoch. No reported result uses them.
    Images without any label of the tasks are left out. The first `config.share` of the training
    images are used, in the order of their hashes, so every model with this share trains on the same
    images.

    Raises FaceMTLError if there are fewer training images than a batch takes, or no calibration
    images.
    """
    useful = images[[task.column for task in tasks]].notna().any(axis=1)
    train_rows, calibration_rows = (
        np.flatnonzero(useful & (images["split"] == s)) for s in (TRAIN, CALIBRATION)
    )
    train_rows = train_rows[: round(config.share * len(train_rows))]
    if len(train_rows) < config.batch_size:
        raise FaceMTLError(
            f"There are {len(train_rows)} training images, fewer than one batch of"
            f" {config.batch_size}. Add images or choose a smaller --batch-size."
        )
    if not len(calibration_rows):
        raise FaceMTLError(
            "There are no calibration images. Add images: about one in fifteen, chosen by its"
            " bytes, is for calibration."
        )
    return train_rows, calibration_rows


def _calibration_images(loader: FaceLoader, config: TrainConfig) -> torch.Tensor:
    """Training images to calibrate norms on: (N, 3, size, size) in [0, 1].

    They are a random sample. They are flipped, moved, scaled and rotated, but light and colour stay
    as they are.
    """
    rows = loader.indices
    drawn = np.random.default_rng(config.seed).choice(
        rows, min(CALIBRATION_IMAGES, len(rows)), replace=False
    )
    only_moved = Augmentation(light=0, dark=0, tint=0, gray=0, blur=0, jpeg=0, erase=0)
    images = loader.images[torch.from_numpy(drawn)].permute(0, 3, 1, 2).float() / 255
    return augment(images, config.size, only_moved)


def _check_size(model: FaceModel, config: TrainConfig) -> None:
    """Raise FaceMTLError if the backbone cannot take images of this size.

    Some backbones take one size only. Checking first avoids losing an hour of training.
    """
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, 3, config.size, config.size))
    except Exception as error:  # each backbone raises its own kind of error
        raise FaceMTLError(
            f"{config.backbone} cannot take images of {config.size} px ({error}). Choose another"
            " --size or --backbone."
        ) from error


def _device(name: str) -> torch.device:
    if name == "auto":
        name = (
            "cuda"
            if torch.cuda.is_available()
            else "mps"
            if torch.backends.mps.is_available()
            else "cpu"
        )
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise FaceMTLError(
            f"The device {name!r} cannot be used here. Try --device cpu, or auto."
        ) from error
    return torch.device(name)


def precision(device: torch.device) -> str:
    """The training precision: "bfloat16" if the hardware multiplies it faster, else "float32"."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = device.type == "cpu" and any(
            torch.cpu.get_capabilities().get(k) for k in ("amx_bf16", "avx512_bf16")
        )
    return "bfloat16" if fast else "float32"
