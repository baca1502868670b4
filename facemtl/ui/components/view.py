"""What the Validation tab shows: predictions of some images, and tables made from them."""

from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd

from ...evaluation.ages import age_error_by_group, age_errors
from ...evaluation.compare import N_RESAMPLES
from ...inference.predictor import APPROACHES, Approach


@dataclass(frozen=True)
class View:
    """Saved predictions of some validation images, with the tables that figures are drawn from."""

    table: pd.DataFrame
    metrics: pd.DataFrame  # `evaluation.compare.metric_tables` of `table`
    seeds: pd.DataFrame | None = None  # `evaluation.seeds.age_errors_of_seeds`, of all images
    n_resamples: int = N_RESAMPLES  # of the bootstrap intervals

    @cached_property
    def errors(self) -> pd.DataFrame:
        return age_errors(self.table).round(2)

    @cached_property
    def groups(self) -> pd.DataFrame:
        return age_error_by_group(self.table, self.n_resamples)

    @property
    def overall(self) -> pd.DataFrame:
        return self.metrics[self.metrics["by"] == "all"]

    @cached_property
    def approaches(self) -> list[Approach]:
        """The approaches whose predictions are in the table."""
        names = set(self.table["approach"])
        return [approach for approach in APPROACHES if approach.name in names]

    def of(self, approach: Approach) -> "View":
        """A view of one approach's predictions. The metrics stay, because they compare both."""
        rows = self.table[self.table["approach"] == approach.name]
        return replace(self, table=rows)
