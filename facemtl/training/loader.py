"""Batches that are slices of one array of decoded images: nothing is read or decoded while a model
trains.
"""

from collections.abc import Iterator

import numpy as np
import torch
from fastai.data.load import DataLoader
from torch import Tensor


class FaceLoader(DataLoader):
    """Batches sliced from one array of decoded images (N, S, S, 3), shuffled anew each epoch if
    there is a seed.

    A batch is the images (B, 3, S, S) in uint8, and one target (B,) for each task.
    """

    def __init__(
        self,
        images: Tensor,
        targets: list[Tensor],
        indices: np.ndarray,
        batch_size: int,
        seed: int | None = None,
    ):
        self.images, self.targets, self.indices, self.seed, self.epoch = (
            images,
            targets,
            indices,
            seed,
            0,
        )
        self.n_inp = 1
        super().__init__(
            indices,
            bs=batch_size,
            shuffle=seed is not None,
            drop_last=seed is not None,
            num_workers=0,
        )

    def shuffle_fn(self, positions: list[int]) -> list[int]:
        return np.random.default_rng((self.seed, self.epoch)).permutation(positions).tolist()

    def create_batches(self, positions: Iterator[int]) -> Iterator[tuple[Tensor, ...]]:
        positions = list(positions)
        for start in range(0, len(self) * self.bs, self.bs):
            rows = torch.from_numpy(self.indices[positions[start : start + self.bs]])
            batch = self.images[rows].permute(0, 3, 1, 2)  # (B, 3, S, S), channels last in memory
            yield batch, *(values[rows] for values in self.targets)
