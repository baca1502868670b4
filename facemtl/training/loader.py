"""A DataLoader whose batches are slices of one array of decoded images.

Nothing is read or decoded during training.
"""

from collections.abc import Iterator

import numpy as np
import torch
from fastai.data.load import DataLoader
from torch import Tensor


class FaceLoader(DataLoader):
    """A fastai DataLoader over decoded images (N, S, S, 3).

    With a seed, it shuffles the images again in each epoch, and drops an incomplete last batch. A
    batch has the images (B, 3, S, S) in uint8, and one target (B,) for each task.
    """

    def __init__(
        self,
        images: Tensor,
        targets: list[Tensor],
        indices: np.ndarray,
        batch_size: int,
        seed: int | None = None,
    ):
        self.images, self.targets, self.indices = images, targets, indices
        self.seed, self.epoch, self.n_inp = seed, 0, 1
        is_shuffled = seed is not None
        super().__init__(
            indices, bs=batch_size, shuffle=is_shuffled, drop_last=is_shuffled, num_workers=0
        )

    def shuffle_fn(self, positions: list[int]) -> list[int]:
        return np.random.default_rng((self.seed, self.epoch)).permutation(positions).tolist()

    def create_batches(self, positions: Iterator[int]) -> Iterator[tuple[Tensor, ...]]:
        positions = list(positions)  # all of them, or this process's share
        n = len(positions) // self.bs * self.bs if self.drop_last else len(positions)
        for start in range(0, n, self.bs):
            rows = torch.from_numpy(self.indices[positions[start : min(start + self.bs, n)]])
            batch = self.images[rows].permute(0, 3, 1, 2)  # (B, 3, S, S), channels last in memory
            yield batch, *(values[rows] for values in self.targets)
