"""Draw labelled faces: from the dataset's validation images, or else from composites."""

import asyncio
import os
import random
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, fields, make_dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..data.labels_csv import csv_of
from ..data.reading import VALIDATION, read_images
from ..errors import FaceMTLError
from ..escapes import say_error
from ..faces import Face, open_image, whole
from ..inference.predictor import MULTI, SINGLE
from ..tasks import AGE, CLASSES, TASKS, Task
from .addresses import address
from .prediction_cache import PredictionCache

MAX_SEED = 999_999
ANY = -1  # in place of a label's index: no limit
AGREEMENTS = {
    "any": "agreeing or not",
    "agree": f"both agree (age ± {AGE.near} {AGE.unit})",
    "differ": "they disagree",
}
ORDERS = {
    "chance": "random",
    "hardest": "largest age errors",
    "apart": "predicted ages furthest apart",
}


# One field for each classification task: the index of a label, or ANY.
_Labels = make_dataclass(
    "_Labels", [(task.name, int, field(default=ANY, kw_only=True)) for task in CLASSES], frozen=True
)


@dataclass(frozen=True)
class FaceFilter(_Labels):
    """Which faces a visitor wants to see, in which order, and which page of them."""

    seed: int
    sheet: int = 0  # page number, from 0; gradio uses the name "page" itself
    low: int = AGE.low  # labelled age in years; both ends are included
    high: int = AGE.high
    agreement: str = "any"
    order: str = "chance"

    @classmethod
    def read(cls, values: Mapping[str, object]) -> "FaceFilter":
        """Read a filter from a link's parameters or a visitor's choices.

        Missing and invalid values become defaults. The default seed is random.
        """
        ends = (("low", AGE.low), ("high", AGE.high))
        low, high = sorted(_whole(values.get(name), AGE.low, AGE.high, end) for name, end in ends)
        return cls(
            seed=as_seed(values.get("seed")),
            sheet=_whole(values.get("sheet"), 0, 10**6, 0),
            low=low,
            high=high,
            agreement=agreement if (agreement := values.get("agreement")) in AGREEMENTS else "any",
            order=order if (order := values.get("order")) in ORDERS else "chance",
            **{
                task.name: _whole(values.get(task.name), 0, len(task.labels) - 1, ANY)
                for task in CLASSES
            },
        )

    def query(self) -> str:
        """The filter as a link's parameters: the seed, and all values that are not defaults."""
        defaults = {f.name: f.default for f in fields(self)}
        labels = [task.name for task in CLASSES]
        order = ["seed", "sheet", "low", "high", *labels, "agreement", "order"]
        values = {name: getattr(self, name) for name in order}
        return address("faces", values, {**defaults, "seed": None})

    def said(self, tasks: Sequence[Task] = TASKS) -> str:
        """The limits in words, such as "ages 10 to 90, female". Empty if there are none.

        Classification tasks that are not in `tasks` are left out.
        """
        ages = (
            [f"ages {self.low} to {self.high}"]
            if (self.low, self.high) != (AGE.low, AGE.high)
            else []
        )
        chosen = [(task, getattr(self, task.name)) for task in CLASSES if task in tasks]
        classes = [task.words(index) for task, index in chosen if index != ANY]
        return ", ".join(
            [*ages, *classes, *([AGREEMENTS[self.agreement]] if self.agreement != "any" else [])]
        )

    @property
    def needs_predictions(self) -> bool:
        """Whether `FacePool.select` needs predictions for this filter."""
        return self.agreement != "any" or self.order != "chance"


def _whole(value: object, low: int, high: int, otherwise: int) -> int:
    """`value` as a whole number from `low` to `high`, or `otherwise` if it is none."""
    try:
        number = int(float(str(value)))
    except (TypeError, ValueError, OverflowError):
        return otherwise
    return number if low <= number <= high else otherwise


@dataclass(frozen=True)
class LabelledFace:
    """A face with its labels, {task name: value}. Missing labels are left out."""

    face: Face
    labels: dict[str, float]
    image: str  # the first 16 digits of its file's SHA-256
    caption: str = ""  # whose face it is


