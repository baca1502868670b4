"""TrainConfig -> Checkpoint, with fastai.

Images are decoded and resized once; batches are slices of one array, augmented together on the
device. Everything random follows from (seed, epoch), so a resumed run equals an uninterrupted one.
"""

import math
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from fastai.callback.core import Callback
from fastai.callback.schedule import SuggestionMethod  # noqa: F401  (patches fit_one_cycle and lr_find into Learner)
from fastai.callback.training import GradientClip
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.learner import AvgMetric, Learner
from fastai.optimizer import Adam
from torch import Tensor

from .data import TRAIN, VALIDATION, decode_images
from .errors import FaceMTLError
from .losses import FixedScales
from .models import Checkpoint, FaceModel
from .tasks import TASKS, Task, task_named


@dataclass(frozen=True)
class Augmentation:
    """How far a training image may be changed. All amounts are drawn uniformly, image by image."""

    rotation: float = 15.0  # degrees to either side
    scale: float = 0.12  # relative change of size
    shift: float = 0.12  # share of a side, in each direction
    light: float = 0.3  # relative change of brightness, and of contrast
    gray: float = 0.1  # share of images made gray
    erase: float = 0.0  # share of images that lose a patch of 15 to 40 % of a side

    def __post_init__(self):
        for name, high in (("rotation", 180), ("scale", 0.9), ("shift", 1), ("light", 1), ("gray", 1), ("erase", 1)):
            if not 0 <= (value := getattr(self, name)) <= high:
                raise FaceMTLError(f"{name} must be from 0 to {high}; found {value}.")


@dataclass(frozen=True)
class TrainConfig:
    """One recipe for all four models; only `tasks` differs between them."""

    tasks: tuple[str, ...] = tuple(task.name for task in TASKS)
    backbone: str = "resnet18"  # the name of a torchvision classification model
    pretrained: bool = True  # start from ImageNet weights
    stages: tuple[tuple[int, int], ...] = ((64, 10), (96, 10), (112, 3))  # (image size in px, epochs), one after another
    batch_size: int = 64
    lr: float = 2e-3  # the peak of the one-cycle schedule
    weight_decay: float = 0.05
    dropout: float = 0.2  # before each head
    grad_clip: float = 5.0  # largest norm of the gradient
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0

    def __post_init__(self):
        for name in self.tasks:
            task_named(name)
        if not self.tasks or len(set(self.tasks)) < len(self.tasks):
            raise FaceMTLError(f"tasks must name at least one task, each once; found {', '.join(self.tasks) or 'none'}.")
        if not self.stages or any(size < 32 or epochs < 1 for size, epochs in self.stages):
            raise FaceMTLError(f"stages must be (size of at least 32 px, at least one epoch); found {self.stages}.")
        limits = {
            "batch_size": (2, 4096), "lr": (1e-7, 1.0), "weight_decay": (0, 1), "dropout": (0, 0.95),
            "grad_clip": (1e-3, 1e6), "seed": (0, 2**32 - 1),
        }  # fmt: skip
        for name, (low, high) in limits.items():
            if not low <= (value := getattr(self, name)) <= high:
                raise FaceMTLError(f"{name} must be from {low} to {high}; found {value}.")

    @property
    def name(self) -> str:
        """The model's name: its task, `multitask` for all of them, else the tasks joined by plus signs."""
        if set(self.tasks) == {task.name for task in TASKS}:
            return "multitask"
        return "+".join(self.tasks)

    @property
    def sizes(self) -> list[int]:
        """The image size of each epoch."""
        return [size for size, epochs in self.stages for _ in range(epochs)]


