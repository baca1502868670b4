"""The photo or dataset face that a visitor looks at, with its faces and their crops."""

import io
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Semaphore

import numpy as np
from PIL import Image

from ..faces import Face, detect, face_at, open_image, whole
from ..regular import read_bytes
from .faces import LabelledFace

SHOWN_SIDE = 640  # px; the longest side of a photo on the page
KEPT_SIDE = 2000  # px; the longest side of the copy that corrected crops are cut from
MOST_FACES = 100  # of a photo, with those that a visitor adds
KEPT_BYTES = 10**6  # a file of at most this size and KEPT_SIDE is kept unchanged
# Shares of the crop's side: how far one step moves the crop, and how much one step enlarges it.
STEP, GROWTH = 0.08, 0.2
# Corrections of a crop, as numbers of steps: to the right, down, larger.
STEPS = {
    "Left": (-1, 0, 0), "Right": (1, 0, 0), "Up": (0, -1, 0), "Down": (0, 1, 0),
    "Tighter": (0, 0, -1), "Wider": (0, 0, 1),
}  # fmt: skip
# Held while a photo is decoded, whether a page or a program sent it: a large one takes much memory.
one_photo = Semaphore(1)


@dataclass(frozen=True)
class PhotoView:
    """A photo on display, and the faces in it.

    Boxes of faces are in pixels of the photo as it was opened. A view is kept only in the server's
    memory, for a short time.
    """

    photo: np.ndarray | None = None  # uint8 (H, W, 3), reduced for display
    scale: float = 1.0  # pixels of `photo` per pixel of the opened photo
    # The file, or a JPEG of at most KEPT_SIDE. If empty, corrected crops are cut from `photo`.
    kept: bytes = b""
    faces: tuple[Face, ...] = ()
    chosen: int = 0  # index in `faces`
    found: tuple[Face, ...] = ()  # the faces before any correction
    labels: dict[str, float] = field(default_factory=dict)  # {task name: value}, if known
    centre: Face | None = None  # the centre square, offered if no face was found
    caption: str = "Your photo. It is deleted within minutes."
    # What the visitor says about the chosen face, as {task name: value}.
    said: dict[str, float] = field(default_factory=dict)
    image: str = ""  # the name of a dataset face (see LabelledFace), for its link
    turned: frozenset[int] = frozenset()  # indices of the faces that the visitor has turned

    @property
    def face(self) -> Face | None:
        """The chosen face, or None if there is no face."""
        return self.faces[self.chosen] if self.faces else None

    @property
    def is_whole(self) -> bool:
        """Whether the crop is the whole photo."""
        if self.face is None or self.photo is None:
            return False
        height, width = self.photo.shape[:2]
        return bool(
            np.allclose(np.multiply(self.face.box, self.scale), (0, 0, width, height), atol=1)
        )


def open_view(path: str | Path) -> PhotoView:
    """Find the faces in an image file. Raises FaceMTLError if it cannot be read."""
    with one_photo, ThreadPoolExecutor(1) as aside:
        image = open_image(Path(path))
        reduced = aside.submit(_reduced, image, Path(path))
        faces = tuple(detect(image))
        shown, kept = reduced.result()
        view = PhotoView(shown, shown.shape[1] / image.width, kept, faces, found=faces)
        return view if faces else replace(view, centre=whole(image))


def _reduced(image: Image.Image, file: Path) -> tuple[np.ndarray, bytes]:
    """The photo for display (uint8), and the content of `PhotoView.kept`."""
    shown = image.copy()
    shown.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.BILINEAR, reducing_gap=1)
    with suppress(OSError):  # the upload may be deleted by now
        if max(image.size) <= KEPT_SIDE and file.stat().st_size <= KEPT_BYTES:
            return np.asarray(shown), read_bytes(file)
    kept, content = image.copy(), io.BytesIO()
    kept.thumbnail((KEPT_SIDE, KEPT_SIDE), Image.Resampling.BILINEAR)
    kept.save(content, "JPEG", quality=92)
    return np.asarray(shown), content.getvalue()


def view_of_face(labelled: LabelledFace) -> PhotoView:
    """A view of a dataset face. Its image is already a crop."""
    face = replace(labelled.face, box=(0, 0, len(labelled.face.crop), len(labelled.face.crop)))
    return PhotoView(
        photo=face.crop,
        faces=(face,),
        found=(face,),
        labels=labelled.labels,
        caption=labelled.caption,
        image=labelled.image,
    )


