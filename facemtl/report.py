"""Measured tables -> the tables of README.md and MODEL_CARD.md, so that none of them is typed by hand.

A document holds a table between `<!-- begin: NAME -->` and `<!-- end: NAME -->`; NAME is a key of SECTIONS.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pandas as pd

from . import cost, evaluation, label_noise, robustness
from .errors import FaceMTLError
from .prediction import APPROACHES, MULTI, SINGLE
from .tables import read_table
from .tasks import Task, task_named

_MARKED = re.compile(r"(<!-- begin: ([\w-]+) -->\n).*?(<!-- end: \2 -->)", re.DOTALL)


def fill(text: str, folder: Path) -> str:
    """The document with each marked table made anew from the files in `folder`."""

    def section(match: re.Match) -> str:
        begin, name, end = match.groups()
        if name not in SECTIONS:
            raise FaceMTLError(f"There is no table named {name!r}. There are {', '.join(SECTIONS)}.")
        return f"{begin}{SECTIONS[name](folder)}\n{end}"

    return _MARKED.sub(section, text)


def results(folder: Path) -> str:
    """Both approaches' metrics over all images, with their paired difference and delta-m."""
    rows = []
    overall = _metrics(folder)
    for row in overall[overall["by"] == "all"].itertuples():
        metric = task_named(row.task).metric
        digits = 1 if metric.unit == "%" else 2
        interval = f"{row.difference_low:+.{digits}f} to {row.difference_high:+.{digits}f}"
        values = [metric.words(row.single), metric.words(row.multi), f"{metric.words(row.difference, sign=True)}, {interval}"]
        rows.append([f"{row.task}: {metric.title.lower()}", *values])
    value, low, high = evaluation.delta_m(evaluation.load_validation(folder))
    rows.append(["all: relative gain (delta-m)", "", "", f"{value:+.1f} %, {low:+.1f} to {high:+.1f}"])
    return _table(["task", *_titles(), "difference, with its 95 % interval"], rows)


def groups(folder: Path) -> str:
    """Both approaches' metrics in each group."""
    metrics = _metrics(folder)
    rows = []
    for (by, group), part in metrics.groupby(["by", "group"], sort=False):
        tasks = part.set_index("task")
        cells = [" / ".join(_number(task_named(t), tasks.at[t, a.name]) for a in APPROACHES) for t in tasks.index]
        few = f" (fewer than {evaluation.FEW})" if tasks["few"].any() else ""
        rows.append([by.replace("_", " "), group, f"{tasks['n'].iloc[0]:,}{few}", *cells])
    return _table(["by", "group", "images", *(f"{_heading(t)}, three / one" for t in metrics["task"].unique())], rows)


def worst(folder: Path) -> str:
    """Per task and approach the worst cell of gender x race."""
    rows = [
        [
            row.task, _approach(row.approach), row.group, f"{row.n:,}", task_named(row.task).metric.words(row.value),
            f"{row.low:.1f} to {row.high:.1f}", task_named(row.task).metric.words(row.overall),
        ]
        for row in evaluation.worst_groups(_metrics(folder)).itertuples()
    ]  # fmt: skip
    return _table(["task", "approach", "worst group", "images", "there", "95 % interval", "everybody"], rows)


def confidence(folder: Path) -> str:
    """Calibration of all confidences, overall."""
    rows = []
    for row in _trust(folder, "all").itertuples():
        rows.append(
            [row.task, _approach(row.approach), f"{row.confidence:.1f} %", f"{row.hits:.1f} %", f"{row.ece:.1f} points"]
        )
    return _table(["task", "approach", "mean confidence", "came true", "calibration error (ECE)"], rows)


def intervals(folder: Path) -> str:
    """Coverage and width of intervals, for everybody and per age band."""
    trust = pd.concat([_trust(folder, by) for by in ("all", "age_group")])
    trust = trust[trust["coverage"].notna()]
    rows = []
    for (task, group), part in trust.groupby(["task", "group"], sort=False):
        by = part.set_index("approach")
        cells = [f"{by.at[a.name, 'coverage']:.0f} %, {by.at[a.name, 'width']:.1f} {task_named(task).unit}" for a in APPROACHES]
        rows.append([task, group, f"{by['n'].iloc[0]:,}", *cells])
    return _table(["task", "group", "images", *(f"{a.title.lower()}: coverage, mean width" for a in APPROACHES)], rows)


def perturbations(folder: Path) -> str:
    """What is left of the metrics where crops are changed: the change of each model's, three / one."""
    table = robustness.load_robustness(folder)
    table = table.assign(approach=evaluation.approach_of(table))
    tasks = list(dict.fromkeys(table["task"]))
    undisturbed = table[(table["perturbation"] == robustness.GRAY.name) & (table["amount"] == robustness.GRAY.none)]
    undisturbed = undisturbed.set_index(["task", "approach"])["value"]
    cells = [" / ".join(task_named(t).metric.words(undisturbed[t, a.name]) for a in APPROACHES) for t in tasks]
    rows = [["none", f"{table['n'].max():,} images", *cells]]
    for p in robustness.PERTURBATIONS:
        for amount in p.amounts:
            part = table[(table["perturbation"] == p.name) & (table["amount"] == amount)].set_index(["task", "approach"])
            cells = [" / ".join(f"{part.at[(t, a.name), 'change']:+.1f}" for a in APPROACHES) for t in tasks]
            rows.append([p.title, f"{amount:g} {p.unit}", *cells])
    headings = [f"{_heading(t)}: {robustness.change_unit(task_named(t).metric)}" for t in tasks]
    return _table(["change of the crop", "by", *headings], rows)