def train(
    config: TrainConfig,
    images: pd.DataFrame,
    output: Path,
    *,
    cache: Path | None = None,
    resume: bool = False,
    device: str = "auto",
    progress: bool = True,
) -> Checkpoint:
    """Train on the images of the train split; write checkpoint and history into `output`.

    `images` is the table of `data.read_folder`. After each epoch `<name>.resume.pt` holds all that
    `resume` needs; it is removed at the end. A resumed training continues as if never stopped; only the stages that
    lie ahead and the augmentation may be changed, and it is noted. `cache` is a folder for decoded images.
    """
    started = time.perf_counter()
    output.mkdir(parents=True, exist_ok=True)
    progress_file = output / f"{config.name}.resume.pt"
    if progress_file.exists() and not resume:
        raise FaceMTLError(f"{progress_file} is of an interrupted training. Go on with --resume, or delete it to start anew.")
    learner = _learner(config, images, cache, _device(device))
    keeper = KeepProgress(config, progress_file, output / f"{config.name}.history.csv")
    if progress and learner.dls.device.type == "cpu":
        print(f"Training {config.name} on {torch.get_num_threads()} CPU threads, {_precision(learner.dls.device)}")
    start_epoch = keeper.restore(learner) if resume else 0
    with nullcontext() if progress else learner.no_bar():
        learner.fit_one_cycle(len(config.sizes), config.lr, wd=config.weight_decay, cbs=keeper, start_epoch=start_epoch)
    checkpoint = Checkpoint(
        name=config.name,
        tasks=config.tasks,
        backbone=config.backbone,
        image_size=config.sizes[-1],
        training={
            **asdict(config),
            "images": len(learner.dls.train.indices),
            "seconds": round(sum(row["seconds"] for row in keeper.rows)),
            "device": str(learner.dls.device),
            "earlier": keeper.earlier,
            "loss_scales": {name: task_named(name).loss_scale for name in config.tasks},
        },
    )
    checkpoint.save(output, learner.model)
    progress_file.unlink(missing_ok=True)
    if progress:
        print(f"Wrote {output / config.name}.safetensors after {time.perf_counter() - started:,.0f} s")
    return checkpoint


def find_learning_rate(config: TrainConfig, images: pd.DataFrame, *, cache: Path | None = None, device: str = "auto") -> float:
    """fastai's learning-rate finder (Smith, 2017): the 'valley' of the loss over growing rates."""
    learner = _learner(config, images, cache, _device(device))
    with tempfile.TemporaryDirectory() as folder:  # the finder keeps the weights on disk while it spoils them
        learner.path = Path(folder)
        return float(learner.lr_find(show_plot=False).valley)


def _learner(config: TrainConfig, images: pd.DataFrame, cache: Path | None, device: torch.device) -> Learner:
    tasks = tuple(task_named(name) for name in config.tasks)
    torch.manual_seed(config.seed)
    model = FaceModel(tasks, config.backbone, pretrained=config.pretrained, dropout=config.dropout)
    _check_sizes(model, config)
    # Only the model runs in bfloat16; losses and metrics stay in float32.
    model.forward = torch.autocast(device.type, torch.bfloat16, enabled=_precision(device) == "bfloat16")(model.forward)
    # Stored an eighth larger than seen, so that shift, scale and rotation have pixels to draw from.
    decoded = torch.from_numpy(decode_images(images["file"], round(max(config.sizes) * 1.125), cache))
    targets = {task.name: torch.tensor(images[task.column].to_numpy()) for task in tasks}
    train_images, validation_images = (np.flatnonzero(images["split"] == split) for split in (TRAIN, VALIDATION))
    if len(train_images) < config.batch_size:
        raise FaceMTLError(
            f"There are {len(train_images)} training images, fewer than one batch of {config.batch_size}. "
            "Add images or choose a smaller --batch-size."
        )
    if not len(validation_images):
        raise FaceMTLError("There are no validation images. Add images: a fifth of them is set aside by their content.")
    loaders = DataLoaders(
        FaceLoader(decoded, targets, train_images, config.batch_size, seed=config.seed),
        FaceLoader(decoded, targets, validation_images[:1000], config.batch_size),  # a glance; `evaluate` uses all
        device=device,
    )
    return Learner(
        loaders,
        model.to(device=device, memory_format=torch.channels_last),
        loss_func=FixedScales(tasks),
        opt_func=Adam,  # fastai's is AdamW: weight decay is decoupled
        metrics=[_metric(task) for task in tasks],
        wd=config.weight_decay,
        cbs=[PrepareBatches(config), Float32Outputs(), GradientClip(config.grad_clip)],
        path=".",
    )


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


