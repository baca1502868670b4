"""Five landmarks -> the square that frames a face as UTKFace does, and the crop cut from it."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

LARGEST_CROP = 512  # px a side; more would only cost memory
# Where the detector sees eyes, nose and mouth corners in UTKFace's images, in shares of the side:
# medians over 304 images, with standard deviations of 0.012 to 0.027; research.landmark_positions
# takes
# them anew. What the detector gets wrong in UTKFace as in photos cancels.
POSITIONS = np.array(
    ((295, 303), (700, 301), (490, 517), (330, 700), (660, 697)),
) / 1000  # fmt: skip


@dataclass(frozen=True)
class Square:
    """A square of an image, turned by `angle` about its centre. It may reach beyond the image."""

    x: float  # of its centre, in pixels
    y: float
    side: float
    angle: float = 0.0  # degrees; clockwise, as seen

    @classmethod
    def of_box(cls, box: tuple[float, float, float, float], angle: float = 0.0) -> "Square":
        left, top, right, bottom = box
        return cls((left + right) / 2, (top + bottom) / 2, max(right - left, bottom - top), angle)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The square before it is turned: left, top, right, bottom."""
        half = self.side / 2
        return self.x - half, self.y - half, self.x + half, self.y + half

    @property
    def axes(self) -> np.ndarray:
        """Its right and its downward edge, one a row, in pixels: (2, 2)."""
        along, across = (self.side * f(math.radians(self.angle)) for f in (math.cos, math.sin))
        return np.array(((along, across), (-across, along)))

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Points (N, 2) in shares of the side, from the square's own top left corner -> pixels."""
        return (points - 0.5) @ self.axes + (self.x, self.y)

    def from_image(self, points: np.ndarray) -> np.ndarray:
        """The inverse of `to_image`."""
        return (points - (self.x, self.y)) @ self.axes.T / self.side**2 + 0.5


def fit(landmarks: np.ndarray) -> tuple[Square, float]:
    """The square in which landmarks (5, 2) lie nearest to POSITIONS, and how far off they are.

    The distance is the root mean square over the landmarks, in shares of the side.
    """
    turn, shift = similarity(POSITIONS, landmarks)
    x, y = turn @ (0.5, 0.5) + shift
    side = math.hypot(turn[0, 0], turn[1, 0])
    angle = math.degrees(math.atan2(turn[1, 0], turn[0, 0]))
    square = Square(float(x), float(y), side, angle)
    off = POSITIONS @ turn.T + shift - landmarks
    return square, float(np.sqrt((off**2).sum(axis=1).mean()) / max(side, 1e-9))


def similarity(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rotation and scale (2, 2) and the shift (2,) that take source (N, 2) nearest to target.

    Least squares, without a reflection: Umeyama, "Least-squares estimation of transformation
    parameters between two point patterns", 1991.
    """
    a, b = source.mean(axis=0), target.mean(axis=0)
    u, s, v = np.linalg.svd((target - b).T @ (source - a))
    signs = np.array((1, np.sign(np.linalg.det(u @ v))))
    turn = (u * signs) @ v * (s @ signs) / ((source - a) ** 2).sum()
    return turn, b - turn @ a


def cut(
    image: Image.Image, square: Square, side: int | None = None, beyond: str = "reflect"
) -> np.ndarray:
    """The pixels of a square of an RGB image, uint8 (S, S, 3).

    Without `side` they are the image's own, reduced by a whole number where there were more than
    LARGEST_CROP. `beyond` the image, its pixels are mirrored ("reflect") or its last ones repeated
    ("edge").
    """
    if side is None:
        factor = max(1, math.ceil(square.side / LARGEST_CROP))
        side = max(2, round(square.side / factor))
    else:
        factor = max(1, int(square.side / side))
    if square.angle == 0 and side == round(square.side / factor):
        left, top = (round(v) for v in square.box[:2])
        length = factor * side
        pixels = _blocks(image, (left, top, left + length, top + length), 1, beyond)
        return np.array(Image.fromarray(pixels).reduce(factor))
    corners = square.to_image(np.array(((0, 0), (1, 0), (0, 1), (1, 1))))
    low = np.floor(corners.min(axis=0) / factor).astype(int) - 2  # bicubic interpolation needs them
    high = np.ceil(corners.max(axis=0) / factor).astype(int) + 2
    pixels = _blocks(image, (*low, *high), factor, beyond)
    step = square.axes.T / side / factor  # (2, 2): from a pixel of the crop to one of `pixels`
    matrix = np.column_stack([step, corners[0] / factor - low]).ravel()
    crop = Image.fromarray(pixels).transform(
        (side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC
    )
    return np.array(crop)


def _blocks(
    image: Image.Image, box: tuple[int, int, int, int], factor: int, beyond: str
) -> np.ndarray:
    """The means of blocks of `factor` x `factor` pixels; `box` counts blocks."""
    left, top, right, bottom = box
    columns = _inside(np.arange(left, right), math.ceil(image.width / factor), beyond)
    rows = _inside(np.arange(top, bottom), math.ceil(image.height / factor), beyond)
    first = (int(columns.min()), int(rows.min()))
    last = (int(columns.max()) + 1, int(rows.max()) + 1)
    ends = (min(factor * last[0], image.width), min(factor * last[1], image.height))
    part = (factor * first[0], factor * first[1], *ends)
    pixels = np.asarray(image.reduce(factor, part) if factor > 1 else image.crop(part))
    if (len(rows), len(columns)) == pixels.shape[:2]:
        return pixels
    return pixels[rows[:, None] - first[1], columns - first[0]]


def _inside(positions: np.ndarray, length: int, beyond: str) -> np.ndarray:
    """Positions beyond 0..length-1 brought into it; mirrored without repeating the last one."""
    if beyond == "edge" or length == 1:
        return positions.clip(0, length - 1)
    period = 2 * (length - 1)
    positions = positions % period
    return np.where(positions < length, positions, period - positions)
