"""Write the measured tables into DOCUMENTS, so that none of them is typed by hand.

In a document, a table is between `<!-- begin: NAME -->` and `<!-- end: NAME -->`. NAME is a key of
SECTIONS.
"""

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from facemtl.errors import FaceMTLError
from facemtl.escapes import say
from facemtl.evaluation import cost, robustness, studies
from facemtl.evaluation.compare import FEW, worst_groups
from facemtl.evaluation.findings import (
    FINDINGS_FILE,
    findings,
    load_history,
    overall,
    save_findings,
    sentences,
)
from facemtl.evaluation.validation import TRUST_FILE, load_metrics
from facemtl.files import read_table, write_whole
from facemtl.inference.perturbations import GRAY, PERTURBATIONS
from facemtl.inference.predictor import APPROACHES, MULTI, SINGLE, Approach
from facemtl.metrics import Metric
from facemtl.outputs import claimed
from facemtl.paths import ASSETS, ROOT
from facemtl.tasks import task_named

from . import label_noise, poor_crops, run_script, speed
from .speed import as_markdown

DOCUMENTS = tuple(
    ROOT / name
    for name in ("README.md", "MODEL_CARD.md", "docs/experiments.md", "docs/performance.md")
)
# The first edition's `metrics.csv`, only the rows for all images.
FIRST_EDITION = ASSETS / "history" / "first_edition.csv"
_DELTA_M = "all: mean relative gain of one model (delta-m)"
_MARKED = re.compile(r"(<!-- begin: ([\w-]+) -->\n).*?(<!-- end: \2 -->)", re.DOTALL)


def fill(text: str, folder: Path) -> str:
    """The document with each marked table made again from the files in `folder`.

    Raises FaceMTLError if NAME is not a key of SECTIONS.
    """

    def section(match: re.Match) -> str:
        begin, name, end = match.groups()
        if name not in SECTIONS:
            raise FaceMTLError(
                f"There is no table named {name!r}. There are {', '.join(SECTIONS)}."
            )
        return f"{begin}{SECTIONS[name](folder)}\n{end}"

    return _MARKED.sub(section, text)


def results(folder: Path) -> str:
    """Both approaches' metrics over all images, their paired difference, and delta-m."""
    rows, found = [], findings(folder)
    for row in found["tasks"]:
        metric = task_named(row["task"]).metric
        low, high = (metric.number(row[f"difference_{end}"], sign=True) for end in ("low", "high"))
        values = [_with_sd(metric, row[a.name], row[f"{a.name}_sd"]) for a in APPROACHES]
        difference = f"{metric.words(row['difference'], sign=True)}, {low} to {high}"
        rows.append([f"{row['task']}: {metric.title.lower()}", *values, difference])
    gain = "{value:+.1f} %, {low:+.1f} to {high:+.1f}".format(**found["delta_m"])
    rows.append([_DELTA_M, "", "", gain])
    return as_markdown(["task", *_titles(), "difference, with its 95 % interval"], rows)


def _with_sd(metric: Metric, value: float, sd: float | None) -> str:
    """The value in words: '92.3 %', or over several seeds '92.3 % ± 0.2'."""
    return metric.words(value) + ("" if sd is None or np.isnan(sd) else f" ± {metric.number(sd)}")


def answer(folder: Path) -> str:
    """The findings in sentences."""
    introduction, said, (verdict, *more) = sentences(findings(folder))
    lines = [f"- **{subject.capitalize()}:** {sentence}" for subject, sentence in said]
    return "\n\n".join([introduction, "\n".join(lines), f"**{verdict}**", *more])


def editions(folder: Path) -> str:
    """The metrics of the first edition's models, from random weights, and of the current ones."""
    types = {"task": str, SINGLE.name: float, MULTI.name: float}
    tables = {
        "first edition, from random weights": read_table(
            FIRST_EDITION, types, f"git checkout {FIRST_EDITION.relative_to(ROOT)}"
        ),
        "now, from face-recognition weights": overall(folder),
    }
    rows = []
    for name, table in tables.items():
        by = table.set_index("task")
        words = [
            [task_named(task).metric.words(by.at[task, a.name]) for a in APPROACHES]
            for task in by.index
        ]
        rows.append([name, *(" / ".join(pair) for pair in words)])
    return as_markdown(
        ["models", *(f"{_heading(t)}, three / one" for t in overall(folder)["task"])], rows
    )


def shares(folder: Path) -> str:
    """Both approaches' metrics when trained on fewer images."""
    return _studied(
        folder,
        {name: f"{share} %" for name, share in studies.SHARES.items()},
        "share of the images",
    )


def starts(folder: Path) -> str:
    """Both approaches' metrics when trained from random, ImageNet and face-recognition weights."""
    return _studied(folder, studies.STARTS, "trained from")


