"""Why an answer is given: maps of models that are known to look at one place, and views that are known to matter."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from facemtl.explanation import STEPS, VIEWS, steadiness, views_of, where
from facemtl.models import Checkpoint
from facemtl.prediction import LoadedModel, Predictor
from facemtl.tasks import AGE, GENDER, RACE, TASKS
from tests import support

SIZE = 64


class LooksAtOnePlace(nn.Module):
    """Answers by the brightness of one corner alone: gender, and an age that grows with it."""

    tasks = (GENDER, AGE)

    def __init__(self, rows: slice, columns: slice):
        super().__init__()
        self.place = (rows, columns)

    def forward(self, images):
        bright = images[:, :, self.place[0], self.place[1]].mean(dim=(1, 2, 3))[:, None]
        years = torch.arange(AGE.low, AGE.high + 1)
        return {"gender": torch.cat([8 * bright, 4 - 8 * bright], dim=1), "age": -((years - 100 * bright) ** 2) / 8}


@pytest.fixture(scope="module")
def crop() -> np.ndarray:
    return np.asarray(Image.open(support.composites(1)[0]).convert("RGB"))


@pytest.fixture
def chequered() -> np.ndarray:
    """Dark at the left, bright at the right."""
    return np.repeat(np.linspace(0, 255, SIZE).astype(np.uint8)[None, :, None], SIZE, axis=0).repeat(3, axis=2)


@pytest.mark.parametrize("rows", [slice(0, 16), slice(48, 64)], ids=["top", "bottom"])
@pytest.mark.parametrize("columns", [slice(0, 16), slice(48, 64)], ids=["left", "right"])
def test_the_map_is_high_where_the_model_looks_and_nowhere_else(rows, columns, chequered):
    loaded = LoadedModel(Checkpoint("x", ("gender", "age"), "none", SIZE), LooksAtOnePlace(rows, columns), mirrored=False)
    maps = where(loaded, chequered)
    assert set(maps) == {"gender", "age"}
    for found in maps.values():
        assert found.shape == (SIZE, SIZE) and (found >= 0).all()
        place = np.zeros((SIZE, SIZE), bool)
        place[rows, columns] = True
        assert found[place].mean() > 5 * found[~place].mean()
        far = np.roll(place, (SIZE // 2, SIZE // 2), axis=(0, 1))  # no patch covers both
        assert found[far].max() == pytest.approx(0, abs=1e-4)


def test_the_age_map_is_in_years(chequered):
    """The corner's brightness, about 0.12, becomes the mean of all, 0.5: by that the answer moves, 100 years for 1."""
    loaded = LoadedModel(Checkpoint("x", ("age",), "none", SIZE), LooksAtOnePlace(slice(0, 8), slice(0, 8)), mirrored=False)
    corner = chequered[0, :8, 0].mean() / 255
    assert where(loaded, chequered)["age"].max() == pytest.approx(100 * (0.5 - corner), abs=2)


def test_covering_what_has_one_colour_changes_nothing(predictor):
    for loaded in predictor.models:
        maps = where(loaded, np.full((80, 80, 3), 90, np.uint8))
        assert set(maps) == {task.name for task in loaded.model.tasks}
        for found in maps.values():
            assert found.shape == (loaded.checkpoint.image_size,) * 2
            assert np.abs(found).max() < 1e-3


def test_every_pixel_is_covered_by_some_patch(crop):
    class Anywhere(nn.Module):
        tasks = (AGE,)

        def forward(self, images):
            changed = (images != images[0]).any(dim=1).flatten(1).any(dim=1).float()[:, None]  # by any patch
            return {"age": -((torch.arange(117) - 50 - 20 * changed) ** 2) / 8}

    loaded = LoadedModel(Checkpoint("x", ("age",), "none", SIZE), Anywhere(), mirrored=False)
    found = where(loaded, crop)["age"]
    assert found.min() == pytest.approx(20, abs=0.1) and STEPS > 4


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_an_answer_that_stays_has_not_changed(task):
    before = torch.softmax(torch.randn(1, task.n_outputs, generator=torch.Generator().manual_seed(0)), dim=1)
    after = torch.cat([before, torch.softmax(torch.randn(3, task.n_outputs), dim=1)])
    changes = task.change(before, after)
    assert changes.shape == (4,) and changes[0] == pytest.approx(0, abs=1e-5) and (changes[1:] > 0).all()


def test_changes_worked_out_by_hand():
    before, after = torch.tensor([[0.7, 0.1, 0.1, 0.1, 0.0]]), torch.tensor([[0.2, 0.8, 0.0, 0.0, 0.0]])
    assert RACE.change(before, after).item() == pytest.approx(50)  # the answered label's probability fell from 70 to 20 %
    years = torch.eye(117)
    assert AGE.change(years[30:31], years[[41, 25]]).tolist() == pytest.approx([11, 5])


def test_views_are_the_face_a_little_changed(crop):
    for name, view in VIEWS.items():
        seen = view(crop)
        assert seen.shape == crop.shape and seen.dtype == np.uint8
        assert np.array_equal(seen, crop) == (name == "as it is")
    assert np.array_equal(VIEWS["mirrored"](crop)[:, ::-1], crop)


def test_steadiness_is_the_predictor_s_own_answer_to_each_view(predictor, crop):
    table = steadiness(predictor, views_of(crop))
    assert len(table) == len(VIEWS) * 2 * len(TASKS)
    one_view = Predictor(replace(loaded, mirrored=False) for loaded in predictor.models)
    for name in ("as it is", "mirrored", "larger"):
        expected = one_view.predict([np.ascontiguousarray(VIEWS[name](crop))]).table.set_index(["model", "task"])["prediction"]
        found = table[table["image"] == name].set_index(["model", "task"])["prediction"]
        assert (found - expected).abs().max() < 1e-3
