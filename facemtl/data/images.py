"""Decoding of image files to arrays of pixels."""

import hashlib
import math
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache as cached
from itertools import repeat
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
import PIL
from PIL import ExifTags, Image, ImageOps
from tqdm import tqdm

from ..errors import FaceMTLError, first_line
from ..escapes import say_error
from ..files import is_stream, sweep, written_whole
from ..regular import MOST_BYTES, open_file

# The formats that are opened, the most frequent first. Other formats of Pillow are refused: some
# start another program, or are hardly maintained.
FORMATS = ("JPEG", "HEIF", "AVIF", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_HASH_BYTES = hashlib.sha256().digest_size


def decode_images(images: pd.DataFrame, size: int, cache: Path | None = None) -> np.ndarray:
    """Decode and resize the images of a table of `read_images`: uint8 (N, size, size, 3).

    If `cache` is a folder, the array is stored there as a memory-mapped file, which processes
    share. Its name depends on `size`, on the hashes of the images and on the version of Pillow. So
    other images get a new cache file. A damaged cache file is made again. If it cannot be written,
    a message says so, and the array stays in memory. Images are opened only if they are not in the
    cache. Raises FaceMTLError if one of these is missing, damaged or not that of its hash.
    """
    if cache is None:
        return _decode(images, size)
    # Another version of Pillow may decode other pixels.
    found = "\n".join([PIL.__version__, *images["sha256"]])
    key = hashlib.sha256(found.encode()).hexdigest()[:16]
    kept, damage = cache / f"{key}-{size}px.npy", ""
    sweep(cache, "*px.npy")
    try:
        return _load(kept, (len(images), size, size, 3))
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        damage = first_line(error)
    decoded = _decode(images, size)
    try:
        _save(decoded, kept)
    except OSError as error:
        say_error(
            f"The decoded images cannot be kept: {error.filename}: {first_line(error)}. Each"
            " training decodes them again until that is put right."
        )
    else:
        if damage:
            say_error(f"The cache {kept} was damaged ({damage}), so it was made again.")
    return decoded


def _decode(images: pd.DataFrame, size: int) -> np.ndarray:
    decoded = np.empty((len(images), size, size, 3), np.uint8)
    with ThreadPoolExecutor() as pool:
        found = pool.map(_decode_one, images["file"], images["sha256"], repeat(size))
        try:
            for i, image in enumerate(tqdm(found, "Decoding", len(images), leave=False)):
                decoded[i] = image
        finally:  # after Ctrl-C, do not decode the rest
            pool.shutdown(cancel_futures=True)
    return decoded


def _decode_one(file: str, sha256: str, size: int) -> np.ndarray:
    image = load_image(file, size)
    with open_file(file) as opened:
        if hashlib.file_digest(opened, "sha256").hexdigest() != sha256:
            raise FaceMTLError(f"{file} has changed since its folder was read. Read it again.")
    return image


def _load(kept: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Map a cache file: the array's bytes, then their SHA-256.

    Raises OSError if it cannot be read, and ValueError if it is damaged.
    """
    with open_file(kept) as file:
        size = math.prod(shape)
        if (found := os.fstat(file.fileno()).st_size) != size + _HASH_BYTES:
            raise ValueError(f"found {found:,} bytes, expected {size + _HASH_BYTES:,}")
        mapped = np.memmap(file, np.uint8, "c")  # copy on write: torch needs writable arrays
    images, found = mapped[:size], mapped[size:].tobytes()
    if hashlib.sha256(images).digest() != found:
        raise ValueError("wrong checksum")
    return images.reshape(shape)


def _save(images: np.ndarray, kept: Path) -> None:
    """Write a cache file, whole or not at all. Several processes may write it at the same time."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    if is_stream(kept):
        kept.unlink()  # opening a pipe would wait for a reader
    with written_whole(kept) as file:
        file.write(images.data)
        file.write(hashlib.sha256(images).digest())


def load_image(file: str | Path, size: int) -> np.ndarray:
    """Load an image as uint8 (size, size, 3). A rectangle is cropped to its centre square.

    Raises FaceMTLError if the file is missing or damaged.
    """
    try:
        with open_file(file, MOST_BYTES) as opened, opened_image(opened) as image:
            image = as_rgb(image)
    except FaceMTLError as error:
        raise FaceMTLError(f"{file} cannot be used. {error} Replace or delete it.") from error
    except MemoryError as error:
        raise FaceMTLError(f"{file} needs more memory than there is. Reduce it first.") from error
    except Exception as error:  # damaged files make decoders raise nearly anything
        if isinstance(error, OSError) and error.errno is not None:  # the file, not its content
            raise FaceMTLError(
                f"{file} cannot be read: {first_line(error)}. Replace or delete it."
            ) from error
        raise FaceMTLError(
            f"{file} is damaged ({first_line(error)}). Replace or delete it."
        ) from error
    if image.size != (size, size):
        side = min(image.size)
        left, top = ((length - side) // 2 for length in image.size)
        image = image.resize(
            (size, size), Image.Resampling.BILINEAR, (left, top, left + side, top + side)
        )
    return np.asarray(image)


def opened_image(file: BinaryIO) -> Image.Image:
    """An image of one of FORMATS, whose pixels are read later. Raises errors as Pillow does."""
    return Image.open(file, formats=readable_formats())


@cached
def readable_formats() -> tuple[str, ...]:
    """The formats of FORMATS that can be read here. HEIC needs an optional package."""
    Image.init()
    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def as_rgb(image: Image.Image) -> Image.Image:
    """Convert an image to upright RGB. Transparent parts become white.

    Images of 16 bits or more are scaled so that their range of values becomes 0 to 255. Raises
    FaceMTLError if a value is infinite or not a number.
    """
    image.load()  # metadata may also come after the pixels
    # Pillow rewrites all metadata, and fails if they are damaged. Then the image is not rotated.
    with suppress(Exception):
        # exif_transpose would also copy an image that is upright.
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            image = ImageOps.exif_transpose(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    elif image.mode.startswith(("I", "F")):  # 16 bits or more: convert() would clip to white
        values = np.asarray(image, np.float32)
        low, high = float(values.min()), float(values.max())
        if not high - low <= float(np.finfo(np.float32).max):
            raise FaceMTLError("Some pixels are infinite, far too bright, or not numbers.")
        image = Image.fromarray(np.uint8((values - low) / max(high - low, 1e-9) * 255))
    return image if image.mode == "RGB" else image.convert("RGB")
