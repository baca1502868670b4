"""What happens around each batch, step and epoch, as callbacks of fastai's Learner."""

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
from ..tasks import Task
from .augment import augment, resize
from .config import TrainConfig


def plain_model(learner: Learner) -> nn.Module:
    """The learner's model, without what wraps it while several processes train it."""
    return getattr(learner.model, "module", learner.model)


class PrepareBatches(Callback):
    """uint8 batches -> what the model is to see: images of its size in [0, 1], augmented while
    training.

    All that is random in an epoch follows from the seed and the number of the epoch.
    """

    order = -5  # before fastai's MixUp, which takes images of floats

    def __init__(self, config: TrainConfig):
        self.config, self.epochs_before = config, 0  # of earlier phases

    def before_epoch(self):
        epoch = self.epochs_before + self.epoch
        loader = self.learn.dls.train
        getattr(loader, "dl", loader).epoch = epoch  # several processes wrap it
        torch.manual_seed(self.config.seed * 10_000 + epoch + 10**9 * rank_distrib())

    def before_batch(self):
        images = self.xb[0].float() / 255
        if self.training:
            images = augment(images, self.config.size, self.config.augmentation)
        else:
            images = resize(images, self.config.size)
        self.learn.xb = (images.contiguous(memory_format=torch.channels_last),)


class Autocast(Callback):
    """The model runs in bfloat16 where that is faster; losses and metrics never do."""

    def __init__(self, device: torch.device, enabled: bool):
        self.context = torch.autocast(device.type, torch.bfloat16, enabled=enabled)

    def before_fit(self):
        self.hooks = [
            self.model.register_forward_pre_hook(self._enter),
            # Also where the model fails: what is left on would change whatever runs next in the
            # process.
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
    """A task's metric over the images that have its label, after each epoch. `position` is that of
    its target in a batch.
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
    """fastai's MixUp, for batches with several targets: it takes their size from `y`."""

    @property
    def y(self) -> Tensor:
        return self.learn.yb[0]


class FreeLossWeights(Callback):
    """Weight decay would pull what a loss learns towards its start."""

    def before_fit(self):
        for parameter in self.loss_func.parameters():
            self.opt.state[parameter]["do_wd"] = False


class RunningMean(Callback):
    """Validate, and keep at the end, the exponential moving mean of the weights over the steps.

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
        decay = min(
            self.decay, self.steps / (self.steps + 10)
        )  # the first steps are not worth remembering
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
        """Make the mean the model's weights, once all epochs are over."""
        if self.run:
            learner.model.load_state_dict(self.means, strict=False)


class KeepProgress(Callback):
    """After each epoch: the history as CSV, and all that a later process needs to go on."""

    order = 70  # after fastai's recorder

    def __init__(self, config: TrainConfig, file: Path, history: Path):
        self.config, self.file, self.history, self.rows = config, file, history, []
        self.interrupted: dict | None = None  # the state in which an earlier process stopped

    def before_fit(self):
        done, state = len(self.rows), self.interrupted
        if (
            state and done > self.prepare_batches.epochs_before
        ):  # in the middle of this phase; each begins with an empty state
            self.opt.load_state_dict(state["optimizer"])
            count, value = state["smooth_loss"]
            self.recorder.smooth_loss.count, self.recorder.smooth_loss.val = (
                count,
                value.cpu(),
            )  # where fastai keeps it
        self.interrupted = None

    def before_epoch(self):
        self.started = time.perf_counter()

    def after_epoch(self):
        done = self.prepare_batches.epochs_before + self.epoch
        if done < len(self.rows):
            return  # skipped: an earlier process ran it
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
            "model": plain_model(self.learn).state_dict(),
            "optimizer": self._optimizer(),
            "loss": self.loss_func.state_dict(),
            "running_mean": [self.running_mean.steps, self.running_mean.means],
            "rows": self.rows,
            "smooth_loss": [self.recorder.smooth_loss.count, self.recorder.smooth_loss.val.cpu()],
        }
        content = io.BytesIO()
        torch.save(state, content)  # not into a file: of a full disk it does not tell
        write_whole(self.file, content.getvalue())

    def _optimizer(self) -> dict:
        """The optimizer's state without fastai's and numpy's own types, so that it can be read back
        without pickle.
        """
        state = self.opt.state_dict()
        hypers = [
            {name: float(value) for name, value in group.items()} for group in state["hypers"]
        ]
        return {"state": list(state["state"]), "hypers": hypers}

    def restore(self, learner: Learner) -> int:
        """Load what an earlier process kept; the number of epochs that it finished."""
        if not self.file.is_file():
            raise FaceMTLError(
                f"There is nothing to resume: {self.file} does not exist. Start without --resume."
            )
        damaged = f"{self.file} is damaged and cannot be resumed. Delete it to start anew."
        try:
            state = torch.load(self.file, map_location=learner.dls.device, weights_only=True)
            changed = [
                name
                for name, value in self.config.plain().items()
                if state["config"].get(name) != value
            ]
        except Exception as error:
            raise FaceMTLError(damaged) from error
        if changed:
            raise FaceMTLError(
                f"The interrupted training had other settings ({', '.join(changed)}). "
                f"Resume with the same ones, or delete {self.file} to start anew."
            )
        try:
            learner.model.load_state_dict(state["model"])
            learner.loss_func.load_state_dict(state["loss"])
            learner.running_mean.steps, learner.running_mean.means = state["running_mean"]
            learner.create_opt()
            learner.opt.load_state_dict(
                state["optimizer"]
            )  # again when its phase goes on: freezing clears it
            self.rows, self.interrupted = state["rows"], state
        except Exception as error:
            raise FaceMTLError(damaged) from error
        return len(self.rows)
