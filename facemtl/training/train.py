"""Train one model, or resume an interrupted training."""

# Must be imported before fastai, which imports torchvision, too.
from ..models import vision as _vision  # noqa: F401

# isort: split
import hashlib
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from fastai.distributed import num_distrib, rank_distrib
from fastai.learner import Learner

from ..errors import FaceMTLError, file_error
from ..escapes import say
from ..label_sets import copy_labels, require_used
from ..models.model_file import SUFFIX, ModelInfo, read_info, write_model
from ..models.seen import seen_text
from ..outputs import claimed
from ..regular import open_file
from ..scratch import scratch_folder
from ..tasks import task_named
from .callbacks import KeepProgress
from .config import TrainConfig
from .learner import check_images, face_learner, precision


def train(
    config: TrainConfig,
    images: pd.DataFrame,
    output: str | Path,
    *,
    cache: Path | None = None,
    resume: bool = False,
    device: str = "auto",
    progress: bool = True,
    finish: Callable[[Path], None] = lambda model: None,
) -> ModelInfo:
    """Train one model; write `<name>.onnx` and its history into `output`. Returns its metadata.

    The arguments are those of `fit`, which does the training. `finish` may change the model file,
    for example calibrate it. The returned metadata are those before that. The `<name>.resume.pt` of
    `fit` is deleted last. Raises FaceMTLError if another process trains this model in the same
    folder.
    """
    check_images(images, [task_named(name) for name in config.tasks])
    started, output = time.perf_counter(), Path(output)
    model, _, interrupted = files = output_files(config, output)
    inputs = map(Path, [config.start, *images["file"]] if config.start else images["file"])
    try:
        with claimed(files, inputs) if is_first_process() else nullcontext():
            learner, keeper = fit(
                config, images, output, cache=cache, resume=resume, device=device, progress=progress
            )
            info = _info(config, learner, keeper)
            if is_first_process():
                copy_labels(output)
                try:
                    write_model(model, learner.model, info)
                except FaceMTLError:  # it has diverged, so there is nothing to resume
                    interrupted.unlink(missing_ok=True)
                    raise
                finish(model)
                interrupted.unlink(missing_ok=True)
                if progress:
                    say(f"Wrote {model} after {time.perf_counter() - started:,.0f} s")
    except OSError as error:
        if resume or not interrupted.exists():
            raise
        raise FaceMTLError(f"{file_error(error)} Add --resume to go on from there.") from error
    return info


def output_files(config: TrainConfig, output: Path) -> list[Path]:
    """The files that a training writes: model, history and progress."""
    names = (f"{config.name}{SUFFIX}", f"{config.name}.history.csv", f"{config.name}.resume.pt")
    return [output / name for name in names]


def is_first_process() -> bool:
    """Whether this process writes for all that train together."""
    return not rank_distrib()


def _info(config: TrainConfig, learner: Learner, keeper: KeepProgress) -> ModelInfo:
    """The metadata of a trained model."""
    where = learner.dls.device
    return ModelInfo(
        name=config.name,
        tasks=tuple(task_named(name) for name in config.tasks),
        backbone=config.backbone,
        size=config.size,
        training={
            **config.plain(),
            "images": len(learner.dls.train.indices),
            "seconds": round(sum(row["seconds"] for row in keeper.rows)),
            "device": where.type,
            "precision": precision(where),
            "loss_scales": {name: task_named(name).loss_scale for name in config.tasks},
        },
        seen=keeper.seen,
    )


def data_key(config: TrainConfig, images: pd.DataFrame) -> str:
    """A hash of images, their split, their labels and what these mean."""
    tasks = [task_named(name) for name in config.tasks]
    labels = images[[task.column for task in tasks]].astype(float)
    table = images[["sha256", "split"]].join(labels).to_csv(index=False)
    return hashlib.sha256(f"{tasks}\n{table}".encode()).hexdigest()


