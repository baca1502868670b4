"""How the models bear crops that are not UTKFace's: shifted, scaled, rotated, blurred, gray, recompressed, dark or light.

Every perturbation is deterministic: what differs between images, the direction of a shift or a rotation, is
drawn from the image's hash. What a perturbed crop shows beyond its edges is filled as `detection` fills it.
"""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance, ImageFilter

from .data import VALIDATION, load_image
from .detection import face_at
from .errors import FaceMTLError
from .evaluation import CHIP_SIZE, with_targets
from .prediction import Predictor
from .tables import read_table, write_table
from .tasks import Metric, task_named

N_IMAGES = 600
N_TURNS = 8  # directions of a shift, 45 degrees apart
ROBUSTNESS_FILE = "robustness.csv"
COLUMNS = ["perturbation", "amount", "model", "task", "metric", "n", "value", "change"]
_TYPES = dict(zip(COLUMNS, (str, float, str, str, str, int, float, float), strict=True))


@dataclass(frozen=True)
class Perturbation:
    """One way in which a crop may differ from UTKFace's, in several strengths.

    `apply(crop, amount, turn)` takes a square uint8 RGB crop (S, S, 3) and returns one of the same shape. `turn`,
    a whole number from 0 to N_TURNS - 1, is the image's own: it chooses a direction where there are several.
    """

    name: str
    title: str
    unit: str
    amounts: tuple[float, ...]
    apply: Callable[[np.ndarray, float, int], np.ndarray]
    none: float = 0  # the amount that stands for the crop as it is

    @property
    def axis(self) -> str:
        return f"{self.title} ({self.unit})"


def turn_of(image: str) -> int:
    """The direction that an image's key, the first 16 digits of its hash, chooses: 0 to N_TURNS - 1."""
    return int(image, 16) % N_TURNS


def _shift(crop: np.ndarray, amount: float, turn: int) -> np.ndarray:
    """Move what is seen by `amount` % of a side: to the right at turn 0, then clockwise."""
    side, angle = len(crop), 2 * math.pi * turn / N_TURNS
    x, y = (round(amount / 100 * side * direction) for direction in (math.cos(angle), math.sin(angle)))
    return face_at(Image.fromarray(crop), (-x, -y, side - x, side - y)).crop


def _scale(crop: np.ndarray, amount: float, turn: int) -> np.ndarray:
    """Show the face `amount` % larger, which is a tighter crop, or smaller."""
    side = len(crop)
    beyond = side * (1 / (1 + amount / 100) - 1) / 2  # px on each edge; negative for a tighter crop
    framed = face_at(Image.fromarray(crop), (-beyond, -beyond, side + beyond, side + beyond)).crop
    return np.asarray(Image.fromarray(framed).resize((side, side), Image.Resampling.BILINEAR))


def _rotate(crop: np.ndarray, amount: float, turn: int) -> np.ndarray:
    """Rotate by `amount` degrees: anticlockwise at even turns, else clockwise."""
    side = len(crop)
    pad = side // 4 + 1  # enough for any angle: (sqrt(2) - 1) / 2 of a side
    padded = Image.fromarray(np.pad(crop, ((pad, pad), (pad, pad), (0, 0)), mode="reflect"))
    rotated = padded.rotate(-amount if turn % 2 else amount, Image.Resampling.BILINEAR)
    return np.asarray(rotated)[pad : pad + side, pad : pad + side]


def _blur(crop: np.ndarray, amount: float, turn: int) -> np.ndarray:
    """A Gaussian blur whose standard deviation is `amount` % of a side."""
    return np.asarray(Image.fromarray(crop).filter(ImageFilter.GaussianBlur(amount / 100 * len(crop))))


def _gray(crop: np.ndarray, amount: float, turn: int) -> np.ndarray:
    """Take `amount` % of the colour away."""
    image = Image.fromarray(crop)
    return np.asarray(Image.blend(image, image.convert("L").convert("RGB"), amount / 100))


def _recompress(crop: np.ndarray, amount: float, turn: int) -> np.ndarray:
    """Store as a JPEG of quality `amount` and read again."""
    content = io.BytesIO()
    Image.fromarray(crop).save(content, "JPEG", quality=int(amount))
    return np.asarray(Image.open(content))


