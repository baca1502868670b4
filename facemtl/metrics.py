"""Metrics: how predictions are scored, and how scores read."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Metric:
    """A metric: the mean over images of `scores(y_true, y_pred) -> (N,)`."""

    name: str
    title: str
    unit: str
    scores: Callable[[np.ndarray, np.ndarray], np.ndarray]
    lower_is_better: bool
    sentence: str  # compares both approaches; {multi} and {single} stand for their values
    verb: str  # what stands between "both are" and a value
    close: float  # smaller differences are not worth telling about a single kind of face

    def __call__(self, y_true: np.ndarray, y_pred: np.ndarray) -> float:
        return float(np.mean(self.scores(np.asarray(y_true, float), np.asarray(y_pred, float))))

    def gain(self, before, after):
        """How much better `after` is than `before`, in percent of `before`.

        Both are numbers or arrays. Above 0, `after` is better. It is infinite or NaN if `before`
        is 0, as it may be for very few images.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            return 100 * (np.divide(after, before) - 1) * (-1 if self.lower_is_better else 1)

    def number(self, value: float, sign: bool = False) -> str:
        """The value as text, such as '94.1' or '4.54'; with `sign`, '+94.1' or '+4.54'."""
        return f"{value:{'+' if sign else ''}.{1 if self.unit == '%' else 2}f}"

    def brief(self, value: float) -> str:
        """The value with its unit and few digits, such as '94 %' or '4.5 years'."""
        return f"{value:.{0 if self.unit == '%' else 1}f} {self.unit}"

    def words(self, value: float, sign: bool = False) -> str:
        """The value with its unit, such as '94.1 %' or '4.54 years'.

        With `sign`, the value is a difference, such as '+1.2 points' or '+0.12 years'.
        """
        unit = "points" if sign and self.unit == "%" else self.unit
        return f"{self.number(value, sign)} {unit}"


ACCURACY = Metric(
    "accuracy", "Accuracy", "%", lambda y_true, y_pred: 100.0 * (y_true == y_pred),
    lower_is_better=False,
    sentence="one model is right on {multi} of the faces, the three on {single}",
    verb="right on", close=2.0,
)  # fmt: skip
MAE = Metric(
    "mae", "Mean absolute error", "years", lambda y_true, y_pred: np.abs(y_pred - y_true),
    lower_is_better=True, sentence="one model is {multi} off on average, the three {single}",
    verb="off by", close=0.5,
)  # fmt: skip
