"""Image files of every kind are read, or refused in one sentence."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from facemtl.data import images
from facemtl.data.images import as_rgb, load_image
from facemtl.data.reading import read_images
from facemtl.errors import FaceMTLError
from facemtl.faces import as_image, as_record, detect, open_image, overlap, photo, whole
from tests import support
from tests.odd_files import (
    DAMAGED,
    EMPTY,
    FACE,
    GRAY,
    ODD_FILES,
    PLACE,
    POSTSCRIPT,
    SIZE,
    lying,
    mutated,
    saved,
    scene,
)  # fmt: skip

LEFT, TOP, SIDE = PLACE
SQUARE = (LEFT, TOP, LEFT + SIDE, TOP + SIDE)


@pytest.mark.parametrize("file", [f for f in ODD_FILES if not f.is_refused], ids=lambda f: f.name)
def test_every_kind_of_image_is_read(file):
    image = open_image(io.BytesIO(file.content))
    assert image.mode == "RGB"
    faces = detect(image)
    assert bool(faces) is (file.outcome == FACE)
    if image.size == SIZE:
        (face,) = faces
        assert overlap(face.box, SQUARE) > 0.7
        assert face.crop.dtype == np.uint8 and face.crop.shape[2] == 3
        assert np.ptp(face.crop) > 100  # neither black nor washed out


@pytest.mark.parametrize("file", [f for f in ODD_FILES if f.is_refused], ids=lambda f: f.name)
def test_unreadable_files_are_refused_in_one_sentence(file, tmp_path):
    (tmp_path / file.name).write_bytes(file.content)
    for source in (tmp_path / file.name, io.BytesIO(file.content)):
        with pytest.raises(FaceMTLError, match=file.outcome) as error:
            open_image(source)
        assert "\n" not in str(error.value) and str(tmp_path) not in str(error.value)


MEMORY = """
import io, resource, sys
from facemtl.errors import FaceMTLError
from facemtl.faces import detect, open_image, prepare
from tests.odd_files import ODD_FILES
contents = [file.content for file in ODD_FILES]  # creates all files before the limit is set
prepare()
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for content in contents:
    try:
        detect(open_image(io.BytesIO(content)))
    except FaceMTLError as error:
        words = ("this machine", "too little memory")
        assert not any(each in str(error) for each in words), "out of memory"
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit to a process's memory")
def test_reading_a_file_has_a_memory_limit():
    """The limit is 400 MB above a process with all files ready: 25 million RGB pixels are 75 MB."""
    command = [sys.executable, "-c", MEMORY, str(400 * 2**20)]
    done = subprocess.run(command, cwd=support.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


SHORT_OF_MEMORY = """
import resource
from facemtl.faces import detect, prepare
from tests.odd_files import scene
prepare()
image = scene((1280, 960), (400, 300, 300))
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
detect(image)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit to a process's memory")
def test_a_search_with_too_little_memory_says_so():
    command = [sys.executable, "-c", SHORT_OF_MEMORY]
    done = subprocess.run(command, cwd=support.ROOT, capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("facemtl.errors.FaceMTLError: There is too little memory"), last


class Allocation:
    """No image. Its name is in the message."""


def test_another_error_is_not_taken_for_a_lack_of_memory():
    with pytest.raises(FaceMTLError, match="found Allocation"):
        detect(Allocation())


LARGE = """
import sys
import numpy as np
from facemtl.faces.detector import find
def memory():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmRSS")).split()[1]) >> 10
noise = np.random.default_rng(0).integers(0, 255, (1280, 1280, 3), np.uint8)
find(noise[:420, :560], 0.5)
before = memory()
find(noise, 0.5)
print(memory() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory of a process from /proc")
def test_a_large_search_keeps_no_memory():
    """It takes some 200 MiB while it runs."""
    command = [sys.executable, "-c", LARGE]
    done = subprocess.run(command, cwd=support.ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60


def is_readable(content: bytes, search: bool = True) -> bool:
    """Return whether the content is an image. Any error except a one-sentence refusal fails the
    test.
    """
    try:
        image = open_image(io.BytesIO(content))
    except FaceMTLError as error:
        assert "\n" not in str(error)
        return False
    assert image.mode == "RGB"
    if search:
        detect(image)
    return True


def test_damaged_images_are_read_or_refused():
    """Every tenth image is also searched for faces."""
    damaged = mutated(40)
    outcomes = [is_readable(content, search=i % 10 == 0) for i, (_, content) in enumerate(damaged)]
    assert len(set(outcomes)) == 2  # some damaged files are readable


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_any_bytes_are_refused(content):
    assert not is_readable(content)


MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"]


@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from(MODES), st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_small_images_keep_their_size_and_faces_lie_inside(width, height, mode, seed):
    content = np.random.default_rng(seed).bytes(width * height * 4)
    each = {"1": 1, "L": 1, "P": 1, "LA": 2, "I;16": 2, "RGB": 3}.get(mode, 4)
    size = -(-width // 8) * height if mode == "1" else each * width * height
    image = Image.frombytes(mode, (width, height), content[:size])
    opened = open_image(io.BytesIO(saved(image, "TIFF" if mode == "CMYK" else "PNG")))
    assert opened.size == (width, height) and opened.mode == "RGB"
    for face in [*detect(opened), whole(opened)]:
        assert face.crop.shape[0] == face.crop.shape[1] and face.crop.dtype == np.uint8
        assert 0 < face.square.x <= width and 0 < face.square.y <= height


def test_a_large_jpeg_is_reduced_and_says_by_how_much():
    opened = open_image(io.BytesIO(saved(scene((8000, 6000), (2000, 1000, 3000)), "JPEG")))
    assert opened.size == (2000, 1500)
    (face,) = detect(opened)
    record = as_record(face, opened)
    assert record["box"] == [4 * v for v in face.box]
    assert overlap(record["box"], (2000, 1000, 5000, 4000)) > 0.7


def test_a_large_jpeg_that_is_thin_is_opened():
    content = saved(Image.new("RGB", (8000, 3), GRAY), "JPEG")
    assert open_image(io.BytesIO(content)).height in (1, 2, 3)


def test_postscript_starts_no_other_program(monkeypatch, tmp_path):
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program was started"))
    assert not is_readable(POSTSCRIPT)
    file = tmp_path / "1_0_0_drawing.jpg"
    file.write_bytes(POSTSCRIPT)
    assert read_images(tmp_path, verify=True, progress=False)[1].unreadable == [
        f"{file.name}: damaged"
    ]
    with pytest.raises(FaceMTLError, match="damaged"):
        load_image(file, 48)


@pytest.mark.parametrize(
    "file",
    [f for f in ODD_FILES if f.outcome in (DAMAGED, EMPTY) or f.name == "bomb.png"],
    ids=lambda f: f.name,
)
def test_a_damaged_image_to_train_on_is_named(file, tmp_path):
    (tmp_path / file.name).write_bytes(file.content)
    with pytest.raises(FaceMTLError, match=rf"{file.name} is damaged"):
        load_image(tmp_path / file.name, 48)


def test_an_image_that_memory_is_too_small_for_is_not_called_damaged(monkeypatch, tmp_path):
    def load(*_) -> None:
        raise MemoryError

    (file,) = support.write_pictures(tmp_path, 1)
    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(FaceMTLError, match="needs more memory"):
        load_image(file, 48)
    (said,) = read_images(tmp_path, verify=True, progress=False)[1].unreadable
    assert "needs more memory" in said


def test_each_format_has_a_limit():
    assert {*images.FORMATS} == {*photo.MOST_MEGAPIXELS}


def test_a_heic_photo_without_support_names_the_library(monkeypatch):
    for module in (images, photo):
        monkeypatch.setattr(module, "readable_formats", lambda: ("JPEG", "PNG"))
    (heic,) = [file for file in ODD_FILES if file.name == "phone.heic"]
    with pytest.raises(FaceMTLError, match=r"HEIC.*pillow-heif"):
        open_image(io.BytesIO(heic.content))


def test_transparent_pixels_become_white():
    image = scene((640, 480), (180, 90, 280)).convert("RGBA")
    image.putpixel((0, 0), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 128))
    upright = as_rgb(image)
    assert upright.mode == "RGB" and upright.getpixel((0, 0)) == (255, 255, 255)
    assert all(abs(v - 127) <= 1 for v in upright.getpixel((1, 0)))


def test_16_bit_images_keep_their_contrast():
    ramp = np.linspace(1000, 60_000, 100 * 50).astype(np.uint16).reshape(50, 100)
    found = np.asarray(as_rgb(Image.fromarray(ramp)))[:, :, 0].astype(int)
    assert found.min() == 0 and found.max() == 255
    assert (np.diff(found.flatten()) >= 0).all() and len(np.unique(found)) > 250


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 300), (300, 1), (3000, 3), (10_000, 20)])
def test_tiny_and_narrow_images_are_handled(size):
    image = Image.new("RGB", size, "red")
    assert detect(image) == []
    assert (whole(image).crop == (255, 0, 0)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_before_detection(orientation):
    upright = scene((640, 480), (60, 40, 200), (330, 150, 280))
    image, exif = lying(upright, orientation)
    turned = Image.open(io.BytesIO(saved(image, "PNG", exif=exif)))
    found, expected = detect(turned), detect(upright)
    assert [face.box for face in found] == [face.box for face in expected] and len(found) == 2
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a.crop, b.crop)
    assert whole(turned).box == whole(upright).box


