"""fastai callbacks: batch preparation, bfloat16, metrics, weight averaging and checkpoints."""

import io
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from fastai.callback import mixup
from fastai.callback.core import Callback
from fastai.learner import Learner, Metric
from fastai.torch_core import rank_distrib
from torch import Tensor, nn

from ..errors import FaceMTLError
from ..files import write_whole
from ..regular import open_file
from ..tasks import Task
from .augment import augment, resize
from .config import TrainConfig


def plain_model(learner: Learner) -> nn.Module:
    """The learner's model, without the wrapper that distributed training puts around it."""
    return getattr(learner.model, "module", learner.model)


class PrepareBatches(Callback):
    """Convert uint8 batches to float images of the model's size, augmented in training.

    The images are in [0, 1]. All randomness in an epoch depends only on the seed, the epoch and the
    rank of the process.
    """

    order = -5  # before fastai's MixUp, which needs float images

    def __init__(self, config: TrainConfig):
        self.config, self.epochs_before = config, 0  # epochs of earlier phases

    def before_epoch(self):
        epoch = self.epochs_before + self.epoch
        loader = self.learn.dls.train
        getattr(loader, "dl", loader).epoch = epoch  # distributed training wraps it
        torch.manual_seed(self.config.seed * 10_000 + epoch + 10**9 * rank_distrib())

    def before_batch(self):
        images = self.xb[0].float() / 255
        if self.training:
            images = augment(images, self.config.size, self.config.augmentation)
        else:
            images = resize(images, self.config.size)
        self.learn.xb = (images.contiguous(memory_format=torch.channels_last),)


class Autocast(Callback):
    """Run the model in bfloat16 if `enabled`. Losses and metrics stay in float32."""

    def __init__(self, device: torch.device, enabled: bool):
        self.context = torch.autocast(device.type, torch.bfloat16, enabled=enabled)

    def before_fit(self):
        self.hooks = [
            self.model.register_forward_pre_hook(self._enter),
            # Leave autocast even if the model raises. Otherwise it would stay on in the process.
            self.model.register_forward_hook(self._leave, always_call=True),
        ]

    def _enter(self, model: nn.Module, inputs: tuple) -> None:
        self.context.__enter__()

    def _leave(self, model: nn.Module, inputs: tuple, outputs: dict[str, Tensor] | None) -> None:
        self.context.__exit__(None, None, None)

    def after_pred(self):
        self.learn.pred = {name: values.float() for name, values in self.pred.items()}

    def after_fit(self):
        for hook in self.hooks:
            hook.remove()


class TaskMetric(Metric):
    """A task's metric over the images that have its label, computed after each epoch.

    `position` is the index of the task's target among the targets of a batch.
    """

    def __init__(self, task: Task, position: int):
        self.task, self.position = task, position

    def reset(self):
        self.total, self.count = 0.0, 0

    def accumulate(self, learn: Learner):
        target = learn.yb[self.position].cpu().numpy()
        known = ~np.isnan(target)
        probabilities = self.task.probabilities(learn.pred[self.task.name].cpu().numpy()[known])
        scores = self.task.metric.scores(
            target[known], self.task.decode(probabilities)["prediction"]
        )
        self.total, self.count = self.total + float(scores.sum()), self.count + len(scores)

    @property
    def value(self) -> float:
        return self.total / max(1, self.count)

    @property
    def name(self) -> str:
        return f"{self.task.name}_{self.task.metric.name}"


class MixUp(mixup.MixUp):
    """fastai's MixUp, for batches with several targets.

    fastai reads the batch size from `y`, which is the first target here.
    """

    @property
    def y(self) -> Tensor:
        return self.learn.yb[0]


class LearnableLossWeights(Callback):
    """Exclude the loss's parameters from weight decay, which would pull them towards 0."""

    def before_fit(self):
        for parameter in self.loss_func.parameters():
            self.opt.state[parameter]["do_wd"] = False


class RunningMean(Callback):
    """Exponential moving average of the weights, for validation and as the final weights.

    The average is updated after each step. `keep` makes it the model's weights after training.

    Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992.
    """

    def __init__(self, decay: float):
        self.decay, self.steps, self.means = decay, 0, {}
        self.run = decay > 0

    def before_fit(self):
        if not self.means:
            self.means = {name: value.clone() for name, value in self._weights().items()}

    def after_step(self):
        self.steps += 1
        # A smaller decay at first: the weights of the first steps are soon forgotten.
        decay = min(self.decay, self.steps / (self.steps + 10))
        weights = self._weights()
        torch._foreach_lerp_(
            [self.means[name] for name in weights], list(weights.values()), 1 - decay
        )

    def _weights(self) -> dict[str, Tensor]:
        state = plain_model(self.learn).state_dict()
        return {name: value for name, value in state.items() if value.is_floating_point()}

    def _swap(self):
        for name, value in self._weights().items():
            last = value.clone()
            value.copy_(self.means[name])
            self.means[name] = last

    before_validate = after_validate = _swap

    def keep(self, learner: Learner) -> None:
        """Make the average the model's weights. To be called after the last epoch."""
        if self.run:
            learner.model.load_state_dict(self.means, strict=False)


