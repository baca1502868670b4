"""TrainConfig -> Checkpoint, with fastai.

Images are decoded and resized once; batches are slices of one array, augmented together on the
device. Everything random follows from (seed, epoch), so a resumed run equals an uninterrupted one. Several processes share
each batch.
"""

import tempfile
import time
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from fastai.callback.schedule import SuggestionMethod  # noqa: F401  (patches fit_one_cycle and lr_find into Learner)
from fastai.callback.training import GradientClip
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.optimizer import Adam

from ..data import CALIBRATION, TRAIN, decode_images
from ..errors import FaceMTLError
from ..losses import WEIGHTINGS
from ..models import Checkpoint, FaceModel
from ..tasks import Task, task_named
from .callbacks import (
    Float32Outputs,
    FreeLossWeights,
    Glance,
    KeepProgress,
    PrepareBatches,
    RunningMean,
    SharpnessAware,
    Teach,
)
from .config import TrainConfig
from .loader import FaceLoader
from .processes import Together, check_parts, is_first, own_device, part

__all__ = ["TrainConfig", "find_learning_rate", "interrupted_config", "is_first", "train"]


def train(
    config: TrainConfig,
    images: pd.DataFrame,
    output: Path,
    *,
    cache: Path | None = None,
    resume: bool = False,
    keep_progress: bool = False,
    device: str = "auto",
    progress: bool = True,
) -> Checkpoint:
    """Train on the images of the train split; write checkpoint and history into `output`.

    The history of a model that is started from comes first in that of the new one.

    `images` is the table of `data.read_folder`; each loss is over the images that have its label, and without teachers,
    images that have none of the model's tasks are left out. After each epoch `<name>.resume.pt` holds all that `resume`
    needs; it is removed at the end, but for `keep_progress`, with which a finished training can be made longer. A resumed
    training continues as if never stopped; only the stages that lie ahead and the augmentation may be changed, and it is noted.
    `cache` is a folder for decoded images. Of several processes all return the checkpoint, and the first one writes.
    """
    check_parts(config.batch_size)
    started = time.perf_counter()
    output.mkdir(parents=True, exist_ok=True)
    progress_file = output / f"{config.name}.resume.pt"
    if progress_file.exists() and not resume:
        raise FaceMTLError(f"{progress_file} is of an interrupted training. Go on with --resume, or delete it to start anew.")
    origin, trained = (None, None) if resume else _start(config)
    device = _device(device)
    together = Together(device) if part()[1] > 1 else None
    first_alone = together.first_alone if together else lambda work: work()
    learner = first_alone(lambda: _learner(config, images, cache, device, trained, is_new=not resume))
    progress = progress and is_first()
    keeper = KeepProgress(config, progress_file, output / f"{config.name}.history.csv", origin)
    if progress and learner.dls.device.type == "cpu":
        print(f"Training {config.name} on {torch.get_num_threads()} CPU threads, {precision(learner.dls.device)}")
    start_epoch = keeper.restore(learner) if resume else 0
    if progress and keeper.changed:
        print(f"Going on after {start_epoch} epochs with other {' and '.join(keeper.changed)} than before")
    with nullcontext() if progress else learner.no_bar():
        learner.fit_one_cycle(
            len(config.sizes),
            config.lr,
            pct_start=config.warmup,
            wd=config.weight_decay,
            cbs=[keeper, *([together] if together else [])],
            start_epoch=start_epoch,
        )
    checkpoint = Checkpoint(
        name=config.name,
        tasks=config.tasks,
        backbone=config.backbone,
        image_size=config.sizes[-1],
        training={
            **asdict(config),
            "images": len(learner.dls.train.indices),
            "seconds": round(sum(row["seconds"] for row in keeper.rows)) + keeper.origin["training"].get("seconds", 0),
            "device": str(learner.dls.device),
            "precision": precision(learner.dls.device),
            "processes": part()[1],
            "earlier": keeper.earlier,
            "started_from": keeper.origin["training"],
            "loss_scales": {name: task_named(name).loss_scale for name in config.tasks},
        },
    )
    if is_first():
        checkpoint.save(output, learner.model)
        if not keep_progress:
            progress_file.unlink(missing_ok=True)
    if together:
        together.end()
    if progress:
        print(f"Wrote {output / config.name}.safetensors after {time.perf_counter() - started:,.0f} s")
    return checkpoint


def interrupted_config(config: TrainConfig, output: Path) -> TrainConfig:
    """The settings that the interrupted training of the same tasks had; `config` where there is none that can be read."""
    try:
        state = torch.load(output / f"{config.name}.resume.pt", map_location="cpu", weights_only=True, mmap=True)
        return TrainConfig.of_plain(state["config"])
    except Exception:  # `train` says what is wrong
        return config


def find_learning_rate(config: TrainConfig, images: pd.DataFrame, *, cache: Path | None = None, device: str = "auto") -> float:
    """fastai's learning-rate finder (Smith, 2017): the 'valley' of the loss over growing rates."""
    if part()[1] > 1:
        raise FaceMTLError("The finder of learning rates runs in one process. Start it without `accelerate launch`.")
    learner = _learner(config, images, cache, _device(device), _start(config)[1])
    with tempfile.TemporaryDirectory() as folder:  # the finder keeps the weights on disk while it spoils them
        learner.path = Path(folder)
        return float(learner.lr_find(show_plot=False).valley)


