"""Age errors: per image, per age group, and cumulative."""

import numpy as np
import pandas as pd

from ..inference.predictor import APPROACHES
from ..tasks import AGE
from .compare import N_RESAMPLES, bootstrap
from .groups import AGE_GROUPS


def age_errors(table: pd.DataFrame) -> pd.DataFrame:
    """The signed age errors in years, one row per image and approach.

    Columns: `image, approach, target, prediction, error, low, high, age_group`.
    """
    rows = table[table["task"] == AGE.name]
    rows = rows.assign(error=rows["prediction"] - rows["target"])
    return rows[
        ["image", "approach", "target", "prediction", "error", "low", "high", "age_group"]
    ].reset_index(drop=True)


def age_error_by_group(
    table: pd.DataFrame, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Mean absolute error, bias and coverage of intervals, per age group and approach.

    Columns: `age_group, approach, n`; `mae` and `bias` in years, with the `_low` and `_high` of
    their 95 % bootstrap intervals; `coverage`, the percentage of labels that lie between `low` and
    `high`.
    """
    rows = []
    errors = age_errors(table)
    for (name, approach), group in errors.groupby(["age_group", "approach"]):
        signed = group["error"].to_numpy()
        resampled = bootstrap(np.column_stack([np.abs(signed), signed]), n_resamples, seed)
        row = {"age_group": name, "approach": approach, "n": len(group)}
        for column, value, samples in zip(
            ("mae", "bias"), (np.abs(signed).mean(), signed.mean()), resampled.T, strict=True
        ):
            row[column] = value
            row[f"{column}_low"], row[f"{column}_high"] = np.percentile(samples, [2.5, 97.5])
        row["coverage"] = 100 * float(
            ((group["low"] <= group["target"]) & (group["target"] <= group["high"])).mean()
        )
        rows.append(row)
    known = [*AGE_GROUPS, *(a.name for a in APPROACHES)]
    order = {name: position for position, name in enumerate(known)}
    return pd.DataFrame(rows).sort_values(
        ["age_group", "approach"], key=lambda column: column.map(order), ignore_index=True
    )


def cumulative_scores(errors: pd.DataFrame, most: int = 20) -> pd.DataFrame:
    """The percentage of images whose age error is at most N years, from 0 to `most`.

    `errors` is the table of `age_errors`. Columns: `approach, years, share`.
    """
    rows = [
        (approach, years, 100 * float((group["error"].abs() <= years).mean()))
        for approach, group in errors.groupby("approach")
        for years in range(most + 1)
    ]
    return pd.DataFrame(rows, columns=["approach", "years", "share"])
