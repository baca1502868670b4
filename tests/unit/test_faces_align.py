"""Squares from landmarks, and crops compared with pixels computed one by one."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from facemtl.faces.align import LARGEST_CROP, POSITIONS, Square, cut, fit, similarity
from tests.odd_files import scene

squares = st.builds(
    Square, st.floats(-200, 900), st.floats(-200, 900), st.floats(20, 800), st.floats(-180, 180)
)


def placed(square: Square) -> np.ndarray:
    """POSITIONS in a square, with complex numbers: a rotation is a product."""
    turn = square.side * np.exp(1j * math.radians(square.angle))
    points = (POSITIONS[:, 0] - 0.5 + 1j * (POSITIONS[:, 1] - 0.5)) * turn
    return np.stack([points.real + square.x, points.imag + square.y], axis=1)


@given(squares)
@settings(deadline=None)
def test_the_square_is_recovered_from_its_landmarks(square):
    found, off = fit(placed(square))
    assert off < 1e-6
    assert (found.x, found.y, found.side) == pytest.approx((square.x, square.y, square.side))
    assert abs((found.angle - square.angle + 180) % 360 - 180) < 1e-6


@given(squares)
@settings(deadline=None)
def test_square_coordinates_convert_to_pixels_and_back(square):
    np.testing.assert_allclose(square.to_image(POSITIONS), placed(square), atol=1e-6)
    np.testing.assert_allclose(square.from_image(placed(square)), POSITIONS, atol=1e-9)


def test_a_similarity_minimises_the_error_and_never_mirrors():
    rng = np.random.default_rng(0)
    for _ in range(5):
        source, target = rng.normal(size=(2, 5, 2))
        turn, shift = similarity(source, target)

        def error(turn, shift, source=source, target=target):
            return ((source @ turn.T + shift - target) ** 2).sum()

        least = error(turn, shift)
        assert np.linalg.det(turn) > 0
        np.testing.assert_allclose(turn[0], (turn[1, 1], -turn[1, 0]))
        for _ in range(50):
            a, b, *moved = rng.normal(0, 0.05, 4)
            assert error(turn + np.array(((a, -b), (b, a))), shift + moved) >= least


def reflected(n: int, length: int) -> int:
    """Move from 0 to position n and reverse at the ends of the image."""
    position, step = 0, 1 if n > 0 else -1
    for _ in range(abs(n)):
        if not 0 <= position + step < length:
            step = -step
        position += step if length > 1 else 0
    return position


BOXES = [
    (5, 3, 25, 23), (-7, -9, 20, 18), (20, 10, 55, 45), (-60, -70, 90, 80), (100, 99, 130, 129),
]  # fmt: skip


@pytest.mark.parametrize("box", BOXES)
def test_an_axis_aligned_crop_is_the_image_reflected_beyond_its_edges(box):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    crop = cut(Image.fromarray(pixels), Square.of_box(box))
    across, down = range(box[0], box[2]), range(box[1], box[3])
    expected = [[pixels[reflected(y, 30), reflected(x, 40)] for x in across] for y in down]
    np.testing.assert_array_equal(crop, expected)


@pytest.mark.parametrize("quarter", [90, 180, -90])
@pytest.mark.parametrize("middle", [(60, 50), (20, 10), (115, 95)])
def test_a_crop_at_a_right_angle_is_the_rotated_crop(quarter, middle):
    noise = np.random.default_rng(0).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((120, 100), Image.Resampling.BICUBIC)
    level = cut(image, Square(*middle, 40))
    turned = cut(image, Square(*middle, 40, quarter))
    difference = turned.astype(int) - np.rot90(level, quarter // 90)
    assert np.abs(difference).max() <= 2


@pytest.mark.parametrize("angle", [0, 20])
@pytest.mark.parametrize(
    ("side", "kept"), [(300, 300), (512, 512), (514, 257), (700, 350), (1500, 500)]
)
def test_a_crop_keeps_the_image_s_resolution_up_to_a_limit(angle, side, kept):
    image = scene((2000, 1800), (200, 100, 1500))
    crop = cut(image, Square(950, 850, side, angle))
    assert len(crop) == kept
    turned = image.rotate(angle, Image.Resampling.BICUBIC, center=(950, 850))
    box = (950 - side / 2, 850 - side / 2, 950 + side / 2, 850 + side / 2)
    expected = turned.resize(crop.shape[:2], Image.Resampling.BOX, box)
    assert np.abs(crop.astype(float) - np.asarray(expected, float)).mean() < 1.5


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (7, 5)])
@pytest.mark.parametrize("beyond", ["reflect", "edge"])
def test_a_crop_of_a_tiny_image_is_filled(size, beyond):
    image = Image.new("RGB", size, "red")
    for square in (Square(0, 0, 9), Square(3, 2, 40, 33), Square(-50, 400, 20, 10)):
        assert (cut(image, square, beyond=beyond) == (255, 0, 0)).all()
        assert cut(image, square, 16, beyond=beyond).shape == (16, 16, 3)


@pytest.mark.parametrize("size", [(200_000, 1), (1, 200_000), (40_000, 2000)])
def test_a_square_far_larger_than_the_image_is_cut(size):
    """As pixels of the image, the first two squares would be 100 GB."""
    image = Image.new("RGB", size, "red")
    crop = cut(image, Square(size[0] / 2, size[1] / 2, max(size)))
    assert crop.shape[2] == 3 and 256 <= len(crop) <= LARGEST_CROP and (crop == (255, 0, 0)).all()
