"""The address bar: it names the tab, the face and the filters. Back and Forward show them again."""

import re

from playwright.sync_api import Page, expect

from facemtl.ui.faces import FacePool
from tests import support


def shown_face(page: Page) -> str:
    return page.locator("#view a.address").get_attribute("href")


def another_face(page: Page, act) -> str:
    """Call `act`. Returns the address of the face that is shown then."""
    before = shown_face(page)
    act()
    expect(page.locator("#view a.address")).not_to_have_attribute("href", before)
    expect(page).to_have_url(re.compile(re.escape(shown_face(page)[1:])))
    return shown_face(page)


def selected(page: Page) -> list[str]:
    tabs = page.get_by_role("tab", selected=True).filter(visible=True)
    return tabs.all_inner_texts()


def test_each_face_has_an_address_and_back_shows_it_again(page):
    expect(page.locator("#answer")).to_contain_text("What it cost")
    expect(page).to_have_url(re.compile("face="))
    first = shown_face(page)
    second = another_face(page, page.get_by_role("button", name="Random face", exact=True).click)
    assert another_face(page, page.go_back) == first
    assert another_face(page, page.go_forward) == second


def test_a_link_opens_its_face(page, app):
    image = FacePool.of_composites(support.ROOT / "assets" / "faces").names[30]
    expect(page.locator("#answer")).to_contain_text("What it cost")
    page = support.reopened(page, f"{app}/?face={image}")
    expect(page.locator("#view a.address")).to_have_attribute("href", f"?face={image}")
    expect(page).to_have_url(f"{app}/?face={image}")


def test_a_link_to_an_unknown_face_says_so(page, app):
    expect(page.locator("#answer")).to_contain_text("What it cost")
    page = support.reopened(page, f"{app}/?face=0000000000000000")
    expect(page.get_by_text("The face of this link is not here.")).to_be_visible()
    expect(page.locator("#answer")).to_contain_text("What it cost")


def test_a_photo_of_a_visitor_has_no_address(page):
    expect(page).to_have_url(re.compile("face="))
    page.locator("#photo input[type=file]").set_input_files(support.composites(140)[3])
    expect(page.locator("#view")).to_contain_text("Your photo")
    expect(page).not_to_have_url(re.compile("face="))


def test_tabs_and_filters_have_addresses(page, app):
    expect(page.locator("#answer")).to_contain_text("What it cost")
    support.choose_tab(page, "Random faces")
    expect(page).to_have_url(re.compile(r"seed=\d+&tab=faces$"))
    first = page.url
    page.get_by_role("button", name="New faces").click()
    expect(page).not_to_have_url(first)
    expect(page).to_have_url(re.compile(r"seed=\d+&tab=faces$"))
    second = page.url
    for tab, name in (("Guess", "guess"), ("Dataset", "dataset"), ("About", "about")):
        support.choose_tab(page, tab)
        expect(page).to_have_url(re.compile(f"tab={name}$"))
    for _ in range(10):  # Training is on the way
        if page.url == second:
            break
        before = page.url
        page.go_back()
        expect(page).not_to_have_url(before)
    expect(page.get_by_role("tab", name="Random faces")).to_have_attribute("aria-selected", "true")
    page.go_back()
    expect(page).to_have_url(first)
    seed = re.search(r"seed=(\d+)", first)[1]
    expect(page.get_by_label("Seed", exact=True)).to_have_value(seed)


def test_a_link_opens_its_tab(page, app):
    for name, tabs in (
        ("guess", ["Faces", "Guess"]),
        ("dataset", ["Training", "Dataset"]),
        ("training", ["Training", "Results"]),
        ("about", ["About"]),
        ("nonsense", ["Compare"]),
    ):
        page = support.reopened(page, f"{app}/?tab={name}")
        last = page.get_by_role("tab", name=tabs[-1], exact=True)
        expect(last).to_have_attribute("aria-selected", "true")
        assert selected(page) == tabs


def test_the_choice_in_validation_has_an_address(page, app):
    expect(page.locator("#answer")).to_contain_text("What it cost")
    support.choose_tab(page, "Validation")
    expect(page).to_have_url(re.compile("tab=validation$"))
    fields = page.locator("#which-images")
    every = page.locator("#metrics").inner_text()
    fields.get_by_label("Ages from").fill("60")
    fields.get_by_label("Ages from").press("Enter")
    expect(page).to_have_url(re.compile("low=60&tab=validation$"))
    some = page.locator("#metrics").inner_text()
    assert some != every
    page.go_back()
    expect(page.locator("#metrics")).to_have_text(every, use_inner_text=True)
    expect(fields.get_by_label("Ages from")).to_have_value("0")
    page = support.reopened(page, f"{app}/?tab=validation&low=60")
    expect(page.locator("#metrics")).to_have_text(some, use_inner_text=True)
    expect(page.locator("#which-images").get_by_label("Ages from")).to_have_value("60")
