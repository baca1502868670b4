"""An image -> the faces in it, each with the crop that the models see.

dlib's HOG detector needs no download. Its box is framed as UTKFace frames faces, because that is
what the models were trained on: on UTKFace's own 200 px chips the detector finds a box of the same
centre and, on average, 181 px a side.
"""

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from threading import Lock
from typing import BinaryIO

import dlib
import numpy as np
from PIL import Image, ImageFilter

from .data import as_rgb
from .errors import FaceMTLError

FRAME = 200 / 181  # side of the crop over side of dlib's box
LONGEST_SIDE = 1000  # px; larger images are searched on a reduced copy
SMALLEST_FACE = 80  # px; dlib's window
LEAST_SCORE = 0.0  # of a face; dlib's own bar
LEAST_ALONE = -0.1  # where no face reaches that, one that reaches this is better than none
DETECTOR = f"dlib, gray, two at once, {LONGEST_SIDE} px, {LEAST_SCORE} or {LEAST_ALONE}"  # another one finds other faces
# No other formats than these: some that Pillow knows start another program, or are read by code that nobody looks after.
# With each, the most millions of pixels: HEIC and AVIF are what phones take, and of large JPEGs a part is decoded.
MOST_MEGAPIXELS = {
    "JPEG": 110, "HEIF": 50, "AVIF": 50, "PNG": 25, "WEBP": 25, "GIF": 25, "BMP": 25, "TIFF": 25,
}  # fmt: skip
LARGEST_CROP = 512  # px a side; more would only cost memory
POSES = ("", "turned to the side", "turned to the side", "tilted", "tilted")  # what dlib's five filters stand for
SMALL = 64  # px a side; the models see more than a hundred
BLURRED = 0.022  # of `_detail`: less than 1 in 100 UTKFace crops, all of those blurred by 3 % of a side
DARK, BRIGHT = 55, 200  # mean luminance, of 255; beyond are less than 1 in 100 UTKFace crops each
warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # large images are refused or reduced here, not warned of
PIXEL_SIZE = "facemtl pixel size"  # in the `info` of an image: the side of one of its pixels, in pixels of the file
BORDER = 0.25  # of a side, added around images that a face may fill


@dataclass(frozen=True)
class Face:
    """A square of an image. `box` is (left, top, right, bottom) in pixels and may reach beyond the image."""

    box: tuple[float, float, float, float]
    score: float | None  # the detector's; None where no detector chose the box
    crop: np.ndarray  # uint8 (S, S, 3): exactly what the models see, before they reduce it
    pose: str = ""  # one of POSES, where a detector saw it; "" is frontal and upright, or unknown


def detect(image: Image.Image) -> list[Face]:
    """All faces, largest first; none is an empty list. Where there is no certain one, the best doubtful one.

    A square image that one face fills is taken whole: it is a crop already.
    """
    image = as_rgb(image)
    width, height = image.size
    is_square = abs(width - height) <= 0.05 * max(width, height)
    found = [] if is_square else _search(image, border=0.0, least=LEAST_SCORE)
    if not found:  # a face that touches the edge is found only with a border around the image
        found = _search(image, border=BORDER, least=LEAST_ALONE)
        found = [each for each in found if each[1] >= LEAST_SCORE] or sorted(found, key=lambda each: -each[1])[:1]
    faces = [replace(face_at(image, box, score), pose=pose) for box, score, pose in found]
    faces.sort(key=lambda face: face.box[2] - face.box[0], reverse=True)
    if is_square and faces and overlap(faces[0].box, (0, 0, width, height)) > 0.6:
        return [replace(whole(image), pose=faces[0].pose)]
    return faces


def weaknesses(face: Face) -> list[str]:
    """Why its crop is poor, in words that complete "this crop is ..."; none is an empty list."""
    side = min(face.box[2] - face.box[0], len(face.crop))  # a crop taken from a reduced copy holds no more than it has
    light = float(_gray(face.crop).mean())
    return [
        *([f"small ({side:.0f} px)"] if side < SMALL else []),
        *(["blurred"] if _detail(face.crop) < BLURRED else []),
        *(["dark"] if light < DARK else ["too bright"] if light > BRIGHT else []),
        *([face.pose] if face.pose else []),
        *(["perhaps no face"] if face.score is not None and face.score < LEAST_SCORE else []),
    ]


