"""Reports: each number in a document is one of the measured tables."""

import re

import pandas as pd
import pytest

from facemtl.cost import COSTS_FILE
from facemtl.errors import FaceMTLError
from facemtl.evaluation import METRICS_FILE
from facemtl.report import DOCUMENTS, SECTIONS, fill
from facemtl.runs import RUNS_FILE
from facemtl.tables import write_table
from facemtl.tasks import AGE, TASKS, task_named
from tests.support import ROOT, made_up_runs

SHIPPED = ROOT / "assets" / "validation"


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The shipped tables, and made-up ones of short trainings."""
    folder = tmp_path_factory.mktemp("measured")
    for file in SHIPPED.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / RUNS_FILE).unlink(missing_ok=True)
    write_table(made_up_runs(), folder / RUNS_FILE)
    return folder


@pytest.mark.parametrize("name", [name for name in SECTIONS if name != "answer"])
def test_a_section_is_one_table_without_gaps(name, measured):
    lines = SECTIONS[name](measured).split("\n\n")[0].splitlines()
    assert len(lines) > 2
    assert len({line.count(" | ") for line in lines}) == 1
    assert not re.search(r"\bnan\b|\bNone\b|\binf\b", "\n".join(lines))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_documents_hold_the_measured_tables(document):
    """Where this fails, run `python -m facemtl report`."""
    text = document.read_text("utf-8")
    assert "<!-- begin: " in text
    assert fill(text, SHIPPED) == text


def test_every_section_is_in_a_document():
    text = "".join(document.read_text("utf-8") for document in DOCUMENTS)
    assert set(re.findall(r"<!-- begin: ([\w-]+) -->", text)) == {*SECTIONS}


def shipped(tmp_path, **better):
    """The shipped tables, but for the overall differences: by task the interval's ends, in favour of one model."""
    for file in SHIPPED.iterdir():
        (tmp_path / file.name).symlink_to(file)
    metrics = pd.read_csv(SHIPPED / METRICS_FILE)
    for row in metrics[metrics["by"] == "all"].index:
        task = task_named(metrics.at[row, "task"])
        low, high = better.get(task.name, (-1.0, 1.0))
        if task.metric.lower_is_better:
            low, high = -high, -low
        metrics.loc[row, ["difference_low", "difference", "difference_high"]] = low, (low + high) / 2, high
    (tmp_path / METRICS_FILE).unlink()
    write_table(metrics, tmp_path / METRICS_FILE)
    return tmp_path


@pytest.mark.parametrize(
    ("better", "says"),
    [
        ({}, "no difference can be shown"),
        ({"age": (0.1, 0.3)}, "gains a little here, and no loss can be shown"),
        ({"gender": (0.2, 0.4), "race": (0.1, 0.3)}, "gains a little here, and no loss can be shown"),
        ({"race": (-0.3, -0.1)}, "loses a little"),
        ({"age": (0.1, 0.3), "race": (-0.3, -0.1)}, "gains on one question what it loses on another"),
    ],
)
def test_the_answer_follows_the_intervals(better, says, tmp_path):
    text = SECTIONS["answer"](shipped(tmp_path, **better))
    (verdict,) = (line for line in text.splitlines() if line.startswith("**"))
    assert says in verdict
    for task in TASKS:
        line = next(line for line in text.splitlines() if line.startswith(f"- **{task.title}:"))
        low, high = better.get(task.name, (-1, 1))
        assert ("One model is better" in line) == (low > 0)
        assert ("Three are better" in line) == (high < 0)


def with_runs(tmp_path, runs):
    folder = shipped(tmp_path)
    (folder / RUNS_FILE).unlink(missing_ok=True)
    write_table(runs, folder / RUNS_FILE)
    return folder


@pytest.mark.parametrize(
    "gains",
    [{"gender": 1, "race": -1, "age": 0}, {"gender": 0, "race": 0, "age": 0}, {"gender": 1, "race": 1, "age": 1}],
    ids=str,
)
def test_the_answer_says_what_outlives_the_luck_of_a_training(gains, tmp_path):
    """Seeds differ by 0.1; a gain of 1 is far beyond that, one of 0 is not."""
    runs = made_up_runs()
    for row in runs[runs["experiment"] == "base"].index:
        task = task_named(runs.at[row, "task"])
        gain = gains[task.name] * (runs.at[row, "model"] == "multitask") * (-1 if task.metric.lower_is_better else 1)
        runs.loc[row, "value"] = 50 + gain + 0.1 * runs.at[row, "seed"]
    text = SECTIONS["answer"](with_runs(tmp_path, runs))
    assert "trained 3 times, but only for 6 epochs on images of 64 px" in text
    said = {1: "one model is better by 1.", -1: "three are better by 1.", 0: "the difference may be luck."}
    for task in TASKS:
        lines = [line for line in text.splitlines() if line.startswith(f"- **{task.title}:")]
        assert said[gains[task.name]] in lines[1]
        assert ("best of 3 learning rates for each" in lines[1]) == (gains[task.name] != 0)


