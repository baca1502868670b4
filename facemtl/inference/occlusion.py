"""Occlusion maps: where covering part of a face changes the answer."""

import numpy as np

from .predictor import LoadedModel, interpret, to_batch

PATCH = 0.25  # side of the patch, as a share of the crop's side
STEPS = 8  # positions of the patch along a side


def occlusion_maps(loaded: LoadedModel, crop: np.ndarray) -> dict[str, np.ndarray]:
    """The occlusion map of each task for a square uint8 crop: {task: (S, S)}.

    S is the model's image size. In occlusion sensitivity (Zeiler and Fergus, ECCV 2014), a square
    patch of the crop's mean colour is moved over the face. A pixel's value is the mean change of
    the answer over all patches that cover it, weighted by how near the patch's centre is. The unit
    is that of `Task.change`: points of probability, or years.
    """
    size = loaded.info.size
    image = to_batch([crop], size)[0]  # (3, S, S)
    side = round(PATCH * size)
    # The first and the last patch are centred on the edges, so that corners are covered well, too.
    starts = np.linspace(-side / 2, size - side / 2, STEPS).round().astype(int)
    corners = [(top, left) for top in starts for left in starts]
    mean = image.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
    batch = np.repeat(image[None], 1 + len(corners), axis=0)  # the uncovered face comes first
    for covered, (top, left) in zip(batch[1:], corners, strict=True):
        place = covered[:, max(top, 0) : top + side, max(left, 0) : left + side]
        place[:] = mean
    window = np.hanning(side + 2)[1:-1]
    window = window[:, None] * window
    logits, maps = loaded.logits(batch), {}
    for task in loaded.tasks:
        probabilities, _ = interpret(loaded.info, task, logits[task.name])
        changes = task.change(probabilities[:1], probabilities[1:])
        # Weighted sums of changes, and sums of weights. `side` px are added at each edge.
        total = np.zeros((2, size + 2 * side, size + 2 * side))
        for (top, left), change in zip(corners, changes, strict=True):
            place = total[:, top + side : top + 2 * side, left + side : left + 2 * side]
            place += np.stack([change * window, window])
        inside = total[:, side:-side, side:-side]
        maps[task.name] = inside[0] / inside[1]
    return maps
