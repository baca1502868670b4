"""Plotly figures drawn from tables, all in the same style."""

from .ages import (
    SQUARE,
    bias_by_age,
    coverage_by_age,
    cumulative_score,
    difference_by_age,
    error_by_age,
    error_distribution,
    predicted_against_true,
)
from .dataset import ages, ages_of_groups, people
from .groups import metric_by_group
from .of_approach import of_approach
from .perturbations import metric_by_perturbation
from .style import COLORS, DASHES, PALETTE, SYMBOLS, blank
from .trainings import compared_with_2018, learning_curves, over_shares, spread_over_seeds
from .trust import FEWEST, confusion_matrices, reliability_diagram

__all__ = [
    "COLORS",
    "DASHES",
    "FEWEST",
    "PALETTE",
    "SQUARE",
    "SYMBOLS",
    "ages",
    "ages_of_groups",
    "bias_by_age",
    "blank",
    "compared_with_2018",
    "confusion_matrices",
    "coverage_by_age",
    "cumulative_score",
    "difference_by_age",
    "error_by_age",
    "error_distribution",
    "learning_curves",
    "metric_by_group",
    "metric_by_perturbation",
    "of_approach",
    "over_shares",
    "people",
    "predicted_against_true",
    "reliability_diagram",
    "spread_over_seeds",
]  # fmt: skip
