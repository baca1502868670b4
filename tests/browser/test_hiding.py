"""A visitor hides gender and race."""

import re

from playwright.sync_api import Page, expect

from facemtl.tasks import GENDER, RACE
from tests import support

SENSITIVE = re.compile(r"\b(" + "|".join([*GENDER.labels, *RACE.labels, "Gender", "Race"]) + r")\b")


def hide(page: Page):
    return page.get_by_label("Hide gender and race")


def check(page: Page, anything: bool) -> None:
    """Check whether gender or race is shown, or announced to a screen reader, in any tab."""
    expect(page.locator("#answer")).to_contain_text("Age")
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


def test_gender_and_race_are_hidden_in_every_tab_and_after_a_reload(page):
    expect(page.locator("#answer")).to_contain_text("What it cost")
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


def test_hiding_works_before_the_first_answer(page):
    """The first random face, which arrives later, must not show them again."""
    hide(page).check()
    expect(page.locator("#answer")).to_contain_text("What it cost")
    expect(page.locator("#answer")).not_to_contain_text("Race")
    expect(hide(page)).to_be_checked()
