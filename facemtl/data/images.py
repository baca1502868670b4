"""Decoding of image files to arrays of pixels."""

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps
from tqdm import tqdm

from ..errors import FaceMTLError, first_line


def decode_images(files: Iterable[str], size: int, cache: Path | None = None) -> np.ndarray:
    """Decode and resize image files: uint8 (N, size, size, 3).

    If `cache` is a folder, the array is stored there as a memory-mapped file, which processes
    share. The name of the cache file depends on `size` and on the names, sizes and modification
    times of `files`. So changed files get a new cache file.
    """
    files = list(files)
    if cache is not None:
        key = hashlib.sha256("\n".join(map(_fingerprint, files)).encode()).hexdigest()[:16]
        kept = cache / f"{key}-{size}px.npy"
        if kept.is_file():
            return np.load(kept, mmap_mode="c")  # copy on write: torch needs writable arrays
    with ThreadPoolExecutor() as pool:
        images = np.empty((len(files), size, size, 3), np.uint8)
        decoded = pool.map(lambda f: load_image(f, size), files)
        for i, image in enumerate(tqdm(decoded, "Decoding", len(files), leave=False)):
            images[i] = image
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
        partial = kept.with_name(f".{kept.name}.partial-{os.getpid()}.npy")
        try:
            np.save(partial, images)
            partial.replace(kept)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
    return images


def _fingerprint(file: str | Path) -> str:
    """The name, size and modification time of a file, as text."""
    try:
        stat = Path(file).stat()
    except OSError as error:
        raise FaceMTLError(
            f"{file} cannot be read ({error.strerror}). It may have been moved; read the folder"
            " again."
        ) from error
    return f"{Path(file).name} {stat.st_size} {stat.st_mtime_ns}"


def load_image(file: str | Path, size: int) -> np.ndarray:
    """Load an image as uint8 (size, size, 3). A rectangle is cropped to its centre square.

    Raises FaceMTLError if the file is missing or damaged.
    """
    try:
        with Image.open(file) as image:
            image = as_rgb(image)
    except (OSError, SyntaxError, ValueError) as error:
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


def as_rgb(image: Image.Image) -> Image.Image:
    """Convert an image to upright RGB. Transparent parts become white.

    Images of 16 bits or more are scaled so that their range of values becomes 0 to 255.
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
        image = Image.fromarray(np.uint8((values - low) / max(high - low, 1e-9) * 255))
    return image if image.mode == "RGB" else image.convert("RGB")
