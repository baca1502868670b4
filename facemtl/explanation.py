"""Why this answer: where covering the face changes it, and how steady it is under small changes of the crop."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from .prediction import LoadedModel, Predictor, interpret, to_batch
from .robustness import N_TURNS, SCALE, SHIFT

PATCH = 0.25  # of a side: what is covered at a time
STEPS = 8  # positions of the patch along a side
VIEWS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda crop: crop,
    "mirrored": lambda crop: crop[:, ::-1],
    **{f"shifted, {i}": lambda crop, turn=i: SHIFT.apply(crop, 5, turn) for i in range(N_TURNS)},
    "larger": lambda crop: SCALE.apply(crop, 10, 0),
    "smaller": lambda crop: SCALE.apply(crop, -10, 0),
}


def where(loaded: LoadedModel, crop: np.ndarray) -> dict[str, np.ndarray]:
    """Square uint8 crop -> {task: (S, S)}, S the model's image size: how much covering each place changes the answer.

    Occlusion sensitivity (Zeiler and Fergus, ECCV 2014): a square of the face's mean colour, which is also what erases
    patches in training, is laid over it, position by position. A pixel's value is the mean change over all patches that
    cover it, the more so the nearer their centre, in the unit of `Task.change`: points of probability, or years.
    """
    size = loaded.checkpoint.image_size
    image = to_batch([crop], size)[0]  # (3, S, S)
    side = round(PATCH * size)
    # Also half over the edges, so that corners count alike.
    starts = np.linspace(-side / 2, size - side / 2, STEPS).round().astype(int).tolist()
    corners = [(top, left) for top in starts for left in starts]
    batch = image.repeat(1 + len(corners), 1, 1, 1)  # the face as it is comes first
    for covered, (top, left) in zip(batch[1:], corners, strict=True):
        covered[:, max(top, 0) : top + side, max(left, 0) : left + side] = image.mean(dim=(1, 2), keepdim=True)
    window = torch.hann_window(side + 2, periodic=False)[1:-1]
    window = window[:, None] * window
    outputs, maps = loaded.outputs_of(batch), {}
    for task in loaded.model.tasks:
        probabilities, _ = interpret(loaded.checkpoint, task, outputs[task.name])
        changes = task.change(probabilities[:1], probabilities[1:]).tolist()
        total = torch.zeros(2, size + 2 * side, size + 2 * side)  # of changes and of weights, with room beyond the edges
        for (top, left), change in zip(corners, changes, strict=True):
            place = total[:, top + side : top + 2 * side, left + side : left + 2 * side]
            place += torch.stack([change * window, window])
        inside = total[:, side:-side, side:-side]
        maps[task.name] = (inside[0] / inside[1]).numpy()
    return maps


def views_of(crop: np.ndarray) -> dict[str, np.ndarray]:
    """Square uint8 crop -> the same face in all VIEWS, uint8, by name."""
    return {name: np.ascontiguousarray(view(crop)) for name, view in VIEWS.items()}


def steadiness(predictor: Predictor, views: dict[str, np.ndarray]) -> pd.DataFrame:
    """The predictions table of `views_of` a face, named by `image`, each without its mirror image."""
    plain = Predictor(replace(loaded, mirrored=False) for loaded in predictor.models)
    return plain.predict(list(views.values()), list(views)).table
