"""Why a crop may be poor: too small, blurred, dark, bright, or the face is turned away.

Bars are set so that about 1 in 100 of UTKFace's own crops is beyond each; see `measure`. There is
none for faces that are partly covered: at such a bar the detector's score tells fewer than half of
the crops whose mouth or eyes are covered.
"""

import numpy as np
from PIL import Image, ImageFilter

from .face import Face
from .search import SURE

SMALL = 64  # px a side; the models see more than a hundred
BLURRED = 0.022  # of `detail`; all of those blurred by 3 % of a side are below
DARK, BRIGHT = 55, 200  # of `light`, of 255


def weaknesses(face: Face) -> list[str]:
    """Why its crop is poor, in words that complete "this crop is ..."; none is an empty list."""
    # A crop from a reduced copy of the photo holds no more than it has.
    side = min(face.box[2] - face.box[0], len(face.crop))
    bright = light(face.crop)
    return [
        *([f"small ({side:.0f} px)"] if side < SMALL else []),
        *(["blurred"] if detail(face.crop) < BLURRED else []),
        *(["dark"] if bright < DARK else ["too bright"] if bright > BRIGHT else []),
        *([face.pose] if face.pose else []),
        *(["perhaps no face"] if face.score is not None and face.score < SURE else []),
    ]


def light(crop: np.ndarray) -> float:
    """The mean luminance, 0 to 255."""
    return float(_gray(crop).mean())


def detail(crop: np.ndarray) -> float:
    """What a slight blur removes: its standard deviation over that of the whole crop."""
    gray = _gray(crop)
    blurred = Image.fromarray(np.uint8(gray)).filter(ImageFilter.GaussianBlur(1))
    return float((gray - np.asarray(blurred, float)).std() / max(gray.std(), 8))


def _gray(crop: np.ndarray) -> np.ndarray:
    """(S, S, 3) -> (112, 112)."""
    gray = Image.fromarray(crop).convert("L")
    return np.asarray(gray.resize((112, 112), Image.Resampling.BILINEAR), float)
