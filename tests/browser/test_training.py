"""The headline of every page, and Training, to which it leads."""

from playwright.sync_api import Page, expect

from facemtl.evaluation import cost
from facemtl.evaluation.findings import conclusion, load_findings, overall
from facemtl.tasks import TASKS, task_named
from tests import support

MEASURED = support.ROOT / "assets" / "validation"


def test_the_headline_leads_to_findings_costs_and_figures(page):
    headline = page.get_by_role("region", name="The answer")
    expect(headline).to_contain_text(conclusion(load_findings(MEASURED)["tasks"]))
    headline.get_by_role("button", name="See how").click()
    expect(page.get_by_role("tab", name="Training")).to_have_attribute("aria-selected", "true")
    check_the_findings(page)
    check_the_claim_of_2018(page)
    check_the_costs(page)
    check_the_figures(page)


def check_the_findings(page: Page) -> None:
    findings = page.locator("#findings")
    for row in overall(MEASURED).itertuples():
        for value in (row.single, row.multi):
            expect(findings).to_contain_text(task_named(row.task).metric.words(value))
    expect(findings).to_contain_text(conclusion(load_findings(MEASURED)["tasks"]))


def check_the_claim_of_2018(page: Page) -> None:
    """It is compared and explained."""
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


def check_the_costs(page: Page) -> None:
    for what, *cells in cost.in_words(cost.load(MEASURED)):
        row = page.locator("#costs").get_by_role("row", name=what.capitalize())
        for cell in cells:
            expect(row).to_contain_text(cell)


def check_the_figures(page: Page) -> None:
    """Drawings of both approaches, and the curves of each task."""
    for said in (
        "Three single-task models: the face goes through 3 backbones",
        "One multi-task model: the face goes through 1 backbone,",
    ):
        expect(page.get_by_role("img", name=said)).to_be_visible()
    for task in TASKS:
        question = f"{task.title}: how was it learned?"
        expect(page.get_by_role("heading", name=question)).to_be_visible()
        figure = page.get_by_role("figure", name=question)
        expect(figure.locator(".js-plotly-plot")).to_be_visible()
