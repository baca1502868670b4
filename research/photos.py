"""Measure how good the answers are on ordinary photos, whose file names tell the age.

    python -m research.photos FOLDER ... [--turned 45 90 180] [--dark 0.25] [--photos 100]
                                         [--output assets/validation]

Photos are named as in FG-NET (`001A02.jpg`: person 1 at the age of 2) or as in All-Age-Faces
(`00051A02.jpg`; indices up to 07380 are women, later ones men). The models are never trained on
such photos. Only means over all photos of a folder are written to `--output`.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from facemtl.errors import FaceMTLError
from facemtl.evaluation.studies import PHOTOS_FILE
from facemtl.faces import detect, open_image
from facemtl.files import write_table
from facemtl.inference.predictor import MODELS, Predictor

from . import run_script

NAME = re.compile(r"(\d+)A(\d\d)")
LAST_WOMAN = 7380  # the last index of a woman in All-Age-Faces, where indices have five digits
CHANGES = {
    "age_moves": ("off", "age"),
    "gender_stays": ("same", "gender"),
    "race_stays": ("same", "race"),
}
VALUES = ["age_mae", "age_bias", "coverage", "width", "gender", *CHANGES]
BANDS = [0, 3, 10, 20, 30, 45, 60, 120]


def labels_of(file: Path) -> dict[str, float]:
    """The age and gender (0 male, 1 female) in a file name. Gender is NaN in names of FG-NET."""
    index, age = NAME.match(file.stem).groups()
    return {
        "age": float(age),
        "gender": float(int(index) <= LAST_WOMAN) if len(index) == 5 else np.nan,
    }


def answers(predictor: Predictor, photos: dict[str, Image.Image]) -> pd.DataFrame:
    """The predictions table for the largest face in each photo.

    Photos without a face have no rows.
    """
    crops = {
        name: faces[0].crop for name, photo in tqdm(photos.items()) if (faces := detect(photo))
    }
    return predictor.predict_crops(list(crops.values()), list(crops)).table


def turned(photo: Image.Image, degrees: float) -> Image.Image:
    return photo.rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=(128, 128, 128))


def darker(photo: Image.Image, share: float) -> Image.Image:
    return photo.point(lambda value: value * share)


def summary(table: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """The metrics of each approach, one row per approach.

    Columns: `age_mae`, `age_bias` and the mean `width` of intervals, in years; `coverage` of
    intervals and accuracy of `gender`, in percent.
    """
    rows = table.join(labels, on="image", rsuffix="_label")
    found = {}
    for approach, some in rows.groupby("approach", sort=False):
        ages, genders = (some[some["task"] == task] for task in ("age", "gender"))
        error = ages["prediction"] - ages["age"]
        inside = ages["age"].between(ages["low"], ages["high"])
        known = genders["gender"].notna()
        right = (genders["prediction"] == genders["gender"])[known]
        found[approach] = {
            "age_mae": error.abs().mean(), "age_bias": error.mean(),
            "coverage": 100 * inside.mean(),
            "width": (ages["high"] - ages["low"]).mean(),
            "gender": 100 * right.mean() if known.any() else np.nan,
        }  # fmt: skip
    return pd.DataFrame(found).T


def by_age(table: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """Mean signed and mean absolute age error, per band of ages and approach."""
    rows = table[table["task"] == "age"].join(labels["age"], on="image")
    rows = rows.assign(
        error=rows["prediction"] - rows["age"], band=pd.cut(rows["age"], BANDS, right=False)
    )
    grouped = rows.groupby(["band", "approach"], observed=True)["error"]
    return pd.DataFrame(
        {"n": grouped.size(), "bias": grouped.mean(), "MAE": grouped.agg(lambda e: e.abs().mean())}
    ).round(1)


def changes(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """How much answers change from `before` to `after`, one row per approach.

    Only photos with a face in both count. Columns: `age_moves`, the mean change of the age in
    years; `gender_stays` and `race_stays`, the percentages of unchanged labels.
    """
    keys = ["image", "approach", "task"]
    both = before.merge(after, on=keys, suffixes=("", "_after"))
    both["off"] = (both["prediction_after"] - both["prediction"]).abs()
    both["same"] = 100.0 * (both["off"] == 0)
    values = both.pivot_table(
        index="approach", columns="task", values=["off", "same"], aggfunc="mean"
    )
    return pd.DataFrame({name: values[kind][task] for name, (kind, task) in CHANGES.items()})


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="How good answers are on photos whose names tell the age."
    )
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument("--turned", nargs="*", type=float, default=[], metavar="DEGREES")
    parser.add_argument(
        "--dark",
        nargs="*",
        type=float,
        default=[],
        metavar="SHARE",
        help="share of the brightness that is left",
    )
    parser.add_argument("--photos", type=int, help="only so many of each folder, evenly spread")
    parser.add_argument(
        "--output", type=Path, help=f"the folder for {PHOTOS_FILE}, which `report` reads"
    )
    options = parser.parse_args(arguments)
    predictor, measured = Predictor.load(options.models), []
    for folder in options.folders:
        files = [file for file in sorted(folder.glob("*.[jJ][pP][gG]")) if NAME.match(file.stem)]
        if not files:
            raise FaceMTLError(
                f"{folder} has no photos whose names tell an age, such as 001A02.jpg."
            )
        files = files[:: max(1, len(files) // options.photos)] if options.photos else files
        photos = {file.stem: open_image(file) for file in files}
        labels = pd.DataFrame({file.stem: labels_of(file) for file in files}).T
        upright = answers(predictor, photos)
        n = upright["image"].nunique()
        measured.append(
            summary(upright, labels).assign(photos=folder.name, change="", n=len(photos), found=n)
        )
        print(f"\n{folder.name}: a face in {n} of {len(photos)} photos")
        print(f"{measured[-1].round(2)}\n\n{by_age(upright, labels)}")
        for name, values, change in (
            ("turned by", options.turned, turned),
            ("brightness", options.dark, darker),
        ):
            for value in values:
                after = answers(
                    predictor, {stem: change(photo, value) for stem, photo in photos.items()}
                )
                still = upright["image"].drop_duplicates().isin(after["image"]).sum()
                moved = changes(upright, after).assign(
                    photos=folder.name, change=f"{name} {value:g}", n=n, found=still
                )
                measured.append(moved)
                print(f"\n{name} {value:g}: {still} of these {n} faces are found\n{moved.round(2)}")
    if options.output:
        table = pd.concat(measured).rename_axis("approach").reset_index()
        write_table(
            table[["photos", "change", "approach", "n", "found", *VALUES]],
            options.output / PHOTOS_FILE,
        )


if __name__ == "__main__":
    run_script(main)
