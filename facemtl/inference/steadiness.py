"""Steadiness: how far an answer moves when the crop is changed a little."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from .perturbations import N_TURNS, SCALE, SHIFT
from .predictor import Predictor

VIEWS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda crop: crop,
    "mirrored": lambda crop: crop[:, ::-1],
    **{f"shifted, {i}": lambda crop, turn=i: SHIFT.apply(crop, 5, turn) for i in range(N_TURNS)},
    "larger": lambda crop: SCALE.apply(crop, 10, 0),
    "smaller": lambda crop: SCALE.apply(crop, -10, 0),
}


def views_of(crop: np.ndarray) -> dict[str, np.ndarray]:
    """Square uint8 crop -> the same face in all VIEWS, uint8, by name."""
    return {name: np.ascontiguousarray(view(crop)) for name, view in VIEWS.items()}


def steadiness(predictor: Predictor, views: dict[str, np.ndarray]) -> pd.DataFrame:
    """The predictions table of `views_of` a face, named by `image`, each without its mirror
    image.
    """
    plain = Predictor(replace(loaded, mirrored=False) for loaded in predictor.models)
    return plain.predict_crops(list(views.values()), list(views)).table
