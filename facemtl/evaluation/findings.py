"""The findings of the comparison, as data in `findings.json` and as sentences.

README, model card and app show them.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import FaceMTLError
from ..files import read_table, write_whole
from ..inference.predictor import APPROACHES, MULTI, SINGLE
from ..paths import ASSETS, ROOT
from ..regular import read_text
from ..tasks import AGE, task_named
from . import cost
from .compare import delta_m, favoured
from .seeds import SEEDS_FILE, compare_seeds, delta_m_of_seeds, load_seeds
from .validation import METRICS_FILE, PREDICTIONS_FILE, load_metrics, load_validation

FINDINGS_FILE = "findings.json"
HISTORY_FILE = ASSETS / "history" / "2018.csv"
_JUDGED = {
    MULTI.name: "One model is better.",
    SINGLE.name: "Three models are better.",
    None: "The difference is not significant.",
}
_VERDICTS = {  # keys: is one model better at any task, are three better at any task
    (True, False): "One model is better on some tasks, and not significantly worse on any.",
    (False, False): "No difference between one model and three is significant.",
    (False, True): "One model is worse on some tasks, and not significantly better on any.",
    (True, True): "One model is significantly better on some tasks, and worse on others.",
}


def overall(folder: Path) -> pd.DataFrame:
    """Both approaches' metrics over all images, with intervals.

    If the table of seeds exists, they are means over seeds. Columns as in `compare.compare`, and
    `seeds`, `single_sd`, `multi_sd`.
    """
    return _overall(folder, _seeds(folder))


def _seeds(folder: Path) -> pd.DataFrame | None:
    """The table of seeds, or None if seeds are not measured."""
    return load_seeds(folder) if (folder / SEEDS_FILE).exists() else None


def _overall(folder: Path, seeds: pd.DataFrame | None) -> pd.DataFrame:
    if seeds is not None:
        return compare_seeds(seeds)
    metrics = load_metrics(folder)
    return metrics[metrics["by"] == "all"].assign(seeds=1, single_sd=np.nan, multi_sd=np.nan)


def findings(folder: Path, new: Path | None = None) -> dict[str, Any]:
    """The findings from the tables in `folder`, in types that JSON has.

    The tables in the folder `new` count in place of those of the same name in `folder`.
    A task's `better` is the significantly better approach, or None: it is judged by the 95 %
    interval of the difference. Shares of cost are in percent.
    """

    def of(name: str) -> Path:
        return new if new and (new / name).exists() else folder

    seeds = _seeds(folder)
    measured = _overall(of(METRICS_FILE), seeds)
    columns = ["task", "metric", "n", "seeds", *(a.name for a in APPROACHES), "difference"]
    columns += ["single_sd", "multi_sd", "difference_low", "difference_high"]
    rows = json.loads(measured[columns].to_json(orient="records", double_precision=4))
    for row, found in zip(rows, measured.itertuples(), strict=True):
        better = favoured(found)
        row["better"] = better.name if better else None
    if seeds is None:
        value, low, high = delta_m(load_validation(of(PREDICTIONS_FILE)))
    else:
        gain = delta_m_of_seeds(seeds)
        value, low, high = gain["value"], gain["low"], gain["high"]
    gain = {"value": round(value, 4), "low": round(low, 4), "high": round(high, 4)}
    return {"tasks": rows, "delta_m": gain, "cost_share": _cost_share(of(cost.COSTS_FILE))}


def _cost_share(folder: Path) -> dict[str, float] | None:
    """One model's costs in percent of three models' costs; None if costs are not measured."""
    if not (folder / cost.COSTS_FILE).exists():
        return None
    by = cost.load(folder).query(f"model == '{cost.ALL}'").set_index("approach")
    one, three = by.loc[MULTI.name], by.loc[SINGLE.name]
    return {c: round(100 * float(one[c] / three[c]), 2) for c in ("parameters", "milliseconds")}


def save_findings(folder: Path, new: Path | None = None) -> None:
    """Write the findings of `folder` into the folder `new`, or into itself."""
    content = json.dumps(findings(folder, new), indent=1) + "\n"
    write_whole((new or folder) / FINDINGS_FILE, content.encode())


def load_findings(folder: Path) -> dict[str, Any]:
    """What `save_findings` wrote. Raises FaceMTLError if it is missing or damaged."""
    try:
        found = json.loads(read_text(folder / FINDINGS_FILE))
        if not isinstance(found, dict) or not {"tasks", "cost_share"} <= {*found}:
            raise ValueError("something is missing")
        return found
    except (OSError, ValueError) as error:
        raise FaceMTLError(
            f"{FINDINGS_FILE} in {folder} is missing or damaged. Make it with"
            f" `python -m facemtl evaluate --output {folder}`."
        ) from error


def sentences(found: dict[str, Any]) -> tuple[str, list[tuple[str, str]], list[str]]:
    """Findings in words: an introduction, one sentence per task and for costs, and conclusions.

    Each sentence comes as (subject, sentence). The subject is a task's name, or "cost".
    """
    rows, said = found["tasks"], []
    for row in rows:
        metric = task_named(row["task"]).metric
        words = {a.name: metric.words(row[a.name]) for a in APPROACHES}
        said.append((row["task"], f"{metric.sentence.format(**words)}. {_JUDGED[row['better']]}"))
    if share := found["cost_share"]:
        sentence = (
            "one model has {parameters:.0f} % of the parameters and takes {milliseconds:.0f} %"
        )
        said.append(("cost", f"{sentence.format(**share)} of the time."))
    n, seeds = {row["n"] for row in rows}, min(row["seeds"] for row in rows)
    trained = f", {seeds} seeds each" if seeds > 1 else ""
    most = "up to " if len(n) > 1 else ""
    introduction = (
        f"Trained with the same recipe{trained}, and measured on {most}{max(n):,} validation faces:"
    )
    conclusions = [conclusion(rows)]
    if seeds == 1:
        conclusions.append(
            "Each model was trained once, so differences between trainings are not counted."
        )
    return introduction, said, conclusions


def conclusion(rows: Iterable[dict[str, Any]]) -> str:
    """The findings of some tasks in one sentence."""
    better = {row["better"] for row in rows}
    return _VERDICTS[MULTI.name in better, SINGLE.name in better]


def load_history() -> pd.DataFrame:
    """The published results of the notebook of 2018.

    Columns: `approach, task, metric, value, learning_rate, seconds_per_epoch`.
    """
    types = dict.fromkeys(["approach", "task", "metric"], str)
    types |= dict.fromkeys(["value", "learning_rate", "seconds_per_epoch"], float)
    rows = [{"task": AGE.name, "approach": a.name} for a in APPROACHES]
    command = f"git checkout {HISTORY_FILE.relative_to(ROOT)}"
    return read_table(HISTORY_FILE, types, command, rows=rows)
