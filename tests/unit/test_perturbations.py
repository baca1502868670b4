"""Perturbations change crops as their names say."""

import numpy as np
import pytest
from PIL import Image

from facemtl.data.images import load_image
from facemtl.data.utkface import CHIP_SIZE
from facemtl.inference.perturbations import (
    BLUR,
    GRAY,
    JPEG,
    LIGHT,
    N_TURNS,
    PERTURBATIONS,
    ROTATION,
    SCALE,
    SHIFT,
    turn_of,
)
from tests import support

every_perturbation = pytest.mark.parametrize("perturbation", PERTURBATIONS, ids=lambda p: p.name)
every_amount = pytest.mark.parametrize(
    ("perturbation", "amount"),
    [(p, a) for p in PERTURBATIONS for a in p.amounts],
    ids=lambda v: getattr(v, "name", str(v)),
)


@pytest.fixture(scope="module")
def crop() -> np.ndarray:
    return load_image(support.composites(7)[3], CHIP_SIZE)


def dot(x: float, y: float, side: int = 200) -> np.ndarray:
    """A black crop with a white spot of 5 px around (x, y)."""
    rows, columns = np.mgrid[:side, :side]
    inside = np.hypot(columns + 0.5 - x, rows + 0.5 - y) <= 2.5
    return np.repeat(np.uint8(255 * inside)[:, :, None], 3, axis=2)


