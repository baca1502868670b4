"""Steadiness: views of a face and the predictions for each view."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from facemtl.inference.predictor import Predictor
from facemtl.inference.steadiness import VIEWS, steadiness, views_of
from facemtl.tasks import TASKS
from tests import support


@pytest.fixture(scope="module")
def crop() -> np.ndarray:
    return np.asarray(Image.open(support.composites(1)[0]).convert("RGB"))


def test_views_are_small_variations_of_the_face(crop):
    """Each view is closer to the face than another face is."""
    other = np.asarray(Image.open(support.composites(2)[1]).convert("RGB"))

    def distance(pixels):
        return np.abs(pixels.astype(float) - crop).mean()

    for name, view in VIEWS.items():
        seen = view(crop)
        assert distance(seen) < distance(other)
        assert seen.shape == crop.shape and seen.dtype == np.uint8
        assert np.array_equal(seen, crop) == (name == "as it is")
    assert np.array_equal(VIEWS["mirrored"](crop)[:, ::-1], crop)


def test_steadiness_is_the_prediction_for_each_view(predictor, crop):
    table = steadiness(predictor, views_of(crop))
    assert len(table) == len(VIEWS) * 2 * len(TASKS)
    one_view = Predictor(replace(loaded, mirrored=False) for loaded in predictor.models)
    for name in ("as it is", "mirrored", "larger"):
        expected = one_view.predict_crops(
            [np.ascontiguousarray(VIEWS[name](crop))]
        ).table.set_index(["model", "task"])["prediction"]
        found = table[table["image"] == name].set_index(["model", "task"])["prediction"]
        assert (found - expected).abs().max() < 1e-3
