"""Faces in pictures: composites pasted where we know them to be."""

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import dlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from facemtl import detection
from facemtl.detection import LARGEST_CROP, Face, as_record, as_rgb, detect, face_at, open_image, weaknesses, whole
from facemtl.errors import FaceMTLError
from tests import support
from tests.odd_files import FACE, GRAY, ODD_FILES, PLACE, POSTSCRIPT, SIZE, composite, lying, mutated, saved, scene


def iou(a, b) -> float:
    """Intersection over union, by counting pixels."""
    left, top = min(a[0], b[0]), min(a[1], b[1])
    grid = np.zeros((2, int(max(a[3], b[3]) - top) + 1, int(max(a[2], b[2]) - left) + 1), bool)
    for mask, box in zip(grid, (a, b), strict=True):
        mask[round(box[1] - top) : round(box[3] - top), round(box[0] - left) : round(box[2] - left)] = True
    return (grid[0] & grid[1]).sum() / (grid[0] | grid[1]).sum()


def square(place: tuple[int, int, int]) -> tuple[int, int, int, int]:
    left, top, side = place
    return left, top, left + side, top + side


# -------------------------------------------------------------------------------------------- finding


@pytest.mark.parametrize("file", support.composites(14), ids=lambda f: f.stem)
def test_a_face_in_a_photo_is_framed_as_utkface_frames_it(file):
    canvas, place = Image.new("RGB", (800, 600), GRAY), (290, 150, 240)
    canvas.paste(Image.open(file).resize((240, 240)), place[:2])
    (face,) = detect(canvas)
    assert iou(face.box, square(place)) > 0.6
    assert face.score > 0


@pytest.mark.parametrize("width", [500, 1000, 2000, 4000])
def test_the_frame_does_not_depend_on_the_size_of_the_photo(width):
    scale = width / 1000
    canvas = scene((1000, 700), (300, 200, 300)).resize((width, round(700 * scale)))
    (face,) = detect(canvas)
    assert iou([v / scale for v in face.box], square((300, 200, 300))) > 0.6


def test_searching_in_two_threads_finds_what_dlib_finds():
    """Faces of all sizes, side by side and inside each other, on a noisy wall."""
    chance, found = np.random.default_rng(0), 0
    for size in ((1000, 800), (640, 1000), (330, 400)):
        image = Image.fromarray(chance.integers(60, 120, size[::-1], np.uint8))
        for number, side in enumerate((110, 150, 220, 300) * 2):
            left, top = (int(chance.integers(0, length - side)) for length in size)
            image.paste(composite(number % 7).convert("L").resize((side, side)), (left, top))
        pixels = np.asarray(image)
        expected = detection._listed(dlib.get_frontal_face_detector().run(pixels, 0, -0.1))
        scanned = detection._scan(pixels, -0.1)
        assert [each[1:] for each in scanned] == [(pytest.approx(score, abs=1e-6), which) for _, score, which in expected]
        for each, other in zip(scanned, expected, strict=True):
            assert np.abs(np.subtract(each[0], other[0])).max() < 1.3  # dlib's own boxes are whole pixels
        found += len(scanned)
    assert found > 10


def test_dlib_can_be_limited_to_the_first_images_of_its_pyramid():
    """Else both threads would search them all: slower, not wrong."""
    largest, whole = detection._detectors()
    pixels = np.asarray(scene((1000, 700), (300, 200, 400)).convert("L"))
    assert not largest.run(pixels, 0, 0.0)[0] and whole.run(pixels, 0, 0.0)[0]


def test_two_faces_are_two_the_largest_first():
    small, large = (60, 60, 160), (420, 180, 300)
    faces = detect(scene((800, 560), small, large))
    assert len(faces) == 2
    assert iou(faces[0].box, square(large)) > 0.6 and iou(faces[1].box, square(small)) > 0.6


def test_two_faces_in_a_square_photo_are_two():
    assert len(detect(scene((800, 800), (60, 60, 200), (420, 420, 300)))) == 2


@pytest.mark.parametrize("file", support.composites(14), ids=lambda f: f.stem)
@pytest.mark.parametrize("side", [100, 200, 700])
def test_a_tight_square_crop_is_taken_whole(file, side):
    image = Image.open(file).convert("RGB").resize((side, side))
    (face,) = detect(image)
    assert face.box == (0, 0, side, side) and face.score is None
    if side <= LARGEST_CROP:
        np.testing.assert_array_equal(face.crop, np.asarray(image))


