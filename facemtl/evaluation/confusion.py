"""How often each label is predicted for each label."""

import pandas as pd

from ..inference.predictor import APPROACHES
from ..tasks import Task


def confusion(table: pd.DataFrame, task: Task) -> pd.DataFrame:
    """`approach, target, prediction, n, share`: how often each label is answered by each, all pairs
    of labels.

    The share is in percent of the label's images; NaN where there are none.
    """
    rows = table[table["task"] == task.name]
    labels = range(task.n_outputs)
    keys = {"approach": [a.name for a in APPROACHES], "target": labels, "prediction": labels}
    every = pd.MultiIndex.from_product(keys.values(), names=keys)
    counts = rows.groupby(list(keys)).size().reindex(every, fill_value=0).rename("n").reset_index()
    of_label = counts.groupby(["approach", "target"])["n"].transform("sum")
    return counts.assign(share=100 * counts["n"] / of_label.where(of_label > 0))