class FacePool:
    """Labelled faces to draw from. The same filter draws the same faces from the same pool."""

    def __init__(self, table: pd.DataFrame, *, are_composites: bool, name: str = "UTKFace"):
        self.table, self.are_composites, self.name = table, are_composites, name
        # One row per row of `table`, columns (task, approach). See `learn`.
        self.predictions: pd.DataFrame | None = None

    @classmethod
    def open(cls, dataset: Path, composites: Path) -> "FacePool":
        """The validation images of `dataset`, or the composites if there are none.

        A missing or damaged dataset is no error: the log says what is wrong with it. This never
        fails if the composites are there.
        """
        try:
            table, report = read_images(dataset, progress=False)
            if report.warning:
                say_error(report.warning)
            table = table[table["split"] == VALIDATION].reset_index(drop=True)
            if not table.empty:
                own = csv_of(dataset)
                return cls(table, are_composites=False, name=own.name if own else "UTKFace")
        except FaceMTLError as error:
            if os.path.lexists(dataset):
                say_error(error)
        return cls.of_composites(composites)

    @classmethod
    def of_composites(cls, folder: Path) -> "FacePool":
        """The composites of a folder."""
        return cls(read_images(folder, progress=False)[0], are_composites=True)

    @property
    def names(self) -> list[str]:
        """The names of the images, in order, as in saved results."""
        return list(self.table["sha256"].str[:16])

    @property
    def origin(self) -> str:
        """A text for the page: where the faces come from."""
        if self.are_composites:
            return (
                "Composites: each is the average of eight faces with the same labels. Nobody here"
                " is real."
            )
        return (
            f"Drawn from {len(self.table):,} validation images of {self.name}, which no model was"
            " trained on."
        )

    @property
    def caption(self) -> str:
        """Whose faces these are, as a caption below one of them."""
        if self.are_composites:
            return "A composite of eight people. It shows no real person."
        return f"A validation image of {self.name}. No model was trained on it."

    def learn(self, cache: PredictionCache) -> None:
        """Set `predictions` for all faces. This is slow if they are not in the cache."""

        def crops(positions: list[int]) -> list[np.ndarray]:
            return [whole(open_image(Path(self.table["file"][i]))).crop for i in positions]

        if self.predictions is None:
            self.predictions = cache.of(self.names, crops).reset_index(drop=True)

    def select(self, wanted: FaceFilter, tasks: Sequence[Task] = TASKS) -> np.ndarray:
        """Positions in `table` of the faces that pass the filter, in its order.

        `tasks` are the tasks on display. Only their labels and agreement are compared, but the age
        limits always apply. Call `learn` first if the filter needs predictions.
        """
        chosen = aged(self.table["age"], wanted.low, wanted.high)
        for task in CLASSES:
            if task in tasks and getattr(wanted, task.name) != ANY:
                chosen &= self.table[task.column] == getattr(wanted, task.name)
        shuffled = np.random.default_rng(wanted.seed).permutation(len(self.table))
        if wanted.agreement != "any":
            agree = [
                t.hits(*(self.predictions[t.name, a.name] for a in (SINGLE, MULTI))) for t in tasks
            ]
            chosen &= np.logical_and.reduce(agree) == (wanted.agreement == "agree")
        found = shuffled[chosen.to_numpy()[shuffled]]
        if wanted.order == "chance" or AGE.name not in self.predictions:
            return found
        ages = self.predictions[AGE.name]
        amount = (ages[MULTI.name] - ages[SINGLE.name]).abs()
        if wanted.order == "hardest":
            amount = ages.sub(self.table["age"], axis=0).abs().mean(axis=1)
        return found[np.argsort(-amount.to_numpy()[found], kind="stable")]

    def draw(self, n: int, wanted: FaceFilter, tasks: Sequence[Task] = TASKS) -> list[LabelledFace]:
        """The `n` faces of the filter's page: fewer on the last page, none after it.

        Images that cannot be read are skipped. Raises FaceMTLError if none of them can be read.
        """
        positions = self.select(wanted, tasks)[wanted.sheet * n :]
        drawn = self._read(positions, n)
        if len(positions) and not drawn:
            raise FaceMTLError("None of these faces can be read any more. Start the app again.")
        return drawn

    def of_images(self, images: Sequence[str], n: int) -> list[LabelledFace]:
        """The first `n` faces of the named images. Images that are not in the pool are left out.

        A name is the first 16 digits of a file's SHA-256.
        """
        positions = {key: i for i, key in enumerate(self.names)}
        return self._read([positions[key] for key in images if key in positions], n)

    def labelled(self, task: Task) -> "FacePool":
        """A pool of the faces that have a label of the task."""
        table = self.table[self.table[task.column].notna()].reset_index(drop=True)
        return FacePool(table, are_composites=self.are_composites, name=self.name)

    def known(self, images: Sequence[str]) -> list[str]:
        """The given images that are in the pool, in the given order."""
        here = set(self.names)
        return [key for key in images if key in here]

    def _read(self, positions: Sequence[int], n: int) -> list[LabelledFace]:
        drawn = []
        for position in positions:
            if len(drawn) == n:
                break
            row = self.table.iloc[position]
            try:
                face = whole(open_image(Path(row["file"])))
            except FaceMTLError:
                continue  # damaged or deleted since the folder was read: take the next one
            labels = {
                task.name: float(row[task.column]) for task in TASKS if pd.notna(row[task.column])
            }
            drawn.append(LabelledFace(face, labels, row["sha256"][:16], self.caption))
        return drawn


def aged(ages: pd.Series, low: float, high: float) -> pd.Series:
    """A mask of the ages from `low` to `high`. Missing ages pass if the range is unlimited."""
    return ages.between(low, high) | (ages.isna() & (low <= AGE.low) & (high >= AGE.high))


class CurrentPool:
    """The pool that all tabs draw from. It is read in a thread, and can be replaced later."""

    def __init__(self, reading: "Future[FacePool]"):
        self.reading = reading

    def done(self) -> bool:
        return self.reading.done()

    def result(self) -> FacePool:
        return self.reading.result()

    def replace(self, pool: FacePool) -> None:
        """Draw from another pool from now on. Faces on display stay until they are drawn again."""
        self.reading = Future()
        self.reading.set_result(pool)


def ready(pool: CurrentPool) -> FacePool:
    """The pool. Raises FaceMTLError while the images are still being read.

    It does not wait, because that would keep other visitors from the models.
    """
    if not pool.done():
        raise FaceMTLError(
            "The faces are still being read, as after every start of the app. Try again in a"
            " moment."
        )
    return pool.result()


async def wait(pool: CurrentPool) -> None:
    """Wait until the faces are read, without blocking a thread."""
    await asyncio.wrap_future(pool.reading)


def new_seed() -> int:
    """A random seed."""
    return random.randint(1, MAX_SEED)


def as_seed(value: object) -> int:
    """A seed from typed text or a link, or a new seed if it is invalid."""
    seed = _whole(value, 0, MAX_SEED, ANY)
    return new_seed() if seed == ANY else seed
