"""Steadiness: how much an answer varies when the crop is changed a little."""

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
    """A square uint8 crop in all VIEWS, by name."""
    return {name: np.ascontiguousarray(view(crop)) for name, view in VIEWS.items()}


def steadiness(predictor: Predictor, views: dict[str, np.ndarray]) -> pd.DataFrame:
    """The predictions table of the views that `views_of` made of a face.

    Column `image` holds the name of the view. Here the models do not average over mirror images.
    """
    plain = Predictor(replace(loaded, mirrored=False) for loaded in predictor.models)
    return plain.predict_crops(list(views.values()), list(views)).table
