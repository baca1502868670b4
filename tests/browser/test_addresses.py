"""The address bar: it names the tab, the face and the filters. Back and Forward show them again."""

import re

import pytest
from playwright.sync_api import Page, expect

from facemtl.inference.predictor import APPROACHES
from facemtl.ui.faces import FacePool
from tests import support

IMAGE = FacePool.of_composites(support.COMPOSITES).names[30]


def shown_face(page: Page) -> str:
    return page.locator("#view a.address").get_attribute("href")


def another_face(page: Page, act) -> str:
    """Call `act`. Returns the address of the face that is shown then."""
    before = shown_face(page)
    act()
    expect(page.locator("#view a.address")).not_to_have_attribute("href", before)
    expect(page).to_have_url(re.compile(re.escape(shown_face(page)[1:])))
    return shown_face(page)


def check_selected(page: Page, *tabs: str) -> None:
    last = page.get_by_role("tab", name=tabs[-1], exact=True)
    expect(last).to_have_attribute("aria-selected", "true")
    shown = page.get_by_role("tab", selected=True).filter(visible=True)
    assert shown.all_inner_texts() == [*tabs]


def test_each_face_has_an_address_but_a_photo_of_a_visitor_has_none(page):
    """Back and Forward show each face again."""
    expect(page.locator("#answer")).to_contain_text("What it cost")
    expect(page).to_have_url(re.compile("face="))
    first = shown_face(page)
    second = another_face(page, page.get_by_role("button", name="Random face", exact=True).click)
    assert another_face(page, page.go_back) == first
    assert another_face(page, page.go_forward) == second
    page.locator("#photo input[type=file]").set_input_files(support.composites(140)[3])
    expect(page.locator("#view")).to_contain_text("Your photo")
    expect(page).not_to_have_url(re.compile("face="))


@pytest.mark.parametrize("query", [f"&face={IMAGE}"], ids=["face"])
def test_a_link_opens_its_face(page, app):
    """If there is no such face and no such tab, Compare shows another one."""
    expect(page.locator("#view a.address")).to_have_attribute("href", f"?face={IMAGE}")
    expect(page.locator("#answer")).to_contain_text("What it cost")
    expect(page).to_have_url(f"{app}/?__theme=light&face={IMAGE}")
    page = support.reopened(page, f"{app}/?tab=nonsense&face=0000000000000000")
    expect(page.get_by_text("The face of this link is not here.")).to_be_visible()
    expect(page.locator("#answer")).to_contain_text("What it cost")
    check_selected(page, "Compare")


def test_tabs_and_filters_have_addresses(page):
    """Back passes the same tabs. It does what a link does, so each name of a tab is known."""
    expect(page.locator("#answer")).to_contain_text("What it cost")
    support.choose_tab(page, "Random faces")
    expect(page).to_have_url(re.compile(r"seed=\d+&tab=faces$"))
    first = page.url
    page.get_by_role("button", name="New faces").click()
    expect(page).not_to_have_url(first)
    expect(page).to_have_url(re.compile(r"seed=\d+&tab=faces$"))
    second = page.url
    for tab, name in (
        ("Guess", "guess"), ("Training", "training"), ("Dataset", "dataset"), ("About", "about"),
    ):  # fmt: skip
        support.choose_tab(page, tab)
        expect(page).to_have_url(re.compile(f"tab={name}$"))
    for *tabs, name in (
        ("Training", "Dataset", "dataset"), ("Training", "Results", "training"),
        ("Faces", "Guess", "guess"), ("Faces", "Random faces", "faces"),
    ):  # fmt: skip
        page.go_back()
        expect(page).to_have_url(re.compile(f"tab={name}$"))
        check_selected(page, *tabs)
    expect(page).to_have_url(second)
    page.go_back()
    expect(page).to_have_url(first)
    seed = re.search(r"seed=(\d+)", first)[1]
    expect(page.get_by_label("Seed", exact=True)).to_have_value(seed)


# Whether all scales of colours name a gradient of the page at its present address.
GRADIENTS = """[...document.querySelectorAll('.gradient_filled')].every(({style: {fill}}) =>
    fill.startsWith('url("#') || fill.startsWith(`url("${location.href.split('#')[0]}#`))"""


def test_the_choice_in_validation_has_an_address(page, app):
    expect(page.locator("#answer")).to_contain_text("What it cost")
    support.choose_tab(page, "Validation")
    expect(page).to_have_url(re.compile("tab=validation$"))
    fields = page.locator("#which-images")
    every = page.locator("#metrics").inner_text()
    expect(page.locator(".gradient_filled")).to_have_count(len(APPROACHES))
    fields.get_by_label("Ages from").fill("60")
    fields.get_by_label("Ages from").press("Enter")
    expect(page).to_have_url(re.compile("low=60&tab=validation$"))
    some = page.locator("#metrics").inner_text()
    assert some != every
    page.wait_for_function(GRADIENTS)
    page.go_back()
    expect(page.locator("#metrics")).to_have_text(every, use_inner_text=True)
    expect(fields.get_by_label("Ages from")).to_have_value("0")
    page.wait_for_function(GRADIENTS)
    page = support.reopened(page, f"{app}/?tab=validation&low=60")
    expect(page.locator("#metrics")).to_have_text(some, use_inner_text=True)
    expect(page.locator("#which-images").get_by_label("Ages from")).to_have_value("60")
