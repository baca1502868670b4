"""Opening of photos: image files and arrays -> upright RGB images."""

import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from ..data.images import as_rgb, opened_image, readable_formats
from ..errors import FaceMTLError, first_line
from ..paths import as_path
from ..regular import MOST_BYTES, open_file

ImageLike = str | Path | Image.Image | np.ndarray

# The most megapixels of each of FORMATS. HEIC and AVIF may be large because phones use them. JPEG
# may be largest because large ones are decoded at reduced size.
MOST_MEGAPIXELS = {
    "JPEG": 110, "HEIF": 50, "AVIF": 50, "PNG": 25, "WEBP": 25, "GIF": 25, "BMP": 25, "TIFF": 25,
}  # fmt: skip
# A JPEG is decoded at a half, quarter or eighth of its size if its longer side keeps so many px.
DECODED_SIDE = 2000
PIXEL_SIZE = "facemtl pixel size"  # key of an image's `info`: a pixel's side in pixels of the file
# `open_image` refuses images that are too large, so Pillow need not warn of them.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


def open_image(file: Path | BinaryIO) -> Image.Image:
    """Open an image file as an upright RGB image. Of an animation, the first frame is taken.

    `image.info[PIXEL_SIZE]` is above 1 if a large JPEG was decoded at reduced size. Raises
    FaceMTLError if the file is missing, damaged, too large or of another format.
    """
    try:
        with _opened(file) as opened, opened_image(opened) as image:
            width, height = image.size
            most = MOST_MEGAPIXELS["JPEG" if image.format == "MPO" else image.format]
            if width * height > most * 10**6:
                raise _too_large(most)
            enough = DECODED_SIDE / max(width, height)
            image.draft("RGB", (max(1, int(enough * width)), max(1, int(enough * height))))
            size = width / image.width
            image = as_rgb(image)
            image.info[PIXEL_SIZE] = size
            return image
    except FaceMTLError:
        raise
    except FileNotFoundError as error:
        raise FaceMTLError("There is no such file.") from error
    except Image.DecompressionBombError as error:
        raise _too_large(max(MOST_MEGAPIXELS.values())) from error
    except MemoryError as error:
        message = "This image is too large for this machine. Reduce it first."
        raise FaceMTLError(message) from error
    except Exception as error:  # damaged files make decoders raise nearly anything
        raise FaceMTLError(_why_unreadable(file)) from error


def _opened(file: Path | BinaryIO) -> AbstractContextManager[BinaryIO]:
    return open_file(file, MOST_BYTES) if isinstance(file, Path) else nullcontext(file)


def as_image(given: ImageLike) -> Image.Image:
    """Convert a path, a PIL image or an array to an upright RGB image.

    Arrays are (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), of uint8 or of floats from 0 to 1. Raises
    FaceMTLError for anything else, because the range of values is never guessed.
    """
    if isinstance(given, str | Path):
        return open_image(as_path(given))
    if isinstance(given, Image.Image):
        if 0 in given.size:
            raise FaceMTLError(f"expected pixels, found {given.width} x {given.height}.")
        try:
            return as_rgb(given)
        except (FaceMTLError, MemoryError):
            raise
        except Exception as error:  # it is closed, cut off, or of a mode without colours
            raise FaceMTLError(f"this image cannot be read ({first_line(error)}).") from error
    try:
        values = np.asarray(given)
    except Exception as error:  # such as a tensor on a GPU
        raise FaceMTLError(f"expected an image, found {type(given).__name__} ({error}).") from error
    if not values.ndim:
        raise FaceMTLError(
            "expected a path, a PIL image, an array, or a list of these; found"
            f" {type(given).__name__}."
        )
    channels = values.shape[2] if values.ndim == 3 else 1
    if values.ndim not in (2, 3) or channels not in (1, 3, 4) or 0 in values.shape:
        raise FaceMTLError(
            f"expected an array of shape (H, W), (H, W, 3) or (H, W, 4), found {values.shape}. "
            "Channels come last."
        )
    if np.issubdtype(values.dtype, np.floating):
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise FaceMTLError("expected floats from 0 to 1. Divide by 255, or convert to uint8.")
        values = np.uint8(np.round(255 * values))
    if values.dtype != np.uint8:
        raise FaceMTLError(f"expected uint8, or floats from 0 to 1, found {values.dtype}.")
    return as_rgb(
        Image.fromarray(values[:, :, 0] if values.ndim == 3 and channels == 1 else values)
    )


def _too_large(most: int) -> FaceMTLError:
    return FaceMTLError(f"This image has more than {most} million pixels. Reduce it first.")


def _why_unreadable(file: Path | BinaryIO) -> str:
    """A message that says why a file cannot be opened."""
    try:
        with _opened(file) as opened:
            opened.seek(0)
            start = opened.read(12)
    except OSError as error:
        return f"This file cannot be read ({first_line(error)})."
    if not start:
        return "This file is empty."
    kinds = (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1")
    if start[4:12] in kinds and "HEIF" not in readable_formats():
        return (
            "This is a HEIC photo, which cannot be read here. Save it as a JPEG, or install"
            " pillow-heif."
        )
    return "This file is damaged, or not an image that can be read. Try a JPEG or PNG."
