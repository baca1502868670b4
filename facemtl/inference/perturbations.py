"""Perturbations of a crop in several strengths: shift, scale, rotation, blur, gray, JPEG, light.

They are deterministic: the direction of a shift or a rotation comes from the image's hash. Pixels
beyond a crop's edges are filled by reflection.
"""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

N_TURNS = 8  # directions of a shift, 45 degrees apart


@dataclass(frozen=True)
class Perturbation:
    """One kind of change to a crop, in several strengths.

    `apply(crop, amount, turn)` takes a square uint8 RGB crop (S, S, 3) and returns one of the same
    shape. `turn` is a whole number from 0 to N_TURNS - 1 that belongs to the image. It chooses the
    direction of a shift or a rotation.
    """

    name: str
    title: str
    unit: str
    amounts: tuple[float, ...]
    apply: Callable[[np.ndarray, float, int], np.ndarray]
    none: float = 0  # the amount that leaves the crop unchanged

    @property
    def axis(self) -> str:
        return f"{self.title} ({self.unit})"


def turn_of(image: str) -> int:
    """The turn of an image, from 0 to N_TURNS - 1.

    `image` is its key, the first 16 digits of its hash.
    """
    return int(image, 16) % N_TURNS


def _shift(crop: np.ndarray, amount: float, turn: int) -> np.ndarray:
    """Move the picture by `amount` % of a side: to the right at turn 0, then clockwise."""
    side, angle = len(crop), 2 * math.pi * turn / N_TURNS
    x, y = (round(amount / 100 * side * way) for way in (math.cos(angle), math.sin(angle)))
    return _square(crop, -x, -y, side)


def _scale(crop: np.ndarray, amount: float, turn: int) -> np.ndarray:
    """Enlarge the face by `amount` %, which gives a tighter crop. Below 0, the face is shrunk."""
    side = len(crop)
    beyond = side * (1 / (1 + amount / 100) - 1) / 2  # px on each edge; negative for a tighter crop
    corner = round(-beyond)
    framed = _square(crop, corner, corner, max(2, round(side + beyond) - corner))
    return np.asarray(Image.fromarray(framed).resize((side, side), Image.Resampling.BILINEAR))


def _rotate(crop: np.ndarray, amount: float, turn: int) -> np.ndarray:
    """Rotate by `amount` degrees: anticlockwise at even turns, clockwise at odd ones."""
    side = len(crop)
    pad = side // 4 + 1  # enough for any angle: (sqrt(2) - 1) / 2 of a side
    padded = Image.fromarray(_square(crop, -pad, -pad, side + 2 * pad))
    rotated = padded.rotate(-amount if turn % 2 else amount, Image.Resampling.BILINEAR)
    return np.asarray(rotated)[pad : pad + side, pad : pad + side]


def _blur(crop: np.ndarray, amount: float, turn: int) -> np.ndarray:
    """Gaussian blur with a standard deviation of `amount` % of a side."""
    return np.asarray(
        Image.fromarray(crop).filter(ImageFilter.GaussianBlur(amount / 100 * len(crop)))
    )


def _gray(crop: np.ndarray, amount: float, turn: int) -> np.ndarray:
    """Remove `amount` % of the colour."""
    image = Image.fromarray(crop)
    return np.asarray(Image.blend(image, image.convert("L").convert("RGB"), amount / 100))


def _recompress(crop: np.ndarray, amount: float, turn: int) -> np.ndarray:
    """Compress as a JPEG of quality `amount`, and decode."""
    content = io.BytesIO()
    Image.fromarray(crop).save(content, "JPEG", quality=int(amount))
    return np.asarray(Image.open(content))


def _light(crop: np.ndarray, amount: float, turn: int) -> np.ndarray:
    """Multiply brightness by 1 + `amount` / 100."""
    return np.asarray(ImageEnhance.Brightness(Image.fromarray(crop)).enhance(1 + amount / 100))


def _square(crop: np.ndarray, left: int, top: int, side: int) -> np.ndarray:
    """Cut out a square of `side` px, given its top left corner.

    Pixels beyond the crop's edges are filled by reflection.
    """
    pad = max(0, -left, -top, max(left, top) + side - len(crop))
    padded = np.pad(crop, ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
    return padded[top + pad : top + pad + side, left + pad : left + pad + side]


SHIFT = Perturbation("shift", "Shift", "% of a side", (5, 10, 15, 20), _shift)
SCALE = Perturbation("scale", "Size of the face", "%", (-30, -15, 15, 30), _scale)
ROTATION = Perturbation("rotation", "Rotation", "degrees", (5, 15, 30, 45), _rotate)
BLUR = Perturbation("blur", "Blur", "% of a side", (0.5, 1, 2, 3), _blur)
GRAY = Perturbation("gray", "Colour taken away", "%", (100,), _gray)
JPEG = Perturbation("jpeg", "JPEG quality", "of 100", (60, 30, 15, 8), _recompress, none=100)
LIGHT = Perturbation("light", "Brightness", "%", (-75, -50, -25, 25, 50), _light)

PERTURBATIONS = (SHIFT, SCALE, ROTATION, BLUR, GRAY, JPEG, LIGHT)
