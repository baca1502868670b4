"""Dataset, as a visitor reads it."""

import re

import pytest
from playwright.sync_api import Page, expect

from facemtl.data import summary as description
from tests import support

COUNTS, PROBLEMS = description.load(support.ROOT / "assets" / "dataset")


@pytest.mark.parametrize("query", ["&tab=dataset"], ids=["dataset"])
def test_a_link_opens_the_description_and_gender_and_race_can_be_hidden(page):
    """Numbers and problems, figures, and the composites."""
    for tab in ("Training", "Dataset"):
        expect(page.get_by_role("tab", name=tab, exact=True)).to_have_attribute(
            "aria-selected", "true"
        )
    expect(page.get_by_role("heading", name="What is UTKFace?")).to_be_visible()
    expect(page.get_by_text(f"{COUNTS['n'].sum():,} different images of faces")).to_be_visible()
    check_problems(page)
    expect(page.locator(".js-plotly-plot").filter(visible=True)).to_have_count(3)
    check_composites(page)

    page.get_by_label("Hide gender and race").check()
    expect(page.get_by_role("heading", name="Who is in it, and who is not?")).to_be_hidden()
    expect(page.locator("#atlas")).to_be_hidden()
    expect(page.get_by_role("row", name="Copies that disagree on race")).to_be_hidden()
    expect(page.get_by_role("heading", name="How old are the faces?")).to_be_visible()


def check_problems(page: Page) -> None:
    table = page.get_by_role("table", name="What is wrong with the labels?")
    card = page.locator("section", has=table).last
    left_out = PROBLEMS[PROBLEMS["problem"].str.startswith(description.LEFT_OUT)]["n"].sum()
    expect(card).to_contain_text(f"{left_out:,} are left out. So {COUNTS['n'].sum():,} images")
    for row in PROBLEMS.itertuples():
        name = re.sub(r"^(\w+) differs", r"Copies that disagree on \1", row.problem).capitalize()
        expect(page.get_by_role("row", name=name).filter(visible=True)).to_contain_text(
            f"{row.n:,}"
        )


def check_composites(page: Page) -> None:
    """They are drawn, and have text alternatives."""
    expect(page.locator("#atlas img")).to_have_count(len(support.composites()))
    expect(page.get_by_alt_text("Composite: female, Asian, 1 year")).to_be_visible()
    page.wait_for_function(
        "[...document.querySelectorAll('#atlas img')].every((one) => one.naturalWidth > 40)"
    )
