"""Validation, as a visitor reads it."""

import re

from playwright.sync_api import Page, expect

from facemtl.ui.components.questions import PARTS, QUESTIONS
from tests.support import choose_tab

ERRORS = "At which ages are the errors largest?"
DATA = "plot => JSON.stringify(plot.data)"
CONFUSED = "Gender: which labels are confused?"


def open_tab(page: Page) -> None:
    page.get_by_role("tab", name="Validation").click()
    expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible()


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


def card_of(page: Page, question: str):
    return page.get_by_role("figure", name=question)


def shows(page: Page, n: int) -> None:
    expect(page.locator("#metrics")).to_contain_text(f"{n:,} validation images")


def test_every_question_has_its_figure_its_numbers_and_each_approach_alone(page):
    open_tab(page)
    for part in PARTS:
        expect(page.get_by_role("heading", name=part.title, level=2)).to_be_visible()
        for question in part.questions:
            card = card_of(page, question.title)
            expect(card.get_by_role("heading", level=3)).to_be_visible()
            expect(card.locator(".block.finding")).to_have_text(re.compile(r"\w.*\.\s*$"))
    n_open = sum(question.is_open for question in QUESTIONS)
    expect(page.locator(".js-plotly-plot").filter(visible=True)).to_have_count(n_open)
    figure = figure_of(page, ERRORS)
    figure.scroll_into_view_if_needed()
    figure.locator(".scatterlayer .point").nth(3).hover(force=True)
    expect(figure.locator(".hoverlayer")).to_contain_text(
        re.compile(r"images.*years off \(95 % interval", re.DOTALL)
    )
    check_the_numbers(page)
    check_one_approach(page)
    check_a_folded_figure(page)


def check_the_numbers(page: Page) -> None:
    """They are a table inside the figure's card, which keeps its size."""
    card = card_of(page, ERRORS)
    summary = card.get_by_text("The numbers")
    summary.scroll_into_view_if_needed()
    before = card.bounding_box()
    summary.click()
    expect(card.get_by_role("row", name=re.compile("^20-29")).first).to_be_visible()
    assert card.bounding_box() == before
    table = card.get_by_role("table").bounding_box()
    assert before["y"] < table["y"] < before["y"] + before["height"]
    page.keyboard.press("Escape")
    expect(card.get_by_role("table")).to_be_hidden()
    expect(card.locator("summary")).to_be_focused()


def check_one_approach(page: Page) -> None:
    """All figures, findings and tables are without the other one."""
    figure, card = figure_of(page, ERRORS), card_of(page, ERRORS)
    expect(figure.locator(".legend")).to_contain_text("Multi-task model")
    page.get_by_label("Approach", exact=True).click()
    page.get_by_role("option", name="single-task").click()
    expect(figure).not_to_contain_text("Multi-task model")
    expect(card.locator(".block.finding")).not_to_contain_text("Multi-task model")
    card.get_by_text("The numbers").click()
    expect(card.get_by_role("table")).to_contain_text("Single-task model")
    expect(card.get_by_role("table")).not_to_contain_text("Multi-task model")
    expect(figure_of(page, CONFUSED)).to_contain_text("Single-task")
    expect(figure_of(page, CONFUSED)).not_to_contain_text("Multi-task")


def check_a_folded_figure(page: Page) -> None:
    """It opens with the keyboard, and always shows the chosen images, whether it is open or folded
    when they are chosen. It has the width of its card, also after the window has become narrower.
    """
    card = card_of(page, "How many ages are within N years of the label?")
    button = card.get_by_role("button", name="The figure")
    plot = card.locator(".js-plotly-plot")
    expect(button).to_have_attribute("aria-expanded", "false")
    button.focus()
    page.keyboard.press("Enter")
    expect(plot.locator(".main-svg").first).to_be_visible()
    expect(button).to_have_attribute("aria-expanded", "true")
    shown = [plot.evaluate(DATA)]
    set_age(page, "Ages from", "60")
    wait_until_changed(page, card, shown)
    button.click()
    expect(plot).not_to_be_visible()
    page.set_viewport_size({"width": 600, "height": 900})
    before = page.locator("#metrics").inner_text()
    set_age(page, "Ages from", "80")
    expect(page.locator("#metrics")).not_to_have_text(before, use_inner_text=True)
    button.click()
    wait_until_changed(page, card, shown)
    wait_until_figures_fit(page)


def wait_until_changed(page: Page, card, shown: list[str]) -> None:
    """Until the figure is none of those in `shown`, which it is added to."""
    page.wait_for_function(
        f"""([card, shown]) => {{
            const plot = card.querySelector('.js-plotly-plot');
            return plot?.data && !shown.includes(({DATA})(plot));
        }}""",
        arg=[card.element_handle(), shown],
    )
    shown.append(card.locator(".js-plotly-plot").evaluate(DATA))


def wait_until_figures_fit(page: Page) -> None:
    """Until each is as wide as its place."""
    page.wait_for_function(
        """() => [...document.querySelectorAll('.js-plotly-plot')].every((plot) => {
            const drawn = plot.querySelector('.main-svg')?.getBoundingClientRect();
            return drawn && Math.abs(plot.offsetWidth - drawn.width) < 2;
        })"""
    )