def _metric(task: Task) -> AvgMetric:
    def metric(outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> float:
        decoded = task.decode(task.probabilities(outputs[task.name]))["prediction"]
        return task.metric(targets[task.name].cpu().numpy(), decoded.cpu().numpy())

    metric.__name__ = f"{task.name}_{task.metric.name}"
    return AvgMetric(metric)


class FaceLoader(DataLoader):
    """Batches sliced from one array of decoded images (N, S, S, 3), shuffled anew each epoch if there is a seed."""

    def __init__(
        self, images: Tensor, targets: dict[str, Tensor], indices: np.ndarray, batch_size: int, seed: int | None = None
    ):
        self.images, self.targets, self.indices, self.seed, self.epoch = images, targets, indices, seed, 0
        super().__init__(indices, bs=batch_size, shuffle=seed is not None, drop_last=seed is not None, num_workers=0)

    def shuffle_fn(self, positions: list[int]) -> list[int]:
        return np.random.default_rng((self.seed, self.epoch)).permutation(positions).tolist()

    def create_batches(self, positions: Iterator[int]) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        positions = list(positions)
        for start in range(0, len(self) * self.bs, self.bs):
            rows = torch.from_numpy(self.indices[positions[start : start + self.bs]])
            batch = self.images[rows].permute(0, 3, 1, 2)  # (B, 3, S, S), channels last in memory
            yield batch, {name: values[rows] for name, values in self.targets.items()}


class PrepareBatches(Callback):
    """uint8 batches -> what the model is to see: the stage's size, augmented while training."""

    order = 5

    def __init__(self, config: TrainConfig):
        self.config = config

    def before_epoch(self):
        self.size = self.config.sizes[min(self.epoch, len(self.config.sizes) - 1)]
        self.learn.dls.train.epoch = self.epoch
        torch.manual_seed(self.config.seed * 10_000 + self.epoch)

    def before_batch(self):
        images = self.xb[0].float() / 255
        images = augment(images, self.size, self.config.augmentation) if self.training else resize(images, self.size)
        self.learn.xb = (images.contiguous(memory_format=torch.channels_last),)


def resize(images: Tensor, size: int) -> Tensor:
    """(B, 3, H, W) -> (B, 3, size, size)."""
    return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True, align_corners=False)


