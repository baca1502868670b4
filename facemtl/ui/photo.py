"""What a visitor is looking at: a photo or a face of the dataset, the faces in it, and which one is
chosen.
"""

import io
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from ..faces import Face, detect, face_at, open_image, whole
from .faces import LabelledFace

SHOWN_SIDE = 640  # px; photos are shown no larger
KEPT_SIDE = 2000  # px; from a copy of this size crops are corrected
KEPT_BYTES = 10**6  # a file that is no larger, and of no more pixels a side, is kept as it came
STEP, GROWTH = (
    0.08,
    0.2,
)  # of the crop's side: how far a step moves it, and how much larger one makes it
# How a crop may be corrected: by how many steps it goes to the right, goes down, and grows.
STEPS = {
    "Left": (-1, 0, 0), "Right": (1, 0, 0), "Up": (0, -1, 0), "Down": (0, 1, 0),
    "Tighter": (0, 0, -1), "Wider": (0, 0, 1),
}  # fmt: skip


@dataclass(frozen=True)
class PhotoView:
    """It lives in the server's memory alone, and not for long. Boxes of faces are in pixels of the
    photo as it was opened.
    """

    photo: np.ndarray | None = None  # uint8 (H, W, 3), reduced, to be shown
    scale: float = 1.0  # pixels of `photo` per pixel as it was opened
    # the file, or the photo as a JPEG of at most KEPT_SIDE; empty where `photo` is all there is
    kept: bytes = b""
    faces: tuple[Face, ...] = ()
    chosen: int = 0
    found: tuple[Face, ...] = ()  # as they were before any correction
    labels: dict[str, float] = field(default_factory=dict)  # the truth, where it is known
    centre: Face | None = None  # offered where no face was found

    @property
    def face(self) -> Face | None:
        return self.faces[self.chosen] if self.faces else None

    @property
    def is_whole(self) -> bool:
        """The crop is all of the photo."""
        if self.face is None or self.photo is None:
            return False
        height, width = self.photo.shape[:2]
        return bool(
            np.allclose(np.multiply(self.face.box, self.scale), (0, 0, width, height), atol=1)
        )


def look_at_file(path: str | Path) -> PhotoView:
    """Find the faces in an image file. FaceMTLError where it cannot be read."""
    image = open_image(Path(path))
    with ThreadPoolExecutor(1) as aside:
        reduced = aside.submit(_reduced, image, Path(path))
        faces = tuple(detect(image))
        shown, kept = reduced.result()
    look = PhotoView(shown, shown.shape[1] / image.width, kept, faces, found=faces)
    return look if faces else replace(look, centre=whole(image))


def _reduced(image: Image.Image, file: Path) -> tuple[np.ndarray, bytes]:
    """What is shown and what is kept of a photo."""
    shown = image.copy()
    shown.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.BILINEAR, reducing_gap=1)
    with suppress(OSError):  # deleted meanwhile, for it came some time ago
        if max(image.size) <= KEPT_SIDE and file.stat().st_size <= KEPT_BYTES:
            return np.asarray(shown), file.read_bytes()
    kept, content = image.copy(), io.BytesIO()
    kept.thumbnail((KEPT_SIDE, KEPT_SIDE), Image.Resampling.BILINEAR)
    kept.save(content, "JPEG", quality=92)
    return np.asarray(shown), content.getvalue()


def look_at_face(labelled: LabelledFace) -> PhotoView:
    """A face of the dataset, which is a crop already."""
    face = replace(labelled.face, box=(0, 0, len(labelled.face.crop), len(labelled.face.crop)))
    return PhotoView(photo=face.crop, faces=(face,), found=(face,), labels=labelled.labels)


def take_centre(look: PhotoView) -> PhotoView:
    """Go on with the centre square, where no face was found."""
    return replace(look, faces=(look.centre,), found=(look.centre,)) if look.centre else look


def choose(look: PhotoView, number: int) -> PhotoView:
    """Look at another face of the photo; a number that none has changes nothing."""
    return replace(look, chosen=number) if 0 <= number < len(look.faces) else look


def correct(look: PhotoView, step: str) -> PhotoView:
    """Move or resize the chosen crop by one of STEPS; nothing changes where it would leave the
    photo or vanish.
    """
    if look.face is None:
        return look
    right, down, larger = STEPS[step]
    left, top, end, _ = look.face.box
    side = end - left
    return _framed(
        look,
        left + side / 2 + right * STEP * side,
        top + side / 2 + down * STEP * side,
        side * (1 + GROWTH) ** larger,
    )


def place(look: PhotoView, at: object) -> PhotoView:
    """Put the chosen crop where its box was dragged: `at` is left, top and side as shares of the
    photo's width, height, width.

    What leaves the photo or vanishes, or is no such thing (it comes from a browser), changes
    nothing.
    """
    try:
        left, top, side = (float(value) for value in at)
    except (TypeError, ValueError):
        return look
    if look.face is None or not np.isfinite((left, top, side)).all():
        return look
    height, width = (length / look.scale for length in look.photo.shape[:2])
    return _framed(look, (left + side / 2) * width, top * height + side * width / 2, side * width)


def _framed(look: PhotoView, x: float, y: float, side: float) -> PhotoView:
    """With the chosen crop around (x, y), in pixels of the original."""
    half = side / 2
    image = open_image(io.BytesIO(look.kept)) if look.kept else Image.fromarray(look.photo)
    scale = (
        image.width / look.photo.shape[1] * look.scale
    )  # pixels of `image` per pixel of the original
    width, height = image.width / scale, image.height / scale
    if not (0 < x < width and 0 < y < height and half * scale >= 8 and half <= max(width, height)):
        return look
    face = face_at(image, tuple(scale * v for v in (x - half, y - half, x + half, y + half)))
    landmarks = None if face.landmarks is None else face.landmarks / scale
    return _replaced(
        look, replace(face, box=(x - half, y - half, x + half, y + half), landmarks=landmarks)
    )


def reset(look: PhotoView) -> PhotoView:
    """The chosen crop as it was found."""
    return _replaced(look, look.found[look.chosen]) if look.face else look


def _replaced(look: PhotoView, face: Face) -> PhotoView:
    return replace(
        look, faces=tuple(face if i == look.chosen else other for i, other in enumerate(look.faces))
    )
