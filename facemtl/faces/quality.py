"""Reasons why a crop may be poor: it is small, blurred, dark or bright, turned, or covered.

At most 1.4 % of UTKFace's own crops are beyond each threshold (`research.landmark_positions`).
`research.poor_crops` measures the accuracy and the confidence of the models beyond them. The
detector's score is below its threshold for nearly all faces whose middle is covered, and for a
quarter of those whose eyes are covered.
"""

import numpy as np
from PIL import Image, ImageFilter

from .face import Face
from .search import SURE

SMALL = 64  # px a side; the models' inputs have more than 100
BLURRED = 0.022  # threshold of `detail`; all crops blurred by 3 % of a side are below
# Thresholds of `light`. The models are hardly worse beyond them. Narrower ones would call well-lit
# photos of Black people dark: 2 % of their crops in UTKFace are below 55, and 0.1 % below 40.
DARK, BRIGHT = 40, 210

COVERED = "perhaps covered, or no face"


def weaknesses(face: Face) -> list[str]:
    """The reasons why a face's crop is poor, in words that complete "this crop is ...".

    The list is empty if there are none.
    """
    # The crop has fewer pixels than the box if it was cut from a reduced copy of the photo.
    side = min(face.box[2] - face.box[0], len(face.crop))
    bright = light(face.crop)
    return [
        *([f"small ({side:.0f} px)"] if side < SMALL else []),
        *(["blurred"] if detail(face.crop) < BLURRED else []),
        *(["dark"] if bright < DARK else ["too bright"] if bright > BRIGHT else []),
        *([face.pose] if face.pose else []),
        *([COVERED] if face.score is not None and face.score < SURE else []),
    ]


def light(crop: np.ndarray) -> float:
    """The mean luminance of a crop (S, S, 3), from 0 to 255."""
    return float(_gray(crop).mean())


def detail(crop: np.ndarray) -> float:
    """The amount of fine detail in a crop (S, S, 3), as a measure of its sharpness.

    It is the standard deviation of what a slight blur removes, divided by that of the whole crop.
    """
    gray = _gray(crop)
    blurred = Image.fromarray(np.uint8(gray)).filter(ImageFilter.GaussianBlur(1))
    return float((gray - np.asarray(blurred, float)).std() / max(gray.std(), 8))


def _gray(crop: np.ndarray) -> np.ndarray:
    """The luminance of a crop in a fixed size: (S, S, 3) -> (112, 112)."""
    gray = Image.fromarray(crop).convert("L")
    return np.asarray(gray.resize((112, 112), Image.Resampling.BILINEAR), float)
