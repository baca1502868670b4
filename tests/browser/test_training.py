"""Training, as a visitor reads it."""

from playwright.sync_api import Page, expect

from facemtl import cli
from facemtl.evaluation import cost
from facemtl.evaluation.findings import conclusion, load_findings, overall
from facemtl.tasks import TASKS, task_named
from tests import support

MEASURED = support.ROOT / "assets" / "validation"


def open_tab(page: Page) -> None:
    support.choose_tab(page, "Results")
    expect(page.locator("#findings")).to_be_visible()


def test_the_findings_name_the_measured_metrics(page):
    open_tab(page)
    findings = page.locator("#findings")
    for row in overall(MEASURED).itertuples():
        for value in (row.single, row.multi):
            expect(findings).to_contain_text(task_named(row.task).metric.words(value))
    expect(findings).to_contain_text(conclusion(load_findings(MEASURED)["tasks"]))


def test_the_claim_of_2018_is_compared_and_explained(page):
    open_tab(page)
    expect(
        page.get_by_role(
            "heading",
            name="Does multi-task learning halve the age error, as a notebook of 2018 found?",
        )
    ).to_be_visible()
    figure = page.locator(".js-plotly-plot").filter(visible=True).first
    for words in ("2018", "This app", "10.63", "5.47"):
        expect(figure).to_contain_text(words)
    expect(page.get_by_text("ten times the learning rate")).to_be_visible()


def test_costs_are_the_measured_ones(page):
    open_tab(page)
    for what, *cells in cost.in_words(cost.load(MEASURED)):
        row = page.locator("#costs").get_by_role("row", name=what.capitalize())
        for cell in cells:
            expect(row).to_contain_text(cell)


def test_the_architectures_are_drawn_and_described(page):
    open_tab(page)
    for said in (
        "Three single-task models: the face goes through 3 backbones",
        "One multi-task model: the face goes through 1 backbone,",
    ):
        expect(page.get_by_role("img", name=said)).to_be_visible()


def test_each_task_has_a_figure_of_its_training(page):
    open_tab(page)
    for task in TASKS:
        expect(
            page.get_by_role("heading", name=f"{task.title}: how was it learned?")
        ).to_be_visible()
        expect(
            page.get_by_role("figure", name=f"{task.title}: how was it learned?").locator(
                ".js-plotly-plot"
            )
        ).to_be_visible()


def test_the_command_line_accepts_the_commands_for_own_faces(page):
    open_tab(page)
    lines = page.locator("#own-faces pre").inner_text().splitlines()
    commands = [
        line.removeprefix("python -m facemtl ")
        for line in lines
        if line.startswith("python -m facemtl ")
    ]
    assert [command.split()[0] for command in commands] == ["train", "evaluate"]
    for command in commands:
        cli._parser().parse_args(command.split())  # raises SystemExit if it is not valid