def _start(config: TrainConfig) -> tuple[dict | None, FaceModel | None]:
    """The model that this training starts from, with how it was trained and the rows of its history, if it starts from one."""
    if not config.start:
        return None, None
    description = Path(config.start)
    checkpoint, trained = Checkpoint.load(description)
    history = description.with_name(f"{checkpoint.name}.history.csv")
    rows = pd.read_csv(history).to_dict("records") if history.is_file() else []
    return {"training": {**checkpoint.training, "sha256": checkpoint.sha256}, "rows": rows}, trained


def _learner(
    config: TrainConfig,
    images: pd.DataFrame,
    cache: Path | None,
    device: torch.device,
    trained: FaceModel | None = None,
    *,
    is_new: bool = True,
) -> Learner:
    tasks = tuple(_as_trained(task_named(name), config) for name in config.tasks)
    _check_labels(images, tasks)
    torch.manual_seed(config.seed)
    model = FaceModel(
        tasks, config.backbone, pretrained=config.pretrained and not config.start and is_new, dropout=config.dropout
    )
    if trained:
        model.start_from(trained)
    _check_sizes(model, config)
    teachers = _teachers(config)
    for each in (model, *(teacher for teacher, _ in teachers)):
        each.to(device=device, memory_format=torch.channels_last)
        # Only the model runs in bfloat16; losses and metrics stay in float32.
        each.forward = torch.autocast(device.type, torch.bfloat16, enabled=precision(device) == "bfloat16")(each.forward)
    # Stored an eighth larger than seen, so that shift, scale and rotation have pixels to draw from.
    decoded = torch.from_numpy(decode_images(images["file"], round(max(config.sizes) * 1.125), cache))
    targets = {task.name: torch.tensor(images[task.column].to_numpy(np.float32)) for task in tasks}
    useful = images[[task.column for task in tasks]].notna().any(axis=1) | bool(teachers)
    # A glance after each epoch is at images that nothing is reported on.
    train_images, calibration_images = (np.flatnonzero(useful & (images["split"] == s)) for s in (TRAIN, CALIBRATION))
    if len(train_images) < config.batch_size:
        raise FaceMTLError(
            f"There are {len(train_images)} training images, fewer than one batch of {config.batch_size}. "
            "Add images or choose a smaller --batch-size."
        )
    if not len(calibration_images):
        raise FaceMTLError("There are no calibration images. Add images: a fifteenth of them is set aside by their content.")
    loaders = DataLoaders(
        FaceLoader(decoded, targets, train_images, config.batch_size, seed=config.seed, part=part()),
        FaceLoader(decoded, targets, calibration_images, config.batch_size),
        device=device,
    )
    loss = WEIGHTINGS[config.weighting](tasks).to(device)
    return Learner(
        loaders,
        model,
        loss_func=loss,
        opt_func=Adam,  # fastai's is AdamW: weight decay is decoupled
        splitter=lambda model: [*model.parameters(), *loss.parameters()],
        metrics=[Glance(task) for task in tasks],
        wd=config.weight_decay,
        cbs=[
            PrepareBatches(config),
            Teach(teachers, tasks, config.teacher_weight),
            Float32Outputs(),
            FreeLossWeights(),
            SharpnessAware(config.sam),
            GradientClip(config.grad_clip),
            RunningMean(config.ema),
        ],
        path=".",
    )


def _check_labels(images: pd.DataFrame, tasks: tuple[Task, ...]) -> None:
    """A task is learned from labels of training images, and looked at on calibration images."""
    for task in tasks:
        for split in (TRAIN, CALIBRATION):
            labels = images.loc[images["split"] == split, task.column]
            if len(labels) and labels.isna().all():
                raise FaceMTLError(
                    f"None of the {len(labels):,} {split} images has a label in the column {task.column}. "
                    "Add labels, or choose other --tasks."
                )


def _as_trained(task: Task, config: TrainConfig) -> Task:
    """The task with those settings of its loss that the recipe decides."""
    return replace(task, **{name: getattr(config, name) for name in ("label_smoothing", "sigma") if hasattr(task, name)})


def _teachers(config: TrainConfig) -> list[tuple[FaceModel, int]]:
    """The models that are learned from, each with the size of the images that it wants."""
    loaded = [Checkpoint.load(Path(file)) for file in config.teachers]
    if loaded and not any(name in checkpoint.tasks for checkpoint, _ in loaded for name in config.tasks):
        raise FaceMTLError(
            f"None of the teachers answers {' or '.join(config.tasks)}. Name --teachers that were trained on it."
        )
    return [(model, checkpoint.image_size) for checkpoint, model in loaded]


def _check_sizes(model: FaceModel, config: TrainConfig) -> None:
    """Some backbones take images of one size only: better known before an hour of training than after."""
    for size, _ in config.stages:
        try:
            with torch.no_grad():
                model.eval()(torch.zeros(1, 3, size, size))
        except Exception as error:  # each backbone complains in its own way
            raise FaceMTLError(
                f"{config.backbone} cannot take images of {size} px ({error}). Choose other --stages or another --backbone."
            ) from error


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    name = own_device(name)
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise FaceMTLError(f"The device {name!r} cannot be used here. Try --device cpu, or auto.") from error
    return torch.device(name)


def precision(device: torch.device) -> str:
    """bfloat16 where the hardware multiplies it faster than float32."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = device.type == "cpu" and any(torch.cpu.get_capabilities().get(k) for k in ("amx_bf16", "avx512_bf16"))
    return "bfloat16" if fast else "float32"
