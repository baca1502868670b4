"""Changes of a crop, each in several strengths: shifted, scaled, rotated, blurred, gray, dark ...

Every change is deterministic: what differs between images, the direction of a shift or a rotation,
is drawn from the image's hash. What a crop shows beyond its edges is its mirror image.
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
    """One way in which a crop may differ from UTKFace's, in several strengths.

    `apply(crop, amount, turn)` takes a square uint8 RGB crop (S, S, 3) and returns one of the same
    shape. `turn`, a whole number from 0 to N_TURNS - 1, is the image's own: it chooses a direction
    where there are several.
    """

    name: str
    title: str
    unit: str
    amounts: tuple[float, ...]
    apply: Callable[[np.ndarray, float, int], np.ndarray]
    none: float = 0  # the amount that stands for the crop as it is

    @property
    def axis(self) -> str:
        return f"{self.title} ({self.unit})"


def turn_of(image: str) -> int:
    """The direction that an image's key, the first 16 digits of its hash, chooses: 0 to N_TURNS -
    1.
    """
    return int(image, 16) % N_TURNS


def _shift(crop: np.ndarray, amount: float, turn: int) -> np.ndarray:
    """Move what is seen by `amount` % of a side: to the right at turn 0, then clockwise."""
    side, angle = len(crop), 2 * math.pi * turn / N_TURNS
    x, y = (round(amount / 100 * side * way) for way in (math.cos(angle), math.sin(angle)))
    return _square(crop, -x, -y, side)


def _scale(crop: np.ndarray, amount: float, turn: int) -> np.ndarray:
    """Show the face `amount` % larger, which is a tighter crop, or smaller."""
    side = len(crop)
    beyond = side * (1 / (1 + amount / 100) - 1) / 2  # px on each edge; negative for a tighter crop
    corner = round(-beyond)
    framed = _square(crop, corner, corner, max(2, round(side + beyond) - corner))
    return np.asarray(Image.fromarray(framed).resize((side, side), Image.Resampling.BILINEAR))


def _rotate(crop: np.ndarray, amount: float, turn: int) -> np.ndarray:
    """Rotate by `amount` degrees: anticlockwise at even turns, else clockwise."""
    side = len(crop)
    pad = side // 4 + 1  # enough for any angle: (sqrt(2) - 1) / 2 of a side
    padded = Image.fromarray(_square(crop, -pad, -pad, side + 2 * pad))
    rotated = padded.rotate(-amount if turn % 2 else amount, Image.Resampling.BILINEAR)
    return np.asarray(rotated)[pad : pad + side, pad : pad + side]


def _blur(crop: np.ndarray, amount: float, turn: int) -> np.ndarray:
    """A Gaussian blur whose standard deviation is `amount` % of a side."""
    return np.asarray(
        Image.fromarray(crop).filter(ImageFilter.GaussianBlur(amount / 100 * len(crop)))
    )


def _gray(crop: np.ndarray, amount: float, turn: int) -> np.ndarray:
    """Take `amount` % of the colour away."""
    image = Image.fromarray(crop)
    return np.asarray(Image.blend(image, image.convert("L").convert("RGB"), amount / 100))


def _recompress(crop: np.ndarray, amount: float, turn: int) -> np.ndarray:
    """Store as a JPEG of quality `amount` and read again."""
    content = io.BytesIO()
    Image.fromarray(crop).save(content, "JPEG", quality=int(amount))
    return np.asarray(Image.open(content))


def _light(crop: np.ndarray, amount: float, turn: int) -> np.ndarray:
    """Multiply brightness by 1 + `amount` / 100."""
    return np.asarray(ImageEnhance.Brightness(Image.fromarray(crop)).enhance(1 + amount / 100))


def _square(crop: np.ndarray, left: int, top: int, side: int) -> np.ndarray:
    """A square of `side` px with that corner; where it reaches beyond the crop, the crop is
    reflected.
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
