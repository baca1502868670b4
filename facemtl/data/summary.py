"""What is in UTKFace: how many faces of whom, and what is wrong with the labels, as counts that may
be passed on.
"""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from ..files import read_table, write_table
from ..tasks import AGE, GENDER, RACE
from .reading import Findings
from .utkface import LABELLED

COUNTS_FILE, PROBLEMS_FILE = "counts.csv", "problems.csv"
HEAPED, FEWEST = (
    2,
    50,
)  # an age of twice as many images as around it, and of so many at least, is labelled too often
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
_COMMAND = "python -m facemtl describe"


def counts(images: pd.DataFrame) -> pd.DataFrame:
    """Of `data.read_images`: `age, gender, race, split, n`, how many images have these labels."""
    return images.groupby(["age", "gender", "race", "split"]).size().rename("n").reset_index()


def of_ages(found: pd.DataFrame) -> pd.DataFrame:
    """Of `counts`: `age, n, heaped`, a row for every age; heaped are those of HEAPED times as many
    images as around them.

    Around an age are the two before and the two after it.
    """
    ages = range(AGE.low, AGE.high + 1)
    n = found.groupby("age")["n"].sum().reindex(ages, fill_value=0)
    around = pd.concat([n.shift(by) for by in (-2, -1, 1, 2)], axis=1).mean(axis=1)
    heaped = (n >= HEAPED * around) & (n >= FEWEST)
    return pd.DataFrame({"age": list(ages), "n": n.to_numpy(), "heaped": heaped.to_numpy()})


def age_quantiles(found: pd.DataFrame) -> pd.DataFrame:
    """Of `counts`: `group` and, for each of LEVELS, the age below which such a share of each
    gender's and race's images is.
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


def problems(files: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    """`problem, n, of`: what is wrong with the files of `data.read_files`, and of how many; copies
    are counted in `findings`.

    Differences are over pairs of byte-identical files: "gender differs", "age differs by five or
    more".
    """
    n_files = len(files) + len(findings.badly_named) + len(findings.unreadable)
    rows = [
        ("badly named", len(findings.badly_named), n_files),
        ("unreadable", len(findings.unreadable), n_files),
        ("copies of another file", findings.copy_files - findings.copy_groups, n_files),
        ("left out: copies with other labels", findings.contradictory_files, n_files),
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
    write_table(found, folder / COUNTS_FILE)
    write_table(wrong, folder / PROBLEMS_FILE)


def load(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The counts and the problems that `save` wrote."""
    types = {"age": int, "gender": int, "race": int, "split": str, "n": int}
    found = read_table(folder / COUNTS_FILE, types, _COMMAND)
    return found, read_table(
        folder / PROBLEMS_FILE, {"problem": str, "n": int, "of": int}, _COMMAND
    )
