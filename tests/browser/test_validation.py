"""Validation, as a visitor reads it."""

import re

import pytest
from playwright.sync_api import Page, expect

from facemtl.evaluation import compare
from facemtl.tasks import task_named
from tests.support import choose_tab

QUESTIONS = (
    "How close are predicted ages to the labels?",
    "How large are the age errors?",
    "At which ages do they err most?",
    "Which ages are read too old, which too young?",
)


def open_tab(page: Page) -> None:
    page.get_by_role("tab", name="Validation").click()
    expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible()


def test_the_table_shows_the_measured_metrics(page, results):
    open_tab(page)
    for row in compare(results).itertuples():
        task = task_named(row.task)
        cells = page.get_by_role("row", name=re.compile(f"^{task.title}"))
        for value in (row.single, row.multi):
            expect(cells).to_contain_text(task.metric.words(value))
        expect(cells).to_contain_text(task.metric.words(row.difference, sign=True))


def test_every_figure_answers_a_question_and_hovering_gives_numbers(page):
    open_tab(page)
    for question in QUESTIONS:
        expect(page.get_by_role("heading", name=question)).to_be_visible()
    expect(page.locator(".js-plotly-plot")).to_have_count(len(QUESTIONS))
    figure = page.locator(".js-plotly-plot").nth(2)
    figure.scroll_into_view_if_needed()
    figure.locator(".scatterlayer .point").nth(3).hover(force=True)
    expect(figure.locator(".hoverlayer")).to_contain_text(re.compile(r"images.*years off \(95 % interval", re.DOTALL))


def test_the_numbers_behind_the_figures_are_a_table(page):
    open_tab(page)
    page.get_by_role("button", name="The numbers by age").click()
    expect(page.get_by_role("row", name=re.compile("^20-29"))).to_be_visible()


LOOKS = [{"width": w, "scheme": s} for w in (1440, 768, 390) for s in ("light", "dark")]


@pytest.mark.parametrize("look", LOOKS, indirect=True, ids=lambda v: f"{v['width']}-{v['scheme']}")
def test_every_tab_fits_the_window(page, look):
    """Nothing is wider than the window, in any tab, from a desktop to a phone."""
    expect(page.locator("#answer")).to_contain_text("What it cost")
    for tab, ready in (
        ("Compare", "#answer .cost"), ("Random faces", ".tile"), ("Validation", ".js-plotly-plot .main-svg"),
        ("Guess", "#guess-face img"), ("Training", "#findings"), ("About", "#model-card"),
    ):  # fmt: skip
        choose_tab(page, tab)
        expect(page.locator(ready).filter(visible=True).first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= look["width"], tab
