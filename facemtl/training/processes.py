"""Several processes that train one model together, as `accelerate launch` starts them; alone, a process is one of one.

Each shows the model its part of every batch, and draws the random numbers of the whole batch: so an image is changed in the
same way however many processes there are. Gradients are averaged, so all keep the same weights. Alike but for rounding are one
process and several without mixup and dropout, which stay within a part, where no label is missing, and where batch
normalisation sees whole batches, as it does on GPUs.
"""

import importlib
import os
from collections.abc import Callable
from typing import TypeVar

import torch
from fastai.distributed import DistributedTrainer
from fastai.torch_core import num_distrib, rank_distrib

from ..errors import FaceMTLError

T = TypeVar("T")


def part() -> tuple[int, int]:
    """Which process this is, counted from 0, and of how many."""
    return rank_distrib(), max(1, num_distrib())


def is_first() -> bool:
    """Is this the one process that writes and prints?"""
    return part()[0] == 0


def own_device(name: str) -> str:
    """Processes of one machine have a GPU each."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if name == "cuda" and part()[1] > 1 else name


def check_parts(batch_size: int) -> None:
    """Raise FaceMTLError where the processes cannot share batches of that size equally, or do not know each other."""
    _, count = part()
    if batch_size % count or batch_size < 2 * count:
        raise FaceMTLError(
            f"{count} processes share each batch equally: --batch-size must be a multiple of {count}, two images or more for "
            f"each; found {batch_size}."
        )
    if count > 1:
        try:
            import accelerate  # noqa: F401
        except ImportError as error:
            raise FaceMTLError("Training in several processes takes `pip install accelerate`.") from error


class Together(DistributedTrainer):
    """fastai's way of training in several processes, for loaders that know their part."""

    def __init__(self, device: torch.device):
        # The default arguments of that module are what the group of processes is when it is imported, by torch itself sooner
        # or later. Imported after the group was made, they hold it for ever, and its threads with it (see `end`).
        importlib.import_module("torch.distributed.nn.functional")
        # Statistics of batch normalisation are those of whole batches only where torch can exchange them: on GPUs.
        super().__init__(sync_bn=device.type == "cuda", cpu=device.type == "cpu")

    def first_alone(self, work: Callable[[], T]) -> T:
        """Do `work` in the first process, then in the others: they find in the cache what it left there."""
        with self.accelerator.main_process_first():
            return work()

    def before_step(self):
        for parameter in self.loss_func.parameters():  # they are not the model's, whose gradients are averaged already
            parameter.grad = self.accelerator.reduce(parameter.grad, "mean")

    def end(self) -> None:
        """Part from the others, and end the threads that exchange gradients: any left while Python ends can abort the process.

        The model that was wrapped for several processes is let go first, for it holds them.
        """
        self.accelerator.free_memory()
        self.accelerator.end_training()

    def _wrap_dl(self, loader):
        return loader
