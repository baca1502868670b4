"""Several task losses -> the one that is minimised: three ways to weigh them.

With one task, the first two are that task's loss, scaled: single- and multi-task training share
these classes.
"""

import torch
from torch import Tensor, nn

from ..tasks import Task


class JointLoss(nn.Module):
    """What the ways have in common."""

    def __init__(self, tasks: tuple[Task, ...]):
        super().__init__()
        self.tasks = tasks

    def forward(self, outputs: dict[str, Tensor], *targets: Tensor) -> Tensor:
        """{task: logits (B, n_outputs)}, one target (B,) per task in the order of the tasks ->
        scalar.

        A target of NaN is a missing label: a task's loss is the mean over the images that have its
        label, and 0 without any.
        """
        losses = [
            _over_labelled(task, outputs[task.name], y)
            for task, y in zip(self.tasks, targets, strict=True)
        ]
        return self.join(torch.stack(losses))

    def join(self, losses: Tensor) -> Tensor:
        """(n_tasks,) -> scalar."""
        raise NotImplementedError


def _over_labelled(task: Task, outputs: Tensor, target: Tensor) -> Tensor:
    known = ~target.isnan()
    outputs, target = outputs[known], target[known]
    return (
        task.loss(outputs, target) if len(target) else outputs.sum()
    )  # of nothing: 0, with gradients of 0


class FixedScales(JointLoss):
    """The mean over tasks of each loss divided by what its single-task model reaches.

    So each task starts with the same say, whatever the units of its loss.
    """

    def join(self, losses: Tensor) -> Tensor:
        return (losses / losses.new_tensor([task.loss_scale for task in self.tasks])).mean()


class EqualWeights(JointLoss):
    """The plain mean: the task with the largest loss has the largest say."""

    def join(self, losses: Tensor) -> Tensor:
        return losses.mean()


class Uncertainty(JointLoss):
    """Learned weights: the mean of exp(-s_t) L_t + s_t / 2, where s_t is the log variance of task
    t.

    Kendall, Gal and Cipolla (CVPR 2018), in its form for cross-entropies, which is the larger part
    of each of our losses. The best s_t for a loss of L is log(2 L): weights follow the losses, so
    each task comes to have the same say. A batch without a label of a task says nothing of its s_t.
    """

    def __init__(self, tasks: tuple[Task, ...]):
        super().__init__(tasks)
        self.log_variances = nn.Parameter(torch.zeros(len(tasks)))

    def join(self, losses: Tensor) -> Tensor:
        return (
            torch.exp(-self.log_variances) * losses + self.log_variances / 2 * (losses > 0)
        ).mean()


_CLASSES = {"fixed": FixedScales, "equal": EqualWeights, "uncertainty": Uncertainty}


def joint_loss(weighting: str, tasks: tuple[Task, ...]) -> JointLoss:
    """The loss of one of `config.WEIGHTINGS`."""
    return _CLASSES[weighting](tasks)