def centre(crop: np.ndarray) -> np.ndarray:
    """(x, y) of the centre of mass of a crop's brightness, in pixels."""
    rows, columns = np.mgrid[: len(crop), : len(crop)] + 0.5
    mass = crop.astype(float).mean(axis=2)
    return np.array([(columns * mass).sum(), (rows * mass).sum()]) / mass.sum()


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute difference of brightness, 0 to 255."""
    return float(np.abs(a.astype(float) - b.astype(float)).mean())


# ------------------------------------------------------------------------------------ perturbations


@every_amount
def test_a_perturbed_crop_differs_and_keeps_shape_and_type(crop, perturbation, amount):
    before = crop.copy()
    for side in (CHIP_SIZE, 97):
        small = np.asarray(Image.fromarray(crop).resize((side, side)))
        perturbed = perturbation.apply(small, amount, 3)
        assert perturbed.shape == small.shape
        assert perturbed.dtype == np.uint8
        assert not np.array_equal(perturbed, small)
    assert np.array_equal(crop, before)


@every_perturbation
def test_the_neutral_amount_leaves_a_crop_unchanged(crop, perturbation):
    perturbed = perturbation.apply(crop, perturbation.none, 5)
    if perturbation is JPEG:  # no quality is lossless
        assert difference(perturbed, crop) < 1
    else:
        assert np.array_equal(perturbed, crop)


@every_perturbation
def test_a_larger_amount_changes_a_crop_more(crop, perturbation):
    for side in (-1, 1):
        amounts = sorted(
            (a for a in perturbation.amounts if side * (a - perturbation.none) > 0),
            key=lambda a: abs(a - perturbation.none),
        )
        changes = [difference(perturbation.apply(crop, amount, 2), crop) for amount in amounts]
        assert changes == sorted(changes)
    assert perturbation.none not in perturbation.amounts


@every_perturbation
def test_an_image_is_perturbed_in_the_same_way_each_time(crop, perturbation):
    amount = perturbation.amounts[-1]
    for turn in range(N_TURNS):
        assert np.array_equal(
            perturbation.apply(crop, amount, turn), perturbation.apply(crop.copy(), amount, turn)
        )


@pytest.mark.parametrize(
    ("perturbation", "n_ways"),
    [(p, {"shift": N_TURNS, "rotation": 2}.get(p.name, 1)) for p in PERTURBATIONS],
    ids=lambda v: getattr(v, "name", str(v)),
)
def test_each_perturbation_has_its_number_of_variants(crop, perturbation, n_ways):
    ways = {
        perturbation.apply(crop, perturbation.amounts[0], turn).tobytes() for turn in range(N_TURNS)
    }
    assert len(ways) == n_ways


def test_all_turns_occur_about_equally_often(results):
    """On the keys of the shipped validation images, within five standard deviations of equal
    shares.
    """
    keys = results["image"].unique()
    counts = np.bincount([turn_of(key) for key in keys], minlength=N_TURNS)
    assert len(counts) == N_TURNS
    assert np.abs(counts - len(keys) / N_TURNS).max() < 5 * np.sqrt(len(keys) / N_TURNS)


@pytest.mark.parametrize("amount", SHIFT.amounts)
def test_a_shift_moves_a_spot_by_a_share_of_the_side(amount):
    moves = np.array(
        [centre(SHIFT.apply(dot(100, 100), amount, turn)) - 100 for turn in range(N_TURNS)]
    )
    assert np.allclose(
        np.hypot(*moves.T), 2 * amount, atol=0.75
    )  # px of 200, rounded to whole ones
    assert np.allclose(moves.sum(axis=0), 0, atol=1)
    assert {(round(x), round(y)) for x, y in np.sign(np.where(abs(moves) < 1, 0, moves))} == {
        (x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if x or y
    }


def test_a_shift_fills_the_border_with_the_mirror_image(crop):
    shifted = SHIFT.apply(crop, 10, 0)  # to the right
    assert np.array_equal(shifted[:, 20:], crop[:, :-20])
    assert np.array_equal(shifted[:, :20], crop[:, 20:0:-1])


@pytest.mark.parametrize("amount", SCALE.amounts)
def test_a_scaled_crop_keeps_its_centre_and_moves_the_rest_in_proportion(amount):
    assert np.allclose(centre(SCALE.apply(dot(100, 100), amount, 0)), 100, atol=0.6)
    for x, y in ((70, 100), (110, 125)):
        expected = 100 + (np.array([x, y]) - 100) * (1 + amount / 100)
        assert np.allclose(centre(SCALE.apply(dot(x, y), amount, 0)), expected, atol=0.8)


def test_scaling_up_crops_the_middle_and_undoes_scaling_down(crop):
    middle = Image.fromarray(crop).resize(
        (200, 200), Image.Resampling.BICUBIC, box=(13, 13, 187, 187)
    )  # 200 / 174 = 1.15
    assert difference(SCALE.apply(crop, 15, 0), np.asarray(middle)) < 2
    assert difference(SCALE.apply(crop, 15, 0), crop) > 4
    back = SCALE.apply(SCALE.apply(crop, -20, 0), 25, 0)
    assert difference(back[40:160, 40:160], crop[40:160, 40:160]) < 4


@pytest.mark.parametrize("amount", ROTATION.amounts)
def test_a_rotation_turns_by_its_angle_in_both_directions(amount):
    for turn in range(N_TURNS):
        x, y = centre(ROTATION.apply(dot(150, 100), amount, turn)) - 100
        assert np.hypot(x, y) == pytest.approx(50, abs=0.5)
        upwards = np.degrees(np.arctan2(-y, x))
        assert upwards == pytest.approx(-amount if turn % 2 else amount, abs=0.5)


def test_a_rotated_crop_has_no_empty_corners():
    white = np.full((200, 200, 3), 255, np.uint8)
    for amount in (*ROTATION.amounts, 45):
        for side in (200, 97, 64):
            assert (ROTATION.apply(white[:side, :side], amount, 0) == 255).all()


@pytest.mark.parametrize("amount", BLUR.amounts)
def test_a_blur_spreads_a_spot_by_its_width_and_keeps_its_brightness(amount):
    spot = dot(100, 100)
    blurred = BLUR.apply(spot, amount, 0).astype(float).mean(axis=2)
    columns = np.arange(200) + 0.5

    def variance(pixels: np.ndarray) -> float:
        return float((pixels.sum(axis=0) * (columns - 100) ** 2).sum() / pixels.sum())

    gained = variance(blurred) - variance(spot.astype(float).mean(axis=2))
    assert np.sqrt(gained) == pytest.approx(2 * amount, rel=0.15)  # px of 200
    assert blurred.sum() == pytest.approx(spot.mean(axis=2).sum(), rel=0.1)


def test_gray_has_equal_channels_and_the_same_brightness(crop):
    gray = GRAY.apply(crop, 100, 0)
    assert (gray == gray[:, :, :1]).all()
    assert not (crop == crop[:, :, :1]).all()
    assert gray.mean() == pytest.approx((crop @ [0.299, 0.587, 0.114]).mean(), abs=1)  # ITU-R 601


@pytest.mark.parametrize("amount", LIGHT.amounts)
def test_light_multiplies_brightness_up_to_white(crop, amount):
    expected = np.minimum(crop * (1 + amount / 100), 255)
    assert np.abs(LIGHT.apply(crop, amount, 0) - expected).max() <= 1