@pytest.mark.parametrize(("dx", "dy"), [(-0.12, 0), (0.12, 0), (0, -0.12), (0, 0.12), (-0.1, -0.1)])
def test_a_face_cut_by_the_edge_is_found_and_reflected(dx, dy):
    """The face touches an edge of the photo, and the frame reaches beyond it."""
    side, width, height = 300, 700, 560
    left = round(dx * side) if dx < 0 else width - side + round(dx * side) if dx > 0 else 200
    top = round(dy * side) if dy < 0 else height - side + round(dy * side) if dy > 0 else 130
    (face,) = detect(scene((width, height), (left, top, side)))
    assert iou(face.box, square((left, top, side))) > 0.6
    assert face.box[0] < 0 or face.box[1] < 0 or face.box[2] > width or face.box[3] > height
    n = round(face.box[2] - face.box[0])
    assert face.crop.shape == (n, n, 3)
    assert (face.crop != GRAY).any(axis=2).mean() > 0.5  # it is filled with the face, not with nothing


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGB", (640, 480), GRAY),
        Image.new("RGB", (300, 300), "white"),
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)),
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)),
        Image.linear_gradient("L").resize((640, 480)),
        scene((640, 480), (200, 100, 260)).transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    ],
    ids=["blank", "white square", "noise", "square noise", "gradient", "upside down"],
)
def test_where_there_is_no_face_the_list_is_empty(image):
    assert detect(image) == []


@pytest.mark.parametrize(
    ("scores", "taken"), [([0.5, -0.05], [0.5]), ([-0.05, -0.02], [-0.02]), ([-0.2], []), ([0.3, 0.1], [0.3, 0.1])]
)
def test_a_doubtful_face_is_taken_where_there_is_no_certain_one_and_told(monkeypatch, scores, taken):
    boxes = [(10.0 + 150 * i, 10.0, 110.0 + 150 * i, 110.0) for i in range(len(scores))]

    def search(image, border, least):
        return [(box, score, "") for box, score in zip(boxes, scores, strict=True) if score >= least]

    monkeypatch.setattr(detection, "_search", search)
    faces = detect(composite(0).resize((400, 300)))
    assert [face.score for face in faces] == taken
    assert all(("perhaps no face" in weaknesses(face)) == (face.score < 0) for face in faces)


# -------------------------------------------------------------------------------------------- cropping


def reflected(n: int, length: int) -> int:
    """Walk from 0 to position n, turning round at the ends of the image."""
    position, step = 0, 1 if n > 0 else -1
    for _ in range(abs(n)):
        if not 0 <= position + step < length:
            step = -step
        position += step if length > 1 else 0
    return position


@pytest.mark.parametrize("box", [(5, 3, 25, 23), (-7, -9, 20, 18), (20, 10, 55, 45), (-60, -70, 90, 80), (100, 100, 130, 130)])
def test_a_crop_is_square_and_reflects_the_image_beyond_its_edges(box):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    face = face_at(Image.fromarray(pixels), box, score=0.5)
    side = box[2] - box[0]
    assert face.box == box and face.score == 0.5 and face.crop.shape == (side, side, 3)
    expected = [[pixels[reflected(box[1] + y, 30), reflected(box[0] + x, 40)] for x in range(side)] for y in range(side)]
    np.testing.assert_array_equal(face.crop, expected)


def test_a_large_crop_is_reduced():
    image = scene((3000, 2400), (500, 400, 1500))
    face = face_at(image, (500, 400, 2000, 1900))
    assert face.crop.shape == (LARGEST_CROP, LARGEST_CROP, 3)
    expected = image.crop((500, 400, 2000, 1900)).resize((LARGEST_CROP, LARGEST_CROP), Image.Resampling.BOX)
    assert np.abs(face.crop.astype(float) - np.asarray(expected, float)).mean() < 3


@pytest.mark.parametrize(
    ("size", "box"), [((60, 40), (10, 0, 50, 40)), ((40, 60), (0, 10, 40, 50)), ((40, 40), (0, 0, 40, 40))]
)
def test_the_whole_of_an_image_is_its_centre_square(size, box):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
    face = whole(image)
    assert face.box == box and face.score is None
    np.testing.assert_array_equal(face.crop, np.asarray(image.crop(box)))


# ------------------------------------------------------------------------------------- kinds of images


