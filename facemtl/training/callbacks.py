"""What happens around each batch, step and epoch, as callbacks of fastai's Learner."""

import io
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from fastai.callback.core import Callback
from fastai.learner import Learner, Metric
from fastai.torch_core import get_model
from torch import Tensor
from torch.distributions import Beta
from torch.nn.modules.batchnorm import _BatchNorm

from ..augmentation import augment, resize
from ..errors import FaceMTLError
from ..models import FaceModel
from ..tables import write_whole
from ..tasks import Task
from .config import TrainConfig
from .processes import is_first


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
        if self.training:
            images = augment(images, self.size, self.config.augmentation, self.learn.dls.train.part)
        else:
            images = resize(images, self.size)
        if self.training and self.config.mixup:
            share = float(Beta(self.config.mixup, self.config.mixup).sample())
            images = images.lerp(images.flip(0), 1 - share)
            self.learn.yb = (self.yb[0], {name: values.flip(0) for name, values in self.yb[0].items()}, share)
        self.learn.xb = (images.contiguous(memory_format=torch.channels_last),)


class Teach(Callback):
    """While training, ask the teachers of each batch, as the model sees it: the mean of their probabilities is learned too."""

    order = 6  # after the batch is prepared

    def __init__(self, teachers: Sequence[tuple[FaceModel, int]], tasks: tuple[Task, ...], weight: float):
        self.teachers, self.tasks, self.weight = teachers, tasks, weight  # models, and the image size of each
        self.run = bool(teachers)

    def before_batch(self):
        if not self.training:
            return
        with torch.no_grad():
            answers = [model(resize(self.xb[0], size)) for model, size in self.teachers]
        taught = {}
        for task in self.tasks:
            if found := [task.probabilities(outputs[task.name]) for outputs in answers if task.name in outputs]:
                taught[task.name] = torch.stack(found).mean(dim=0)
        unmixed = (None, 1.0)
        self.learn.yb = (*(*self.yb, *unmixed)[:3], taught, self.weight)


class Float32Outputs(Callback):
    """The model may run in bfloat16; losses and metrics never do."""

    def after_pred(self):
        self.learn.pred = _float32(self.pred)


def _float32(outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: values.float() for name, values in outputs.items()}


class SharpnessAware(Callback):
    """The gradient of each step is taken where the weights are moved uphill by `radius` (SAM; Foret et al., ICLR 2021).

    So flat minima are preferred to sharp ones, which hold less on new images. A step costs twice as much.
    """

    order = 0  # before the gradient is clipped

    def __init__(self, radius: float):
        self.radius, self.run = radius, radius > 0

    def before_step(self):
        model, weights = self.learn.model, [p for p in self.learn.model.parameters() if p.grad is not None]
        length = torch.nn.utils.get_total_norm([p.grad for p in weights])
        uphill = [self.radius / (length + 1e-12) * p.grad for p in weights]
        momenta = {module: module.momentum for module in model.modules() if isinstance(module, _BatchNorm)}
        with torch.no_grad():
            torch._foreach_add_(weights, uphill)
        self.learn.opt.zero_grad()
        for module in momenta:  # what is running there is of the weights themselves
            module.momentum = 0.0
        self.learn.loss_func(_float32(model(*self.learn.xb)), *self.learn.yb).backward()
        for module, momentum in momenta.items():
            module.momentum = momentum
        with torch.no_grad():
            torch._foreach_sub_(weights, uphill)


class Glance(Metric):
    """A task's metric over the images that have its label, after each epoch."""

    def __init__(self, task: Task):
        self.task = task

    def reset(self):
        self.total, self.count = 0.0, 0

    def accumulate(self, learn: Learner):
        target = learn.yb[0][self.task.name]
        known = ~target.isnan()
        decoded = self.task.decode(self.task.probabilities(learn.pred[self.task.name][known]))["prediction"]
        scores = self.task.metric.scores(target[known].cpu().numpy(), decoded.cpu().numpy())
        self.total, self.count = self.total + float(scores.sum()), self.count + len(scores)

    @property
    def value(self) -> float:
        return self.total / max(1, self.count)

    @property
    def name(self) -> str:
        return f"{self.task.name}_{self.task.metric.name}"


