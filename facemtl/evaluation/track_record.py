"""Track records: how good earlier answers of the same kind were."""

import pandas as pd

from ..tasks import AGE
from .compare import FEW, tasks_of
from .groups import age_groups

NO_LABEL = -1.0  # stands for the label's index in answers about age


def track_records(table: pd.DataFrame) -> pd.DataFrame:
    """How good answers of each kind were on validation images: `n` and the metric's `value`.

    The index is `task, approach, band, answer`: the kind of an answer. `band` is the age group that
    the same approach predicts for the face, or "" if it predicts no age. `answer` is the predicted
    label's index, or NO_LABEL for ages. Kinds use predictions only, so they are known for
    unlabelled faces, too.
    """
    kinds = _kinds(table)
    keys = ["task", "approach", "band", "answer"]
    scores = pd.concat(
        pd.Series(
            task.metric.scores(rows["target"].to_numpy(float), rows["prediction"].to_numpy(float)),
            rows.index,
        )
        for task in tasks_of(table)
        for rows in [table[table["task"] == task.name]]
    )
    return kinds.assign(value=scores).groupby(keys)["value"].agg(n="size", value="mean")


def track_record(records: pd.DataFrame, predictions: pd.DataFrame) -> dict[str, dict[str, float]]:
    """The metric's value for earlier answers like those to one face, by task and approach.

    Kinds with fewer than FEW images are left out.
    """
    found: dict[str, dict[str, float]] = {name: {} for name in predictions["task"].unique()}
    for key in _kinds(predictions).itertuples(index=False):
        if tuple(key) in records.index and (row := records.loc[tuple(key)])["n"] >= FEW:
            found[key.task][key.approach] = float(row["value"])
    return found


def _kinds(table: pd.DataFrame) -> pd.DataFrame:
    """The kind of each row of a predictions table: `task, approach, band, answer`."""
    rows = table[["image", "task", "approach"]]
    ages = rows[rows["task"] == AGE.name].assign(band=age_groups(table["prediction"]))
    bands = rows.merge(ages[["image", "approach", "band"]], how="left", on=["image", "approach"])[
        "band"
    ]
    answers = table["prediction"].where(table["low"].isna(), NO_LABEL)
    return rows[["task", "approach"]].assign(band=bands.fillna("").to_numpy(), answer=answers)
