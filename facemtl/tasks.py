"""Tasks: what models predict for a face, and everything that differs between these predictions.

A task has the number of outputs of its head, its loss and its metric. It turns outputs into a
prediction with its uncertainty, and a value into words. Other code (training, tables, plots, tabs)
loops over tasks and does not need to know which one it has.

Both kinds of task, classification and regression, predict a probability distribution: over labels,
or over years.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from .errors import FaceMTLError
from .label_sets import Labels, used_labels
from .metrics import ACCURACY, MAE

if TYPE_CHECKING:  # losses only call methods of tensors, so that prediction needs no torch
    from torch import Tensor

INTERVAL = 0.90  # the nominal coverage of the interval from `low` to `high`


@dataclass(frozen=True)
class Task:
    """The base class of both kinds of task. It is frozen, because a task is a constant."""

    name: str
    # About the loss that a single-task model reaches on validation images. JointLoss divides the
    # task's loss by it.
    loss_scale: float
    sensitive: bool = False  # visitors of the app can hide the task

    @property
    def title(self) -> str:
        return self.name.capitalize()

    @property
    def column(self) -> str:
        """The column of the dataset's table that has this task's labels."""
        return self.name

    def probabilities(self, logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
        """Logits (B, n_outputs) -> probabilities (B, n_outputs). Each row sums to 1."""
        return np.exp(_log_softmax(np.asarray(logits, np.float64) / temperature))

    @staticmethod
    def best_temperature(logits: np.ndarray, target: np.ndarray) -> float:
        """The temperature that minimises the cross-entropy of logits (N, n_outputs).

        `target` (N,) has the index of each image's true output. The method is described in Guo et
        al., "On Calibration of Modern Neural Networks", ICML 2017.
        """
        logits, rows = np.asarray(logits, np.float64), np.arange(len(target))
        temperatures = np.logspace(-1, 1, 401)  # 0.1 to 10, in steps of 1.2 %
        indices = np.asarray(target).astype(int)
        losses = [-_log_softmax(logits / t)[rows, indices].mean() for t in temperatures]
        return round(float(temperatures[np.argmin(losses)]), 4)


@dataclass(frozen=True)
class Classification(Task):
    """A task that predicts one of several labels. A value is the label's index."""

    labels: tuple[str, ...] = ()
    label_smoothing: float = 0.08  # labels are noisy: they differ in 10 to 18 % of identical pairs

    metric = ACCURACY
    change_unit = "points of probability"
    confidence_words = "sure"

    @property
    def n_outputs(self) -> int:
        return len(self.labels)

    @property
    def bins(self) -> tuple[str, ...]:
        """The label of each output."""
        return self.labels

    @property
    def axis(self) -> str:
        return self.title

    def loss(self, logits: "Tensor", target: "Tensor") -> "Tensor":
        """Cross-entropy of each image: logits (B, n_outputs), label indices (B,) -> (B,).

        It is (1 - e) (-log p[target]) + e mean(-log p), where e is the label smoothing (Szegedy et
        al., CVPR 2016).
        """
        log_p = logits.log_softmax(dim=1)
        of_target = log_p.gather(1, target.long()[:, None])[:, 0]
        return -of_target.lerp(log_p.mean(dim=1), self.label_smoothing)

    def decode(self, probabilities: np.ndarray, margin: float = 0.0) -> dict[str, np.ndarray]:
        """The most probable label and its probability: (B, n_outputs) -> (B,) each.

        `low` and `high` are NaN, because a label has no interval. `margin` is not used.
        """
        prediction, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
        unknown = np.full_like(confidence, np.nan)
        return {
            "prediction": prediction.astype(float),
            "confidence": confidence,
            "low": unknown,
            "high": unknown,
        }

    def change(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """How much the probability of the label predicted before changes, in percentage points.

        Probabilities (1, n_outputs), (N, n_outputs) -> (N,). Changes are never negative.
        """
        answered = before[0].argmax()
        return 100 * np.abs(after[:, answered] - before[0, answered])

    def hits(self, target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        """Whether each prediction is right, (N,) of bool.

        `confidence` is the probability of this.
        """
        return prediction == target

    def calibrate(self, logits: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Fit the temperature to held-out logits (N, n_outputs) and labels (N,)."""
        return {"temperature": self.best_temperature(logits, target)}

    def words(self, value: float) -> str:
        return self.labels[int(value)]

    answer = words

    @property
    def accepts(self) -> str:
        """The texts that `value` accepts, in words."""
        return f"{', '.join(self.labels)}, or 0 to {self.n_outputs - 1}"

    def value(self, text: str) -> float:
        """The index of a label, given as its name in upper or lower case, or as its index.

        Raises ValueError if the text is neither.
        """
        names = [label.lower() for label in self.labels]
        index = names.index(text.lower()) if text.lower() in names else _number(text)
        if index not in range(self.n_outputs):
            raise ValueError(text)
        return float(index)

    def spread(self, predictions: np.ndarray) -> str:
        """Several predictions for one face in words, such as 'female in 9, male in 3 of 12 views'.

        The most common label comes first.
        """
        values, counts = np.unique(predictions, return_counts=True)
        said = [
            f"{self.words(values[i])} in {counts[i]}" for i in np.argsort(-counts, kind="stable")
        ]
        return f"{', '.join(said)} of {len(predictions)} views"


@dataclass(frozen=True)
class Regression(Task):
    """A task that predicts a number, as a distribution over the integers from `low` to `high`.

    It is trained like DLDL-v2 (Gao et al., IJCAI 2018). The loss is the cross-entropy against a
    Gaussian around the label, plus a smooth L1 term between the label and the expectation of the
    predicted distribution.
    """

    unit: str = ""
    low: int = 0
    high: int = 100
    sigma: float = 2.5  # standard deviation of the target distribution, in units
    near: int = 5  # in units; confidence is the probability of an error of at most `near`

    metric = MAE

    @property
    def change_unit(self) -> str:
        return self.unit

    @property
    def confidence_words(self) -> str:
        return f"within {self.near} {self.unit}"

    @property
    def n_outputs(self) -> int:
        return self.high - self.low + 1

    @property
    def bins(self) -> tuple[int, ...]:
        """The number that each output stands for."""
        return tuple(range(self.low, self.high + 1))

    @property
    def axis(self) -> str:
        return f"{self.title} ({self.unit})"

    @cached_property
    def _values(self) -> np.ndarray:
        return np.arange(self.low, self.high + 1, dtype=np.float64)

    def loss(self, logits: "Tensor", target: "Tensor") -> "Tensor":
        """Loss of each image: logits (B, n_outputs), values (B,) -> (B,).

        It is the cross-entropy plus half of the L1 term, which is quadratic up to 2 units.
        """
        values, target = logits.new_tensor(self._values), target.float()[:, None]
        distribution = (-((values - target) ** 2) / (2 * self.sigma**2)).softmax(dim=1)
        log_p = logits.log_softmax(dim=1)
        cross_entropy = -(distribution * log_p).sum(dim=1)
        error = ((log_p.exp() * values).sum(dim=1, keepdim=True) - target).abs()
        near = error.clamp(max=2)
        return cross_entropy + (near**2 / 4 + error - near)[:, 0] / 2

    def decode(self, probabilities: np.ndarray, margin: float = 0.0) -> dict[str, np.ndarray]:
        """The median, its confidence and the central interval: (B, n_outputs) -> (B,) each.

        The prediction is the median, because it has the least expected absolute error, which is
        the metric. Confidence is the probability within `near` units of the median. `margin`, in
        units, comes from `calibrate`. It extends the interval at both ends. A negative margin does
        not move an end that is at the end of the range. Otherwise no interval would contain the
        age 0.
        """
        prediction = self.quantile(probabilities, 0.5)
        is_near = np.abs(self._values - prediction[:, None]) <= self.near
        tail = (1 - INTERVAL) / 2
        low, high = self.quantile(probabilities, tail), self.quantile(probabilities, 1 - tail)
        low = np.where(low <= self.low, low, low - margin)
        high = np.where(high >= self.high, high, high + margin)
        return {
            "prediction": prediction,
            "confidence": (probabilities * is_near).sum(axis=1),
            "low": np.minimum(low, prediction).clip(min=self.low),
            "high": np.maximum(high, prediction).clip(max=self.high),
        }

    def change(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """How much the median changes, in units.

        Probabilities (1, n_outputs), (N, n_outputs) -> (N,). Changes are never negative.
        """
        return np.abs(self.quantile(after, 0.5) - self.quantile(before, 0.5))

    def hits(self, target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        """Whether each prediction is at most `near` units off, (N,) of bool.

        `confidence` is the probability of this.
        """
        return np.abs(prediction - target) <= self.near

    def calibrate(self, logits: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Fit the temperature and interval margin to held-out logits (N, n_outputs), values (N,).

        With the margin, intervals cover about INTERVAL of new images. It is the margin of
        conformalised quantile regression (CQR, Romano et al., NeurIPS 2019). The guarantee of CQR
        would be exact if the temperature were fitted on other images. It is nearly exact here,
        because the temperature is only one number.
        """
        target = np.asarray(target, float)
        temperature = self.best_temperature(logits, target.round() - self.low)
        decoded = self.decode(self.probabilities(logits, temperature))
        # How far values are outside their intervals; negative inside.
        outside = np.sort(np.maximum(decoded["low"] - target, target - decoded["high"]))
        rank = math.ceil((len(outside) + 1) * INTERVAL)  # the finite-sample quantile
        return {
            "temperature": temperature,
            "margin": round(float(outside[min(rank, len(outside)) - 1]), 4),
        }

    def quantile(self, probabilities: np.ndarray, level: float) -> np.ndarray:
        """The value at which the cumulative distribution reaches `level`: (B, n_outputs) -> (B,).

        The cumulative distribution is linear within each bin.
        """
        cumulative = probabilities.cumsum(axis=1)
        bin_ = (cumulative < level).sum(axis=1).clip(max=self.n_outputs - 1)
        rows = np.arange(len(probabilities))
        mass = probabilities[rows, bin_].clip(min=1e-9)
        # A bin extends half a unit to both sides of its value.
        within = ((level - cumulative[rows, bin_] + mass) / mass).clip(0, 1) - 0.5
        return (self.low + bin_ + within).clip(self.low, self.high)

    @property
    def accepts(self) -> str:
        """The texts that `value` accepts, in words."""
        return f"a number from {self.low} to {self.high}"

    def value(self, text: str) -> float:
        """The number in a text, with a decimal point or comma.

        Raises ValueError if it is no number, or not from `low` to `high`.
        """
        number = _number(text.replace(",", "."))
        if not self.low <= number <= self.high:
            raise ValueError(text)
        return number

    def words(self, value: float) -> str:
        number = f"{value:.0f}"
        return f"{number} {self.unit.removesuffix('s') if number == '1' else self.unit}"

    def answer(self, prediction: float) -> str:
        """A prediction in words, with one digit more than a label, such as '31.4 years'."""
        return f"{prediction:.1f} {self.unit}"

    def spread(self, predictions: np.ndarray) -> str:
        """Several predictions for one face in words, such as '31 to 36 years in 12 views'."""
        return (
            f"{predictions.min():.0f} to {predictions.max():.0f} {self.unit} in {len(predictions)}"
            " views"
        )


GENDER = Classification("gender", loss_scale=0.35, sensitive=True, labels=("male", "female"))
RACE = Classification(
    "race", loss_scale=0.80, sensitive=True, labels=("White", "Black", "Asian", "Indian", "Others")
)
AGE = Regression("age", loss_scale=5.4, unit="years", low=0, high=116)


def with_labels(tasks: Sequence[Task], declared: Labels) -> tuple[Task, ...]:
    """The tasks with the labels of `label_sets`, and the tasks that these add.

    Raises FaceMTLError if labels are declared for a regression.
    """
    named = {task.name: task for task in tasks}
    for name, labels in declared.items():
        task = named.get(name, Classification(name, loss_scale=0))
        if not isinstance(task, Classification):
            raise FaceMTLError(
                f"{name} is a number, so it cannot have the labels {', '.join(labels)}. Remove them"
                " from labels.toml."
            )
        # Half of the loss of a guess is about what models reach for the built-in tasks, too.
        named[name] = replace(task, labels=labels, loss_scale=round(math.log(len(labels)) / 2, 2))
    return tuple(named.values())


TASKS = with_labels((GENDER, RACE, AGE), used_labels())
CLASSES = tuple(task for task in TASKS if isinstance(task, Classification))


def _number(text: str) -> float:
    if "_" in text:  # `float` reads 1_0 as 10
        raise ValueError(text)
    return float(text)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def task_named(name: str) -> Task:
    """The task of this name. Raises FaceMTLError, which lists all names, if there is none."""
    for task in TASKS:
        if task.name == name:
            return task
    raise FaceMTLError(
        f"There is no task named {name!r}. The tasks are {', '.join(t.name for t in TASKS)}."
    )
