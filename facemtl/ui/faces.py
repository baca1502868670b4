"""Where random faces come from: UTKFace's validation images where it is installed, else composites."""

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..data import VALIDATION, read_folder
from ..detection import Face, open_image, whole
from ..errors import FaceMTLError
from ..tasks import TASKS

MAX_SEED = 999_999


@dataclass(frozen=True)
class LabelledFace:
    """A face with what the dataset says of it: {task name: value}."""

    face: Face
    labels: dict[str, float]


class FacePool:
    """Labelled faces to draw from. The same seed draws the same faces from the same pool."""

    def __init__(self, table: pd.DataFrame, *, are_composites: bool):
        self.table, self.are_composites = table, are_composites

    @classmethod
    def open(cls, dataset: Path, composites: Path) -> "FacePool":
        """Never fails where the composites are there: a missing or damaged dataset means composites."""
        try:
            table, _ = read_folder(dataset, progress=False)
            table = table[table["split"] == VALIDATION].reset_index(drop=True)
            if not table.empty:
                return cls(table, are_composites=False)
        except FaceMTLError:
            pass
        return cls.of_composites(composites)

    @classmethod
    def of_composites(cls, folder: Path) -> "FacePool":
        return cls(read_folder(folder, progress=False)[0], are_composites=True)

    @property
    def origin(self) -> str:
        """A sentence for the page."""
        if self.are_composites:
            return "Composites: each is the average of eight faces of one gender, race and age band. Nobody here is real."
        return f"Drawn from {len(self.table):,} validation images of UTKFace, which no model was trained on."

    def draw(self, n: int, seed: int) -> list[LabelledFace]:
        """`n` different faces (all where there are fewer)."""
        drawn = []
        for position in np.random.default_rng(seed).permutation(len(self.table)):
            if len(drawn) == n:
                break
            row = self.table.iloc[position]
            try:
                face = whole(open_image(Path(row["file"])))
            except FaceMTLError:
                continue  # damaged or gone since the folder was read: there are others
            drawn.append(LabelledFace(face, {task.name: float(row[task.column]) for task in TASKS}))
        if not drawn:
            raise FaceMTLError("None of the faces can be read any more. Start the app again.")
        return drawn


def new_seed() -> int:
    return random.randint(1, MAX_SEED)


def as_seed(value: object) -> int:
    """A seed from what somebody typed or from a link; a new one where it is none."""
    try:
        seed = int(float(str(value).strip()))
    except (TypeError, ValueError, OverflowError):
        return new_seed()
    return seed if 0 <= seed <= MAX_SEED else new_seed()
