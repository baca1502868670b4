"""Validation, as a visitor reads it."""

import re

import pytest
from playwright.sync_api import Page, expect

from facemtl.evaluation.compare import compare
from facemtl.tasks import task_named
from facemtl.ui.tabs.validation import QUESTIONS
from tests.support import choose_tab


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
        expect(page.get_by_role("heading", name=question.title)).to_be_visible()
    expect(page.locator(".js-plotly-plot").filter(visible=True)).to_have_count(len(QUESTIONS))
    figure = figure_of(page, "At which ages are the errors largest?")
    figure.scroll_into_view_if_needed()
    figure.locator(".scatterlayer .point").nth(3).hover(force=True)
    expect(figure.locator(".hoverlayer")).to_contain_text(
        re.compile(r"images.*years off \(95 % interval", re.DOTALL)
    )


def figure_of(page: Page, question: str):
    return page.locator(".figure", has=page.get_by_role("heading", name=question)).locator(
        ".js-plotly-plot"
    )


def test_the_numbers_behind_each_figure_are_a_table(page):
    open_tab(page)
    card = page.locator(
        ".figure", has=page.get_by_role("heading", name="At which ages are the errors largest?")
    )
    card.get_by_text("The numbers").click()
    expect(card.get_by_role("row", name=re.compile("^20-29")).first).to_be_visible()


def test_a_filter_applies_to_all_figures_and_tables(page, results):
    open_tab(page)
    page.get_by_label("Ages from").click()
    page.keyboard.press("Control+A")
    page.keyboard.type("60", delay=50)
    page.get_by_role("button", name="Show these images").click()
    n = results[(results["task"] == "age") & (results["target"] >= 60)]["image"].nunique()
    expect(page.locator("#metrics")).to_contain_text(f"{n:,} validation images")
    ticks = figure_of(page, "At which ages are the errors largest?")
    expect(ticks).to_contain_text("60-69")
    card = page.locator(
        ".figure", has=page.get_by_role("heading", name="At which ages are the errors largest?")
    )
    card.get_by_text("The numbers").click()
    expect(card.get_by_role("row", name=re.compile("^20-29"))).to_have_count(0)
    page.get_by_role("button", name="Show all").click()
    expect(page.locator("#metrics")).to_contain_text(
        f"{results['image'].nunique():,} validation images"
    )
    expect(page.get_by_label("Ages from")).to_have_value("0")


def test_one_approach_can_be_shown_alone(page):
    open_tab(page)
    figure = figure_of(page, "At which ages are the errors largest?")
    expect(figure.locator(".legend")).to_contain_text("One multi-task model")
    page.get_by_label("Approach", exact=True).click()
    page.get_by_role("option", name="Three models").click()
    expect(figure).not_to_contain_text("One multi-task model")
    card = page.get_by_role("figure", name="At which ages are the errors largest?")
    card.get_by_text("The numbers").click()
    expect(card.get_by_role("table")).to_contain_text("Three single-task models")
    expect(card.get_by_role("table")).not_to_contain_text("One multi-task model")
    expect(figure_of(page, "Gender: which labels are confused?")).to_contain_text("Three models")
    expect(figure_of(page, "Gender: which labels are confused?")).not_to_contain_text("One model")


def test_a_filter_without_matches_is_reported(page):
    open_tab(page)
    page.get_by_label("Ages from").click()
    page.keyboard.press("Control+A")
    page.keyboard.type("115", delay=50)
    page.keyboard.press("Enter")
    expect(page.locator("#metrics")).to_contain_text("No images match")


def test_faces_behind_the_figures_need_the_dataset(page):
    """This app has no dataset and says how to get it. Unit tests cover the faces themselves."""
    open_tab(page)
    page.get_by_role("button", name="Show faces by age").click()
    expect(page.locator("#behind")).to_contain_text("UTKFace is not installed here")
    expect(page.locator("#behind")).to_contain_text("python -m facemtl download")


def test_a_click_on_a_cell_asks_for_its_faces(page):
    open_tab(page)
    expect(page.locator("#behind")).not_to_contain_text("UTKFace is not installed here")
    cell = figure_of(page, "Gender: which labels are confused?").locator(".nsewdrag").first
    cell.scroll_into_view_if_needed()
    box = cell.bounding_box()
    cell.click(position={"x": box["width"] / 4, "y": box["height"] / 4})
    expect(page.locator("#behind")).to_contain_text("UTKFace is not installed here")
    expect(page.locator("#behind")).to_be_in_viewport()
    page.get_by_role("button", name="Back to the figure").click()
    expect(
        page.get_by_role("heading", name="Gender: which labels are confused?")
    ).to_be_in_viewport()


def test_hiding_gender_resets_the_filter_by_gender(page, results):
    open_tab(page)
    page.get_by_label("Labelled gender").click()
    page.get_by_role("option", name="female").click()
    n = results[results["gender"] == 1]["image"].nunique()
    expect(page.locator("#metrics")).to_contain_text(f"{n:,} validation images")
    page.get_by_label("Hide gender and race").check()
    expect(page.locator("#metrics")).to_contain_text(
        f"{results['image'].nunique():,} validation images"
    )


LOOKS = [{"width": w, "scheme": s} for w in (1440, 768, 390) for s in ("light", "dark")]


@pytest.mark.parametrize("look", LOOKS, indirect=True, ids=lambda v: f"{v['width']}-{v['scheme']}")
def test_every_tab_fits_the_window(page, look):
    """Nothing is wider than the window, in any tab, from a desktop to a phone."""
    expect(page.locator("#answer")).to_contain_text("What it cost")
    for tab, ready in (
        ("Compare", "#answer .cost"), ("Random faces", ".tile"),
        ("Validation", ".js-plotly-plot .main-svg"),
        ("Guess", "#guess-face img"), ("Results", "#findings li"),
        ("Dataset", "#atlas"), ("About", "#model-card"),
    ):  # fmt: skip
        choose_tab(page, tab)
        expect(page.locator(ready).filter(visible=True).first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= look["width"], tab