def test_a_filter_applies_to_figures_tables_and_faces(page, results):
    """Ages apply when they are left, entered or stepped. Hidden labels do not filter."""
    open_tab(page)
    by_image = results[results["task"] == "age"].drop_duplicates("image")
    ages, n = by_image["target"], results["image"].nunique()
    card, figure = card_of(page, ERRORS), figure_of(page, ERRORS)
    finding = card.locator(".block.finding")
    expect(finding).to_contain_text("years")
    before = finding.inner_text()
    figure.scroll_into_view_if_needed()
    figure.locator(".scatterlayer .point").nth(3).click(force=True)
    faces = page.get_by_role("region", name="Faces")
    expect(faces).to_be_visible()

    set_age(page, "Ages from", "80", leave="Enter")
    shows(page, ages.between(80, 116).sum())
    expect(faces).to_have_count(0)  # they are of other images
    expect(finding).not_to_have_text(before)
    expect(figure).not_to_contain_text("20-29")
    card.get_by_text("The numbers").click()
    expect(card.get_by_role("row", name=re.compile("^70")).first).to_be_visible()
    expect(card.get_by_role("row", name=re.compile("^20-29"))).to_have_count(0)
    check_other_ages(page, ages)

    page.get_by_role("button", name="Show all").click()
    shows(page, n)
    expect(page.get_by_label("Ages from")).to_have_value("0")
    expect(finding).to_have_text(before)
    page.get_by_label("Labelled gender").click()
    page.get_by_role("option", name="female").click()
    shows(page, (by_image["gender"] == 1).sum())
    page.get_by_label("Hide gender and race").check()
    shows(page, n)


def check_other_ages(page: Page, ages) -> None:
    """Swapped ages are put in order, an empty field is no limit, and there may be no image."""
    set_age(page, "Ages from", "100")
    shows(page, ages.between(100, 116).sum())
    set_age(page, "Ages to", "90")
    shows(page, ages.between(90, 100).sum())
    set_age(page, "Ages to", "")
    shows(page, ages.between(100, 116).sum())
    page.get_by_label("Ages from", exact=True).focus()
    for age in (99, 98):  # there may be nobody of one age
        page.keyboard.press("ArrowDown")
        shows(page, ages.between(age, 116).sum())
    set_age(page, "Ages from", "115", leave="Enter")
    expect(page.locator("#metrics")).to_contain_text("No images match")


def test_a_click_on_a_cell_opens_its_faces_below_the_figure(page):
    """Also on a phone. This app has no dataset and says how to get it. Unit tests cover the faces
    themselves.
    """
    choose_tab(page, "Validation")
    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 900})
        wait_until_figures_fit(page)
        for question in (CONFUSED, "How close are predicted ages to the labels?"):
            check_the_faces_of_a_cell(page, question)
    check_that_choices_fit(page)
    page.get_by_role("button", name="Show faces by age").click()
    expect(page.locator("#hard-faces")).to_contain_text("UTKFace is not installed here")
    expect(page.locator("#hard-faces")).to_contain_text("python -m facemtl download")


def check_that_choices_fit(page: Page) -> None:
    """The longest choice, and its text is not below the arrow of its field."""
    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 900})
        for label in ("Predicted age", "Predicted other than labelled"):
            field = page.get_by_role("combobox", name=label)
            field.click()
            options = page.get_by_role("option")
            expect(options.first).to_be_visible()
            lengths = [len(text) for text in options.all_inner_texts()]
            options.nth(lengths.index(max(lengths))).click()
            expect(options).to_have_count(0)  # or the next field would find them
            assert field.evaluate("field => field.scrollWidth <= field.clientWidth"), (label, width)
            arrow = page.locator("#hard-faces .icon-wrap").first.bounding_box()["width"]
            assert field.evaluate("field => parseFloat(getComputedStyle(field).paddingRight)") > (
                arrow
            )


def check_the_faces_of_a_cell(page: Page, question: str) -> None:
    cell = figure_of(page, question).locator(".nsewdrag").first
    cell.scroll_into_view_if_needed()
    box = cell.bounding_box()
    # The ages of about 26 and the first label are at these places.
    place = {"x": box["width"] / 4, "y": box["height"] * 0.745}
    cell.click(position=place)
    faces = page.get_by_role("region", name="Faces")
    expect(faces).to_have_count(1)
    expect(faces).to_contain_text("UTKFace is not installed here")
    expect(faces).to_be_in_viewport()
    # Both at one moment, because the page still scrolls.
    gap = faces.evaluate(
        "(faces, card) => faces.getBoundingClientRect().top - card.getBoundingClientRect().bottom",
        card_of(page, question).element_handle(),
    )
    assert 0 < gap < 60
    faces.get_by_role("button", name="Close").click()
    expect(faces).not_to_be_visible()
    expect(page.get_by_role("heading", name=question)).to_be_focused()
    cell.click(position=place)
    expect(faces).to_be_visible()
