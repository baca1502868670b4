"""A cache of predictions for the composite faces, which are shown if there is no dataset."""

from pathlib import Path

import pandas as pd

from ..data.reading import read_images
from ..faces import open_image, whole
from ..files import read_table, write_table
from ..inference.predictor import Predictor

FILE = "composites.csv"
_TYPES = {
    "image": str,
    "model": str,
    "approach": str,
    "task": str,
    "prediction": float,
    "made_by": str,
}


def answers(predictor: Predictor, folder: Path) -> pd.DataFrame:
    """The predictions table of all composites in a folder.

    Column `made_by` is the fingerprint of the weights and calibration that made the row.
    """
    images, _ = read_images(folder, progress=False)
    crops = [whole(open_image(Path(file))).crop for file in images["file"]]
    table = predictor.predict_crops(crops, images["sha256"].str[:16]).table
    return table.assign(made_by=table["model"].map(predictor.fingerprints))[[*_TYPES]]


def save(table: pd.DataFrame, folder: Path) -> None:
    write_table(table.round({"prediction": 3}), folder / FILE)


def load(folder: Path, predictor: Predictor) -> pd.DataFrame:
    """The cached predictions of the models in `predictor`. Those of other models are left out.

    Raises FaceMTLError if the file is missing or damaged.
    """
    table = read_table(folder / FILE, _TYPES, f"python -m facemtl evaluate --output {folder}")
    return table[table["made_by"] == table["model"].map(predictor.fingerprints)]
