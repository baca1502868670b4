"""Statistics of UTKFace: the number of faces by label, and problems with files and labels.

They are only counts, so they may be published.
"""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from ..files import read_table, write_table
from ..tasks import AGE, GENDER, RACE
from .reading import FolderReport
from .utkface import LABELLED

COUNTS_FILE, PROBLEMS_FILE = "counts.csv", "problems.csv"
LEFT_OUT = "left out: "  # how problems begin whose files are not used
# An age is heaped, which means labelled too often, if it has at least HEAPED times as many images
# as the ages around it, and at least FEWEST.
HEAPED, FEWEST = 2, 50
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def counts(images: pd.DataFrame) -> pd.DataFrame:
    """The number of images with the same labels and split: `age, gender, race, split, n`.

    `images` is the table of `data.reading.read_images`.
    """
    return images.groupby(["age", "gender", "race", "split"]).size().rename("n").reset_index()


def of_ages(found: pd.DataFrame) -> pd.DataFrame:
    """The number of images of each age, and whether the age is heaped: `age, n, heaped`.

    `found` is the table of `counts`. There is one row for every age. A heaped age has at least
    HEAPED times the mean of the two ages before and the two after it, and at least FEWEST images.
    """
    ages = range(AGE.low, AGE.high + 1)
    n = found.groupby("age")["n"].sum().reindex(ages, fill_value=0)
    around = pd.concat([n.shift(by) for by in (-2, -1, 1, 2)], axis=1).mean(axis=1)
    heaped = (n >= HEAPED * around) & (n >= FEWEST)
    return pd.DataFrame({"age": list(ages), "n": n.to_numpy(), "heaped": heaped.to_numpy()})


def age_quantiles(found: pd.DataFrame) -> pd.DataFrame:
    """Quantiles of the ages in the images of each gender and race.

    `found` is the table of `counts`. Columns: `group`, and the quantile at each of LEVELS.
    """
    rows = []
    for task in (GENDER, RACE):
        for value, part in found.groupby(task.name):
            by = part.groupby("age")["n"].sum().sort_index()
            share = by.cumsum() / by.sum()
            rows.append(
                [
                    task.words(value),
                    *(float(by.index[np.searchsorted(share, level)]) for level in LEVELS),
                ]
            )
    return pd.DataFrame(rows, columns=["group", *map(str, LEVELS)])


def problems(files: pd.DataFrame, report: FolderReport) -> pd.DataFrame:
    """Problems with the files of `data.reading.read_files`, counted: `problem, n, of`.

    A problem applies to `n` of `of` files. A file is counted once among those left out.
    Differences, such as "gender differs", are counted over pairs of byte-identical files. The
    numbers of copies come from `report`, so call `without_copies` first.
    """
    n_files = len(files) + len(report.badly_named) + len(report.unreadable)
    further = report.copy_files - report.contradictory_files  # one of each group is kept
    further -= report.copy_groups - report.contradictory_groups
    rows = [
        (LEFT_OUT + "badly named", len(report.badly_named), n_files),
        (LEFT_OUT + "unreadable", len(report.unreadable), n_files),
        (LEFT_OUT + "copies with different labels", report.contradictory_files, n_files),
        (LEFT_OUT + "further copies with the same labels", further, n_files),
    ]
    labels = [task.column for task in LABELLED]
    copies = files[files.duplicated("sha256", keep=False)].groupby("sha256")[labels]
    pairs = [pair for _, group in copies for pair in combinations(group.to_numpy().tolist(), 2)]
    for i, task in enumerate(LABELLED):
        if task == AGE:
            differ = sum(abs(one[i] - other[i]) >= task.near for one, other in pairs)
            rows.append(
                (f"{task.name} differs by {task.near} {task.unit} or more", differ, len(pairs))
            )
        else:
            rows.append(
                (
                    f"{task.name} differs",
                    sum(one[i] != other[i] for one, other in pairs),
                    len(pairs),
                )
            )
    ages = files["age"]
    for age in (1, 26):
        rows.append((f"aged {age}", int((ages == age).sum()), len(files)))
    rows.append(
        ("aged a multiple of five, not zero", int(((ages % 5 == 0) & (ages > 0)).sum()), len(files))
    )
    return pd.DataFrame(rows, columns=["problem", "n", "of"])


def save(found: pd.DataFrame, wrong: pd.DataFrame, folder: Path) -> None:
    """Write the tables of `counts` and `problems`."""
    write_table(found, folder / COUNTS_FILE)
    write_table(wrong, folder / PROBLEMS_FILE)


def load(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the tables of `counts` and `problems` that `save` wrote.

    Raises FaceMTLError if one is missing or damaged.
    """
    command = f"python -m facemtl describe --output {folder}"
    types = {"age": int, "gender": int, "race": int, "split": str, "n": int}
    found = read_table(folder / COUNTS_FILE, types, command)
    return found, read_table(folder / PROBLEMS_FILE, {"problem": str, "n": int, "of": int}, command)