def weightings(folder: Path) -> str:
    """The multi-task model's metrics with several weightings of its losses."""
    return _studied(folder, studies.WEIGHTINGS, "weights of the losses", MULTI)


def _studied(
    folder: Path, names: dict[str, str], heading: str, only: Approach | None = None
) -> str:
    """The metrics in some studies, three / one: means and standard deviations over seeds.

    `names` maps each study to its name in the table. With `only`, one approach is shown.
    """
    measured = studies.named(studies.load_studies(folder), names, "what")
    found = studies.over_seeds(measured, "what").set_index(["what", "task", "approach"])
    tasks, approaches = list(dict.fromkeys(measured["task"])), (only,) if only else APPROACHES
    rows = []
    for what in dict.fromkeys(names.values()):
        part, cells = measured[measured["what"] == what], []
        for task in tasks:
            known = [
                found.loc[key] if (key := (what, task, a.name)) in found.index else None
                for a in approaches
            ]
            metric = task_named(task).metric
            cells.append(
                " / ".join(
                    "-" if row is None else _with_sd(metric, row["mean"], row["sd"])
                    for row in known
                )
            )
        if len(part):
            seeds = part["seed"].nunique()
            rows.append([what, f"{part['images'].max():,}", part["epochs"].max(), seeds, *cells])
    said = "" if only else ", three / one"
    return as_markdown(
        [heading, "images", "epochs", "seeds", *(f"{_heading(task)}{said}" for task in tasks)], rows
    )


def photos(folder: Path) -> str:
    """Age errors, coverage and gender accuracy on photos of other datasets, three / one."""
    table = _photos(folder)
    rows = []
    for name, part in table[table["change"] == ""].groupby("photos", sort=False):
        by = part.set_index("approach")
        cells = [
            " / ".join(by.at[a.name, column] for a in APPROACHES)
            for column in ("mae", "bias", "covered", "right")
        ]
        rows.append([f"{name}: a face found in {by['found'].iloc[0]} of {by['n'].iloc[0]}", *cells])
    return as_markdown(
        [
            "photos",
            *(f"{c}, three / one" for c in ("age MAE", "age bias", "coverage", "gender accuracy")),
        ],
        rows,
    )


def changed_photos(folder: Path) -> str:
    """How much answers change when these photos are turned or darkened, three / one."""
    table = _photos(folder)
    rows = []
    for (name, change), part in table[table["change"] != ""].groupby(
        ["photos", "change"], sort=False
    ):
        by = part.set_index("approach")
        cells = [
            " / ".join(by.at[a.name, column] for a in APPROACHES)
            for column in ("moves", "gender_same", "race_same")
        ]
        rows.append([name, change, f"{by['found'].iloc[0]} of {by['n'].iloc[0]}", *cells])
    return as_markdown(
        [
            "photos",
            "change",
            "faces found",
            "mean change of age",
            "gender unchanged",
            "race unchanged",
        ],
        rows,
    )


def _photos(folder: Path) -> pd.DataFrame:
    """The table of `research.photos`, with its values in words; '-' for unknown ones."""
    types = {"photos": str, "change": str, "approach": str, "n": int, "found": int}
    table = read_table(
        folder / studies.PHOTOS_FILE, types, "python -m research.photos", ["change"]
    ).fillna({"change": ""})
    words = {
        "mae": ("age_mae", "{:.2f} years"), "bias": ("age_bias", "{:+.1f} years"),
        "covered": ("coverage", "{:.0f} %"),
        "right": ("gender", "{:.1f} %"), "moves": ("age_moves", "{:.1f} years"),
        "gender_same": ("gender_stays", "{:.1f} %"), "race_same": ("race_stays", "{:.1f} %"),
    }  # fmt: skip
    return table.assign(
        **{name: [_words(w, v) for v in table[column]] for name, (column, w) in words.items()}
    )


def _words(words: str, value: float) -> str:
    return "-" if np.isnan(value) else words.format(value)


def history(folder: Path) -> str:
    """The results of the notebook of 2018, and the unequal learning rates behind them."""
    by = load_history().set_index(["approach", "task"])
    rows = []
    for approach in APPROACHES:
        part = by.loc[approach.name]
        words = [task_named(t).metric.words(v) for t, v in part["value"].items()]
        rates = " / ".join(f"{rate:g}" for rate in part["learning_rate"])
        rows.append([approach.title.lower(), *words, rates])
    tasks = by.index.get_level_values("task").unique()
    return as_markdown(["2018", *map(_heading, tasks), "learning rates"], rows)


