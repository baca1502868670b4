"""Reports: each number in a document comes from the measured tables."""

import functools
import re

import pandas as pd
import pytest

from facemtl.errors import FaceMTLError
from facemtl.evaluation.cost import COSTS_FILE
from facemtl.evaluation.findings import load_findings
from facemtl.evaluation.seeds import SEEDS_FILE, compare_seeds, save_seeds
from facemtl.evaluation.studies import MODEST_STUDY, STUDIES_FILE, load_studies
from facemtl.evaluation.validation import METRICS_FILE
from facemtl.files import write_table
from facemtl.tasks import TASKS, task_named
from research import report
from research.report import DOCUMENTS, SECTIONS, fill
from tests.support import ROOT, made_up_seeds, made_up_studies

SHIPPED = ROOT / "assets" / "validation"
# The number of trainings in each study. Documents have a table once all of its studies are whole.
STUDIED = {
    "shares": {"share-10": 12, "share-30": 12},
    "starts": {"from-random": 4, "from-imagenet": 4, MODEST_STUDY: 12},
    "weightings": {"equal-weights": 3, "learned-weights": 3, MODEST_STUDY: 12},
}
TRAININGS = (
    load_studies(SHIPPED)
    .groupby("study")[["seed", "model"]]
    .apply(lambda rows: len(rows.drop_duplicates()))
)
MEASURED = {*SECTIONS} - {
    name
    for name, needed in STUDIED.items()
    if any(TRAININGS.get(study, 0) < n for study, n in needed.items())
}


