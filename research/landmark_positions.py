"""Measure where landmarks are in UTKFace's images, and how many of its crops are poor.

    python -m research.landmark_positions data/UTKFace

It prints the positions in `faces.align`, and the percentages by which the thresholds in
`faces.pose` and `faces.quality` were set, for all people, and by race, gender and age. The images
are those that no model was trained on. Each gets a border, because its face fills it.
"""

import argparse
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from facemtl.data.images import as_rgb
from facemtl.data.reading import TRAIN, read_images
from facemtl.evaluation.groups import age_groups
from facemtl.faces.crops import detect
from facemtl.faces.quality import weaknesses
from facemtl.tasks import AGE, GENDER, RACE

from . import run_script

NAMES = ("left eye", "right eye", "nose", "left mouth corner", "right mouth corner")
NORMAL_RANGE = 1.349  # a normal distribution's interquartile range, in standard deviations


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m research.landmark_positions", description=__doc__
    )
    parser.add_argument("data", type=Path, help="folder of UTKFace")
    parser.add_argument("--images", type=int, default=2000, help="how many images")
    options = parser.parse_args()
    table, _ = read_images(options.data)
    table = table[table["split"] != TRAIN][: options.images]
    with ThreadPoolExecutor(2) as pool:
        measuring = pool.map(measure, table["file"])
        measured = list(tqdm(measuring, "Measuring", len(table), disable=None))
    points = [each for each, _ in measured if each is not None]
    print(positions(np.array(points), len(measured)))
    weak = pd.Series([words for _, words in measured])
    print("all", shares(weak), sep="\n")
    groups = [table[task.column].map(task.words) for task in (RACE, GENDER)]
    for labels in (*groups, age_groups(table[AGE.column])):
        for label, part in weak.groupby(labels.to_numpy()):
            print(f"{label} ({len(part)})", shares(part), sep="\n")


def measure(file: str) -> tuple[np.ndarray | None, list[str]]:
    """The landmarks (5, 2) in a square image file, in shares of its side, and its weaknesses.

    If no face is found, the landmarks are None.
    """
    image = as_rgb(Image.open(file))
    faces = detect(image)
    if not faces:
        return None, ["not found"]
    aligned = ["aligned"] if faces[0].angle else []
    return faces[0].landmarks / max(image.size), aligned + weaknesses(faces[0])


def positions(landmarks: np.ndarray, images: int) -> str:
    """The medians and standard deviations of landmarks (N, 5, 2), as text.

    Standard deviations are estimated from the quartiles.
    """
    low, medians, high = np.percentile(landmarks, (25, 50, 75), axis=0)
    spread = (high - low) / NORMAL_RANGE
    lines = [f"{len(landmarks)} faces in {images} images; of 1000: x, y, and standard deviations"]
    for name, where, deviation in zip(NAMES, medians * 1000, spread * 1000, strict=True):
        lines.append(
            f"{name:18} {where[0]:4.0f} {where[1]:4.0f}   {deviation[0]:3.0f} {deviation[1]:3.0f}"
        )
    return "\n".join(lines)


def shares(weak: pd.Series) -> str:
    """The percentage of images that have each weakness, as text.

    "aligned" means that the crop is turned, so the image was not taken whole.
    """
    counts = Counter(
        "small" if word.startswith("small") else word for words in weak for word in words
    )
    return "\n".join(f"{word:20} {100 * n / len(weak):5.1f} %" for word, n in counts.most_common())


if __name__ == "__main__":
    run_script(main)
