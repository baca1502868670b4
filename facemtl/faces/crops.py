"""Detection of the faces in an image, each with the crop that the models see."""

import math

from PIL import Image

from ..data.images import as_rgb
from ..errors import memory_needed
from .align import POSITIONS, Square, cut
from .detector import SHA256, open_session
from .face import Face
from .photo import PIXEL_SIZE, ImageLike, as_image
from .quality import weaknesses
from .search import BORDER, COARSE, DOUBTFUL, FINE, SURE, Found, refine, search

# A square image is taken as one crop if its face fills it as in UTKFace. This holds for 98 % of
# UTKFace's images. The limits are a factor, a fraction of the side, and degrees.
FRAMED_SIDE, FRAMED_CENTRE, FRAMED_ANGLE = 1.2, 0.08, 15.0

# Names the detector in journals of `predict`, because another one would find other faces.
DETECTOR = (
    f"CenterFace {SHA256[:8]}, {COARSE} or {FINE} px, score {SURE} or {DOUBTFUL}, "
    f"aligned to {(200 * POSITIONS).round(1).tolist()}"
)


@memory_needed()
def detect(image: ImageLike) -> list[Face]:
    """Detect all faces in an image, largest first. The list is empty if there are none.

    If no face is sure, the best doubtful one is returned. A square image whose largest face fills
    it as in UTKFace is taken as one crop. Raises FaceMTLError if there is too little memory.
    """
    image = as_image(image)
    width, height = image.size
    is_square = abs(width - height) <= 0.05 * max(width, height)
    # The detector finds a face that fills the image only if there is a border around it.
    found = search(image, BORDER if is_square else 0.0)
    found = [each for each in found if each.score >= SURE] or sorted(found, key=_score)[-1:]
    found.sort(key=lambda each: each.square.side, reverse=True)
    if is_square and found and _is_framed(found[0].square, width, height):
        return [_as_whole(image, found[0])]
    return [_aligned(image, each) for each in found]


@memory_needed()
def face_at(
    image: Image.Image, box: tuple[float, float, float, float], angle: float | None = None
) -> Face:
    """The face in a box that was drawn by hand.

    If a face is found inside, the square is rotated so that the face is upright. With `angle`, it
    is rotated by so many degrees instead. Its centre and side stay as drawn. `image` must be
    upright and in RGB.
    """
    square = _whole_pixels(box)
    found = refine(image, square)
    if found is None or found.score < SURE:
        found = None
    if angle is None:
        angle = found.square.angle if found else 0.0
    square = Square(square.x, square.y, square.side, angle)
    landmarks = found.landmarks if found else None
    return Face(square.box, None, cut(image, square), landmarks, square.angle)


def whole(image: Image.Image) -> Face:
    """The whole image as one crop, like UTKFace's. A rectangle is cropped to its centre square."""
    return _as_whole(as_rgb(image), None)


def as_record(face: Face, image: Image.Image) -> dict:
    """A face as a dict for JSON: `box, angle, score, poor`.

    `image` is a result of `open_image`. `box` is in pixels of the upright file, `angle` the degrees
    by which it is rotated, `score` the detector's, and `poor` the reasons why the crop is poor.
    """
    scale = image.info.get(PIXEL_SIZE, 1.0)
    return {
        "box": [scale * float(value) for value in face.box],
        "angle": face.angle,
        "score": face.score,
        "poor": weaknesses(face),
    }


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Intersection over union of two boxes."""
    across, down = (max(0.0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1))
    shared = across * down
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return shared / (area - shared) if shared else 0.0


def prepare() -> None:
    """Load the detector in advance. Otherwise the first detection would have to wait for it."""
    open_session()


def _score(found: Found) -> float:
    return found.score


def _is_framed(square: Square, width: int, height: int) -> bool:
    side = min(width, height)
    return (
        abs(math.log(square.side / side)) < math.log(FRAMED_SIDE)
        and math.hypot(square.x - width / 2, square.y - height / 2) < FRAMED_CENTRE * side
        and abs(square.angle) < FRAMED_ANGLE
    )


def _aligned(image: Image.Image, found: Found) -> Face:
    square = found.square
    return Face(square.box, found.score, cut(image, square), found.landmarks, square.angle)


def _as_whole(image: Image.Image, found: Found | None) -> Face:
    side = min(image.size)
    left, top = ((length - side) / 2 for length in image.size)
    square = _whole_pixels((left, top, left + side, top + side))
    crop = cut(image, square)
    if found is None:
        return Face(square.box, None, crop)
    return Face(square.box, found.score, crop, found.landmarks)


def _whole_pixels(box: tuple[float, float, float, float]) -> Square:
    left, top, right, bottom = (round(v) for v in box)
    side = max(2, right - left, bottom - top)
    return Square.of_box((left, top, left + side, top + side))
