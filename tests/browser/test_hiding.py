"""A visitor hides gender and race."""

import re

from playwright.sync_api import Page, expect

from facemtl.evaluation.findings import conclusion, load_findings
from facemtl.tasks import AGE, GENDER, RACE
from tests import support

FOUND = load_findings(support.ROOT / "assets" / "validation")["tasks"]
SENSITIVE = re.compile(r"\b(" + "|".join([*GENDER.labels, *RACE.labels, "Gender", "Race"]) + r")\b")


def hide(page: Page):
    return page.get_by_label("Hide gender and race")


def check(page: Page, anything: bool) -> None:
    """Check whether gender or race is shown, or announced to a screen reader, in tabs with answers
    or results, and in the headline. Other test files have those of Dataset and About.
    """
    headline = page.get_by_role("region", name="The answer")
    found = [row for row in FOUND if anything or row["task"] == AGE.name]
    expect(headline).to_contain_text(conclusion(found), use_inner_text=True)
    assert bool(re.search(r"\b(gender|race)\b", headline.inner_text())) is anything
    support.choose_tab(page, "Random faces")
    expect(page.locator(".tile")).to_have_count(12)
    said = page.locator("#grid").inner_text() + "".join(
        tile.locator(".sr-only").text_content() for tile in page.locator(".tile").all()
    )
    assert bool(SENSITIVE.search(said)) is anything
    places = (
        ("Compare", "#answer", "Age"),
        ("Validation", "#metrics", "Age"),
        ("Results", "#findings", "Cost"),
    )
    for tab, place, known in places:
        support.choose_tab(page, tab)
        expect(page.locator(place)).to_be_visible()
        expect(page.locator(place)).to_contain_text(known)
        assert bool(SENSITIVE.search(page.locator(place).inner_text())) is anything, tab


def check_the_box_is_in_line_with_the_content(page: Page) -> None:
    content = page.get_by_role("region", name="The answer")
    box = page.locator("#hide label")
    expect(content).to_be_visible()
    for width in (1440, 768):
        page.set_viewport_size({"width": width, "height": 900})
        assert abs(right_of(content) - right_of(box)) < 4
    page.set_viewport_size({"width": 390, "height": 900})
    assert abs(content.bounding_box()["x"] - box.bounding_box()["x"]) < 4
    page.set_viewport_size({"width": 1440, "height": 900})


def right_of(element) -> float:
    box = element.bounding_box()
    return box["x"] + box["width"]


def test_gender_and_race_can_be_hidden_at_any_time_and_stay_hidden(page):
    """Also before the first answer, and after a reload."""
    hide(page).check()
    expect(page.locator("#answer")).to_contain_text("What it cost")
    expect(page.locator("#answer")).not_to_contain_text("Race")
    expect(hide(page)).to_be_checked()
    hide(page).uncheck()
    expect(page.locator("#answer")).to_contain_text("Race")
    check_the_box_is_in_line_with_the_content(page)
    check(page, anything=True)
    support.choose_tab(page, "Compare")
    hide(page).check()
    expect(page.locator("#answer")).not_to_contain_text("Race")
    expect(page.locator("#grid")).not_to_contain_text(re.compile("male"))
    check(page, anything=False)
    page = support.reopened(page, page.url)
    expect(hide(page)).to_be_checked()
    expect(page.locator("#answer")).to_contain_text("What it cost")
    check(page, anything=False)
    hide(page).uncheck()
    expect(page.locator("#grid")).to_contain_text(re.compile("male"))
