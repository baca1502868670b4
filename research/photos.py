"""How good answers are on a visitor's photos: folders of photos whose names tell the age of who is on them.

    python -m research.photos FOLDER ... [--turned 45 90 180] [--dark 0.25] [--photos 100]

Names are those of FG-NET (`001A02.jpg`: person 1 at the age of 2) and of All-Age-Faces (`00051A02.jpg`; indices up to 07380
are women, later ones men). Such photos are never trained on; nothing of them is written.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from facemtl.faces import detect, open_image
from facemtl.inference.predictor import MODELS, Predictor

NAME = re.compile(r"(\d+)A(\d\d)")
LAST_WOMAN = 7380  # of All-Age-Faces, whose indices have five digits
BANDS = [0, 3, 10, 20, 30, 45, 60, 120]


def labels_of(file: Path) -> dict[str, float]:
    """The age, and where the name tells it the gender (0 male, 1 female), else NaN."""
    index, age = NAME.match(file.stem).groups()
    return {"age": float(age), "gender": float(int(index) <= LAST_WOMAN) if len(index) == 5 else np.nan}


def answers(predictor: Predictor, photos: dict[str, Image.Image]) -> pd.DataFrame:
    """The predictions table of the largest face of each photo; photos without a face have no rows."""
    crops = {name: faces[0].crop for name, photo in tqdm(photos.items()) if (faces := detect(photo))}
    return predictor.predict(list(crops.values()), list(crops)).table


def turned(photo: Image.Image, degrees: float) -> Image.Image:
    return photo.rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=(128, 128, 128))


def darker(photo: Image.Image, share: float) -> Image.Image:
    return photo.point(lambda value: value * share)


def summary(table: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """By approach: age MAE and bias in years, coverage of the intervals and gender accuracy in percent."""
    rows = table.join(labels, on="image", rsuffix="_label")
    found = {}
    for approach, some in rows.groupby("approach", sort=False):
        ages, genders = (some[some["task"] == task] for task in ("age", "gender"))
        error = ages["prediction"] - ages["age"]
        inside = ages["age"].between(ages["low"], ages["high"])
        known = genders["gender"].notna()
        right = (genders["prediction"] == genders["gender"])[known]
        found[approach] = {
            "age MAE": error.abs().mean(), "bias": error.mean(), "coverage": 100 * inside.mean(),
            "width": (ages["high"] - ages["low"]).mean(), "gender": 100 * right.mean() if known.any() else np.nan,
        }  # fmt: skip
    return pd.DataFrame(found).T.round(2)


def by_age(table: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """Mean signed and absolute error of age by band and approach."""
    rows = table[table["task"] == "age"].join(labels["age"], on="image")
    rows = rows.assign(error=rows["prediction"] - rows["age"], band=pd.cut(rows["age"], BANDS, right=False))
    grouped = rows.groupby(["band", "approach"], observed=True)["error"]
    return pd.DataFrame({"n": grouped.size(), "bias": grouped.mean(), "MAE": grouped.agg(lambda e: e.abs().mean())}).round(1)


def changes(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """By approach, of photos with a face before and after: by how much ages move, in years, and how often labels stay."""
    keys = ["image", "approach", "task"]
    both = before.merge(after, on=keys, suffixes=("", "_after"))
    both["off"] = (both["prediction_after"] - both["prediction"]).abs()
    both["same"] = 100.0 * (both["off"] == 0)
    values = both.pivot_table(index="approach", columns="task", values=["off", "same"], aggfunc="mean")
    found = {"age moves": values["off"]["age"], "gender stays": values["same"]["gender"], "race stays": values["same"]["race"]}
    return pd.DataFrame(found).round(2)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="How good answers are on photos whose names tell the age.")
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument("--turned", nargs="*", type=float, default=[], metavar="DEGREES")
    parser.add_argument(
        "--dark", nargs="*", type=float, default=[], metavar="SHARE", help="share of the brightness that is left"
    )
    parser.add_argument("--photos", type=int, help="only so many of each folder, evenly spread")
    options = parser.parse_args(arguments)
    predictor = Predictor.load(options.models)
    for folder in options.folders:
        files = [file for file in sorted(folder.glob("*.[jJ][pP][gG]")) if NAME.match(file.stem)]
        files = files[:: max(1, len(files) // options.photos)] if options.photos else files
        photos = {file.stem: open_image(file) for file in files}
        labels = pd.DataFrame({file.stem: labels_of(file) for file in files}).T
        upright = answers(predictor, photos)
        print(f"\n{folder.name}: a face in {upright['image'].nunique()} of {len(photos)} photos")
        print(f"{summary(upright, labels)}\n\n{by_age(upright, labels)}")
        for name, values, change in (("turned by", options.turned, turned), ("brightness", options.dark, darker)):
            for value in values:
                found = answers(predictor, {stem: change(photo, value) for stem, photo in photos.items()})
                share = found["image"].nunique() / max(1, upright["image"].nunique())
                print(f"\n{name} {value:g}: {100 * share:.1f} % of the faces are found\n{changes(upright, found)}")


if __name__ == "__main__":
    main()
