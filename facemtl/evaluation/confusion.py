"""Confusion matrices: how often each label is predicted for each true label."""

import pandas as pd

from ..inference.predictor import APPROACHES
from ..tasks import Task


def confusion(table: pd.DataFrame, task: Task) -> pd.DataFrame:
    """The confusion matrices of both approaches, one row per approach and pair of labels.

    Columns: `approach, target, prediction, n, share`. `share` is in percent of the images with this
    target; NaN if there are none.
    """
    rows = table[table["task"] == task.name]
    labels = range(task.n_outputs)
    keys = {"approach": [a.name for a in APPROACHES], "target": labels, "prediction": labels}
    every = pd.MultiIndex.from_product(keys.values(), names=keys)
    counts = rows.groupby(list(keys)).size().reindex(every, fill_value=0).rename("n").reset_index()
    of_label = counts.groupby(["approach", "target"])["n"].transform("sum")
    return counts.assign(share=100 * counts["n"] / of_label.where(of_label > 0))
