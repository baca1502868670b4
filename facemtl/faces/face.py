"""`Face`: the place of a face in an image, and the crop that the models see."""

from dataclasses import dataclass

import numpy as np

from .align import Square
from .pose import pose_of


@dataclass(frozen=True, eq=False)
class Face:
    """A face: a square of an image, rotated so that the face is upright in it.

    Coordinates are pixels of the upright image. `box` may reach beyond the image.
    """

    # The square before its rotation: left, top, right, bottom.
    box: tuple[float, float, float, float]
    score: float | None  # the detector's, 0 to 1; None if no detector chose the box
    crop: np.ndarray  # uint8 (S, S, 3): what the models see, before it is resized for them
    # (5, 2): left eye, right eye, nose, left and right mouth corner, as seen; x, y in pixels.
    landmarks: np.ndarray | None = None
    angle: float = 0.0  # rotation of the square about its centre, in degrees, clockwise as seen

    @property
    def square(self) -> Square:
        return Square.of_box(self.box, self.angle)

    @property
    def pose(self) -> str:
        """The pose in the crop, as `pose_of` says it. It is "" if it is good or unknown."""
        return "" if self.landmarks is None else pose_of(self.square.from_image(self.landmarks))
