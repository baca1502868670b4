"""Batches that are slices of one array of decoded images: nothing is read or decoded while a model trains."""

from collections.abc import Iterator

import numpy as np
import torch
from fastai.data.load import DataLoader
from torch import Tensor


class FaceLoader(DataLoader):
    """Batches sliced from one array of decoded images (N, S, S, 3), shuffled anew each epoch if there is a seed.

    `part` is which of how many equal parts of each batch it gives: (0, 1) is all of it.
    """

    def __init__(
        self,
        images: Tensor,
        targets: dict[str, Tensor],
        indices: np.ndarray,
        batch_size: int,
        seed: int | None = None,
        part: tuple[int, int] = (0, 1),
    ):
        self.images, self.targets, self.indices, self.seed, self.epoch = images, targets, indices, seed, 0
        self.part = part
        super().__init__(indices, bs=batch_size, shuffle=seed is not None, drop_last=seed is not None, num_workers=0)

    def shuffle_fn(self, positions: list[int]) -> list[int]:
        return np.random.default_rng((self.seed, self.epoch)).permutation(positions).tolist()

    def create_batches(self, positions: Iterator[int]) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        positions = list(positions)
        for start in range(0, len(self) * self.bs, self.bs):
            number, count = self.part
            own = positions[start : start + self.bs][number * self.bs // count : (number + 1) * self.bs // count]
            rows = torch.from_numpy(self.indices[own])
            batch = self.images[rows].permute(0, 3, 1, 2)  # (B, 3, S, S), channels last in memory
            yield batch, {name: values[rows] for name, values in self.targets.items()}