def whole(image: Image.Image) -> Face:
    """The image as one crop that is framed like UTKFace; of a rectangle, its centre square."""
    image = as_rgb(image)
    width, height = image.size
    left, top, side = (width - min(image.size)) / 2, (height - min(image.size)) / 2, min(image.size)
    return face_at(image, (left, top, left + side, top + side), score=None)


def face_at(image: Image.Image, box: tuple[float, float, float, float], score: float | None = None) -> Face:
    """The face in a square `box` of an upright RGB image; where it reaches beyond the image, the image is reflected."""
    left, top, right, bottom = (round(v) for v in box)
    side = max(2, right - left, bottom - top)
    box = (left, top, left + side, top + side)
    rows = _reflected(np.arange(top, top + side), image.height)
    columns = _reflected(np.arange(left, left + side), image.width)
    part = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
    crop = image.crop(part)  # not the whole photo again
    if part != box:
        crop = Image.fromarray(np.asarray(crop)[rows[:, None] - rows.min(), columns[None, :] - columns.min()])
    if side > LARGEST_CROP:
        crop = crop.resize((LARGEST_CROP, LARGEST_CROP), Image.Resampling.BILINEAR, reducing_gap=3)
    return Face(box, score, np.array(crop))


def open_image(file: Path | BinaryIO) -> Image.Image:
    """An image file, upright and in RGB; of an animation, its first frame. FaceMTLError where it cannot be read.

    A large JPEG is decoded at a fraction, which `as_record` knows.
    """
    formats = _formats()
    try:
        with Image.open(file, formats=formats) as image:
            width, height = image.size
            most = MOST_MEGAPIXELS["JPEG" if image.format == "MPO" else image.format]  # several photos in one JPEG
            if width * height > most * 10**6:
                raise _too_large(most)
            enough = 2 * LONGEST_SIDE / max(width, height)
            image.draft("RGB", (max(1, int(enough * width)), max(1, int(enough * height))))
            size = width / image.width
            image = as_rgb(image)
            image.info[PIXEL_SIZE] = size
            return image
    except FaceMTLError:
        raise
    except FileNotFoundError as error:
        raise FaceMTLError("There is no such file.") from error
    except Image.DecompressionBombError as error:
        raise _too_large(max(MOST_MEGAPIXELS.values())) from error
    except MemoryError as error:
        raise FaceMTLError("This image is too large for this machine. Reduce it first.") from error
    except Exception as error:  # what damaged files make of decoders: OSError, ValueError, SyntaxError, struct.error ...
        raise FaceMTLError(_why_unreadable(file, formats)) from error


def as_record(face: Face, image: Image.Image) -> dict:
    """What is told outside of Python of a face that was found in `open_image`'s result: its `box` in pixels of the upright
    file, the detector's `score`, and why its crop is `poor`.
    """
    scale = image.info.get(PIXEL_SIZE, 1.0)
    return {"box": [scale * float(value) for value in face.box], "score": face.score, "poor": weaknesses(face)}


@cache
def _formats() -> tuple[str, ...]:
    """Those of MOST_MEGAPIXELS that can be read here: HEIC needs an optional package."""
    Image.init()
    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    return tuple(name for name in MOST_MEGAPIXELS if name in Image.OPEN)


def _too_large(most: int) -> FaceMTLError:
    return FaceMTLError(f"This image has more than {most} million pixels. Reduce it first.")


def _why_unreadable(file: Path | BinaryIO, formats: Sequence[str]) -> str:
    try:
        start = file.read_bytes()[:12] if isinstance(file, Path) else (file.seek(0), file.read(12))[1]
    except OSError as error:
        return f"This file cannot be read ({error.strerror})."
    if not start:
        return "This file is empty."
    if start[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1") and "HEIF" not in formats:
        return "This is a HEIC photo, which cannot be read here. Save it as a JPEG, or install pillow-heif."
    return "This file is damaged, or not an image that can be read. Try a JPEG or PNG."


def _gray(crop: np.ndarray) -> np.ndarray:
    """(S, S, 3) -> (112, 112)."""
    return np.asarray(Image.fromarray(crop).convert("L").resize((112, 112), Image.Resampling.BILINEAR), float)


def _detail(crop: np.ndarray) -> float:
    """How much of the contrast a slight blur takes away: the standard deviation of what it removes, over that of all."""
    gray = _gray(crop)
    removed = gray - np.asarray(Image.fromarray(np.uint8(gray)).filter(ImageFilter.GaussianBlur(1)), float)
    return float(removed.std() / max(gray.std(), 8))


def _search(image: Image.Image, border: float, least: float) -> list[tuple[tuple[float, float, float, float], float, str]]:
    """dlib's boxes of at least that score, framed, in the image's own pixels, with their scores and poses.

    In gray, as dlib's own examples search: in colour it takes a third longer and finds hardly more.
    """
    longest = max(image.size)
    # Small images are enlarged, so that a face that fills a third of them is found.
    scale = min(LONGEST_SIDE / longest, max(1.0, 3 * SMALLEST_FACE / longest))
    small = image.convert("L").resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BILINEAR)
    pad = round(border * max(small.size))
    pixels = np.pad(np.asarray(small), pad, mode="edge")
    boxes = []
    for (left, top, right, bottom), score, which in _scan(pixels, least):
        x, y = ((left + right) / 2 - pad) / scale, ((top + bottom) / 2 - pad) / scale
        half = (right - left + bottom - top) / 4 * FRAME / scale
        boxes.append(((x - half, y - half, x + half, y + half), score, POSES[which]))
    return boxes