def disputed(folder: Path) -> str:
    """How many labels the models contradict."""
    types = {"task": str, **dict.fromkeys(["images", SINGLE.name, MULTI.name, "disputed"], int)}
    counts = read_table(folder / label_noise.COUNTS_FILE, types, _LABELS)
    rows = [[r.task, f"{r.images:,}", r.single, r.multi, r.disputed] for r in counts.itertuples()]
    return _table(
        ["task", "images", *(f"contradicted by {a.title.lower()}" for a in APPROACHES), "by all, in the same way"], rows
    )


def copies(folder: Path) -> str:
    """What the models answer where byte-identical copies carry different labels."""
    types = {"task": str, "approach": str, "images": int}
    types |= dict.fromkeys(["hits", "hits_by_chance", "nearest", "mean", "same"], float)
    sides = read_table(folder / label_noise.SIDES_FILE, types, _LABELS)
    rows = []
    for row in sides.itertuples():
        task = task_named(row.task)
        near = [f"{getattr(row, name):.1f} %" for name in ("hits", "hits_by_chance")]
        metrics = [task.metric.words(getattr(row, name)) for name in ("nearest", "mean")]
        rows.append([row.task, _approach(row.approach), row.images, *near, *metrics, f"{row.same:.0f} %"])
    columns = ["task", "approach", "images", "answers one of the labels", "by chance", "metric, the label that suits best",
               "metric, mean over labels", "both approaches side alike"]  # fmt: skip
    return _table(columns, rows)


def near_copies(folder: Path) -> str:
    """The metrics without those validation images that have a near-copy in training."""
    types = {"task": str, "n": int, "n_without": int}
    types |= {name: float for a in APPROACHES for name in (a.name, f"{a.name}_without")}
    table = read_table(folder / label_noise.NEAR_FILE, types, _LABELS)
    rows = []
    for row in table.itertuples():
        words = task_named(row.task).metric.words
        pairs = [f"{words(getattr(row, a.name))}, {words(getattr(row, f'{a.name}_without'))}" for a in APPROACHES]
        rows.append([row.task, f"{row.n:,}", f"{row.n - row.n_without:,}", *pairs])
    columns = ["task", "images", "with a near-copy", *(f"{title}: all, without them" for title in _titles())]
    return _table(columns, rows)


def costs(folder: Path) -> str:
    """What both approaches cost, measured in one run."""
    table = cost.load(folder)
    by = table[table["model"] == cost.ALL].set_index("approach")
    rows = []
    for title, cell in {
        "parameters": lambda r: f"{r.parameters / 1e6:.1f} million",
        "weights on disk": lambda r: f"{r.file_bytes / 1e6:.1f} MB",
        "multiply-adds for one face": lambda r: f"{r.multiply_adds / 1e9:.2f} billion",
        "one face, with its mirror image": lambda r: (
            f"{r.milliseconds:.0f} ms ({r.milliseconds_low:.0f} to {r.milliseconds_high:.0f})"
        ),
        "training": lambda r: f"{r.training_seconds / 3600:.1f} hours",
    }.items():
        rows.append([title, *(cell(by.loc[a.name]) for a in APPROACHES)])
    first = table.iloc[0]
    note = f"Milliseconds: medians and quartiles on {first.threads} threads of {first.processor}, torch {first.torch}."
    return f"{_table(['', *_titles()], rows)}\n\n{note}"


SECTIONS: dict[str, Callable[[Path], str]] = {
    "results": results, "groups": groups, "worst": worst, "confidence": confidence, "intervals": intervals,
    "perturbations": perturbations, "disputed": disputed, "copies": copies, "near-copies": near_copies, "costs": costs,
}  # fmt: skip
_LABELS = "python -m facemtl labels"


def _metrics(folder: Path) -> pd.DataFrame:
    types = {"by": str, "group": str, "task": str, "n": int, SINGLE.name: float, MULTI.name: float, "few": bool}
    return read_table(folder / evaluation.METRICS_FILE, types, "python -m facemtl evaluate")


def _trust(folder: Path, by: str) -> pd.DataFrame:
    types = {"by": str, "group": str, "task": str, "approach": str, "n": int, "ece": float}
    table = read_table(folder / evaluation.TRUST_FILE, types, "python -m facemtl evaluate")
    return table[table["by"] == by]


def _titles() -> list[str]:
    return [a.title.lower() for a in APPROACHES]


def _approach(name: str) -> str:
    return next(a.title.lower() for a in APPROACHES if a.name == name)


def _heading(name: str) -> str:
    metric = task_named(name).metric
    return f"{name} {metric.title.lower()}" if metric.unit == "%" else f"{name} {metric.name.upper()}"


def _number(task: Task, value: float) -> str:
    return f"{value:.1f}" if task.metric.unit == "%" else f"{value:.2f}"


def _table(columns: Sequence[str], rows: Iterable[Sequence]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)
