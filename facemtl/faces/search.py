"""Search for faces: a coarse search, a closer look at each face, and finer searches if needed.

The closer look turns a face upright and scales it to a fixed size before its landmarks are
detected. So the landmarks do not depend on the size and rotation of the face in the photo. On 43
photos, each in ten to fifteen sizes and rotations, the standard deviation of a crop's angle fell
from 1.9 to 0.4 degrees, and that of its side from 4.2 to 0.8 %. The closer look also checks the
detection: an upright face scores 0.8 or more in 95 % of photos, whatever its score in the coarse
search.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from . import detector
from .align import Square, cut, fit

COARSE, FINE = 560 * 420, 1280 * 960  # pixels of the image in a coarse and in a fine search
ENLARGED = 2.0  # the largest factor by which an image is enlarged for a search
BORDER = 0.25  # of the longer side, around images that a face may fill or that cut a face off
SMALL = 40  # px a side in the coarse search; if a face is so small, others may be missed
LEAST = 16  # px a side in the image; smaller faces show a model too little
CANDIDATE = 0.25  # in a search, the lowest score that gets a closer look
# Scores in a closer look:
CONFIDENT = 0.8  # from here on, no other rotation is tried
LIKELY = 0.7  # from here on, no wider square is tried
SURE = 0.5  # from here on, it is a face
DOUBTFUL = 0.3  # from here on, it may be a face, which is used if no face is sure
PLAUSIBLE = 0.06  # limit of `off` for an upright face; for a face on its side, `off` is larger
FAILURES = 4  # a search ends after so many failures in a row: other candidates have lower scores

# In a closer look: px of the face's side, and the margin around it as a fraction of the side.
FACE, MARGIN = 128, 0.25
SEEN = 0.1  # the lowest score of a detection in a closer look
# A face gets at most LOOKS looks. They end when its angle changes by less than LEVEL degrees and
# its side by less than the factor STEADY.
LOOKS = 4
LEVEL, STEADY = 8.0, 1.2


@dataclass(frozen=True, eq=False)
class Found:
    """A face: its landmarks (5, 2) in the image, the square fitted to them, a score of 0 to 1."""

    landmarks: np.ndarray
    square: Square
    score: float
    off: float  # the distance of the landmarks from their positions in the square; see `fit`

    def reaches(self, score: float) -> bool:
        """Whether it has at least this score, and landmarks like those of an upright face."""
        return self.score >= score and self.off < PLAUSIBLE

    @property
    def worth(self) -> float:
        """The quality of this detection, to choose between two detections of one face."""
        return self.score - 3 * self.off


def search(image: Image.Image, border: float = 0.0) -> list[Found]:
    """Search for the faces in an RGB image: sure and doubtful ones, each once.

    `border` is a fraction of the longer side. One search is enough for an ordinary photo. The
    others are for photos that lie on their side, for faces at the edge, and for small faces.
    """
    found = _added([], image, COARSE, 0, border)
    for turn in (0, 90, 180, 270):
        if not any(each.reaches(SURE) for each in found) and (turn or not border):
            found = _added(found, image, COARSE, turn, BORDER)
    scale = _scale(image.size, COARSE)
    smallest = min((each.square.side for each in found if each.score >= SURE), default=0.0)
    if smallest * scale < SMALL and _scale(image.size, FINE) > 1.2 * scale:
        found = _added(found, image, FINE, 0, border)
    return found


def refine(image: Image.Image, square: Square) -> Found | None:
    """Look closely at a square. Returns the face in it, seen upright, or None if there is none.

    The landmarks of a face that lies on its side may be wrong, and those of an upside-down face
    often are. So the other three rotations are tried if the score is low or the landmarks are not
    plausible. A wider square is tried if this does not help.
    """
    best = None
    for wider in (1, 2):
        for turn in (0, 90, 180, 270):
            start = Square(square.x, square.y, wider * square.side, square.angle + turn)
            now = _levelled(image, start)
            if now and (best is None or now.worth > best.worth):
                best = now
            if best and best.reaches(CONFIDENT):
                return best
        if best is None or best.reaches(LIKELY):
            return best
    return best


def _added(
    found: list[Found], image: Image.Image, budget: int, turn: int, border: float
) -> list[Found]:
    """Add the faces of another search to `found`.

    Of two detections of one face, the better one is kept.
    """
    found, failures = list(found), 0
    for square in _candidates(image, budget, turn, border):
        if any(is_same(square, each.square) and each.reaches(CONFIDENT) for each in found):
            continue
        if failures == FAILURES:
            break
        face = refine(image, square)
        if face is None or face.score < DOUBTFUL or face.square.side < LEAST:
            failures += 1
            continue
        failures = 0
        others = [each for each in found if is_same(face.square, each.square)]
        if all(face.worth > each.worth for each in others):
            found = [each for each in found if each not in others] + [face]
    return found


def _candidates(image: Image.Image, budget: int, turn: int, border: float) -> Iterator[Square]:
    """Squares that may show faces, detected in the image rotated anticlockwise by `turn` degrees.

    The best ones come first. They are in pixels of the image before its rotation.
    """
    pad = border * max(image.size)
    scale = _scale([side + 2 * pad for side in image.size], budget)
    size = [max(1, round(scale * side)) for side in image.size]
    small = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=1)
    pixels = np.rot90(np.asarray(small), turn // 90)
    pad = round(scale * pad)
    if pad:
        pixels = np.pad(pixels, ((pad, pad), (pad, pad), (0, 0)), mode="edge")
    height, width = np.subtract(pixels.shape[:2], 2 * pad)
    middle, angle = np.array((width, height)) / 2, math.radians(turn)
    back = np.array(((math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))))
    for points in detector.find(pixels, CANDIDATE).landmarks:
        upright = (points - pad - middle) @ back + np.array(size) / 2  # (5, 2)
        yield fit(upright * image.size / size)[0]


def _scale(size: list[float] | tuple[int, int], budget: int) -> float:
    """The factor that scales an image to `budget` pixels, but at most ENLARGED.

    Its shorter side counts as MULTIPLE pixels at least, because the detector pads it to that.
    """
    area = math.sqrt(budget / (size[0] * size[1]))
    return min(ENLARGED, area, budget / detector.MULTIPLE / max(size))


def _levelled(image: Image.Image, square: Square) -> Found | None:
    """The face in a square, after repeated looks: each one uses the square of the one before."""
    found = None
    for _ in range(LOOKS):
        now = _look(image, square)
        if now is None:
            break
        turned = abs((now.square.angle - square.angle + 180) % 360 - 180)
        grown = abs(math.log(now.square.side / square.side))
        found, square = now, now.square
        if turned < LEVEL and grown < math.log(STEADY):
            break
    return found


def _look(image: Image.Image, square: Square) -> Found | None:
    """The best face in a single look that is about as large as the square and near its centre."""
    around = Square(square.x, square.y, square.side * (1 + 2 * MARGIN), square.angle)
    side = round(FACE * (1 + 2 * MARGIN))
    seen = detector.find(cut(image, around, side, beyond="edge"), SEEN)
    for points, score in zip(seen.landmarks, seen.scores, strict=True):
        landmarks = around.to_image(points / side)
        there, off = fit(landmarks)
        distance = math.hypot(there.x - square.x, there.y - square.y)
        if distance < 0.4 * square.side and 0.5 < there.side / square.side < 2:
            return Found(landmarks, there, float(score), off)
    return None


def is_same(a: Square, b: Square) -> bool:
    """Whether two squares show the same face.

    They do if they share more than half of the smaller one. Rotation is ignored.
    """
    across, down = (
        max(0.0, min(a.box[i + 2], b.box[i + 2]) - max(a.box[i], b.box[i])) for i in (0, 1)
    )
    return across * down > 0.5 * min(a.side, b.side) ** 2
