"""The pose of a face: whether it is turned to the side, tilted in its crop, or stretched."""

import numpy as np

from .align import fit

SIDEWAYS = 0.30  # threshold of `yaw`; 4 of 303 UTKFace crops exceed it
TILTED = 10.0  # threshold of the tilt in a crop, in degrees; none of these crops exceeds it
# Thresholds of `width`. The detector expects common proportions: in images of twice the width, it
# finds faces only 1.2 times as wide as others. With 1.15 for WIDE, 5 % of babies would be wider.
NARROW, WIDE = 0.90, 1.18
DEPTH = 0.4  # `yaw` of a head turned by 45 degrees


def pose_of(landmarks: np.ndarray) -> str:
    """The pose in words: "turned to the side", "tilted", "perhaps stretched", or "" if it is good.

    `landmarks` (5, 2) are fractions of the crop's side.
    """
    if abs(yaw(landmarks)) > SIDEWAYS:
        return "turned to the side"
    if abs(fit(landmarks)[0].angle) > TILTED:
        return "tilted"
    return "" if NARROW <= width(landmarks) <= WIDE else "perhaps stretched"


def yaw(landmarks: np.ndarray) -> float:
    """The sideways distance of the nose from the middle of eyes and mouth.

    The unit is the distance between the eyes. The result is negative if the nose points to the left
    edge. It is measured in the square that fits the landmarks, so it does not depend on a tilt.
    """
    square, _ = fit(landmarks)
    across = square.from_image(landmarks)[:, 0]
    eyes = max(across[1] - across[0], 0.05)  # they coincide in a full profile
    return float((across[2] - across[[0, 1, 3, 4]].mean()) / eyes)


def width(landmarks: np.ndarray) -> float:
    """The distance between the eyes, as a multiple of that from between them to the mouth.

    It is what it would be from the front: `yaw` grows with the tangent of the angle by which a head
    is turned, and the distance between the eyes falls with its cosine.
    """
    left, right, _, *mouth = landmarks
    across = np.hypot(*(right - left)) * np.hypot(1, yaw(landmarks) / DEPTH)
    down = np.hypot(*(np.mean(mouth, axis=0) - (left + right) / 2))
    return float(across / max(down, 1e-9))
