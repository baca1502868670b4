"""Validation, as a visitor reads it."""

import re

import pytest
from playwright.sync_api import Page, expect

from facemtl.evaluation.compare import compare
from facemtl.tasks import task_named
from facemtl.ui.components.questions import PARTS, QUESTIONS
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


def test_every_question_is_answered_and_hovering_gives_numbers(page):
    open_tab(page)
    for part in PARTS:
        expect(page.get_by_role("heading", name=part.title, level=2)).to_be_visible()
        for question in part.questions:
            card = page.get_by_role("figure", name=question.title)
            expect(card.get_by_role("heading", level=3)).to_be_visible()
            expect(card.locator(".block.finding")).to_have_text(re.compile(r"\w.*\.\s*$"))
    n_open = sum(question.is_open for question in QUESTIONS)
    expect(page.locator(".js-plotly-plot").filter(visible=True)).to_have_count(n_open)
    figure = figure_of(page, "At which ages are the errors largest?")
    figure.scroll_into_view_if_needed()
    figure.locator(".scatterlayer .point").nth(3).hover(force=True)
    expect(figure.locator(".hoverlayer")).to_contain_text(
        re.compile(r"images.*years off \(95 % interval", re.DOTALL)
    )


def test_a_folded_figure_opens_with_the_keyboard_and_has_the_width_of_its_card(page):
    """Also if it is drawn again while it is folded, and the window has become narrower."""
    open_tab(page)
    card = page.get_by_role("figure", name="How many ages are within N years of the label?")
    button = card.get_by_role("button", name="The figure")
    plot = card.locator(".js-plotly-plot")
    expect(button).to_have_attribute("aria-expanded", "false")
    button.focus()
    page.keyboard.press("Enter")
    expect(plot.locator(".main-svg").first).to_be_visible()
    expect(button).to_have_attribute("aria-expanded", "true")
    button.click()
    expect(plot).not_to_be_visible()
    page.set_viewport_size({"width": 600, "height": 900})
    set_age(page, "Ages from", "60")
    expect(page.locator("#metrics")).not_to_contain_text("seeds:")
    button.click()
    page.wait_for_function(
        """() => [...document.querySelectorAll('.js-plotly-plot')].every((plot) =>
            Math.abs(plot.offsetWidth - plot.querySelector('.main-svg')
                .getBoundingClientRect().width) < 2)"""
    )


def set_age(page: Page, label: str, value: str, leave: str = "Tab") -> None:
    page.get_by_label(label, exact=True).click()
    page.keyboard.press("Control+A")
    page.keyboard.press("Backspace")
    page.keyboard.type(value, delay=50)
    page.keyboard.press(leave)


def figure_of(page: Page, question: str):
    return page.locator(".figure", has=page.get_by_role("heading", name=question)).locator(
        ".js-plotly-plot"
    )


def test_the_numbers_behind_each_figure_are_a_table(page):
    open_tab(page)
    card = page.locator(
        ".figure", has=page.get_by_role("heading", name="At which ages are the errors largest?")
    )
    height = card.bounding_box()["height"]
    card.get_by_text("The numbers").click()
    expect(card.get_by_role("row", name=re.compile("^20-29")).first).to_be_visible()
    box, table = card.bounding_box(), card.get_by_role("table").bounding_box()
    assert box["height"] == height and box["y"] < table["y"] < box["y"] + height
    page.keyboard.press("Escape")
    expect(card.get_by_role("table")).to_be_hidden()
    expect(card.locator("summary")).to_be_focused()


def test_a_filter_applies_to_all_figures_and_tables(page, results):
    open_tab(page)
    finding = page.get_by_role("figure", name="At which ages are the errors largest?").locator(
        ".block.finding"
    )
    expect(finding).to_contain_text("years")
    before = finding.inner_text()
    set_age(page, "Ages from", "60")
    n = results[(results["task"] == "age") & (results["target"] >= 60)]["image"].nunique()
    expect(page.locator("#metrics")).to_contain_text(f"{n:,} validation images")
    expect(finding).not_to_have_text(before)
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
    expect(finding).to_have_text(before)


