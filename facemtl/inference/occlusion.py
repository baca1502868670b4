"""Occlusion maps: where covering a face changes the answer."""

import numpy as np

from .predictor import LoadedModel, interpret, to_batch

PATCH = 0.25  # of a side: what is covered at a time
STEPS = 8  # positions of the patch along a side


def where(loaded: LoadedModel, crop: np.ndarray) -> dict[str, np.ndarray]:
    """Square uint8 crop -> {task: (S, S)}, S the model's size: how much covering each place changes
    the answer.

    Occlusion sensitivity (Zeiler and Fergus, ECCV 2014): a square of the face's mean colour is laid
    over it, position by position. A pixel's value is the mean change over all patches that cover
    it, weighted by how near their centre it is, in the unit of `Task.change`: points of
    probability, or years.
    """
    size = loaded.info.size
    image = to_batch([crop], size)[0]  # (3, S, S)
    side = round(PATCH * size)
    # Also half over the edges, so that corners count alike.
    starts = np.linspace(-side / 2, size - side / 2, STEPS).round().astype(int)
    corners = [(top, left) for top in starts for left in starts]
    mean = image.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
    batch = np.repeat(image[None], 1 + len(corners), axis=0)  # the face as it is comes first
    for covered, (top, left) in zip(batch[1:], corners, strict=True):
        place = covered[:, max(top, 0) : top + side, max(left, 0) : left + side]
        place[:] = mean
    window = np.hanning(side + 2)[1:-1]
    window = window[:, None] * window
    logits, maps = loaded.logits(batch), {}
    for task in loaded.tasks:
        probabilities, _ = interpret(loaded.info, task, logits[task.name])
        changes = task.change(probabilities[:1], probabilities[1:])
        # Sums of changes and of weights, with room beyond the edges.
        total = np.zeros((2, size + 2 * side, size + 2 * side))
        for (top, left), change in zip(corners, changes, strict=True):
            place = total[:, top + side : top + 2 * side, left + side : left + 2 * side]
            place += np.stack([change * window, window])
        inside = total[:, side:-side, side:-side]
        maps[task.name] = inside[0] / inside[1]
    return maps
