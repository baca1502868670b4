"""Saved results for the page. They may be damaged in ways that only the page would notice."""

from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import FaceMTLError
from ..evaluation.findings import FINDINGS_FILE, load_findings, sentences
from ..evaluation.groups import by_group
from ..evaluation.validation import METRICS_FILE, PREDICTIONS_FILE, load_metrics, load_validation
from .components.headline import headline

_COMMAND = "python -m facemtl evaluate --output"


def results(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The predictions and the metrics in a folder.

    Raises FaceMTLError if they are missing or damaged, or do not belong together.
    """
    table, metrics = load_validation(folder), load_metrics(folder)
    try:
        # ValueError: a prediction is there twice
        paired = table.pivot(index=["image", "task"], columns="approach", values="prediction")
        groups = {
            (by, group, task): n
            for by, group, rows in by_group(table)
            for task, n in rows.groupby("task")["image"].nunique().items()
        }
        counted = metrics.set_index(["by", "group", "task"])["n"].to_dict()
        is_whole = paired.shape[1] == 2 and not paired.isna().any(axis=None)
        if not is_whole or not groups.items() <= counted.items():
            raise ValueError("something is missing")
    except Exception as error:  # damaged tables raise nearly anything
        raise FaceMTLError(
            f"{PREDICTIONS_FILE} and {METRICS_FILE} in {folder} do not fit together. Make them"
            f" again with `{_COMMAND} {folder}`."
        ) from error
    return table, metrics


def findings(folder: Path) -> dict[str, Any]:
    """The findings in a folder. Raises FaceMTLError if they are missing or damaged."""
    found = load_findings(folder)
    try:
        sentences(found)
        headline(found)
        for row in found["tasks"]:
            float(row["difference"] + row["difference_low"] + row["difference_high"])
    except Exception as error:  # damaged findings raise nearly anything
        raise FaceMTLError(
            f"{FINDINGS_FILE} in {folder} is damaged. Make it again with `{_COMMAND} {folder}`."
        ) from error
    return found
