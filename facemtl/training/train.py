"""Train one model, and go on where a training was interrupted."""

from ..models import vision as _vision  # noqa: F401  (before fastai, which imports torchvision, too)

# isort: split
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pandas as pd
import torch
from fastai.distributed import num_distrib, rank_distrib
from fastai.learner import Learner

from ..errors import FaceMTLError
from ..models.model_file import ModelInfo, write_model
from ..tasks import task_named
from .callbacks import KeepProgress
from .config import TrainConfig
from .learner import face_learner, precision


def train(
    config: TrainConfig,
    images: pd.DataFrame,
    output: str | Path,
    *,
    cache: Path | None = None,
    resume: bool = False,
    device: str = "auto",
    progress: bool = True,
) -> ModelInfo:
    """Train on the images of the train split; write model file and history into `output`.

    `images` is the table of `data.read_images`; each loss is over the images that have its label.
    After each epoch `<name>.resume.pt` holds all that `resume` needs; it is removed at the end. A
    resumed training continues as if never stopped. `cache` is a folder for decoded images.
    """
    started, output = time.perf_counter(), Path(output)
    output.mkdir(parents=True, exist_ok=True)
    progress_file = output / f"{config.name}.resume.pt"
    if progress_file.exists() and not resume:
        raise FaceMTLError(
            f"{progress_file} is of an interrupted training. Go on with --resume, or delete it to"
            " start anew."
        )
    learner = face_learner(images, config, cache=cache, device=device, is_new=not resume)
    where = learner.dls.device
    keeper = KeepProgress(config, progress_file, output / f"{config.name}.history.csv")
    done = keeper.restore(learner) if resume else 0
    if progress and where.type == "cpu":
        print(
            f"Training {config.name} on {torch.get_num_threads()} CPU threads, {precision(where)}"
        )
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
    info = ModelInfo(
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
    )
    if rank_distrib():
        return info
    write_model(output / f"{config.name}.onnx", learner.model, info)
    progress_file.unlink(missing_ok=True)
    if progress:
        print(f"Wrote {output / config.name}.onnx after {time.perf_counter() - started:,.0f} s")
    return info


def _all_processes(learner: Learner) -> AbstractContextManager:
    """fastai's way to train with all processes that `accelerate launch` started."""
    if num_distrib() < 2:
        return nullcontext()
    if learner.dls.device.type != "cuda":
        raise FaceMTLError(
            "Several processes train on several GPUs. Without GPUs, start one process."
        )
    return learner.distrib_ctx()


def interrupted_config(config: TrainConfig, output: Path) -> TrainConfig:
    """The settings that the interrupted training of the same tasks had; `config` where there is
    none that can be read.
    """
    try:
        state = torch.load(
            output / f"{config.name}.resume.pt", map_location="cpu", weights_only=True, mmap=True
        )
        return TrainConfig.of_plain(state["config"])
    except Exception:  # `train` says what is wrong
        return config


def find_learning_rate(
    config: TrainConfig, images: pd.DataFrame, *, cache: Path | None = None, device: str = "auto"
) -> float:
    """fastai's learning-rate finder (Smith, 2017): the 'valley' of the loss over growing rates of
    backbone and heads.
    """
    learner = face_learner(images, config, cache=cache, device=device)
    with (
        tempfile.TemporaryDirectory() as folder
    ):  # the finder keeps the weights on disk while it spoils them
        learner.path = Path(folder)
        return float(learner.lr_find(show_plot=False).valley)
