"""Face detection: composites pasted at known positions, upright and turned."""

import math
from dataclasses import FrozenInstanceError
from itertools import product

import numpy as np
import pytest
from PIL import Image

from facemtl.faces import (  # fmt: skip
    LARGEST_CROP,
    Face,
    as_record,
    crops,
    detect,
    detector,
    face_at,
    overlap,
    search,
    weaknesses,
    whole,
)
from facemtl.faces.align import POSITIONS, Square
from facemtl.faces.quality import COVERED
from tests import support
from tests.odd_files import GRAY, composite, scene


def square(place: tuple[int, int, int]) -> tuple[int, int, int, int]:
    left, top, side = place
    return left, top, left + side, top + side


def angle_between(a: float, b: float) -> float:
    """The angle between two directions, in degrees."""
    return abs((a - b + 180) % 360 - 180)


def landmark_error(face: Face) -> float:
    """Largest distance of a crop's landmarks from UTKFace's, in shares of its side."""
    return float(np.abs(face.square.from_image(face.landmarks) - POSITIONS).max())


def wall(size: tuple[int, int]) -> Image.Image:
    """A noisy wall."""
    noise = np.random.default_rng(0).integers(60, 180, (size[1] // 8, size[0] // 8, 3), np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


# ------------------------------------------------------------------------------------------ finding


@pytest.mark.parametrize("file", support.composites(14), ids=lambda f: f.stem)
def test_a_face_in_a_photo_is_framed_like_utkface(file):
    canvas, place = Image.new("RGB", (800, 600), GRAY), (290, 150, 240)
    canvas.paste(Image.open(file).resize((240, 240)), place[:2])
    (face,) = detect(canvas)
    assert overlap(face.box, square(place)) > 0.75
    assert face.score > 0.6 and abs(face.angle) < 8 and landmark_error(face) < 0.06


@pytest.mark.parametrize("width", [500, 1000, 2000, 4000])
def test_the_frame_does_not_depend_on_the_size_of_the_photo(width):
    scale = width / 1000
    canvas = scene((1000, 700), (300, 200, 300)).resize((width, round(700 * scale)))
    (face,) = detect(canvas)
    assert overlap([v / scale for v in face.box], square((300, 200, 300))) > 0.8


@pytest.mark.parametrize("background", ["gray", "wall"])
def test_exactly_the_small_faces_in_a_large_photo_are_found(background):
    """24 faces of 120 px in 4000 x 3000: 19 px in the coarse search."""
    size = (4000, 3000)
    canvas = Image.new("RGB", size, GRAY) if background == "gray" else wall(size)
    places = [(200 + 620 * i, 200 + 680 * j, 120) for i, j in product(range(6), range(4))]
    for file, (left, top, side) in zip(support.composites(24), places, strict=False):
        canvas.paste(Image.open(file).resize((side, side)), (left, top))
    faces = detect(canvas)
    hits = [[overlap(face.box, square(place)) > 0.5 for place in places] for face in faces]
    assert all(sum(hit) == 1 for hit in hits)
    assert np.any(hits, axis=0).sum() >= 22


def test_two_faces_are_sorted_largest_first():
    small, large = (60, 60, 160), (420, 180, 300)
    faces = detect(scene((800, 560), small, large))
    assert len(faces) == 2
    assert overlap(faces[0].box, square(large)) > 0.7
    assert overlap(faces[1].box, square(small)) > 0.7


def test_two_faces_in_a_square_photo_are_both_found():
    assert len(detect(scene((800, 800), (60, 60, 200), (420, 420, 300)))) == 2


@pytest.mark.parametrize("size", [(600, 40_000), (1080, 20_000), (12_000, 1500)])
def test_a_face_in_a_long_photo_is_found(size):
    place = (150, 800, 300)
    (face,) = detect(scene(size, place))
    assert overlap(face.box, square(place)) > 0.75


@pytest.mark.parametrize(
    "size", [(640, 480), (640, 640), (40_000, 600), (65_000, 2), (1, 200_000), (1_000_000, 1)]
)
def test_a_search_has_a_limit_whatever_the_form_of_the_image(monkeypatch, size):
    """The detector pads its input to multiples of MULTIPLE pixels: to twice its area at most."""
    areas = []

    def find(pixels: np.ndarray, least: float) -> detector.Detections:
        areas.append(np.prod([-(-side // detector.MULTIPLE) for side in pixels.shape[:2]]))
        return detector.suppress(np.empty((0, 4)), np.empty(0), np.empty((0, 5, 2)))

    monkeypatch.setattr(detector, "find", find)
    assert detect(Image.new("RGB", size, GRAY)) == []
    assert areas and max(areas) * detector.MULTIPLE**2 <= 2 * search.FINE


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGB", (640, 480), GRAY),
        Image.new("RGB", (640, 480), "black"),
        Image.new("RGB", (300, 300), "white"),
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)),
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)),
        wall((640, 480)),
        Image.linear_gradient("L").resize((640, 480)),
    ],
    ids=["gray", "black", "white", "noise", "square noise", "wall", "gradient"],
)
def test_an_image_without_a_face_gives_an_empty_list(image):
    assert detect(image) == []