def test_ages_apply_when_they_are_left_entered_or_stepped(page, results):
    """Swapped ages are put in order, and an empty field is no limit."""
    open_tab(page)
    ages = results[results["task"] == "age"].drop_duplicates("image")["target"]

    def shows(low: float, high: float) -> None:
        n = ages.between(low, high).sum()
        expect(page.locator("#metrics")).to_contain_text(f"{n:,} validation images")

    set_age(page, "Ages from", "60", leave="Enter")
    shows(60, 116)
    set_age(page, "Ages to", "20")
    shows(20, 60)
    set_age(page, "Ages from", "")
    shows(0, 20)
    page.get_by_label("Ages to", exact=True).focus()
    page.keyboard.press("ArrowUp")
    shows(0, 21)


def test_one_approach_can_be_shown_alone(page):
    open_tab(page)
    figure = figure_of(page, "At which ages are the errors largest?")
    expect(figure.locator(".legend")).to_contain_text("Multi-task model")
    page.get_by_label("Approach", exact=True).click()
    page.get_by_role("option", name="single-task").click()
    expect(figure).not_to_contain_text("Multi-task model")
    card = page.get_by_role("figure", name="At which ages are the errors largest?")
    expect(card.locator(".block.finding")).not_to_contain_text("Multi-task model")
    card.get_by_text("The numbers").click()
    expect(card.get_by_role("table")).to_contain_text("Single-task model")
    expect(card.get_by_role("table")).not_to_contain_text("Multi-task model")
    expect(figure_of(page, "Gender: which labels are confused?")).to_contain_text("Single-task")
    expect(figure_of(page, "Gender: which labels are confused?")).not_to_contain_text("Multi-task")


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


PHONE = {"width": 390, "scheme": "dark"}


@pytest.mark.parametrize("look", [{"width": 1440, "scheme": "light"}, PHONE], indirect=True)
@pytest.mark.parametrize(
    "question",
    ["Gender: which labels are confused?", "How close are predicted ages to the labels?"],
)
def test_a_click_on_a_cell_opens_its_faces_below_the_figure(page, question, look):
    choose_tab(page, "Validation")
    cell = figure_of(page, question).locator(".nsewdrag").first
    cell.scroll_into_view_if_needed()
    box = cell.bounding_box()
    # The ages of about 26 and the first label are at these places.
    cell.click(position={"x": box["width"] / 4, "y": box["height"] * 0.745})
    faces = page.get_by_role("region", name="Faces")
    expect(faces).to_have_count(1)
    expect(faces).to_contain_text("UTKFace is not installed here")
    expect(faces).to_be_in_viewport()
    card = page.get_by_role("figure", name=question).bounding_box()
    gap = faces.bounding_box()["y"] - card["y"] - card["height"]
    assert 0 < gap < 60
    faces.get_by_role("button", name="Close").click()
    expect(faces).not_to_be_visible()
    expect(page.get_by_role("heading", name=question)).to_be_focused()
    cell.click(position={"x": box["width"] / 4, "y": box["height"] * 0.745})
    expect(faces).to_be_visible()


def test_faces_of_a_mark_disappear_when_other_images_are_chosen(page):
    open_tab(page)
    figure = figure_of(page, "At which ages are the errors largest?")
    figure.scroll_into_view_if_needed()
    figure.locator(".scatterlayer .point").nth(3).click(force=True)
    faces = page.get_by_role("region", name="Faces")
    expect(faces).to_be_visible()
    set_age(page, "Ages from", "60")
    expect(faces).to_have_count(0)


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


WIDTHS = {1440: "light", 768: "dark", 390: "light"}
LOOKS = [{"width": width, "scheme": scheme} for width, scheme in WIDTHS.items()]


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