@pytest.mark.parametrize("left", [{"seed": 0}, {"model": "multitask"}, {"experiment": "ema"}], ids=str)
def test_of_too_few_trainings_the_answer_says_nothing(left, tmp_path):
    runs = made_up_runs()
    ((column, value),) = left.items()
    folder = with_runs(tmp_path, runs[runs[column] == value])
    assert "luck of a training?" not in SECTIONS["answer"](folder)
    for name in ("luck", "rates", "weightings", "search"):
        assert SECTIONS[name](folder).startswith("|")


def test_the_answer_s_numbers_are_the_measured_ones():
    text, metrics = SECTIONS["answer"](SHIPPED), pd.read_csv(SHIPPED / METRICS_FILE)
    for row in metrics[metrics["by"] == "all"].itertuples():
        for value in (row.single, row.multi):
            assert task_named(row.task).metric.words(value) in text
    costs = pd.read_csv(SHIPPED / COSTS_FILE)
    share = costs.query("approach == 'multi'")["parameters"].sum() / costs.query("approach == 'single'")["parameters"].sum()
    assert f"{100 * share:.0f} % of the parameters" in text


def test_history_is_as_it_was_published():
    text = SECTIONS["history"](SHIPPED)
    assert "10.63 years" in text and "5.47 years" in text and "0.01" in text


def test_luck_names_means_and_deviations_over_seeds(measured):
    by = made_up_runs().query("experiment == 'base' and task == 'age' and model == 'age'")["value"]
    assert f"{by.mean():.2f} years ± {by.std():.2f}" in SECTIONS["luck"](measured)


def test_recipes_are_compared_where_all_four_models_were_trained_with_them(tmp_path):
    """By hand: age 5 years by one model and 6 by three; `lost` has no multi-task model, a rate is no recipe."""
    row = {"question": "?", "seed": 0, "metric": "mae", "value": 5.0, "epochs": 4, "size": 64, "seconds": 60}
    rows = []
    for name in ("base", "longer", "lost", "lr-1e-3"):
        for task in TASKS:
            shared = {**row, "experiment": name, "task": task.name, "metric": task.metric.name}
            rows.append({**shared, "model": task.name, "value": 6.0 if task is AGE else 80.0})
            rows.append({**shared, "model": "multitask", "value": 5.0 if task is AGE else 88.0})
    runs = pd.DataFrame(rows)
    write_table(runs[(runs["experiment"] != "lost") | (runs["model"] != "multitask")], tmp_path / RUNS_FILE)
    _, _, *lines = SECTIONS["recipes"](tmp_path).splitlines()
    assert [line.split(" | ")[0] for line in lines] == ["| base", "| longer"]
    assert "6.00 / 5.00 years (-1.00)" in lines[0] and "80.0 / 88.0 % (+8.0)" in lines[0]
    assert f"{(10 + 10 + 100 / 6) / 3:+.1f} %" in lines[0]


def test_the_search_names_each_change_beside_its_effect(measured):
    runs = made_up_runs().query("task == 'race' and model == 'multitask' and seed == 0").set_index("experiment")["value"]
    (line,) = (line for line in SECTIONS["search"](measured).splitlines() if "| ema |" in line)
    assert f"{runs['ema']:.1f} % ({runs['ema'] - runs['base']:+.1f})" in line


def test_what_is_not_marked_is_left_alone():
    text = "# Title\n\n| a | b |\n\n<!-- begin: costs -->\nold\n<!-- end: costs -->\nafter\n"
    filled = fill(text, SHIPPED)
    assert filled.startswith("# Title\n\n| a | b |\n\n<!-- begin: costs -->\n|") and filled.endswith(
        "\n<!-- end: costs -->\nafter\n"
    )
    assert "old" not in filled
    assert fill(filled, SHIPPED) == filled


def test_unknown_tables_and_missing_measurements_are_said(tmp_path):
    with pytest.raises(FaceMTLError, match=r"'alchemy'.*results, groups"):
        fill("<!-- begin: alchemy -->\n<!-- end: alchemy -->", SHIPPED)
    with pytest.raises(FaceMTLError, match="facemtl evaluate"):
        fill("<!-- begin: results -->\n<!-- end: results -->", tmp_path)
