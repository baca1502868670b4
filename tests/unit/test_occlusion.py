"""Occlusion maps of models that look at one known place."""

import numpy as np
import pytest
from PIL import Image

from facemtl.inference.occlusion import occlusion_maps
from facemtl.inference.predictor import INPUT, LoadedModel
from facemtl.models.model_file import ModelInfo
from facemtl.tasks import AGE, GENDER, RACE, TASKS
from tests import support

SIZE = 64
YEARS = np.arange(AGE.low, AGE.high + 1)


class LooksAtOnePlace:
    """A session that predicts from the brightness of one place only: gender, and an age that
    increases with it.
    """

    def __init__(self, rows: slice, columns: slice):
        self.place = (rows, columns)

    def run(self, names, inputs):
        bright = inputs[INPUT][:, :, self.place[0], self.place[1]].mean(axis=(1, 2, 3))[:, None]
        logits = {
            "gender": np.hstack([8 * bright, 4 - 8 * bright]),
            "age": -((YEARS - 100 * bright) ** 2) / 8,
        }
        return [logits[name] for name in names]


def loaded(session, *tasks) -> LoadedModel:
    return LoadedModel(ModelInfo("x", tasks, "none", SIZE), session, mirrored=False)


def random_distributions(task, n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(task.n_outputs), n)


@pytest.fixture(scope="module")
def crop() -> np.ndarray:
    return np.asarray(Image.open(support.composites(1)[0]).convert("RGB"))


@pytest.fixture
def ramp() -> np.ndarray:
    """Dark at the left, bright at the right."""
    return np.repeat(
        np.linspace(0, 255, SIZE).astype(np.uint8)[None, :, None], SIZE, axis=0
    ).repeat(3, axis=2)


@pytest.mark.parametrize("rows", [slice(0, 16), slice(48, 64)], ids=["top", "bottom"])
@pytest.mark.parametrize("columns", [slice(0, 16), slice(48, 64)], ids=["left", "right"])
def test_the_map_is_high_only_where_the_model_looks(rows, columns, ramp):
    maps = occlusion_maps(loaded(LooksAtOnePlace(rows, columns), GENDER, AGE), ramp)
    assert set(maps) == {"gender", "age"}
    for found in maps.values():
        assert found.shape == (SIZE, SIZE) and (found >= 0).all()
        place = np.zeros((SIZE, SIZE), bool)
        place[rows, columns] = True
        assert found[place].mean() > 5 * found[~place].mean()
        far = np.roll(place, (SIZE // 2, SIZE // 2), axis=(0, 1))  # no patch covers both
        assert found[far].max() == pytest.approx(0, abs=1e-4)


def test_the_age_map_is_in_years(ramp):
    """Covering changes the corner's brightness from about 0.12 to the overall mean, 0.5. The age
    changes by 100 years times this difference.
    """
    corner = ramp[0, :8, 0].mean() / 255
    found = occlusion_maps(loaded(LooksAtOnePlace(slice(0, 8), slice(0, 8)), AGE), ramp)["age"]
    assert found.max() == pytest.approx(100 * (0.5 - corner), abs=2)


def test_covering_a_uniform_image_changes_nothing():
    model = loaded(LooksAtOnePlace(slice(0, 16), slice(0, 16)), GENDER, AGE)
    for found in occlusion_maps(model, np.full((80, 80, 3), 90, np.uint8)).values():
        assert found.shape == (SIZE, SIZE) and np.abs(found).max() < 1e-3


def test_every_pixel_is_covered_by_some_patch(crop):
    class Anywhere:
        """Predicts 20 years more if any place is covered."""

        first = None

        def run(self, names, inputs):
            (image,) = inputs[INPUT]
            self.first = image if self.first is None else self.first
            return [-((YEARS - 50 - 20 * (image != self.first).any())[None] ** 2) / 8]

    found = occlusion_maps(loaded(Anywhere(), AGE), crop)["age"]
    assert found.min() == pytest.approx(20, abs=0.1)


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_an_unchanged_distribution_has_a_change_of_zero(task):
    before = random_distributions(task, 1, seed=0)
    changes = task.change(before, np.vstack([before, random_distributions(task, 3, seed=1)]))
    assert (
        changes.shape == (4,)
        and changes[0] == pytest.approx(0, abs=1e-5)
        and (changes[1:] > 0).all()
    )


def test_changes_match_hand_computed_values():
    before, after = np.array([[0.7, 0.1, 0.1, 0.1, 0.0]]), np.array([[0.2, 0.8, 0.0, 0.0, 0.0]])
    assert RACE.change(before, after).item() == pytest.approx(
        50
    )  # the probability of the predicted label decreased from 70 to 20 %
    years = np.eye(117)
    assert AGE.change(years[30:31], years[[41, 25]]).tolist() == pytest.approx([11, 5])