def groups(folder: Path) -> str:
    """Both approaches' metrics in each group."""
    metrics = load_metrics(folder)
    rows = []
    for (by, group), part in metrics.groupby(["by", "group"], sort=False):
        tasks = part.set_index("task")
        cells = [
            " / ".join(_with_interval(row, task_named(t).metric, a) for a in APPROACHES)
            for t, row in tasks.iterrows()
        ]
        few = f" (fewer than {FEW})" if tasks["few"].any() else ""
        rows.append([by.replace("_", " "), group, f"{tasks['n'].iloc[0]:,}{few}", *cells])
    return as_markdown(
        [
            "by",
            "group",
            "images",
            *(f"{_heading(t)}, three / one" for t in metrics["task"].unique()),
        ],
        rows,
    )


def _with_interval(row: pd.Series, metric: Metric, approach: Approach) -> str:
    """The value and half the width of its 95 % interval: '92.3 ± 1.0'."""
    half = (row[f"{approach.name}_high"] - row[f"{approach.name}_low"]) / 2
    return f"{metric.number(row[approach.name])} ± {metric.number(half)}"


def worst(folder: Path) -> str:
    """The worst group of gender x race, per task and approach."""
    rows = [
        [
            row.task, _approach(row.approach), row.group, f"{row.n:,}",
            task_named(row.task).metric.words(row.value),
            f"{row.low:.1f} to {row.high:.1f}", task_named(row.task).metric.words(row.overall),
        ]
        for row in worst_groups(load_metrics(folder)).itertuples()
    ]  # fmt: skip
    return as_markdown(
        [
            "task",
            "approach",
            "worst group",
            "images",
            "metric in this group",
            "95 % interval",
            "all images",
        ],
        rows,
    )


def confidence(folder: Path) -> str:
    """Calibration of the confidences over all images, per task and approach."""
    rows = []
    for row in _trust(folder, "all").itertuples():
        rows.append(
            [
                row.task,
                _approach(row.approach),
                f"{row.confidence:.1f} %",
                f"{row.hits:.1f} %",
                f"{row.ece:.1f} points",
            ]
        )
    return as_markdown(
        ["task", "approach", "mean confidence", "correct", "calibration error (ECE)"], rows
    )


def intervals(folder: Path) -> str:
    """Coverage and mean width of intervals, over all images and per age group."""
    trust = pd.concat([_trust(folder, by) for by in ("all", "age_group")])
    trust = trust[trust["coverage"].notna()]
    rows = []
    for (task, group), part in trust.groupby(["task", "group"], sort=False):
        by = part.set_index("approach")
        cells = [
            f"{by.at[a.name, 'coverage']:.0f} %, {by.at[a.name, 'width']:.1f}"
            f" {task_named(task).unit}"
            for a in APPROACHES
        ]
        rows.append([task, group, f"{by['n'].iloc[0]:,}", *cells])
    return as_markdown(
        [
            "task",
            "group",
            "images",
            *(f"{a.title.lower()}: coverage, mean width" for a in APPROACHES),
        ],
        rows,
    )


def perturbations(folder: Path) -> str:
    """How much the metrics change when crops are perturbed, three / one."""
    table = robustness.load_robustness(folder)
    tasks = list(dict.fromkeys(table["task"]))
    undisturbed = table[(table["perturbation"] == GRAY.name) & (table["amount"] == GRAY.none)]
    undisturbed = undisturbed.set_index(["task", "approach"])["value"]
    cells = [
        " / ".join(task_named(t).metric.words(undisturbed[t, a.name]) for a in APPROACHES)
        for t in tasks
    ]
    rows = [["none", f"{table['n'].max():,} images", *cells]]
    for p in PERTURBATIONS:
        for amount in p.amounts:
            part = table[(table["perturbation"] == p.name) & (table["amount"] == amount)].set_index(
                ["task", "approach"]
            )
            cells = [
                " / ".join(f"{part.at[(t, a.name), 'change']:+.1f}" for a in APPROACHES)
                for t in tasks
            ]
            rows.append([p.title, f"{amount:g} {p.unit}", *cells])
    headings = [f"{_heading(t)}: {robustness.change_unit(task_named(t).metric)}" for t in tasks]
    return as_markdown(["change of the crop", "by", *headings], rows)


def disputed(folder: Path) -> str:
    """How many labels the models contradict."""
    types = {"task": str, **dict.fromkeys(["images", SINGLE.name, MULTI.name, "disputed"], int)}
    counts = read_table(folder / label_noise.COUNTS_FILE, types, _LABELS)
    rows = [[r.task, f"{r.images:,}", r.single, r.multi, r.disputed] for r in counts.itertuples()]
    return as_markdown(
        [
            "task",
            "images",
            *(f"contradicted by {a.title.lower()}" for a in APPROACHES),
            "by all, in the same way",
        ],
        rows,
    )


