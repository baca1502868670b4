"""Dataset, as a visitor reads it."""

import re

import pytest
from playwright.sync_api import Page, expect

from facemtl.data import summary as description
from tests import support

COUNTS, PROBLEMS = description.load(support.ROOT / "assets" / "dataset")


def open_tab(page: Page) -> None:
    support.choose_tab(page, "Dataset")
    expect(page.get_by_role("heading", name="What is UTKFace?")).to_be_visible()


def test_the_number_of_faces_and_the_problems_are_shown(page):
    open_tab(page)
    expect(page.get_by_text(f"{COUNTS['n'].sum():,} different images of faces")).to_be_visible()
    for row in PROBLEMS.itertuples():
        name = re.sub(r"^(\w+) differs", r"Copies that disagree on \1", row.problem).capitalize()
        expect(page.get_by_role("row", name=name).filter(visible=True)).to_contain_text(
            f"{row.n:,}"
        )


def test_figures_are_drawn(page):
    open_tab(page)
    expect(page.locator(".js-plotly-plot").filter(visible=True)).to_have_count(3)


def test_composites_are_shown_with_text_alternatives(page):
    open_tab(page)
    pictures = page.locator("#atlas img")
    expect(pictures).to_have_count(len(support.composites()))
    expect(page.get_by_alt_text("Composite: female, Asian, 1 year")).to_be_visible()
    page.wait_for_function(
        "[...document.querySelectorAll('#atlas img')].every((one) => one.naturalWidth > 40)"
    )


def test_gender_and_race_can_be_hidden(page):
    open_tab(page)
    page.get_by_label("Hide gender and race").check()
    expect(page.get_by_role("heading", name="Who is in it, and who is not?")).to_be_hidden()
    expect(page.locator("#atlas")).to_be_hidden()
    expect(page.get_by_role("row", name="Race differs")).to_be_hidden()
    expect(page.get_by_role("heading", name="How old are the faces?")).to_be_visible()


@pytest.mark.parametrize(
    "look", [{"width": 390, "scheme": "dark"}], ids=["390-dark"], indirect=True
)
def test_nothing_is_wider_than_a_phone(page):
    open_tab(page)
    expect(page.locator("#atlas img").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
