"""JointLoss: one loss for several tasks."""

import torch
from torch import Tensor, nn

from ..errors import FaceMTLError
from ..tasks import Task
from .config import WEIGHTINGS


class JointLoss(nn.Module):
    """The mean of the tasks' losses, weighted in one of three ways.

    - "fixed": each loss L_t is divided by `Task.loss_scale`, about what a single-task model
      reaches. So all tasks count about the same, whatever the units of their losses.
    - "equal": the plain mean. The task with the largest loss counts most.
    - "uncertainty": the mean of exp(-s_t) L_t + s_t / 2 with learned log variances s_t (Kendall,
      Gal and Cipolla, CVPR 2018, in the form for cross-entropies). The best s_t is log(2 L_t), so
      all tasks come to count the same.

    It is a loss function for any fastai Learner whose batches have one target per task.
    """

    y_int = True  # tells fastai's MixUp to mix the losses of two targets, not the targets

    def __init__(self, tasks: tuple[Task, ...], weighting: str = "fixed", reduction: str = "mean"):
        super().__init__()
        if weighting not in WEIGHTINGS:
            raise FaceMTLError(
                f"weighting must be one of {', '.join(WEIGHTINGS)}; found {weighting!r}."
            )
        self.tasks, self.weighting, self.reduction = tuple(tasks), weighting, reduction
        if weighting == "uncertainty":
            self.log_variances = nn.Parameter(torch.zeros(len(self.tasks)))

    def forward(self, outputs: dict[str, Tensor], *targets: Tensor) -> Tensor:
        """{task: logits (B, n_outputs)} and one target (B,) per task -> a scalar loss.

        A target of NaN is a missing label. A task's loss is the mean over the images that have its
        label, or 0 if none has. With `reduction="none"`, the result is the loss of each image,
        (B,).
        """
        reduce = _of_images if self.reduction == "none" else _mean
        losses = [  # plain ones: fastai's kinds, such as TensorCategory, do not mix
            reduce(task, outputs[task.name].as_subclass(Tensor), target.as_subclass(Tensor))
            for task, target in zip(self.tasks, targets, strict=True)
        ]
        return self._weighted(torch.stack(losses, dim=-1)).mean(dim=-1)

    def _weighted(self, losses: Tensor) -> Tensor:
        """Weight losses (..., n_tasks). The shape stays the same."""
        if self.weighting == "fixed":
            return losses / losses.new_tensor([task.loss_scale for task in self.tasks])
        if self.weighting == "equal":
            return losses
        s = self.log_variances
        return torch.exp(-s) * losses + s / 2 * (losses > 0)  # 0 for a task without labels


def _mean(task: Task, outputs: Tensor, target: Tensor) -> Tensor:
    known = ~target.isnan()
    losses = task.loss(outputs[known], target[known])
    return losses.mean() if len(losses) else outputs.sum() * 0  # 0, with gradients of 0


def _of_images(task: Task, outputs: Tensor, target: Tensor) -> Tensor:
    known = ~target.isnan()
    return task.loss(outputs, target.nan_to_num(0.0)).where(known, 0.0)
