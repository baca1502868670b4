"""A cache of predictions for dataset faces."""

from collections.abc import Callable, Sequence
from threading import Lock

import numpy as np
import pandas as pd

from ..evaluation.validation import are_results_of
from ..inference.predictor import APPROACHES, Predictor, in_words

AT_ONCE = 16  # faces whose crops are in memory together
KEEP = 1000  # faces whose answers are remembered with all probabilities, about 30 kB each


class PredictionCache:
    """Predictions for named faces: saved ones, and those made earlier on demand.

    The saved ones are `of_composites` and, if they come from these models, `results`. All visitors
    share the cache: a face that one visitor has seen needs no models for the next one. Uploaded
    photos are never in it.
    """

    def __init__(
        self,
        predictor: Predictor,
        results: pd.DataFrame | None = None,
        of_composites: pd.DataFrame | None = None,
    ):
        self.predictor = predictor
        names = [[task.name for task in predictor.tasks], [a.name for a in APPROACHES]]
        self._known = pd.DataFrame(columns=pd.MultiIndex.from_product(names), dtype=float)
        self._in_words: dict[str, list[dict]] = {}
        self._taking = Lock()  # events of two queues use the cache
        if results is not None and are_results_of(predictor, results):
            self._take(results)
        if of_composites is not None and len(of_composites):
            self._take(of_composites)

    def of(
        self, names: Sequence[str], crops: Callable[[list[int]], Sequence[np.ndarray]]
    ) -> pd.DataFrame:
        """The predictions for named faces: one row per name, in order, columns (task, approach).

        `crops` returns the crops at the given positions in `names`. It is called only for faces
        that are not in the cache.
        """
        missing = [i for i, name in enumerate(names) if name not in self._known.index]
        for start in range(0, len(missing), AT_ONCE):
            positions = missing[start : start + AT_ONCE]
            self._take(
                self.predictor.predict_crops(crops(positions), [names[i] for i in positions]).table
            )
        return self._known.loc[list(names)]

    def in_words(
        self, names: Sequence[str], crops: Callable[[list[int]], Sequence[np.ndarray]]
    ) -> list[list[dict]]:
        """The predictions for named faces, as `in_words` of `inference.predictor` returns them.

        They include the probability of every label. Saved results do not, so these predictions have
        a cache of their own.
        """
        missing = [i for i, name in enumerate(names) if name not in self._in_words]
        predictions = self.predictor.predict_crops(crops(missing), faces=range(len(missing)))
        self._in_words.update(zip((names[i] for i in missing), in_words(predictions), strict=True))
        found = [self._in_words[name] for name in names]
        for name in list(self._in_words)[:-KEEP]:
            del self._in_words[name]
        return found

    def _take(self, table: pd.DataFrame) -> None:
        """Add the faces of a predictions table to the cache, if they have all predictions.

        Saved results lack a task's prediction for a face that has no label of the task.
        """
        wide = (
            table.pivot_table("prediction", "image", ["task", "approach"])
            .reindex(columns=self._known.columns)
            .dropna()
        )
        with self._taking:
            new = wide[~wide.index.isin(self._known.index)]
            self._known = pd.concat([self._known, new]) if len(self._known) else new
