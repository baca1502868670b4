"""Alignment: five landmarks -> the square that frames a face as in UTKFace, and its crop."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

LARGEST_CROP = 512  # px a side; larger crops would only take memory
# Positions of eyes, nose and mouth corners in UTKFace's images, as fractions of the side. They are
# medians over 304 images, as the detector finds them, with standard deviations of 0.012 to 0.027.
# research.landmark_positions measures them. Errors that the detector makes alike in UTKFace and in
# photos cancel.
POSITIONS = np.array(
    ((295, 303), (700, 301), (490, 517), (330, 700), (660, 697)),
) / 1000  # fmt: skip


@dataclass(frozen=True)
class Square:
    """A square of an image, rotated by `angle` about its centre. It may reach beyond the image."""

    x: float  # of the centre, in pixels
    y: float
    side: float
    angle: float = 0.0  # degrees, clockwise as seen

    @classmethod
    def of_box(cls, box: tuple[float, float, float, float], angle: float = 0.0) -> "Square":
        left, top, right, bottom = box
        return cls((left + right) / 2, (top + bottom) / 2, max(right - left, bottom - top), angle)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The square before its rotation: left, top, right, bottom."""
        half = self.side / 2
        return self.x - half, self.y - half, self.x + half, self.y + half

    @property
    def axes(self) -> np.ndarray:
        """Vectors in pixels along its top edge (to the right) and its left edge (down): (2, 2)."""
        along, across = (self.side * f(math.radians(self.angle)) for f in (math.cos, math.sin))
        return np.array(((along, across), (-across, along)))

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Points (N, 2) relative to the square -> pixels of the image.

        (0, 0) is the square's top left corner, and (1, 1) its bottom right corner.
        """
        return (points - 0.5) @ self.axes + (self.x, self.y)

    def from_image(self, points: np.ndarray) -> np.ndarray:
        """The inverse of `to_image`."""
        return (points - (self.x, self.y)) @ self.axes.T / self.side**2 + 0.5


def fit(landmarks: np.ndarray) -> tuple[Square, float]:
    """Fit a square to landmarks (5, 2), in which they are nearest to POSITIONS.

    Returns the square, and the distance of the landmarks from POSITIONS: the root mean square over
    landmarks, as a fraction of the side.
    """
    turn, shift = similarity(POSITIONS, landmarks)
    x, y = turn @ (0.5, 0.5) + shift
    side = math.hypot(turn[0, 0], turn[1, 0])
    angle = math.degrees(math.atan2(turn[1, 0], turn[0, 0]))
    square = Square(float(x), float(y), side, angle)
    off = POSITIONS @ turn.T + shift - landmarks
    return square, float(np.sqrt((off**2).sum(axis=1).mean()) / max(side, 1e-9))


def similarity(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rotation with scale (2, 2) and the shift (2,) that map `source` nearest to `target`.

    Both are points (N, 2). It is a least-squares fit without reflection: Umeyama, "Least-squares
    estimation of transformation parameters between two point patterns", 1991.
    """
    a, b = source.mean(axis=0), target.mean(axis=0)
    u, s, v = np.linalg.svd((target - b).T @ (source - a))
    signs = np.array((1, np.sign(np.linalg.det(u @ v))))
    turn = (u * signs) @ v * (s @ signs) / ((source - a) ** 2).sum()
    return turn, b - turn @ a


def cut(
    image: Image.Image, square: Square, side: int | None = None, beyond: str = "reflect"
) -> np.ndarray:
    """Cut a square out of an RGB image: uint8 (S, S, 3), where S is `side`.

    Without `side`, the crop has the resolution of the image. It is reduced by a whole number if it
    would be larger than LARGEST_CROP. `beyond` says how to fill the part of the square outside the
    image: "reflect" mirrors the image, and "edge" repeats its outermost pixels.
    """
    if side is None:
        factor = max(1, math.ceil(square.side / LARGEST_CROP))
        side = max(2, round(square.side / factor))
    else:
        factor = max(1, int(square.side / side))
    left, top = (round(v) for v in square.box[:2])
    length = factor * side
    # A square far larger than its image would need too much memory.
    is_small = factor == 1 or length**2 <= 2 * image.width * image.height
    if square.angle == 0 and side == round(square.side / factor) and is_small:
        pixels = _blocks(image, (left, top, left + length, top + length), 1, beyond)
        return np.array(Image.fromarray(pixels).reduce(factor))
    corners = square.to_image(np.array(((0, 0), (1, 0), (0, 1), (1, 1))))
    # Two more pixels on each side, for bicubic interpolation.
    low = np.floor(corners.min(axis=0) / factor).astype(int) - 2
    high = np.ceil(corners.max(axis=0) / factor).astype(int) + 2
    pixels = _blocks(image, (*low, *high), factor, beyond)
    step = square.axes.T / side / factor  # (2, 2): maps pixels of the crop to `pixels`
    matrix = np.column_stack([step, corners[0] / factor - low]).ravel()
    crop = Image.fromarray(pixels).transform(
        (side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC
    )
    return np.array(crop)


def _blocks(
    image: Image.Image, box: tuple[int, int, int, int], factor: int, beyond: str
) -> np.ndarray:
    """The means of blocks of `factor` x `factor` pixels of an image: uint8 (H, W, 3).

    `box` is left, top, right, bottom, counted in blocks. It may reach beyond the image.
    """
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
    """Map positions to 0..length-1. With "edge" they are clipped, else they are mirrored.

    Mirroring does not repeat the last position.
    """
    if beyond == "edge" or length == 1:
        return positions.clip(0, length - 1)
    period = 2 * (length - 1)
    positions = positions % period
    return np.where(positions < length, positions, period - positions)
