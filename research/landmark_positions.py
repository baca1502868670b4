"""Where landmarks lie in UTKFace's images, and which of its crops are called poor.

    python -m research.landmark_positions data/UTKFace

It prints the constants of `align` and the shares that set the bars of `quality`. Training images
are measured, with a border around each, since their faces fill them.
"""

import argparse
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from facemtl.data.images import as_rgb
from facemtl.data.reading import TRAIN, read_images
from facemtl.faces.crops import detect
from facemtl.faces.quality import weaknesses

from . import run_script

NAMES = ("left eye", "right eye", "nose", "left mouth corner", "right mouth corner")
NORMAL_RANGE = 1.349  # standard deviations between the quartiles of a normal distribution


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m research.landmark_positions", description=__doc__
    )
    parser.add_argument("data", type=Path, help="folder of UTKFace")
    parser.add_argument("--images", type=int, default=2000, help="how many training images")
    options = parser.parse_args()
    table, _ = read_images(options.data)
    files = table["file"][table["split"] == TRAIN][: options.images]
    with ThreadPoolExecutor(2) as pool:
        measured = list(tqdm(pool.map(measure, files), "Measuring", len(files), disable=None))
    points = [each for each, _ in measured if each is not None]
    print(positions(np.array(points), len(measured)))
    print(shares([words for _, words in measured]))


def measure(file: str) -> tuple[np.ndarray | None, list[str]]:
    """A square image file -> its landmarks (5, 2) in shares of the side, and its weaknesses."""
    image = as_rgb(Image.open(file))
    faces = detect(image)
    if not faces:
        return None, ["not found"]
    aligned = ["aligned"] if faces[0].angle else []
    return faces[0].landmarks / max(image.size), aligned + weaknesses(faces[0])


def positions(landmarks: np.ndarray, images: int) -> str:
    """Landmarks (N, 5, 2) -> their medians, and their spread, from the quartiles."""
    low, medians, high = np.percentile(landmarks, (25, 50, 75), axis=0)
    spread = (high - low) / NORMAL_RANGE
    lines = [f"{len(landmarks)} faces in {images} images; of 1000: x, y, and standard deviations"]
    for name, where, deviation in zip(NAMES, medians * 1000, spread * 1000, strict=True):
        lines.append(
            f"{name:18} {where[0]:4.0f} {where[1]:4.0f}   {deviation[0]:3.0f} {deviation[1]:3.0f}"
        )
    return "\n".join(lines)


def shares(weak: list[list[str]]) -> str:
    """How many images of 100 have each weakness; "aligned" are those that are not taken whole."""
    counts = Counter(
        "small" if word.startswith("small") else word for words in weak for word in words
    )
    return "\n".join(f"{word:20} {100 * n / len(weak):5.1f} %" for word, n in counts.most_common())


if __name__ == "__main__":
    run_script(main)