def seen_by_model(config: TrainConfig, hashes: pd.Series) -> str:
    """What the model has seen. It is empty if the model to start from does not say what it saw."""
    if not config.start:
        return seen_text(hashes)
    before = read_info(Path(config.start)).seen
    return before and seen_text(hashes, before)


def fit(
    config: TrainConfig,
    images: pd.DataFrame,
    output: Path,
    *,
    cache: Path | None = None,
    resume: bool = False,
    device: str = "auto",
    progress: bool = True,
) -> tuple[Learner, KeepProgress]:
    """Train on the images of the training split. Returns the learner, and its history as `rows`.

    `images` is the table of `data.reading.read_images`. A task's loss counts only the images that
    have its label. After each epoch, the history and `<name>.resume.pt` for `resume` are written
    into `output`. A resumed training equals one that was never interrupted. `cache` is a folder for
    decoded images. Raises FaceMTLError if an interrupted training is found but `resume` is False,
    or if it had other settings, images or labels.
    """
    output.mkdir(parents=True, exist_ok=True)
    require_used(output)
    _, history, progress_file = output_files(config, output)
    if progress_file.exists() and not resume:
        raise FaceMTLError(
            f"{progress_file} belongs to an interrupted training. Continue it with --resume, or"
            " delete the file to start again."
        )
    learner = face_learner(images, config, cache=cache, device=device, is_new=not resume)
    where = learner.dls.device
    used = np.concatenate([loader.indices for loader in (learner.dls.train, learner.dls.valid)])
    keeper = KeepProgress(config, data_key(config, images.iloc[used]), progress_file, history)
    if resume:
        done = keeper.restore(learner)
    else:
        done = 0
        keeper.seen = seen_by_model(config, images["sha256"].iloc[learner.dls.train.indices])
    if progress and where.type == "cpu":
        say(f"Training {config.name} on {torch.get_num_threads()} CPU threads, {precision(where)}")
    before = 0
    with _all_processes(learner), nullcontext() if progress else learner.no_bar():
        for frozen, epochs in config.phases:
            learner.freeze() if frozen else learner.unfreeze()
            learner.prepare_batches.epochs_before = before
            if done < before + epochs:
                rates = [config.lr, config.head_lr * (2 if frozen else 1)]
                start = max(0, done - before)
                learner.fit_one_cycle(
                    epochs, rates, pct_start=config.warmup, cbs=keeper, start_epoch=start
                )
            before += epochs
    learner.running_mean.keep(learner)
    return learner, keeper


def _all_processes(learner: Learner) -> AbstractContextManager:
    """The context in which all processes that `accelerate launch` started train together.

    Raises FaceMTLError if there are several processes but no GPUs.
    """
    if num_distrib() < 2:
        return nullcontext()
    if learner.dls.device.type != "cuda":
        raise FaceMTLError(
            "Several processes can train together only on GPUs. Without GPUs, start one process."
        )
    return learner.distrib_ctx()


def interrupted_config(config: TrainConfig, output: Path) -> TrainConfig:
    """The settings of an interrupted training of the same tasks, or `config` if there is none.

    Also returns `config` if they cannot be read: `train` reports what is wrong.
    """
    try:
        *_, file = output_files(config, output)
        open_file(file).close()  # raises an error if it is no regular file
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        return TrainConfig.of_plain(state["config"])
    except Exception:  # `train` reports it
        return config


def find_learning_rate(
    config: TrainConfig, images: pd.DataFrame, *, cache: Path | None = None, device: str = "auto"
) -> float:
    """The learning rate that fastai's learning-rate finder suggests (Smith, 2017).

    It is the "valley" of the loss while the learning rate of backbone and heads grows.
    """
    learner = face_learner(images, config, cache=cache, device=device)
    # The finder changes the weights, and keeps the original ones on disk meanwhile.
    with scratch_folder() as folder:
        learner.path = folder
        return float(learner.lr_find(show_plot=False).valley)