def copies(folder: Path) -> str:
    """The models' answers to images whose byte-identical copies carry different labels."""
    types = {"task": str, "approach": str, "images": int}
    types |= dict.fromkeys(["hits", "hits_by_chance", "nearest", "mean", "same"], float)
    answers = read_table(folder / label_noise.ANSWERS_FILE, types, _LABELS)
    rows = []
    for row in answers.itertuples():
        task = task_named(row.task)
        near = [f"{getattr(row, name):.1f} %" for name in ("hits", "hits_by_chance")]
        metrics = [task.metric.words(getattr(row, name)) for name in ("nearest", "mean")]
        rows.append(
            [row.task, _approach(row.approach), row.images, *near, *metrics, f"{row.same:.0f} %"]
        )
    columns = ["task", "approach", "images", "answer is one of the labels", "by chance",
        "metric, best-fitting label",
               "metric, mean over labels", "both approaches agree"]  # fmt: skip
    return as_markdown(columns, rows)


def near_copies(folder: Path) -> str:
    """The metrics with and without the validation images that have a near-copy in training."""
    types = {"task": str, "n": int, "n_without": int}
    types |= {name: float for a in APPROACHES for name in (a.name, f"{a.name}_without")}
    table = read_table(folder / label_noise.NEAR_FILE, types, _LABELS)
    rows = []
    for row in table.itertuples():
        words = task_named(row.task).metric.words
        pairs = [
            f"{words(getattr(row, a.name))}, {words(getattr(row, f'{a.name}_without'))}"
            for a in APPROACHES
        ]
        rows.append([row.task, f"{row.n:,}", f"{row.n - row.n_without:,}", *pairs])
    columns = [
        "task",
        "images",
        "with a near-copy",
        *(f"{title}: all, without them" for title in _titles()),
    ]
    return as_markdown(columns, rows)


def poor_crops_table(folder: Path) -> str:
    """Accuracy and confidence on poor crops, as means over both approaches."""
    table = poor_crops.load(folder)
    rows = []
    for change, part in table.groupby("change", sort=False):
        cells = [change, f"{part['poor'].iloc[0]:.0f} %"]
        for row in part.itertuples():
            words = task_named(row.task).metric.words(row.metric)
            sure = "" if pd.isna(row.sure) else f", {row.sure:.1f} % wrong and sure"
            cells.append(f"{words}{sure}" if sure else f"{words}, {row.held:.0f} % in the interval")
        rows.append(cells)
    headings = map(_heading, table["task"].unique())
    return as_markdown(["change", "called poor, or no face", *headings], rows)


def costs(folder: Path) -> str:
    """The costs of both approaches, measured in one run."""
    table = cost.load(folder)
    return f"{as_markdown(['', *_titles()], cost.in_words(table))}\n\n{cost.note(table)}"


SECTIONS: dict[str, Callable[[Path], str]] = {
    "answer": answer, "history": history, "results": results, "groups": groups, "worst": worst,
    "editions": editions,
    "confidence": confidence, "intervals": intervals, "perturbations": perturbations,
    "disputed": disputed, "copies": copies,
    "near-copies": near_copies, "costs": costs, "shares": shares, "starts": starts,
    "weightings": weightings,
    "poor-crops": poor_crops_table,
    "photos": photos, "changed-photos": changed_photos,
    "side-by-side": speed.editions,
}  # fmt: skip
_LABELS = "python -m research.label_noise"


def _trust(folder: Path, by: str) -> pd.DataFrame:
    types = {"by": str, "group": str, "task": str, "approach": str, "n": int, "ece": float}
    table = read_table(folder / TRUST_FILE, types, f"python -m facemtl evaluate --output {folder}")
    return table[table["by"] == by]


def _titles() -> list[str]:
    return [a.title.lower() for a in APPROACHES]


def _approach(name: str) -> str:
    return next(a.title.lower() for a in APPROACHES if a.name == name)


def _heading(name: str) -> str:
    metric = task_named(name).metric
    return (
        f"{name} {metric.title.lower()}" if metric.unit == "%" else f"{name} {metric.name.upper()}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write the measured tables into documents.")
    parser.add_argument("files", nargs="*", type=Path, help="documents; none: all that hold some")
    parser.add_argument("--results", type=Path, default=ASSETS / "validation")
    options = parser.parse_args(arguments)
    files = options.files or DOCUMENTS
    with claimed([*files, options.results / FINDINGS_FILE]):
        save_findings(options.results)
        # All are filled before the first one is written.
        filled = {file: fill(file.read_bytes().decode(), options.results) for file in files}
        for file, text in filled.items():
            write_whole(file, text.encode())
            say(f"Wrote the tables of {file.name}")


if __name__ == "__main__":
    run_script(main)