@pytest.mark.parametrize(
    ("scores", "taken"),
    [([0.9, 0.4], [0.9]), ([0.35, 0.4], [0.4]), ([], []), ([0.6, 0.7], [0.6, 0.7])],
)
def test_an_uncertain_face_is_used_and_flagged_if_no_face_is_certain(monkeypatch, scores, taken):
    squares = [Square(70 + 150 * i, 70, 100 - i) for i in range(len(scores))]
    found = [
        search.Found(each.to_image(POSITIONS), each, score, 0.0)
        for each, score in zip(squares, scores, strict=True)
    ]
    monkeypatch.setattr(crops, "search", lambda image, border: found)
    faces = detect(composite(0).resize((400, 300)))
    assert [face.score for face in faces] == taken
    assert all((COVERED in weaknesses(face)) == (face.score < 0.5) for face in faces)


# ------------------------------------------------------------------------------------------ turning


@pytest.mark.parametrize("angle", [30, 45, 90, 180, 225, 270])
def test_turned_faces_are_found_and_their_crops_are_upright(angle):
    """95 % of faces are found, and every crop of a found face is upright."""
    files, found = support.composites(10), []
    for file in files:
        canvas = Image.new("RGB", (800, 700), GRAY)
        canvas.paste(Image.open(file).resize((260, 260)), (270, 220))
        (upright,) = detect(canvas)
        turned = canvas.rotate(-angle, Image.Resampling.BICUBIC, fillcolor=GRAY)  # clockwise
        for face in detect(turned):
            found.append(file)
            assert angle_between(face.angle, upright.angle + angle) < 8
            assert landmark_error(face) < 0.07
            sides = [
                np.asarray(Image.fromarray(f.crop).resize((64, 64)), float) for f in (face, upright)
            ]
            inner = slice(12, 52)  # the area outside the pasted square differs
            assert (
                np.corrcoef(sides[0][inner, inner].ravel(), sides[1][inner, inner].ravel())[0, 1]
                > 0.9
            )
    assert len(found) == len(set(found)) >= math.floor(0.95 * len(files))


def test_only_the_sideways_face_beside_upright_faces_is_turned():
    canvas = scene((1200, 500), (100, 100, 280), (460, 100, 280))
    canvas.paste(composite(5).resize((280, 280)).rotate(-90), (820, 100))
    upright = sorted((face.box[0], face.angle) for face in detect(canvas))
    assert [round(angle / 90) for _, angle in upright] == [0, 0, 1]


def test_a_record_holds_the_angle_and_plain_floats():
    image = scene((640, 480), (180, 90, 280)).rotate(-90, expand=True)
    (face,) = detect(image)
    record = as_record(face, image)
    assert angle_between(record["angle"], 90) < 8
    assert set(record) == {"box", "angle", "score", "poor"}
    assert all(type(v) is float for v in (*record["box"], record["angle"], record["score"]))


# ----------------------------------------------------------------------------------------- cropping


