"""The pose of a face: whether it is turned to the side, or tilted in its crop."""

import numpy as np

from .align import fit

SIDEWAYS = 0.30  # threshold of `yaw`; 4 of 303 UTKFace crops exceed it
TILTED = 10.0  # threshold of the tilt in a crop, in degrees; none of these crops exceeds it


def pose_of(landmarks: np.ndarray) -> str:
    """The pose in words: "turned to the side", "tilted", or "" for a frontal, upright face.

    `landmarks` (5, 2) are fractions of the crop's side.
    """
    if abs(yaw(landmarks)) > SIDEWAYS:
        return "turned to the side"
    return "tilted" if abs(fit(landmarks)[0].angle) > TILTED else ""


def yaw(landmarks: np.ndarray) -> float:
    """The sideways distance of the nose from the middle of eyes and mouth.

    The unit is the distance between the eyes. The result is negative if the nose points to the left
    edge. It is measured in the square that fits the landmarks, so it does not depend on a tilt.
    """
    square, _ = fit(landmarks)
    across = square.from_image(landmarks)[:, 0]
    eyes = max(across[1] - across[0], 0.05)  # they coincide in a full profile
    return float((across[2] - across[[0, 1, 3, 4]].mean()) / eyes)
