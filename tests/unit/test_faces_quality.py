"""Warnings about poor crops and about faces turned to the side."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from facemtl.faces import detect, weaknesses, whole
from facemtl.faces.align import POSITIONS, Square
from facemtl.faces.pose import SIDEWAYS, TILTED, pose_of, yaw
from facemtl.faces.quality import COVERED
from research import poor_crops
from tests import support
from tests.odd_files import GRAY, composite


def noisy(side: int = 200, light: float = 1.0) -> Image.Image:
    """A composite with added noise, to imitate the detail of a sharp photo."""
    pixels = np.asarray(composite().resize((side, side)), float)
    grain = np.random.default_rng(0).normal(0, 12, (side, side, 1))
    return Image.fromarray((light * (pixels + grain)).clip(0, 255).astype(np.uint8))


def test_a_good_crop_has_no_weakness():
    assert weaknesses(whole(noisy())) == []
    (face,) = detect(noisy())
    assert weaknesses(face) == []


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (noisy(40), "small (40 px)"),
        (noisy().filter(ImageFilter.GaussianBlur(6)), "blurred"),
        (noisy(light=0.2), "dark"),
        (noisy(light=2.5), "too bright"),
    ],
)
def test_a_poor_crop_names_its_weakness(image, says):
    assert says in weaknesses(whole(image))


@pytest.mark.parametrize("file", support.composites(20), ids=lambda f: f.stem)
def test_half_the_light_is_not_dark_for_any_skin(file):
    """Composites are of people of all groups."""
    pixels = np.asarray(Image.open(file).convert("RGB"), float)
    for light in (0.6, 1.0, 1.2):
        face = whole(Image.fromarray((light * pixels).clip(0, 255).astype(np.uint8)))
        assert not {"dark", "too bright"} & set(weaknesses(face))


def test_a_small_crop_of_a_reduced_copy_is_called_small():
    """The box is in pixels of the original photo; the crop has fewer pixels."""
    face = replace(whole(noisy(48)), box=(0, 0, 200, 200))
    assert "small (48 px)" in weaknesses(face)


def test_a_tilted_face_is_turned_upright_and_no_longer_called_tilted():
    canvas = Image.new("RGB", (900, 700), GRAY)
    canvas.paste(noisy(300), (300, 200))
    for angle in (0, 28):
        (face,) = detect(canvas.rotate(-angle, Image.Resampling.BILINEAR, fillcolor=GRAY))
        assert abs(face.angle - angle) < 8 and face.pose == ""
        as_it_was = replace(face, angle=0.0)
        assert as_it_was.pose == ("tilted" if angle else "")


def shown(degrees: float) -> np.ndarray:
    """POSITIONS of a head turned to the side; the nose protrudes."""
    depth = np.array((0, 0, 0.16, 0.04, 0.04))
    turn = np.radians(degrees)
    across = (POSITIONS[:, 0] - 0.5) * np.cos(turn) + depth * np.sin(turn) + 0.5
    return np.stack([across, POSITIONS[:, 1]], axis=1)


@pytest.mark.parametrize("angle", [0, 40, 180])
def test_a_head_turned_to_the_side_is_detected(angle):
    square = Square(0.5, 0.5, 1.0, angle)
    yaws = [yaw(square.to_image(shown(degrees))) for degrees in (-60, -30, 0, 30, 60)]
    assert (
        yaws == sorted(yaws) and yaws[0] < -SIDEWAYS < -0.05 < yaws[2] < 0.05 < SIDEWAYS < yaws[-1]
    )
    assert pose_of(shown(60)) == pose_of(shown(-60)) == "turned to the side"
    assert pose_of(shown(0)) == pose_of(shown(10)) == ""


@pytest.mark.parametrize("angle", [0, 8])
def test_stretched_landmarks_are_called_so_and_turned_ones_are_not(angle):
    square = Square(0.5, 0.5, 1.0, angle)
    for across, down in ((1.2, 1), (1, 1.2), (1.5, 1), (1, 2)):
        assert pose_of(square.to_image(POSITIONS * (across, down))) == "perhaps stretched"
    for degrees in range(0, 70, 5):
        assert pose_of(square.to_image(shown(degrees))) in ("", "turned to the side")


def named(change: Callable[[Image.Image], Image.Image]) -> list[list[str]]:
    """The weaknesses of each composite that is found as a face after a change."""
    images = [change(Image.open(file).convert("RGB")) for file in support.composites(40)]
    return [weaknesses(faces[0]) for faces in map(detect, images) if faces]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda image: image.resize((2 * image.width, image.height)), "perhaps stretched"),
        (lambda image: image.resize((image.width, 2 * image.height)), "perhaps stretched"),
        (ImageOps.invert, "perhaps a negative"),
        (lambda image: ImageOps.invert(image.convert("L")).convert("RGB"), "perhaps a negative"),
        (poor_crops.CHANGES["dark glasses"], COVERED),
    ],
    ids=["wide", "high", "negative", "gray negative", "dark glasses"],
)
def test_a_changed_face_is_called_so_and_faces_of_any_group_are_not(change, says):
    found, plain = named(change), named(lambda image: image)
    assert len(found) > 5 and np.mean([says in each for each in found]) > 0.7
    assert len(plain) >= 39 and not any(says in each for each in plain)


def test_a_remaining_tilt_is_detected():
    for angle, says in ((0, ""), (TILTED - 1, ""), (TILTED + 1, "tilted"), (-30, "tilted")):
        assert pose_of(Square(0.5, 0.5, 1.0, angle).to_image(POSITIONS)) == says


def test_a_crop_without_detection_has_no_pose():
    assert whole(noisy()).pose == ""