@pytest.mark.parametrize("file", [file for file in ODD_FILES if not file.is_refused], ids=lambda file: file.name)
def test_every_kind_of_image_is_understood(file):
    image = open_image(io.BytesIO(file.content))
    assert image.mode == "RGB"
    faces = detect(image)
    assert bool(faces) is (file.outcome == FACE)
    if image.size == SIZE:
        (face,) = faces
        assert iou(face.box, square(PLACE)) > 0.6
        assert face.crop.dtype == np.uint8 and face.crop.shape[2] == 3
        assert np.ptp(face.crop) > 100  # the face is neither black nor washed out


@pytest.mark.parametrize("file", [file for file in ODD_FILES if file.is_refused], ids=lambda file: file.name)
def test_what_cannot_be_read_is_refused_in_one_sentence_whatever_it_is_called(file, tmp_path):
    (tmp_path / file.name).write_bytes(file.content)
    for source in (tmp_path / file.name, io.BytesIO(file.content)):
        with pytest.raises(FaceMTLError, match=file.outcome) as error:
            open_image(source)
        assert "\n" not in str(error.value) and str(tmp_path) not in str(error.value)


MEMORY = """
import io, resource, sys
from facemtl.detection import detect, open_image
from facemtl.errors import FaceMTLError
from tests.odd_files import ODD_FILES
contents = [file.content for file in ODD_FILES]  # makes them all, at its own cost
limit = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for content in contents:
    try:
        detect(open_image(io.BytesIO(content)))
    except FaceMTLError as error:
        assert "this machine" not in str(error), "out of memory"
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit to a process's memory")
def test_no_file_takes_much_memory():
    """400 MB more than a process that has them all ready: an RGB image of 25 million pixels has 75 MB."""
    command = [sys.executable, "-c", MEMORY, str(400 * 2**20)]
    done = subprocess.run(command, cwd=support.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def understood(content: bytes) -> bool:
    """Whether it is; anything but an image or one sentence fails."""
    try:
        image = open_image(io.BytesIO(content))
    except FaceMTLError as error:
        assert "\n" not in str(error)
        return False
    assert image.mode == "RGB"
    detect(image)
    return True


def test_damaged_images_are_understood_or_refused():
    outcomes = {name: understood(content) for name, content in mutated(40)}
    assert len(set(outcomes.values())) == 2  # some of the damages can be borne


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_any_bytes_are_refused(content):
    assert not understood(content)


@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"]), st.data())
@settings(max_examples=60, deadline=None)
def test_any_small_image_comes_back_with_its_size_and_each_face_inside(width, height, mode, data):
    pixels = data.draw(st.binary(min_size=width * height * 4, max_size=width * height * 4))
    n_bytes = {"1": -(-width // 8), "L": width, "P": width, "LA": 2 * width, "I;16": 2 * width, "RGB": 3 * width}.get(
        mode, 4 * width
    )
    image = Image.frombytes(mode, (width, height), pixels[: n_bytes * height])
    opened = open_image(io.BytesIO(saved(image, "TIFF" if mode == "CMYK" else "PNG")))
    assert opened.size == (width, height) and opened.mode == "RGB"
    for face in [*detect(opened), whole(opened)]:
        assert face.crop.shape[0] == face.crop.shape[1] and face.crop.dtype == np.uint8
        assert 0 < (face.box[0] + face.box[2]) / 2 <= width and 0 < (face.box[1] + face.box[3]) / 2 <= height


def test_a_large_jpeg_is_reduced_and_says_by_how_much():
    opened = open_image(io.BytesIO(saved(scene((8000, 6000), (2000, 1000, 3000)), "JPEG")))
    assert opened.size == (2000, 1500)
    (face,) = detect(opened)
    told = as_record(face, opened)
    assert told["box"] == [4 * v for v in face.box]
    assert iou(told["box"], square((2000, 1000, 3000))) > 0.6


def test_a_large_jpeg_that_is_thin_is_opened():
    assert open_image(io.BytesIO(saved(Image.new("RGB", (8000, 3), GRAY), "JPEG"))).height in (1, 2, 3)


def test_postscript_starts_no_other_program(monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program was started"))
    assert not understood(POSTSCRIPT)


def test_a_heic_photo_names_what_reads_it(monkeypatch):
    monkeypatch.setattr(detection, "_formats", lambda: ("JPEG", "PNG"))
    (photo,) = [file for file in ODD_FILES if file.name == "phone.heic"]
    with pytest.raises(FaceMTLError, match=r"HEIC.*pillow-heif"):
        open_image(io.BytesIO(photo.content))


def test_what_is_transparent_becomes_white():
    image = scene((640, 480), (180, 90, 280)).convert("RGBA")
    image.putpixel((0, 0), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 128))
    upright = as_rgb(image)
    assert upright.mode == "RGB" and upright.getpixel((0, 0)) == (255, 255, 255)
    assert all(abs(v - 127) <= 1 for v in upright.getpixel((1, 0)))


def test_16_bits_keep_their_contrast():
    ramp = np.linspace(1000, 60_000, 100 * 50).astype(np.uint16).reshape(50, 100)
    found = np.asarray(as_rgb(Image.fromarray(ramp)))[:, :, 0].astype(int)
    assert found.min() == 0 and found.max() == 255
    assert (np.diff(found.flatten()) >= 0).all() and len(np.unique(found)) > 250


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 300), (300, 1), (3000, 3)])
def test_tiny_and_thin_images_do_no_harm(size):
    image = Image.new("RGB", size, "red")
    assert detect(image) == []
    assert (whole(image).crop == (255, 0, 0)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rotated_photo_gives_the_same_faces_as_the_upright_one(orientation):
    upright = scene((640, 480), (60, 40, 200), (330, 150, 280))
    image, exif = lying(upright, orientation)
    photo = Image.open(io.BytesIO(saved(image, "PNG", exif=exif)))
    found, expected = detect(photo), detect(upright)
    assert [face.box for face in found] == [face.box for face in expected] and len(found) == 2
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a.crop, b.crop)
    assert whole(photo).box == whole(upright).box


# ----------------------------------------------------------------------------------------------- files


def test_a_file_is_opened_upright_and_in_rgb(tmp_path):
    image, exif = scene((640, 480), (180, 90, 280)), Image.Exif()
    exif[0x0112] = 6
    image.convert("L").save(tmp_path / "photo.jpg", exif=exif)
    opened = open_image(tmp_path / "photo.jpg")
    assert opened.mode == "RGB" and opened.size == (480, 640)
    assert open_image(io.BytesIO((tmp_path / "photo.jpg").read_bytes())).size == (480, 640)


@pytest.mark.parametrize("make", [Path.mkdir, lambda file: None])
def test_what_is_no_file_is_one_message(tmp_path, make):
    make(tmp_path / "photo.jpg")
    with pytest.raises(FaceMTLError) as error:
        open_image(tmp_path / "photo.jpg")
    assert "\n" not in str(error.value)


def test_a_face_is_a_constant():
    face = whole(Image.new("RGB", (10, 10)))
    assert isinstance(face, Face)
    with pytest.raises(AttributeError):
        face.box = (0, 0, 1, 1)


# ---------------------------------------------------------------------------------------- poor crops


def noisy(side: int = 200, light: float = 1.0) -> Image.Image:
    """A composite with the detail that averaging took away, as a crisp photo has it."""
    pixels = np.asarray(composite().resize((side, side)), float)
    grain = np.random.default_rng(0).normal(0, 12, (side, side, 1))
    return Image.fromarray((light * (pixels + grain)).clip(0, 255).astype(np.uint8))


def test_a_good_crop_has_no_weakness():
    assert weaknesses(whole(noisy())) == []


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (noisy(40), "small (40 px)"),
        (noisy().filter(ImageFilter.GaussianBlur(6)), "blurred"),
        (noisy(light=0.2), "dark"),
        (noisy(light=2.5), "too bright"),
    ],
)
def test_a_poor_crop_says_why(image, says):
    assert says in weaknesses(whole(image))


def test_a_crop_taken_from_a_reduced_copy_is_as_small_as_it_is():
    """Its box counts the pixels of the original photo, of which the crop has fewer."""
    face = replace(whole(noisy(48)), box=(0, 0, 200, 200))
    assert "small (48 px)" in weaknesses(face)


def test_a_tilted_face_is_told_from_an_upright_one():
    canvas, place = Image.new("RGB", (900, 700), GRAY), (300, 200)
    canvas.paste(composite().resize((300, 300)), place)
    assert [face.pose for face in detect(canvas)] == [""]
    (tilted,) = detect(canvas.rotate(28, Image.Resampling.BILINEAR, fillcolor=GRAY))
    assert tilted.pose == "tilted"
    assert "tilted" in weaknesses(tilted)