@pytest.mark.parametrize("file", support.composites(14), ids=lambda f: f.stem)
@pytest.mark.parametrize("side", [100, 200, 700])
def test_an_image_framed_like_utkface_is_used_whole(file, side):
    image = Image.open(file).convert("RGB").resize((side, side))
    (face,) = detect(image)
    assert face.box == (0, 0, side, side) and face.angle == 0
    assert landmark_error(face) < 0.09 and face.pose == "" and COVERED not in weaknesses(face)
    if side <= LARGEST_CROP:
        np.testing.assert_array_equal(face.crop, np.asarray(image))


def test_a_framed_face_that_is_covered_is_called_so_or_not_found():
    called = []
    for file in support.composites(14):
        pixels = np.array(Image.open(file).convert("RGB").resize((200, 200)))
        pixels[50:150, 50:150] = GRAY
        called += [COVERED in weaknesses(face) for face in detect(Image.fromarray(pixels))]
    assert 0 < len(called) < 7 and sum(called) > len(called) / 2


@pytest.mark.parametrize("share", [0.45, 0.6, 0.75])
def test_a_square_portrait_with_a_smaller_face_is_aligned(share):
    side = round(600 * share)
    place = ((600 - side) // 2, (600 - side) // 2, side)
    (face,) = detect(scene((600, 600), place))
    assert overlap(face.box, square(place)) > 0.75


@pytest.mark.parametrize(("dx", "dy"), [(-0.12, 0), (0.12, 0), (0, -0.12), (0, 0.12), (-0.1, -0.1)])
def test_a_face_cut_by_the_edge_is_found_and_reflected(dx, dy):
    """The face touches an edge of the photo, and the frame reaches beyond it."""
    side, (width, height) = 300, (700, 560)
    left = round(dx * side) if dx < 0 else width - side + round(dx * side) if dx > 0 else 200
    top = round(dy * side) if dy < 0 else height - side + round(dy * side) if dy > 0 else 130
    (face,) = detect(scene((width, height), (left, top, side)))
    assert overlap(face.box, square((left, top, side))) > 0.65
    assert min(face.box[:2]) < 0 or face.box[2] > width or face.box[3] > height
    assert (face.crop != GRAY).any(axis=2).mean() > 0.5  # filled with the face, not with background


@pytest.mark.parametrize(
    ("size", "box"),
    [((60, 40), (10, 0, 50, 40)), ((40, 60), (0, 10, 40, 50)), ((40, 40), (0, 0, 40, 40))],
)
def test_whole_crops_the_centre_square(size, box):
    pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    face = whole(image)
    assert face.box == box and face.score is None and face.landmarks is None
    np.testing.assert_array_equal(face.crop, np.asarray(image.crop(box)))


# ------------------------------------------------------------------------------------- manual boxes


@pytest.mark.parametrize("angle", [-90, -25, 0, 20, 180])
def test_a_manual_box_keeps_its_position_and_is_turned(angle):
    turned = scene((700, 700), (200, 200, 300)).rotate(
        -angle, Image.Resampling.BICUBIC, fillcolor=GRAY
    )
    box = (170, 190, 510, 530)
    face = face_at(turned, box)
    assert face.box == box and angle_between(face.angle, angle) < 8 and len(face.crop) == 340
    np.testing.assert_allclose(face.square.from_image(face.landmarks), POSITIONS, atol=0.15)


def test_a_box_without_a_face_is_cropped_unchanged():
    image = wall((400, 300))
    face = face_at(image, (50, 60, 150, 160))
    assert face.box == (50, 60, 150, 160) and face.angle == 0
    assert face.score is None and face.landmarks is None
    np.testing.assert_array_equal(face.crop, np.asarray(image.crop((50, 60, 150, 160))))


def test_a_detected_box_reproduces_the_crop():
    image = scene((640, 480), (180, 90, 280)).rotate(15, Image.Resampling.BICUBIC, fillcolor=GRAY)
    (face,) = detect(image)
    again = face_at(image, face.box)
    assert angle_between(again.angle, face.angle) < 1.5 and overlap(again.box, face.box) > 0.98
    side = min(len(again.crop), len(face.crop))
    assert np.abs(again.crop[:side, :side].astype(float) - face.crop[:side, :side]).mean() < 6


def test_a_face_is_immutable():
    face = whole(Image.new("RGB", (10, 10)))
    with pytest.raises(FrozenInstanceError):
        face.box = (0, 0, 1, 1)
