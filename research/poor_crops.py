"""Accuracy and confidence of the models on poor crops, and how many crops are called poor.

    python -m research.poor_crops --data data/UTKFace --images 300

Calibration images are made dark, bright or small, are covered, stretched or inverted, or made to
look drawn. Then they are opened as a visitor's photo would be. The table of `load` is written to
the folder `--output`.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFilter, ImageOps
from tqdm import tqdm

from facemtl.data.images import load_image
from facemtl.data.reading import CALIBRATION, read_images
from facemtl.data.utkface import CHIP_SIZE
from facemtl.faces import detect, weaknesses, whole
from facemtl.faces.align import POSITIONS
from facemtl.files import read_table, write_table
from facemtl.inference.predictor import Predictor
from facemtl.paths import ASSETS, default_folder
from facemtl.tasks import INTERVAL, TASKS

from . import run_script

FILE = "poor_crops.csv"
SURE = 0.9  # an answer with at least this probability is called sure
_TYPES = {
    "change": str, "poor": float, "task": str, "metric": float, "expected": float, "held": float,
    "sure": float,
}  # fmt: skip


def load(folder: Path) -> pd.DataFrame:
    """The measurements, means over both approaches.

    Columns:

    - `change`, and `poor`: the percentage of images without a face, or with a poor crop
    - `task`, and `metric`: the task's metric
    - `held`: for ages, the percentage of intervals that contain the label; for classes, the
      percentage of right answers
    - `expected`: what `held` would be in perfect calibration
    - `sure`: for classes, the percentage of images whose answer is wrong and sure; else NaN
    """
    return read_table(folder / FILE, _TYPES, "python -m research.poor_crops", gaps=["sure"])


def _light(factor: float) -> Callable[[Image.Image], Image.Image]:
    """Multiply the brightness by `factor`. Above 1, divide the distance from white by it."""

    def change(image: Image.Image) -> Image.Image:
        pixels = np.asarray(image, float)
        pixels = factor * pixels if factor <= 1 else 255 - (255 - pixels) / factor
        return Image.fromarray(np.uint8(pixels.round()))

    return change


def _small(side: int) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2)


def _covered(*box: float) -> Callable[[Image.Image], Image.Image]:
    """Cover a box, in shares of the side, with gray."""

    def change(image: Image.Image) -> Image.Image:
        image = image.copy()
        corners = [image.width * share for share in box]
        ImageDraw.Draw(image).rectangle(corners, fill=(110, 110, 110))
        return image

    return change


def _sunglasses(image: Image.Image) -> Image.Image:
    """Draw dark glasses over the eyes."""
    image = image.copy()
    for x, _ in POSITIONS[:2]:
        glass = [image.width * share for share in (x - 0.135, 0.21, x + 0.135, 0.41)]
        ImageDraw.Draw(image).ellipse(glass, fill=(15, 15, 18))
    return image


def _stretched(width: float, height: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.resize(
        (round(width * image.width), round(height * image.height)), Image.Resampling.BICUBIC
    )


def _pencil(image: Image.Image) -> Image.Image:
    """A drawing in pencil: the gray image divided by a blurred copy of itself."""
    gray = image.convert("L")
    blurred = np.asarray(gray.filter(ImageFilter.GaussianBlur(6)), float)
    drawn = 255 * np.asarray(gray, float) / np.maximum(blurred, 1)
    return Image.fromarray(np.uint8(drawn.clip(0, 255))).convert("RGB")


def _poster(image: Image.Image) -> Image.Image:
    """A picture with few colours, in large areas."""
    return ImageOps.posterize(image.filter(ImageFilter.MedianFilter(7)), 2)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "none": lambda image: image,
    "half of the light": _light(1 / 2),
    "a quarter of the light": _light(1 / 4),
    "an eighth of the light": _light(1 / 8),
    "a sixteenth of the light": _light(1 / 16),
    "five times nearer to white": _light(5),
    "48 px": _small(48),
    "32 px": _small(32),
    "24 px": _small(24),
    "eyes covered": _covered(0.1, 0.2, 0.9, 0.42),
    "dark glasses": _sunglasses,
    "mouth covered": _covered(0.2, 0.58, 0.8, 1),
    "left half covered": _covered(0, 0, 0.5, 1),
    "middle covered": _covered(0.25, 0.25, 0.75, 0.75),
    "1.5 times as wide": _stretched(1.5, 1),
    "twice as wide": _stretched(2, 1),
    "twice as high": _stretched(1, 2),
    "as a negative": ImageOps.invert,
    "as if drawn in pencil": _pencil,
    "as a poster of few colours": _poster,
}


def measure(predictor: Predictor, images: pd.DataFrame) -> pd.DataFrame:
    """Measure each change on a table of images. Returns the table of `load`."""
    found = []
    for name, change in tqdm(CHANGES.items(), "Changes", disable=None):
        crops, poor = [], []
        for file in images["file"]:
            image = change(Image.fromarray(load_image(file, CHIP_SIZE)))
            faces = detect(image)
            poor.append(not faces or bool(weaknesses(faces[0])))
            crops.append((faces[0] if faces else whole(image)).crop)
        answers = predictor.predict_crops(crops, images["sha256"]).table
        for task in predictor.tasks:
            rows = answers[answers["task"] == task.name]
            targets = rows["image"].map(images.set_index("sha256")[task.name]).to_numpy(float)
            values, metric = rows["prediction"].to_numpy(float), task.metric
            is_interval = rows["low"].notna().all()
            held = (
                rows["low"].le(targets) & rows["high"].ge(targets)
                if is_interval
                else values == targets
            )
            expected = INTERVAL if is_interval else rows["confidence"].mean()
            sure = np.nan if is_interval else (~held & rows["confidence"].ge(SURE)).mean()
            measured = [metric(targets, values), 100 * expected, 100 * held.mean(), 100 * sure]
            found.append([name, 100 * np.mean(poor), task.name, *np.round(measured, 2)])
    return pd.DataFrame(found, columns=list(_TYPES))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m research.poor_crops", description=__doc__)
    parser.add_argument("--data", type=Path, default=default_folder())
    parser.add_argument("--images", type=int, default=300, help="how many calibration images")
    parser.add_argument(
        "--output", type=Path, default=ASSETS / "validation", help="the folder for the table"
    )
    options = parser.parse_args(arguments)
    images, _ = read_images(options.data)
    images = images[images["split"] == CALIBRATION].dropna(subset=[task.name for task in TASKS])
    images = images.iloc[: options.images]
    write_table(measure(Predictor.load(), images), options.output / FILE)


if __name__ == "__main__":
    run_script(main)
