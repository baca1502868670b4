"""Image files -> upright RGB images. What cannot be read is a FaceMTLError of one sentence."""

import warnings
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from ..data import as_rgb
from ..errors import FaceMTLError

# No other formats than these: some that Pillow knows start another program, or are hardly
# maintained. With each, the most megapixels: phones take HEIC and AVIF, and of a large JPEG a
# fraction is decoded.
MOST_MEGAPIXELS = {
    "JPEG": 110, "HEIF": 50, "AVIF": 50, "PNG": 25, "WEBP": 25, "GIF": 25, "BMP": 25, "TIFF": 25,
}  # fmt: skip
DECODED_SIDE = 2000  # px; a JPEG is decoded at a half, quarter or eighth where that leaves so many
PIXEL_SIZE = "facemtl pixel size"  # in an image's `info`: the side of a pixel, in pixels of the file
warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # too large images are refused


def open_image(file: Path | BinaryIO) -> Image.Image:
    """An image file, upright and in RGB; of an animation, its first frame."""
    formats = _formats()
    try:
        with Image.open(file, formats=formats) as image:
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
        raise FaceMTLError(_why_unreadable(file, formats)) from error


@cache
def _formats() -> tuple[str, ...]:
    """Those of MOST_MEGAPIXELS that can be read here: HEIC needs an optional package."""
    Image.init()
    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    return tuple(name for name in MOST_MEGAPIXELS if name in Image.OPEN)


def _too_large(most: int) -> FaceMTLError:
    return FaceMTLError(f"This image has more than {most} million pixels. Reduce it first.")


def _why_unreadable(file: Path | BinaryIO, formats: Sequence[str]) -> str:
    try:
        start = file.read_bytes()[:12] if isinstance(file, Path) else (file.seek(0), file.read(12))[1]
    except OSError as error:
        return f"This file cannot be read ({error.strerror})."
    if not start:
        return "This file is empty."
    kinds = (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1")
    if start[4:12] in kinds and "HEIF" not in formats:
        return "This is a HEIC photo, which cannot be read here. Save it as a JPEG, or install pillow-heif."
    return "This file is damaged, or not an image that can be read. Try a JPEG or PNG."
