"""Reasons why a crop may be poor, such as that it is small, dark, turned, covered or a negative.

At most 1.6 % of UTKFace's own crops are beyond each threshold (`research.landmark_positions`).
`research.poor_crops` measures the accuracy and the confidence of the models beyond them. The
detector's score is below its threshold for nearly all faces whose middle is covered, and for a
quarter of those whose eyes are covered. A mask over mouth and nose changes it little.
"""

import math

import numpy as np
from PIL import Image, ImageFilter

from .face import Face
from .search import SURE

SMALL = 64  # px a side; the models' inputs have more than 100
BLURRED = 0.022  # threshold of `detail`; all crops blurred by 3 % of a side are below
# Thresholds of `light`. The models are hardly worse beyond them. Narrower ones would call well-lit
# photos of Black people dark: 2 % of their crops in UTKFace are below 55, and 0.1 % below 40.
DARK, BRIGHT = 40, 210

# Thresholds of `eye_light`. Drawn sunglasses are below in 98 % of crops, negatives above in 87 %.
DARK_EYES, BRIGHT_EYES = 0.25, 1.0

COVERED = "perhaps covered, or no face"


def weaknesses(face: Face) -> list[str]:
    """The reasons why a face's crop is poor, in words that complete "this crop is ...".

    The list is empty if there are none.
    """
    # The crop has fewer pixels than the box if it was cut from a reduced copy of the photo.
    side = min(face.box[2] - face.box[0], len(face.crop))
    bright, eyes = light(face.crop), eye_light(face)
    is_covered = (face.score is not None and face.score < SURE) or eyes < DARK_EYES
    return [
        *([f"small ({side:.0f} px)"] if side < SMALL else []),
        *(["blurred"] if detail(face.crop) < BLURRED else []),
        *(["dark"] if bright < DARK else ["too bright"] if bright > BRIGHT else []),
        *([face.pose] if face.pose else []),
        *([COVERED] if is_covered else []),
        *(["perhaps a negative"] if eyes > BRIGHT_EYES else []),
    ]


def light(crop: np.ndarray) -> float:
    """The mean luminance of a crop (S, S, 3), from 0 to 255."""
    return float(_gray(crop).mean())


def eye_light(face: Face) -> float:
    """The luminance around the eyes, as a multiple of that of cheeks and nose.

    It hardly depends on the colour of skin. Without landmarks, it is NaN.
    """
    if face.landmarks is None:
        return math.nan
    gray, points = _gray(face.crop), face.square.from_image(face.landmarks)
    skin = [*(points[:2] + points[3:]) / 2, points[2]]
    eyes, skin = (np.mean([_around(gray, *each) for each in part]) for part in (points[:2], skin))
    return float((eyes + 5) / (skin + 5))  # near 1 if all is black


def detail(crop: np.ndarray) -> float:
    """The amount of fine detail in a crop (S, S, 3), as a measure of its sharpness.

    It is the standard deviation of what a slight blur removes, divided by that of the whole crop.
    """
    gray = _gray(crop)
    blurred = Image.fromarray(np.uint8(gray)).filter(ImageFilter.GaussianBlur(1))
    return float((gray - np.asarray(blurred, float)).std() / max(gray.std(), 8))


def _around(gray: np.ndarray, x: float, y: float) -> float:
    """The mean of the pixels around a point, which is given in shares of the side."""
    side = len(gray)
    (left, right), (top, low) = (
        np.clip((round(side * (v - 0.06)), round(side * (v + 0.06))), 0, side - 1) for v in (x, y)
    )
    return gray[top : low + 1, left : right + 1].mean()


def _gray(crop: np.ndarray) -> np.ndarray:
    """The luminance of a crop in a fixed size: (S, S, 3) -> (112, 112)."""
    gray = Image.fromarray(crop).convert("L")
    return np.asarray(gray.resize((112, 112), Image.Resampling.BILINEAR), float)
