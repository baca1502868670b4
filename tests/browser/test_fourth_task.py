"""A fourth task needs one line in TASKS and one column in the data."""

import csv
import json
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from playwright.sync_api import expect

from tests import support

LINE = 'Classification("glasses", loss_scale=0.5, labels=("without glasses", "with glasses"))'
# Names that would be code or markup, if they were not shown as text.
CODE = "<img src=x onerror=window.isRun=1>"
RACES = (
    "White",
    CODE,
    "<b>Latino</b> & more",
    "East Asian",
    "Southeast Asian",
    "*Indian*",
    "a [b](c)",
)
TAB_SHOWS = {
    "Compare": "#answer", "Random faces": "#grid", "Guess": "#guess-face img",
    "Validation": ".js-plotly-plot .main-svg", "Dataset": ".atlas", "Results": "#findings li",
}  # fmt: skip


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the project in which one line declares a task."""
    copy = tmp_path_factory.mktemp("checkout")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(support.ROOT / "facemtl", copy / "facemtl", ignore=ignored)
    for name in ("app.py", "MODEL_CARD.md"):
        shutil.copy(support.ROOT / name, copy)
    (copy / "assets").symlink_to(support.ROOT / "assets")
    tasks = copy / "facemtl" / "tasks.py"
    text = tasks.read_text("utf-8")
    assert text.count("TASKS = with_labels((GENDER, RACE, AGE), ") == 1
    tasks.write_text(
        text.replace("((GENDER, RACE, AGE), ", f"((GENDER, RACE, AGE, {LINE}), "), "utf-8"
    )
    return copy


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Composites, every second one labelled with glasses, and seven races."""
    file = tmp_path_factory.mktemp("faces") / f"{CODE}.csv"
    rows = []
    for i, face in enumerate(support.composites()):
        age, gender, *_ = face.name.split("_", 3)
        glasses = ("without glasses", "with glasses")[i % 2]
        rows.append([face, age, gender, RACES[i % len(RACES)], glasses])
    with file.open("w", newline="") as text:
        csv.writer(text).writerows([["file", "age", "gender", "race", "glasses"], *rows])
    (file.parent / "labels.toml").write_text(f"race = {json.dumps(RACES)}", "utf-8")
    return file


# Everything happens in one process, because importing fastai takes seconds. The single-task models
# need not be trained for this.
LEARN = """
import sys
from facemtl.cli import main
from facemtl.models import backbones
from facemtl.tasks import TASKS
from tests import support

data, models, results, answers, face = sys.argv[1:]
backbones.OWN[support.SMALL] = support.small_backbone
tiny = "--no-pretrained --size 32 --frozen-epochs 0 --epochs 1 --batch-size 32".split()
options = ["--tasks", "all", "--backbone", support.SMALL, *tiny]
assert main(["train", "--data", data, "--output", models, *options]) == 0
for task in TASKS:
    support.write_model(support.Path(models), [task])
assert main(["evaluate", "--data", data, "--models", models, "--output", results]) == 0
assert main(["predict", face, "--models", models, "--json", answers]) == 0
"""


def test_a_new_task_is_trained_evaluated_predicted_and_shown(checkout, faces, browser, tmp_path):
    models, results, answers = (tmp_path / name for name in ("models", "results", "answers.json"))
    given = [faces, models, results, answers, support.composites()[0]]
    environment = {**support.inherited(), "PYTHONPATH": str(support.ROOT)}
    environment["FACEMTL_LABELS"] = str(faces.with_name("labels.toml"))
    done = subprocess.run(
        [sys.executable, "-c", LEARN, *map(str, given)],
        cwd=checkout, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    metrics = pd.read_csv(results / "metrics.csv")
    assert {"glasses"} <= {*metrics["task"]} and {"glasses"} <= {*metrics["by"]}

    ((face,),) = (image["faces"] for image in json.loads(answers.read_text("utf-8")))
    said = {(row["task"], row["approach"]): row["probabilities"] for row in face["answers"]}
    for approach in ("single", "multi"):
        assert [*said["race", approach]] == [*RACES]
        assert [*said["glasses", approach]] == ["without glasses", "with glasses"]

    arguments = ["--data", str(faces), "--models", str(models), "--results", str(results)]
    with support.running_app(tmp_path / "log.txt", *arguments, cwd=checkout) as address:
        page = browser.new_page()
        page.goto(address)
        card = page.locator("#answer").get_by_role("heading", name="Glasses", exact=True)
        expect(card).to_be_visible(timeout=60_000)
        seen(page)
        support.choose_tab(page, "Random faces")
        page.get_by_role("button", name="Choose which faces").click()
        page.get_by_label("Glasses", exact=True).filter(visible=True).click()
        page.get_by_role("option", name="with glasses", exact=True).click()
        expect(page.locator("#grid")).to_contain_text("with glasses", timeout=60_000)
        page.get_by_label("Race", exact=True).filter(visible=True).click()
        page.get_by_role("option", name="Southeast Asian", exact=True).click()
        expect(page.locator("#grid")).to_contain_text("Southeast Asian", timeout=60_000)
        expect(page.locator("#grid")).to_contain_text(f"validation images of {CODE}.csv")
        names_are_text(page)
        page.close()


def names_are_text(page):
    """Nothing that a name says is code or markup, in any tab."""
    support.choose_tab(page, "Guess")
    expect(page.locator("#guess-face")).to_contain_text(f"validation images of {CODE}.csv")
    support.choose_tab(page, "Validation")
    figure = page.get_by_role("figure", name="Race: which labels are confused?")
    for race in RACES:
        expect(
            figure.locator(".js-plotly-plot").get_by_text(race, exact=True).first
        ).to_be_visible()
        expect(figure.locator("td", has_text=race).first).to_be_attached()
    assert page.locator("img[src=x]").count() == 0
    assert page.evaluate("window.isRun") is None


def test_a_task_without_a_model_changes_nothing(checkout, browser, tmp_path):
    arguments = ["--data", str(support.COMPOSITES)]
    with support.running_app(tmp_path / "log.txt", *arguments, cwd=checkout) as address:
        page = browser.new_page()
        page.goto(address)
        expect(page.locator("#answer")).to_contain_text("Age", timeout=60_000)
        seen(page)
        expect(page.locator("body")).not_to_contain_text("lasses")
        page.close()


def seen(page):
    """Every tab shows what it is for."""
    for tab, shown in TAB_SHOWS.items():
        support.choose_tab(page, tab)
        expect(page.locator(shown).first).to_be_visible(timeout=60_000)