def _scan(pixels: np.ndarray, least: float) -> list[tuple[tuple[float, float, float, float], float, int]]:
    """What dlib's detector finds in a gray image, in about half its time: (box, score, number of the filter), best first.

    dlib searches a pyramid of images, each of 5/6 the side of the one before. The first two take as long as all others:
    they are searched in a thread of their own, which dlib lets run beside Python's.
    """
    largest, whole = _detectors()
    with _ONE_SEARCH, ThreadPoolExecutor(1) as aside:
        if min(pixels.shape) < 4 * SMALLEST_FACE:  # not worth a thread
            return _listed(whole.run(pixels, 0, least))
        first_two = aside.submit(largest.run, pixels, 0, least)
        third = pixels
        for _ in range(2):
            third = dlib.resize_image(third, *(5 * side // 6 for side in third.shape))
        found = [*_listed(whole.run(third, 0, least), scale=36 / 25, shift=0.66), *_listed(first_two.result())]
    kept = []
    for each in sorted(found, key=lambda each: -each[1]):
        if not any(_is_same(each[0], other[0]) for other in kept):
            kept.append(each)
    return kept


def _listed(found: tuple, scale: float = 1.0, shift: float = 0.0) -> list[tuple[tuple[float, float, float, float], float, int]]:
    """The result of dlib's `run`, of whose rectangles the last pixels are a part; scaled and shifted as dlib does it."""
    ends = ((scale * np.array((r.left(), r.top(), r.right(), r.bottom())) + shift + (0, 0, 1, 1)).tolist() for r in found[0])
    return [(tuple(box), float(score), int(which)) for box, score, which in zip(ends, *found[1:], strict=True)]


def _is_same(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    """Two boxes are of one face, as dlib's detector judges it: what they share is much of the box around both, or of one."""
    shared = _shared(a, b)
    around = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return shared > 0.330 * around or shared > 0.789 * min(_area(a), _area(b))


def prepare() -> None:
    """Load the detector, for which the first search would have to wait."""
    _detectors()


_ONE_SEARCH = Lock()  # dlib's detectors keep the pyramid that they search


@cache
def _detectors() -> tuple["dlib.fhog_object_detector", "dlib.fhog_object_detector"]:
    """dlib's detector for the first two images of a pyramid, and the one for all.

    dlib has no call to limit them, but writes the limit down: 1000, in two bytes. Were it written otherwise,
    both would search all: slower, with the same result.
    """
    whole = dlib.get_frontal_face_detector()
    (written,) = whole.__getstate__()
    largest = dlib.fhog_object_detector.__new__(dlib.fhog_object_detector)
    largest.__setstate__((written.replace(b"\x02\xe8\x03", b"\x01\x02", 1),))
    return largest, whole


def _reflected(positions: np.ndarray, length: int) -> np.ndarray:
    """Positions beyond 0..length-1 mirrored back into it, the edge pixel not repeated."""
    if length == 1:
        return np.zeros_like(positions)
    period = 2 * (length - 1)
    positions = positions % period
    return np.where(positions < length, positions, period - positions)


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Intersection over union of two boxes."""
    shared = _shared(a, b)
    return shared / (_area(a) + _area(b) - shared) if shared else 0.0


def _shared(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """The area of what two boxes have in common."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _area(box: tuple[float, ...]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
