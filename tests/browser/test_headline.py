"""The headline of every page: the answer in one line."""

from playwright.sync_api import expect

from facemtl.evaluation.findings import conclusion, load_findings
from tests import support

FOUND = load_findings(support.ROOT / "assets" / "validation")


def test_it_answers_and_leads_to_the_findings(page):
    headline = page.get_by_role("region", name="The answer")
    expect(headline).to_contain_text(conclusion(FOUND["tasks"]))
    headline.get_by_role("button", name="See how").click()
    expect(page.get_by_role("tab", name="Training")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#findings")).to_contain_text("Age")


def test_hidden_tasks_are_not_in_it(page):
    headline = page.get_by_role("region", name="The answer")
    expect(headline.get_by_text("gender")).to_be_visible()
    page.get_by_label("Hide gender and race").check()
    expect(headline.get_by_text("gender")).to_be_hidden()
    expect(headline.get_by_text("race")).to_be_hidden()
    expect(headline.get_by_text("age", exact=False).first).to_be_visible()
    age = [row for row in FOUND["tasks"] if row["task"] == "age"]
    expect(headline.locator("b.hidden-note")).to_have_text(conclusion(age))
    expect(headline.locator("b.hidden-note")).to_be_visible()
