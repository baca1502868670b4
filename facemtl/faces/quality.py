"""Why a crop may be poor: too small, blurred, dark, bright, or the face is turned away.

Bars are set so that about 1 in 100 of UTKFace's own crops is beyond each; see `measure`. There is
none for faces that are partly covered: at such a bar the detector's score tells fewer than half of
the crops whose mouth or eyes are covered.
"""

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

from .align import fit
from .search import SURE

if TYPE_CHECKING:
    from .face import Face

SMALL = 64  # px a side; the models see more than a hundred
BLURRED = 0.022  # of `detail`; all of those blurred by 3 % of a side are below
DARK, BRIGHT = 55, 200  # of `light`, of 255
SIDEWAYS = 0.30  # of `yaw`; beyond are 4 of 303 UTKFace crops
TILTED = 10.0  # degrees that remain in a crop; beyond is none of them


def weaknesses(face: "Face") -> list[str]:
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


def pose_of(landmarks: np.ndarray) -> str:
    """Landmarks (5, 2) in shares of a crop -> words for a face that is not frontal and upright."""
    if abs(yaw(landmarks)) > SIDEWAYS:
        return "turned to the side"
    return "tilted" if abs(fit(landmarks)[0].angle) > TILTED else ""


def yaw(landmarks: np.ndarray) -> float:
    """How far the nose is beside the middle of eyes and mouth, in distances of the eyes.

    It is negative where the nose points to the left edge. Measured in the square that the landmarks
    tell, so that a tilt changes nothing.
    """
    square, _ = fit(landmarks)
    across = square.from_image(landmarks)[:, 0]
    eyes = max(across[1] - across[0], 0.05)  # they coincide in a full profile
    return float((across[2] - across[[0, 1, 3, 4]].mean()) / eyes)


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
