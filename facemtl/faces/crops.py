"""An image -> the faces in it, each with the crop that the models see."""

import math

from PIL import Image

from ..data.images import as_rgb
from .align import POSITIONS, Square, cut
from .detector import SHA256, open_session
from .face import Face
from .photo import PIXEL_SIZE, ImageLike, as_image
from .quality import weaknesses
from .search import BORDER, COARSE, DOUBTFUL, FINE, SURE, Found, search, settle

# A square image is a crop already where its face fills it as in UTKFace, as 98 of 100 of those do.
FRAMED_SIDE, FRAMED_CENTRE, FRAMED_ANGLE = 1.2, 0.08, 15.0  # a factor, a share of the side, degrees

# Names the detector in journals of runs: another one finds other faces.
DETECTOR = (
    f"CenterFace {SHA256[:8]}, {COARSE} or {FINE} px, score {SURE} or {DOUBTFUL}, "
    f"aligned to {(200 * POSITIONS).round(1).tolist()}"
)


def detect(image: ImageLike) -> list[Face]:
    """All faces, largest first; none is an empty list.

    Where no face is sure, the best doubtful one is taken. A square image that one face fills as in
    UTKFace is taken whole.
    """
    image = as_image(image)
    width, height = image.size
    is_square = abs(width - height) <= 0.05 * max(width, height)
    # A face that fills the image is found only with a border around it.
    found = search(image, BORDER if is_square else 0.0)
    found = [each for each in found if each.score >= SURE] or sorted(found, key=_score)[-1:]
    found.sort(key=lambda each: each.square.side, reverse=True)
    if is_square and found and _is_framed(found[0].square, width, height):
        return [_as_whole(image, found[0])]
    return [_aligned(image, each) for each in found]


def face_at(image: Image.Image, box: tuple[float, float, float, float]) -> Face:
    """The face in a box drawn by hand; where one is found inside, the square is turned upright.

    Its centre and side stay as drawn. `image` is upright and in RGB.
    """
    square = _whole_pixels(box)
    found = settle(image, square)
    if found is None or found.score < SURE:
        return Face(square.box, None, cut(image, square))
    square = Square(square.x, square.y, square.side, found.square.angle)
    return Face(square.box, None, cut(image, square), found.landmarks, square.angle)


def whole(image: Image.Image) -> Face:
    """The image as one crop, as UTKFace's are; of a rectangle, its centre square."""
    return _as_whole(as_rgb(image), None)


def as_record(face: Face, image: Image.Image) -> dict:
    """What programs are told of a face in `open_image`'s result.

    Its `box` in pixels of the upright file, the `angle` by which it is turned, the detector's
    `score`, and why its crop is `poor`.
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
    """Load the detector, for which the first search would have to wait."""
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
    return Face(square.box, None, cut(image, square), found.landmarks if found else None)


def _whole_pixels(box: tuple[float, float, float, float]) -> Square:
    left, top, right, bottom = (round(v) for v in box)
    side = max(2, right - left, bottom - top)
    return Square.of_box((left, top, left + side, top + side))