def _light(crop: np.ndarray, amount: float, turn: int) -> np.ndarray:
    """Multiply brightness by 1 + `amount` / 100."""
    return np.asarray(ImageEnhance.Brightness(Image.fromarray(crop)).enhance(1 + amount / 100))


SHIFT = Perturbation("shift", "Shift", "% of a side", (5, 10, 15, 20), _shift)
SCALE = Perturbation("scale", "Size of the face", "%", (-30, -15, 15, 30), _scale)
ROTATION = Perturbation("rotation", "Rotation", "degrees", (5, 10, 15, 30), _rotate)
BLUR = Perturbation("blur", "Blur", "% of a side", (0.5, 1, 2, 3), _blur)
GRAY = Perturbation("gray", "Colour taken away", "%", (100,), _gray)
JPEG = Perturbation("jpeg", "JPEG quality", "of 100", (60, 30, 15, 8), _recompress, none=100)
LIGHT = Perturbation("light", "Brightness", "%", (-60, -30, 30, 60), _light)

PERTURBATIONS = (SHIFT, SCALE, ROTATION, BLUR, GRAY, JPEG, LIGHT)


# ------------------------------------------------------------------------------------------ measuring


def robustness(
    predictor: Predictor,
    images: pd.DataFrame,
    n: int = N_IMAGES,
    progress: Callable[[int], None] = lambda n: None,
    perturbations: tuple[Perturbation, ...] = PERTURBATIONS,
) -> pd.DataFrame:
    """Each model's metrics over the first `n` validation images in the order of their hashes, per perturbation and amount.

    Columns: `perturbation, amount, model, task, metric, n, value, change`. At the amount `none`, `value` is that of
    the crops as they are; `change` is measured from there, in `change_unit`. `progress` is told of each batch's size,
    `passes()` times `n` in all.
    """
    reported = images[images["split"] == VALIDATION].sort_values("sha256").head(n)
    if reported.empty:
        raise FaceMTLError("There are no validation images. Use the whole dataset.")
    reported = reported.assign(image=reported["sha256"].str[:16])
    crops = [load_image(file, CHIP_SIZE) for file in reported["file"]]
    turns = [turn_of(image) for image in reported["image"]]
    before, parts = _measure(predictor, crops, reported, progress), []
    for p in perturbations:
        for amount in (p.none, *p.amounts):
            if amount == p.none:
                after = before
            else:
                perturbed = [p.apply(crop, amount, turn) for crop, turn in zip(crops, turns, strict=True)]
                after = _measure(predictor, perturbed, reported, progress)
            parts.append(after.assign(perturbation=p.name, amount=float(amount), change=_change(after, before)))
    return pd.concat(parts, ignore_index=True)[COLUMNS]


def passes(perturbations: tuple[Perturbation, ...] = PERTURBATIONS) -> int:
    """How often `robustness` looks at each image."""
    return 1 + sum(len(p.amounts) for p in perturbations)


def change_unit(metric: Metric) -> str:
    """A share of images changes by percentage points, anything else by percent of its undisturbed value."""
    return "points" if metric.unit == "%" else "%"


def _measure(
    predictor: Predictor, crops: list[np.ndarray], labels: pd.DataFrame, progress: Callable[[int], None]
) -> pd.DataFrame:
    """`model, task, metric, n, value`: a row per model and task, always in the same order."""
    predicted = with_targets(predictor.predict(crops, labels["image"], progress=progress).table, labels)
    rows = []
    for (model, name), group in predicted.groupby(["model", "task"]):
        metric = task_named(name).metric
        value = metric(group["target"], group["prediction"])
        rows.append({"model": model, "task": name, "metric": metric.name, "n": len(group), "value": value})
    return pd.DataFrame(rows)


def _change(after: pd.DataFrame, before: pd.DataFrame) -> pd.Series:
    """How far the values of each row went from those before, in `change_unit`."""
    difference = after["value"] - before["value"]
    in_points = after["task"].map(lambda name: change_unit(task_named(name).metric) == "points")
    return difference.where(in_points, 100 * difference / before["value"])


# -------------------------------------------------------------------------------------------- on disk


def save_robustness(table: pd.DataFrame, folder: Path) -> None:
    """Write the table."""
    write_table(table, folder / ROBUSTNESS_FILE)


def load_robustness(folder: Path) -> pd.DataFrame:
    """The table that `save_robustness` wrote."""
    return read_table(folder / ROBUSTNESS_FILE, _TYPES, "python -m facemtl robustness")
