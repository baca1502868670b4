"""About: the model card, as a visitor reads it."""

import re

from playwright.sync_api import expect

from tests import support

CARD = (support.ROOT / "MODEL_CARD.md").read_text("utf-8")


def test_the_whole_model_card_is_shown(page):
    support.choose_tab(page, "About")
    card = page.locator("#model-card")
    for heading in re.findall(r"^#+ (.+)$", CARD.replace("```", "\0").split("\0")[0], re.MULTILINE):
        expect(card.get_by_role("heading", name=heading)).to_be_visible()
    expect(card.locator("table")).to_have_count(  # some are folded
        len(re.findall(r"^\| --- ", CARD, re.MULTILINE))
    )
    expect(card).to_contain_text("Article 5(1)(g)")
    expect(card).not_to_contain_text("<!--")


def test_the_table_of_contents_leads_to_its_sections(page):
    support.choose_tab(page, "About")
    contents = page.get_by_role("navigation", name="What is in the model card")
    for heading in re.findall(r"^## (.+)$", CARD, re.MULTILINE)[::4]:
        contents.get_by_role("link", name=heading).click()
        expect(page.locator("#model-card").get_by_role("heading", name=heading)).to_be_in_viewport()
        expect(page.locator("#model-card").get_by_role("heading", name=heading)).to_be_focused()


def test_all_links_are_https(page):
    support.choose_tab(page, "About")
    expect(page.locator("#model-card")).to_be_visible()
    expect(page.locator("#model-card a").first).to_be_attached()
    links = page.locator("#model-card a").evaluate_all(
        "links => links.map(link => link.getAttribute('href'))"
    )
    assert links and all(link.startswith("https://") for link in links)


def test_privacy_is_explained_and_tables_can_have_the_focus(page):
    support.choose_tab(page, "About")
    expect(page.get_by_role("heading", name="What happens to my photos?")).to_be_visible()
    expect(page.locator("#model-card table").first).to_have_attribute("tabindex", "0")


def test_hiding_gender_and_race_hides_them_except_in_the_forbidden_uses(page):
    support.choose_tab(page, "About")
    card, contents = (
        page.locator("#model-card"),
        page.get_by_role("navigation", name="What is in the model card"),
    )
    expect(card.get_by_role("heading", name="Metrics")).to_be_visible()
    page.get_by_label("Hide gender and race").check()
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