@pytest.fixture(autouse=True, scope="module")
def computed_once():
    """Findings have thousands of samples: those of a folder are computed once in this file."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("findings", "overall"):
            patch.setattr(report, name, functools.cache(getattr(report, name)))
        yield


@pytest.mark.parametrize("name", sorted(MEASURED - {"answer"}))
def test_a_section_is_one_table_without_missing_values(name):
    lines = SECTIONS[name](SHIPPED).split("\n\n")[0].splitlines()
    assert len(lines) > 2
    assert len({line.count(" | ") for line in lines}) == 1
    assert not re.search(r"\bnan\b|\bNone\b|\binf\b", "\n".join(lines))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_documents_hold_the_measured_tables(document):
    """If this fails, run `python -m research.report`."""
    text = document.read_text("utf-8")
    assert "<!-- begin: " in text
    assert fill(text, SHIPPED) == text


def test_every_section_is_in_a_document():
    text = "".join(document.read_text("utf-8") for document in DOCUMENTS)
    assert set(re.findall(r"<!-- begin: ([\w-]+) -->", text)) == MEASURED


def test_studies_are_reported_as_means_over_seeds(tmp_path):
    table = made_up_studies()
    write_table(table, tmp_path / STUDIES_FILE)
    means = table.groupby(["study", "approach", "task"])["value"].mean()
    lines = SECTIONS["shares"](tmp_path).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| 10 %", "| 30 %", "| 100 %"]
    assert f"{means['share-10', 'single', 'age']:.2f} years ± " in lines[2]
    weighed = SECTIONS["weightings"](tmp_path)
    assert (
        "three / one" not in weighed
        and f"| {means['equal-weights', 'multi', 'gender']:.1f} %" in weighed
    )
    assert " / " in SECTIONS["starts"](tmp_path) and "ImageNet" not in SECTIONS["starts"](
        tmp_path
    )  # no text without measurements


def shipped(tmp_path, **better):
    """The shipped tables with other overall differences: by task, the ends of an interval in favour
    of one model.
    """
    for file in SHIPPED.iterdir():
        (tmp_path / file.name).symlink_to(file)
    metrics = pd.read_csv(SHIPPED / METRICS_FILE)
    for row in metrics[metrics["by"] == "all"].index:
        task = task_named(metrics.at[row, "task"])
        low, high = better.get(task.name, (-1.0, 1.0))
        if task.metric.lower_is_better:
            low, high = -high, -low
        metrics.loc[row, ["difference_low", "difference", "difference_high"]] = (
            low,
            (low + high) / 2,
            high,
        )
    (tmp_path / METRICS_FILE).unlink()
    (tmp_path / SEEDS_FILE).unlink(missing_ok=True)
    write_table(metrics, tmp_path / METRICS_FILE)
    return tmp_path


@pytest.mark.parametrize(
    ("better", "says"),
    [
        ({}, "No difference between one model and three"),
        ({"age": (0.1, 0.3)}, "better on some tasks, and not significantly worse on any"),
        (
            {"gender": (0.2, 0.4), "race": (0.1, 0.3)},
            "better on some tasks, and not significantly worse on any",
        ),
        ({"race": (-0.3, -0.1)}, "worse on some tasks, and not significantly better on any"),
        ({"age": (0.1, 0.3), "race": (-0.3, -0.1)}, "better on some tasks, and worse on others"),
    ],
)
def test_the_conclusion_follows_the_intervals(better, says, tmp_path):
    text = SECTIONS["answer"](shipped(tmp_path, **better))
    (verdict,) = (line for line in text.splitlines() if line.startswith("**"))
    assert says in verdict
    for task in TASKS:
        line = next(line for line in text.splitlines() if line.startswith(f"- **{task.title}:"))
        low, high = better.get(task.name, (-1, 1))
        assert ("One model is better" in line) == (low > 0)
        assert ("Three models are better" in line) == (high < 0)


@pytest.mark.parametrize(
    "gains", [{"gender": 1, "race": -1, "age": 0}, {"gender": 0, "race": 1, "age": -1}], ids=str
)
def test_several_seeds_are_reported_as_mean_and_interval(gains, results, tmp_path):
    """Seeds differ by 0.1, so a gain of 1 is significant and a gain of 0 is not."""
    folder = shipped(tmp_path)
    (folder / SEEDS_FILE).unlink(missing_ok=True)
    save_seeds(table := made_up_seeds(results, 3, gains), folder)
    text, rows = SECTIONS["answer"](folder), SECTIONS["results"](folder)
    assert ", 3 seeds each" in text and "trained once" not in text
    judged = {1: "One model is better.", -1: "Three models are better.", 0: "not significant."}
    for row in compare_seeds(table, n_resamples=10).itertuples():
        task = task_named(row.task)
        line = next(line for line in text.splitlines() if line.startswith(f"- **{task.title}:"))
        assert judged[gains[task.name]] in line and task.metric.words(row.multi) in line
        of_task = next(line for line in rows.splitlines() if line.startswith(f"| {task.name}"))
        assert f"{task.metric.words(row.multi)} ± {task.metric.number(row.multi_sd)}" in of_task


def test_the_shipped_findings_match_the_shipped_tables():
    """If this fails, run `python -m research.report`."""
    assert load_findings(SHIPPED) == report.findings(SHIPPED)


def test_the_numbers_in_the_conclusion_are_measured():
    text = SECTIONS["answer"](SHIPPED)
    for row in report.overall(SHIPPED).itertuples():
        for value in (row.single, row.multi):
            assert task_named(row.task).metric.words(value) in text
    costs = pd.read_csv(SHIPPED / COSTS_FILE)
    share = (
        costs.query("approach == 'multi'")["parameters"].sum()
        / costs.query("approach == 'single'")["parameters"].sum()
    )
    assert f"{100 * share:.0f} % of the parameters" in text


def test_the_2018_numbers_are_the_published_ones():
    text = SECTIONS["history"](SHIPPED)
    assert "10.63 years" in text and "5.47 years" in text and "0.01" in text


def test_the_first_edition_is_shown_beside_the_current_models():
    first, now = SECTIONS["editions"](SHIPPED).splitlines()[2:]
    assert "93.1 % / 94.0 %" in first and "4.52 years / 4.54 years" in first
    for row in report.overall(SHIPPED).itertuples():
        assert task_named(row.task).metric.words(row.multi) in now


def test_unmarked_text_is_unchanged():
    text = "# Title\n\n| a | b |\n\n<!-- begin: costs -->\nold\n<!-- end: costs -->\nafter\n"
    filled = fill(text, SHIPPED)
    assert filled.startswith(
        "# Title\n\n| a | b |\n\n<!-- begin: costs -->\n|"
    ) and filled.endswith("\n<!-- end: costs -->\nafter\n")
    assert "old" not in filled
    assert fill(filled, SHIPPED) == filled


def test_unknown_tables_and_missing_measurements_are_reported(tmp_path):
    with pytest.raises(FaceMTLError, match=r"'alchemy'.*results, groups"):
        fill("<!-- begin: alchemy -->\n<!-- end: alchemy -->", SHIPPED)
    with pytest.raises(FaceMTLError, match="facemtl evaluate"):
        fill("<!-- begin: results -->\n<!-- end: results -->", tmp_path)