def test_a_file_is_opened_upright_and_in_rgb(tmp_path):
    image, exif = scene((640, 480), (180, 90, 280)), Image.Exif()
    exif[0x0112] = 6
    image.convert("L").save(tmp_path / "photo.jpg", exif=exif)
    opened = open_image(tmp_path / "photo.jpg")
    assert opened.mode == "RGB" and opened.size == (480, 640)
    assert open_image(io.BytesIO((tmp_path / "photo.jpg").read_bytes())).size == (480, 640)


@pytest.mark.parametrize(
    ("make", "says"),
    [(Path.mkdir, r"cannot be read \(Is a directory\)"), (lambda file: None, "no such file")],
    ids=["a folder", "nothing"],
)
def test_a_folder_or_missing_file_gives_a_one_line_error(tmp_path, make, says):
    make(tmp_path / "photo.jpg")
    with pytest.raises(FaceMTLError, match=says) as error:
        open_image(tmp_path / "photo.jpg")
    assert "\n" not in str(error.value)


def closed() -> Image.Image:
    (image := Image.open(io.BytesIO(support.composites(1)[0].read_bytes()))).close()
    return image


PIL_IMAGES = {
    "no pixels": (lambda: Image.new("RGB", (0, 0)), "found 0 x 0"),
    "no width": (lambda: Image.new("F", (0, 5)), "found 0 x 5"),
    "cut off": (
        lambda: Image.open(io.BytesIO(support.composites(1)[0].read_bytes()[:3000])),
        "cannot be read .*truncated",
    ),
    "closed": (closed, "cannot be read"),
    "premultiplied": (lambda: Image.new("La", (50, 50)), "cannot be read .*La"),
}


@pytest.mark.parametrize(("make", "says"), PIL_IMAGES.values(), ids=PIL_IMAGES)
def test_a_pil_image_without_pixels_to_read_is_refused(make, says):
    with pytest.raises(FaceMTLError, match=says):
        as_image(make())


@pytest.mark.parametrize("kind", [None, b"x", io.BytesIO(b"x"), {}, {1}, 5, iter("x")], ids=type)
def test_another_type_than_that_of_an_image_is_named(kind):
    with pytest.raises(FaceMTLError, match=f"a PIL image.*found {type(kind).__name__}"):
        as_image(kind)


@pytest.mark.parametrize("path", ["", "\0"], ids=repr)
def test_a_text_that_can_be_no_path_is_refused(path):
    with pytest.raises(FaceMTLError, match="expected a path"):
        as_image(path)