class KeepProgress(Callback):
    """After each epoch, write the history as CSV and a checkpoint to resume from.

    `data` is a hash of images and labels, and `seen` is the text of `models.seen`.
    """

    order = 70  # after fastai's recorder

    def __init__(self, config: TrainConfig, data: str, file: Path, history: Path):
        self.config, self.data, self.file, self.history = config, data, file, history
        self.rows, self.seen = [], ""
        self.interrupted: dict | None = None  # the checkpoint of an earlier process

    def before_fit(self):
        done, state = len(self.rows), self.interrupted
        # Only if the phase has begun: each phase starts with an empty optimizer state.
        if state and done > self.prepare_batches.epochs_before:
            self.opt.load_state_dict(state["optimizer"])
            count, value = state["smooth_loss"]
            # fastai keeps this value on the CPU.
            self.recorder.smooth_loss.count, self.recorder.smooth_loss.val = count, value.cpu()
        self.interrupted = None

    def before_epoch(self):
        self.started = time.perf_counter()

    def after_epoch(self):
        done = self.prepare_batches.epochs_before + self.epoch
        if done < len(self.rows):
            return  # fastai skips it: an earlier process ran it
        names = self.recorder.metric_names[1:-1]  # between "epoch" and "time"
        measured = dict(zip(names, (float(v) for v in self.recorder.values[-1]), strict=True))
        self.rows.append(
            {"epoch": done + 1, **measured, "seconds": round(time.perf_counter() - self.started, 1)}
        )
        if rank_distrib():
            return  # the first process writes for all
        write_whole(
            self.history, pd.DataFrame(self.rows).to_csv(index=False, float_format="%.5g").encode()
        )
        state = {
            "config": self.config.plain(),
            "data": self.data,
            "seen": self.seen,
            "model": plain_model(self.learn).state_dict(),
            "optimizer": self._optimizer(),
            "loss": self.loss_func.state_dict(),
            "running_mean": [self.running_mean.steps, self.running_mean.means],
            "rows": self.rows,
            "smooth_loss": [self.recorder.smooth_loss.count, self.recorder.smooth_loss.val.cpu()],
        }
        content = io.BytesIO()
        # Not directly into the file: torch.save does not report a full disk.
        torch.save(state, content)
        write_whole(self.file, content.getvalue())

    def _optimizer(self) -> dict:
        """The optimizer's state in types that can be loaded with `weights_only`."""
        state = self.opt.state_dict()
        hypers = [
            {name: float(value) for name, value in group.items()} for group in state["hypers"]
        ]
        return {"state": list(state["state"]), "hypers": hypers}

    def restore(self, learner: Learner) -> int:
        """Load the checkpoint of an earlier process. Returns the number of finished epochs.

        Raises FaceMTLError if there is no checkpoint, if it is damaged, or if its settings, images
        or labels are different.
        """
        if not self.file.is_file():
            raise FaceMTLError(
                f"There is nothing to resume: {self.file} does not exist. Start without --resume."
            )
        damaged = f"{self.file} is damaged and cannot be resumed. Delete it to start again."
        try:
            with open_file(self.file) as file:
                state = torch.load(file, map_location=learner.dls.device, weights_only=True)
            changed = [
                name
                for name, value in self.config.plain().items()
                if state["config"].get(name) != value
            ]
            is_other = state.get("data") != self.data  # older checkpoints do not say it
        except Exception as error:
            raise FaceMTLError(damaged) from error
        if changed:
            raise FaceMTLError(
                f"The interrupted training had other settings ({', '.join(changed)}). "
                f"Resume with the same ones, or delete {self.file} to start again."
            )
        if is_other:
            raise FaceMTLError(
                "The interrupted training had other images or labels, or an older version began it."
                f" Resume with the same ones, or delete {self.file} to start again."
            )
        try:
            learner.model.load_state_dict(state["model"])
            learner.loss_func.load_state_dict(state["loss"])
            learner.running_mean.steps, learner.running_mean.means = state["running_mean"]
            learner.create_opt()
            # `before_fit` loads it again, since freezing or unfreezing clears it.
            learner.opt.load_state_dict(state["optimizer"])
            self.rows, self.seen, self.interrupted = state["rows"], state["seen"], state
        except Exception as error:
            raise FaceMTLError(damaged) from error
        return len(self.rows)
