"""Tables -> plotly figures, all in one template."""

from .ages import bias_by_age, error_by_age, error_distribution, predicted_against_true
from .perturbations import metric_by_perturbation
from .style import COLORS, DASHES, SYMBOLS
from .trainings import spread_over_seeds, then_and_now

__all__ = [
    "COLORS", "DASHES", "SYMBOLS", "bias_by_age", "error_by_age", "error_distribution", "metric_by_perturbation",
    "predicted_against_true", "spread_over_seeds", "then_and_now",
]  # fmt: skip
