"""Several task losses -> the one that is minimised."""

from torch import Tensor, nn

from .tasks import Task


class FixedScales(nn.Module):
    """The mean over tasks of each loss divided by what its single-task model reaches.

    So each task starts with the same say, whatever the units of its loss. With one task it is that
    task's loss, scaled: single- and multi-task training share this class.
    """

    def __init__(self, tasks: tuple[Task, ...]):
        super().__init__()
        self.tasks = tasks

    def forward(self, outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> Tensor:
        """{task: (B, n_outputs)}, {task: (B,)} -> scalar."""
        losses = [task.loss(outputs[task.name], targets[task.name]) / task.loss_scale for task in self.tasks]
        return sum(losses) / len(losses)