class FreeLossWeights(Callback):
    """Weight decay would pull what a loss learns towards its start."""

    def before_fit(self):
        for parameter in self.loss_func.parameters():
            self.opt.state[parameter]["do_wd"] = False


class RunningMean(Callback):
    """Validate, and keep at the end, the exponential moving mean of the weights over the steps (Polyak and Juditsky, 1992)."""

    def __init__(self, decay: float):
        self.decay, self.steps, self.means = decay, 0, {}
        self.run = decay > 0

    def before_fit(self):
        if not self.means:
            self.means = {name: value.clone() for name, value in self._weights().items()}

    def after_step(self):
        self.steps += 1
        decay = min(self.decay, self.steps / (self.steps + 10))  # the first steps are not worth remembering
        for name, value in self._weights().items():
            self.means[name].lerp_(value, 1 - decay)

    def _weights(self) -> dict[str, Tensor]:
        return {name: value for name, value in get_model(self.learn.model).state_dict().items() if value.is_floating_point()}

    def _swap(self):
        for name, value in self._weights().items():
            last = value.clone()
            value.copy_(self.means[name])
            self.means[name] = last

    before_validate = after_validate = after_fit = _swap


class KeepProgress(Callback):
    """After each epoch: the history as CSV, and all that a later process needs to go on."""

    order = 70  # after fastai's recorder

    def __init__(self, config: TrainConfig, file: Path, history: Path, origin: dict | None = None):
        self.config, self.file, self.history, self.rows, self.smooth_loss = config, file, history, [], None
        self.origin = origin or {"training": {}, "rows": []}  # of the model whose weights this training started from
        self.changed = []  # the settings that differ from those of the interrupted training
        self.earlier = []  # of each time that settings were changed: the epochs done by then, and what was set before

    def before_fit(self):
        if self.smooth_loss:
            count, value = self.smooth_loss
            self.recorder.smooth_loss.count, self.recorder.smooth_loss.val = count, value.cpu()  # where fastai keeps it

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
        if not is_first():
            return
        before = self.origin["rows"]
        rows = before + [{**row, "epoch": len(before) + row["epoch"]} for row in self.rows]
        write_whole(self.history, pd.DataFrame(rows).to_csv(index=False, float_format="%.5g").encode())
        state = {
            "config": self.config.plain(),
            "model": get_model(self.learn.model).state_dict(),
            "optimizer": self._optimizer(),
            "loss": self.loss_func.state_dict(),
            "running_mean": [self.running_mean.steps, self.running_mean.means],
            "rows": self.rows,
            "earlier": self.earlier,
            "origin": self.origin,
            "smooth_loss": [self.recorder.smooth_loss.count, self.recorder.smooth_loss.val.cpu()],
        }
        content = io.BytesIO()
        torch.save(state, content)  # not into a file: of a full disk it does not tell
        write_whole(self.file, content.getvalue())

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
            before = TrainConfig().plain() | state["config"]  # settings may be younger than the file: their defaults were meant
            changed = [name for name, value in self.config.plain().items() if before[name] != value]
        except Exception as error:
            raise FaceMTLError(damaged) from error
        self.earlier, self.origin = state.get("earlier", []), state.get("origin", self.origin)
        if changed and {*changed} <= {"stages", "augmentation"} and self.config.sizes[: len(done)] == done:
            self.changed = changed
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
            if "loss" in state:
                learner.loss_func.load_state_dict(state["loss"])
                learner.running_mean.steps, learner.running_mean.means = state["running_mean"]
            self.rows, self.smooth_loss = state["rows"], state.get("smooth_loss")
        except Exception as error:
            raise FaceMTLError(damaged) from error
        return len(self.rows)
