"""What if the crop were different: answers along a change of it, and with parts of it covered."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..tasks import Classification, Task
from .perturbations import BLUR, JPEG, LIGHT, ROTATION, SCALE, Perturbation
from .predictor import APPROACHES, Predictions, Predictor

GRID = 16  # cells along each side of a mask


@dataclass(frozen=True)
class Change:
    """A perturbation in steps from one end of its range to the other.

    One of `amounts` leaves the crop unchanged. `wordings` describe amounts below and above it.
    """

    perturbation: Perturbation
    title: str
    question: str
    amounts: tuple[float, ...]
    wordings: tuple[str, str]
    turn: int = 0

    @property
    def name(self) -> str:
        return self.perturbation.name

    @property
    def start(self) -> int:
        """The index of the amount that leaves the crop unchanged."""
        return self.amounts.index(self.perturbation.none)

    def apply(self, crop: np.ndarray, amount: float) -> np.ndarray:
        if amount == self.perturbation.none:
            return crop  # a perturbation may not be exact there: no JPEG is lossless
        return self.perturbation.apply(crop, amount, self.turn)

    def words(self, amount: float) -> str:
        """An amount in words, such as '30 % darker'."""
        if amount == self.perturbation.none:
            return "unchanged"
        return self.wordings[amount > self.perturbation.none].format(abs(amount))


CHANGES = (
    Change(
        LIGHT, "Light", "What if it is darker or brighter?",
        tuple(range(-75, 60, 15)), ("{} % darker", "{} % brighter"),
    ),
    Change(  # at turn 1, positive amounts are clockwise
        ROTATION, "Turn", "What if it is turned?",
        tuple(range(-40, 50, 10)), ("{} degrees anticlockwise", "{} degrees clockwise"), turn=1,
    ),
    Change(
        BLUR, "Blur", "What if it is blurred?",
        (0, 0.5, 1, 1.5, 2, 2.5, 3), ("", "blurred by {} % of a side"),
    ),
    Change(
        SCALE, "Size", "What if the face is smaller or larger in its crop?",
        tuple(range(-30, 40, 10)), ("{} % smaller", "{} % larger"),
    ),
    Change(
        JPEG, "Compress", "What if it is compressed?",
        (100, 80, 60, 40, 20, 10, 5), ("JPEG quality {} of 100", ""),
    ),
)  # fmt: skip


def along(
    predictor: Predictor, crop: np.ndarray, change: Change
) -> Iterator[tuple[np.ndarray, Predictions]]:
    """For each amount of the change: the changed crop, and the predictions for it."""
    for amount in change.amounts:
        changed = change.apply(crop, amount)
        yield changed, predictor.predict_crops([changed])


@dataclass(frozen=True)
class Curve:
    """One approach's answers for one task along a change.

    `values` are numbers of a regression. For a classification, they are probabilities, in percent,
    of `label`: the label that this approach answers for the unchanged crop.
    """

    values: tuple[float, ...]
    answers: tuple[str, ...]  # the answer at each point, in words
    confidences: tuple[float, ...]
    label: str = ""


def curves(task: Task, found: Sequence[Predictions], start: int) -> dict[str, Curve]:
    """The curve of each approach for a task, by approach. `start` is the unchanged point."""
    result = {}
    for approach in APPROACHES:
        rows = [
            p.table[(p.table["task"] == task.name) & (p.table["approach"] == approach.name)].iloc[0]
            for p in found
        ]
        answers = tuple(task.answer(row["prediction"]) for row in rows)
        confidences = tuple(float(row["confidence"]) for row in rows)
        if isinstance(task, Classification):
            label = answers[start]
            shares = tuple(100 * _share(p, task, approach.name, label) for p in found)
            result[approach.name] = Curve(shares, answers, confidences, label)
        else:
            values = tuple(float(row["prediction"]) for row in rows)
            result[approach.name] = Curve(values, answers, confidences)
    return result


def _share(found: Predictions, task: Task, approach: str, label: str) -> float:
    """The probability of a label."""
    p = found.probabilities
    chosen = (p["task"] == task.name) & (p["approach"] == approach) & (p["label"] == label)
    return float(p.loc[chosen, "probability"].iloc[0])


def covered(crop: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The crop with the mask's cells in its mean colour, as in an occlusion map.

    `crop` is uint8 (S, S, 3). `mask` is bool (GRID, GRID).
    """
    side = len(crop)
    cells = np.minimum(np.arange(side) * len(mask) // side, len(mask) - 1)
    result = crop.copy()
    result[mask[cells][:, cells]] = crop.mean(axis=(0, 1)).round()
    return result
