"""`Face`: where a face is in an image, and the crop that the models see."""

from dataclasses import dataclass

import numpy as np

from .align import Square
from .pose import pose_of


@dataclass(frozen=True, eq=False)
class Face:
    """A square of an image, turned so that the face in it stands upright.

    Pixels are those of the upright image. `box` may reach beyond it.
    """

    box: tuple[
        float, float, float, float
    ]  # the square before it is turned: left, top, right, bottom
    score: float | None  # the detector's, 0 to 1; None where no detector chose the box
    crop: np.ndarray  # uint8 (S, S, 3): exactly what the models see, before they reduce it
    landmarks: np.ndarray | None = (
        None  # (5, 2): eyes, nose, mouth corners, as seen; x, y in pixels
    )
    angle: float = 0.0  # degrees by which the square is turned about its centre; clockwise, as seen

    @property
    def square(self) -> Square:
        return Square.of_box(self.box, self.angle)

    @property
    def pose(self) -> str:
        """ "turned to the side" or "tilted", in the crop; "" where it is frontal, or not known."""
        return "" if self.landmarks is None else pose_of(self.square.from_image(self.landmarks))