def augment(images: Tensor, size: int, how: Augmentation) -> Tensor:
    """(B, 3, H, W) in [0, 1] -> (B, 3, size, size) in [0, 1], each image changed in its own way."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.empty(n, *shape, device=images.device).uniform_(low, high)

    n = len(images)
    if (enough := round(size * 1.125)) < images.shape[-1]:
        images = resize(images, enough)  # sampling a much larger image would alias

    angle, zoom = uniform(-how.rotation, how.rotation) * math.pi / 180, 1 + uniform(-how.scale, how.scale)
    flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    shift = 2 * uniform(-how.shift, how.shift, 2)  # a side is 2 long here
    matrix = torch.stack(
        [torch.stack([cos * flip, -sin, shift[:, 0]], dim=1), torch.stack([sin * flip, cos, shift[:, 1]], dim=1)], dim=1
    )  # (B, 2, 3): output coordinates -> input coordinates, both in [-1, 1]
    grid = F.affine_grid(matrix, [n, 3, size, size], align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    contrast, brightness = 1 + uniform(-how.light, how.light, 1, 1, 1), 1 + uniform(-how.light, how.light, 1, 1, 1)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = ((images - mean) * contrast + mean) * brightness
    images = torch.where(uniform(0, 1, 1, 1, 1) < how.gray, images.mean(dim=1, keepdim=True), images)

    if how.erase:
        pixels = torch.arange(size, device=images.device)
        side, is_erased = uniform(0.15, 0.4, 2) * size, uniform(0, 1) < how.erase
        corner = uniform(0, 1, 2) * (size - side)
        inside = (pixels >= corner[..., None]) & (pixels < (corner + side)[..., None])  # (B, 2, size)
        patch = inside[:, 0, :, None] & inside[:, 1, None, :] & is_erased[:, None, None]
        images = torch.where(patch[:, None], images.mean(dim=(1, 2, 3), keepdim=True), images)
    return images.clamp(0, 1)


class Float32Outputs(Callback):
    """The model may run in bfloat16; losses and metrics never do."""

    def after_pred(self):
        self.learn.pred = {name: outputs.float() for name, outputs in self.pred.items()}


class KeepProgress(Callback):
    """After each epoch: the history as CSV, and all that a later process needs to go on."""

    order = 70  # after fastai's recorder

    def __init__(self, config: TrainConfig, file: Path, history: Path):
        self.config, self.file, self.history, self.rows, self.smooth_loss = config, file, history, [], None
        self.earlier = []  # of each time that settings were changed: the epochs done by then, and what was set before

    def before_fit(self):
        if self.smooth_loss:
            self.recorder.smooth_loss.count, self.recorder.smooth_loss.val = self.smooth_loss

    def before_epoch(self):
        self.started = time.perf_counter()
        if bar := getattr(getattr(self.learn, "progress", None), "mbar", None):
            bar.main_bar.last_v = self.epoch  # it counts the epochs that it has seen, and has not seen the skipped ones

    def after_epoch(self):
        if self.epoch < len(self.rows):
            return  # skipped: an earlier process ran it
        names = self.recorder.metric_names[1:-1]  # between "epoch" and "time"
        measured = dict(zip(names, (float(v) for v in self.recorder.values[-1]), strict=True))
        seconds = round(time.perf_counter() - self.started, 1)
        self.rows.append({"epoch": self.epoch + 1, "size": self.prepare_batches.size, **measured, "seconds": seconds})
        pd.DataFrame(self.rows).to_csv(self.history, index=False, float_format="%.5g")
        state = {
            "config": _plain(self.config),
            "model": self.learn.model.state_dict(),
            "optimizer": self._optimizer(),
            "rows": self.rows,
            "earlier": self.earlier,
            "smooth_loss": [self.recorder.smooth_loss.count, self.recorder.smooth_loss.val.cpu()],
        }
        partial = self.file.with_name(f".{self.file.name}.partial")
        torch.save(state, partial)
        partial.replace(self.file)

    def _optimizer(self) -> dict:
        """The optimizer's state without fastai's and numpy's own types, so that it can be read back without pickle."""
        state = self.opt.state_dict()
        hypers = [{name: float(value) for name, value in group.items()} for group in state["hypers"]]
        return {"state": list(state["state"]), "hypers": hypers}

    def restore(self, learner: Learner) -> int:
        """Load what an earlier process kept; the number of epochs that it finished."""
        if not self.file.is_file():
            raise FaceMTLError(f"There is nothing to resume: {self.file} does not exist. Start without --resume.")
        damaged = f"{self.file} is damaged and cannot be resumed. Delete it to start anew."
        try:
            state = torch.load(self.file, map_location=learner.dls.device, weights_only=True)
            done = [row["size"] for row in state["rows"]]
            before = state["config"]
            changed = [name for name, value in _plain(self.config).items() if before[name] != value]
        except Exception as error:
            raise FaceMTLError(damaged) from error
        self.earlier = state.get("earlier", [])
        if changed and {*changed} <= {"stages", "augmentation"} and self.config.sizes[: len(done)] == done:
            self.earlier.append({"epochs": len(done), **{name: before[name] for name in changed}})
        elif changed:
            raise FaceMTLError(
                f"The interrupted training had other settings ({', '.join(changed)}). "
                f"Resume with the same ones, or delete {self.file} to start anew."
            )
        try:
            learner.model.load_state_dict(state["model"])
            learner.create_opt()
            learner.opt.load_state_dict(state["optimizer"])
            self.rows, self.smooth_loss = state["rows"], state.get("smooth_loss")
        except Exception as error:
            raise FaceMTLError(damaged) from error
        return len(self.rows)


def _plain(config: TrainConfig) -> dict:
    """A config as lists, dicts and numbers, so that it compares equal after being stored."""
    return {
        k: [list(s) for s in v] if k == "stages" else list(v) if isinstance(v, tuple) else v for k, v in asdict(config).items()
    }


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise FaceMTLError(f"The device {name!r} cannot be used here. Try --device cpu, or auto.") from error
    return torch.device(name)


def _precision(device: torch.device) -> str:
    """bfloat16 where the hardware multiplies it faster than float32."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = device.type == "cpu" and any(torch.cpu.get_capabilities().get(k) for k in ("amx_bf16", "avx512_bf16"))
    return "bfloat16" if fast else "float32"
