"""Age errors: by age, by group, cumulative."""

import numpy as np
import pandas as pd

from ..tasks import AGE
from .compare import N_RESAMPLES, bootstrap
from .groups import AGE_GROUPS


def age_errors(table: pd.DataFrame) -> pd.DataFrame:
    """One row per image and approach: `image, approach, target, prediction, error, low, high,
    age_group`.

    The error is signed, in years.
    """
    rows = table[table["task"] == AGE.name]
    rows = rows.assign(error=rows["prediction"] - rows["target"])
    return rows[
        ["image", "approach", "target", "prediction", "error", "low", "high", "age_group"]
    ].reset_index(drop=True)


def age_error_by_group(
    table: pd.DataFrame, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Per age group and approach: `mae` and `bias` (years) with their 95 % bootstrap intervals,
    `n`, and `coverage`.

    Coverage is the share of labels, in percent, that lie between `low` and `high`.
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
    order = {name: position for position, name in enumerate(AGE_GROUPS)}
    result = pd.DataFrame(rows)
    return result.sort_values(
        ["age_group", "approach"],
        key=lambda c: c.map(order) if c.name == "age_group" else c,
        ignore_index=True,
    )


def cumulative_scores(errors: pd.DataFrame, most: int = 20) -> pd.DataFrame:
    """`age_errors` -> `approach, years, share`: the share of images, in percent, that are at most
    so many years off.
    """
    rows = [
        (approach, years, 100 * float((group["error"].abs() <= years).mean()))
        for approach, group in errors.groupby("approach")
        for years in range(most + 1)
    ]
    return pd.DataFrame(rows, columns=["approach", "years", "share"])
