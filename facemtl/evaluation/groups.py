"""Groups of faces, by their labels and by age."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import pandas as pd

from ..tasks import AGE, CLASSES, Task

AGE_BANDS = (0, 3, 10, 20, 30, 40, 50, 60, 70, 117)  # each band ends before the next one starts


def band_names(bands: Sequence[int]) -> tuple[str, ...]:
    """Names of age bands: (0, 3, ..., 117) -> ('0-2', ..., '70+')."""
    return tuple(
        f"{low}+" if high > AGE.high else f"{low}-{high - 1}" for low, high in pairwise(bands)
    )


AGE_GROUPS = band_names(AGE_BANDS)


def age_groups(ages: pd.Series) -> pd.Series:
    """The age group of each age, as text from AGE_GROUPS; NaN if the age is NaN."""
    return pd.cut(ages, AGE_BANDS, right=False, labels=AGE_GROUPS).astype(str).where(ages.notna())


# Tasks by whose labels images are grouped: none, each classification task, all sensitive ones.
# `by_group` adds age groups.
_TOGETHER = tuple(task for task in CLASSES if task.sensitive)
GROUPINGS = ((), *((task,) for task in CLASSES), *((_TOGETHER,) if len(_TOGETHER) > 1 else ()))


def grouping_name(tasks: Sequence[Task]) -> str:
    """The name of a grouping: 'all', 'gender', or 'gender x race'."""
    return " x ".join(task.name for task in tasks) or "all"


def by_group(table: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Groups as (by, group, rows): everybody, then the groups of GROUPINGS, then age groups."""
    for tasks in GROUPINGS:
        if not tasks:
            yield "all", "all", table
            continue
        for values, rows in table.groupby([task.name for task in tasks]):
            words = [task.words(value) for task, value in zip(tasks, values, strict=True)]
            yield grouping_name(tasks), ", ".join(words), rows
    for group in AGE_GROUPS:
        if len(rows := table[table["age_group"] == group]):
            yield "age_group", group, rows
