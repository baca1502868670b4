"""About: the model card, as a visitor reads it."""

import re

from playwright.sync_api import expect

from tests import support

CARD = (support.ROOT / "MODEL_CARD.md").read_text("utf-8")


def test_the_card_is_read_from_its_contents_and_without_gender_and_race(page):
    """All of it is there, its contents lead to its sections, and the forbidden uses always stay."""
    support.choose_tab(page, "About")
    card = page.locator("#model-card")
    contents = page.get_by_role("navigation", name="What is in the model card")
    check_the_whole_card(card)
    expect(page.get_by_role("heading", name="What happens to my photos?")).to_be_visible()

    for heading in re.findall(r"^## (.+)$", CARD, re.MULTILINE)[::4]:
        contents.get_by_role("link", name=heading).click()
        expect(card.get_by_role("heading", name=heading)).to_be_in_viewport()
        expect(card.get_by_role("heading", name=heading)).to_be_focused()

    check_that_tables_are_readable(page, card)
    page.get_by_label("Hide gender and race").check()
    check_the_rest(page, card, contents)


def check_the_whole_card(card) -> None:
    for heading in re.findall(r"^#+ (.+)$", CARD.replace("```", "\0").split("\0")[0], re.MULTILINE):
        expect(card.get_by_role("heading", name=heading)).to_be_visible()
    expect(card.locator("table")).to_have_count(  # some are folded
        len(re.findall(r"^\| --- ", CARD, re.MULTILINE))
    )
    expect(card.locator("table").first).to_have_attribute("tabindex", "0")
    expect(card).to_contain_text("Article 5(1)(g)")


def check_that_tables_are_readable(page, card) -> None:
    """They fit, or scroll with an edge that fades and a first column that stays."""
    card.evaluate("card => card.querySelectorAll('details').forEach((each) => each.open = true)")
    for width in (1440, 1201, 1001, 768, 390):
        page.set_viewport_size({"width": width, "height": 900})
        for table in card.locator("table").all():
            if table.evaluate("table => table.scrollWidth > table.clientWidth"):
                assert width <= 1000, table.inner_text()
                assert "gradient" in table.evaluate("table => getComputedStyle(table).maskImage")
                first = table.locator("th").first
                before = first.bounding_box()["x"]
                table.evaluate("table => table.scrollLeft = 40")
                assert abs(first.bounding_box()["x"] - before) < 1
    page.set_viewport_size({"width": 1440, "height": 900})


def check_the_rest(page, card, contents) -> None:
    for heading in ("Metrics", "Data"):
        expect(card.get_by_role("heading", name=heading, exact=True)).to_be_hidden()
        expect(contents.get_by_role("link", name=heading, exact=True)).to_be_hidden()
    expect(page.get_by_text("which you have asked to hide")).to_be_visible()
    misuse = "What they must not be used for"
    expect(card).to_contain_text("Article 5(1)(g)", use_inner_text=True)
    rest = card.inner_text().replace(card.locator(".prose", has_text=misuse).last.inner_text(), "")
    assert "Recipe" in rest and not re.search(
        r"\b(gender|race|male|female|Black|Asian)\b", rest, re.IGNORECASE
    )
    contents.get_by_role("link", name=misuse).click()
    expect(card.get_by_role("heading", name=misuse)).to_be_in_viewport()
