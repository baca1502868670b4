"""Is a face turned to the side, or tilted in its crop?"""

import numpy as np

from .align import fit

SIDEWAYS = 0.30  # of `yaw`; beyond are 4 of 303 UTKFace crops
TILTED = 10.0  # degrees that remain in a crop; beyond is none of them


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