def take_centre(view: PhotoView) -> PhotoView:
    """Use the centre square as the face, if no face was found."""
    return replace(view, faces=(view.centre,), found=(view.centre,)) if view.centre else view


def choose(view: PhotoView, number: int) -> PhotoView:
    """Choose another face of the photo. An invalid number changes nothing."""
    if number == view.chosen or not 0 <= number < len(view.faces):
        return view
    return replace(view, chosen=number, said={})


def correct(view: PhotoView, step: str) -> PhotoView:
    """Move or resize the chosen crop by one of STEPS.

    Nothing changes if its centre would leave the photo, or if it would become too small or too
    large.
    """
    if view.face is None:
        return view
    right, down, larger = STEPS[step]
    left, top, end, _ = view.face.box
    side = end - left
    x, y = left + side / 2 + right * STEP * side, top + side / 2 + down * STEP * side
    return _replaced(view, _crop(view, x, y, side * (1 + GROWTH) ** larger, _kept_angle(view)))


def place(view: PhotoView, at: object) -> PhotoView:
    """Move the chosen crop to where its box was dragged.

    `at` is the left, top and side of the box, as shares of the photo's width, height and width.
    Invalid values change nothing, since they come from a browser. The limits of `correct` apply.
    """
    square = _drawn(view, at)
    return view if square is None else _replaced(view, _crop(view, *square, _kept_angle(view)))


def add(view: PhotoView, at: object) -> PhotoView:
    """Add a face where a box was drawn, and choose it. Takes what `place` takes."""
    square = _drawn(view, at)
    if square is None or len(view.faces) >= MOST_FACES:
        return view
    face = _crop(view, *square)
    if face is None:
        return view
    faces, found = (*view.faces, face), (*view.found, face)
    return replace(view, faces=faces, found=found, chosen=len(view.faces), said={})


def turn(view: PhotoView) -> PhotoView:
    """Turn the chosen crop by 90 degrees clockwise. Later corrections keep its angle."""
    if view.face is None:
        return view
    left, top, right, bottom = view.face.box
    turned = replace(view, turned=view.turned | {view.chosen})
    angle = (view.face.angle - 90) % 360
    face = _crop(view, (left + right) / 2, (top + bottom) / 2, right - left, angle)
    return _replaced(turned, face)


def _kept_angle(view: PhotoView) -> float | None:
    """The angle of the chosen crop if the visitor has turned it, or else None."""
    return view.face.angle if view.chosen in view.turned else None


def _drawn(view: PhotoView, at: object) -> tuple[float, float, float] | None:
    """The centre and the side of a drawn box, in pixels of the opened photo, if it is valid."""
    try:
        left, top, side = (float(value) for value in at)
    except (TypeError, ValueError, OverflowError):
        return None
    if view.face is None or not np.isfinite((left, top, side)).all():
        return None
    height, width = (length / view.scale for length in view.photo.shape[:2])
    return (left + side / 2) * width, top * height + side * width / 2, side * width


def _crop(
    view: PhotoView, x: float, y: float, side: float, angle: float | None = None
) -> Face | None:
    """The face in a square around (x, y), in pixels of the opened photo.

    None if its centre is outside the photo, if it is smaller than 16 pixels of the kept photo, or
    if it is larger than twice the photo. Without `angle`, a face in it is turned upright.
    """
    half = side / 2
    image = open_image(io.BytesIO(view.kept)) if view.kept else Image.fromarray(view.photo)
    # pixels of `image` per pixel of the opened photo
    scale = image.width / view.photo.shape[1] * view.scale
    width, height = image.width / scale, image.height / scale
    if not (0 < x < width and 0 < y < height and half * scale >= 8 and half <= max(width, height)):
        return None
    box = tuple(scale * v for v in (x - half, y - half, x + half, y + half))
    face = face_at(image, box, angle)
    landmarks = None if face.landmarks is None else face.landmarks / scale
    return replace(face, box=(x - half, y - half, x + half, y + half), landmarks=landmarks)


def reset(view: PhotoView) -> PhotoView:
    """Undo all corrections of the chosen crop."""
    upright = replace(view, turned=view.turned - {view.chosen})
    return _replaced(upright, view.found[view.chosen]) if view.face else view


def _replaced(view: PhotoView, face: Face | None) -> PhotoView:
    """The view with `face` in place of the chosen one. Without `face`, nothing changes."""
    if face is None:
        return view
    return replace(
        view, faces=tuple(face if i == view.chosen else other for i, other in enumerate(view.faces))
    )
