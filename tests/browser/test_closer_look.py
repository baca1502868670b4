"""The panel "A closer look" in Compare, and pinned faces, as a visitor uses them."""

import re

import pytest
from playwright.sync_api import Page, expect

from facemtl.inference.predictor import APPROACHES
from facemtl.inference.what_if import CHANGES, GRID
from facemtl.tasks import GENDER, TASKS
from tests import support
from tests.browser import pointer

PHONE = pytest.mark.parametrize(
    "look", [{"width": 390, "scheme": "dark"}], indirect=True, ids=["390-dark"]
)


def answer(page: Page):
    return page.locator("#answer")


def tab(page: Page, name: str):
    return page.locator("#closer").get_by_role("tab", name=name, exact=True)


def pane(page: Page):
    """The pane on display."""
    return page.locator("#closer [role=tabpanel]").filter(visible=True)


def ready(page: Page) -> None:
    expect(answer(page)).to_contain_text("What it cost")
    expect(tab(page, "Where")).to_be_visible()


def what_if(page: Page, change: str) -> None:
    tab(page, "What if").click()
    tab(page, change).click()
    expect(pane(page).get_by_role("slider")).to_be_visible()


def test_panes_stay_until_the_face_the_crop_or_the_tasks_change(page):
    """The keyboard opens the first pane."""
    ready(page)
    expect(page.locator("#closer [role=tabpanel]").filter(visible=True)).to_have_count(0)
    check_the_keyboard_opens_save(page)
    tab(page, "How steady").click()
    expect(pane(page)).to_contain_text("12 views")
    support.listen(page, "#closer")
    for name, words in (("Save", "Download the picture"), ("How steady", "12 views")):
        tab(page, name).click()
        expect(tab(page, name)).to_have_attribute("aria-selected", "true")
        expect(pane(page)).to_contain_text(words)
    assert not any("One moment" in said for said in page.evaluate("window.said"))

    page.get_by_role("button", name="Random face").click()
    expect(page.locator("#closer [role=tabpanel]").filter(visible=True)).to_have_count(0)
    expect(page.locator("#closer")).not_to_contain_text("12 views")
    expect(page.locator("#closer").get_by_role("tab", selected=True)).to_have_count(0)
    for change in (
        lambda: page.get_by_label("Hide gender and race").check(),
        lambda: page.get_by_role("button", name="Tighter").click(),
    ):
        tab(page, "How steady").click()  # it can be made again, for what is shown now
        expect(pane(page)).to_contain_text("12 views")
        if not page.get_by_role("button", name="Tighter").is_visible():
            page.get_by_role("button", name="Correct the crop").click()
        change()
        expect(page.locator("#closer")).not_to_contain_text("12 views")
    tab(page, "What if").click()
    expect(pane(page).get_by_role("slider")).to_be_visible()
    expect(pane(page)).not_to_contain_text(GENDER.title)


def check_the_keyboard_opens_save(page: Page) -> None:
    """Arrow keys, Home and End move between the tabs."""
    tab(page, "Where").focus()
    for key, name in (
        ("ArrowRight", "How steady"), ("ArrowRight", "What if"), ("End", "Save"),
        ("ArrowRight", "Where"), ("ArrowLeft", "Save"), ("Home", "Where"),
    ):  # fmt: skip
        page.keyboard.press(key)
        expect(tab(page, name)).to_be_focused()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(pane(page)).to_contain_text("Download the picture")
    expect(tab(page, "Save")).to_be_focused()
    expect(pane(page)).to_have_attribute("aria-labelledby", "tab-save")


def test_the_slider_needs_no_server_and_other_tasks_have_curves(page):
    ready(page)
    what_if(page, "Light")
    ages = answer(page).locator(".ruler-value b")
    for approach, age in zip(APPROACHES, ages.all_text_contents(), strict=True):
        expect(pane(page)).to_contain_text(f"{approach.title}: {age} years")
    held = []
    page.route("**/*", lambda route: held.append(route))  # whatever the page asks for has to wait
    check_the_slider(page)
    for route in held:
        route.continue_()
    page.unroute("**/*")
    check_the_curve_of_gender(page)


def check_the_slider(page: Page) -> None:
    """It moves the picture, the answers and the mark on the curve."""
    slider = pane(page).get_by_role("slider")
    assert slider.get_attribute("value") == str(CHANGES[0].start)
    place = pane(page).locator(".here").filter(visible=True)
    at = [place.bounding_box()["x"]]
    slider.press("Home")
    expect(pane(page)).to_contain_text("75 % darker")
    expect(pane(page).get_by_alt_text("The face, 75 % darker")).to_be_visible()
    expect(slider).to_have_attribute(
        "aria-valuetext", re.compile("^75 % darker. Three single-task")
    )
    at.append(place.bounding_box()["x"])
    slider.press("ArrowRight")
    expect(pane(page).get_by_alt_text("The face, 60 % darker")).to_be_visible()
    expect(pane(page).get_by_alt_text("The face, 75 % darker")).to_be_hidden()
    assert at[1] < place.bounding_box()["x"] < at[0]


def check_the_curve_of_gender(page: Page) -> None:
    expect(pane(page).get_by_role("img", name=re.compile("^Age"))).to_be_visible()
    pane(page).get_by_role("radio", name=GENDER.title).check()
    plot = pane(page).get_by_role("img", name=re.compile(f"^{GENDER.title}: probability of"))
    expect(plot).to_be_visible()
    expect(pane(page).get_by_role("img", name=re.compile("^Age"))).to_have_count(0)
    for approach in APPROACHES:  # a shape for each approach
        expect(plot.locator(f".dot.{approach.name}")).to_have_count(len(CHANGES[0].amounts))
    dashes = plot.locator("polyline").evaluate_all(
        "lines => lines.map((line) => getComputedStyle(line).strokeDasharray)"
    )
    assert dashes[0] == "none" and dashes[1] != "none"
    pane(page).get_by_text("All numbers").filter(visible=True).click()
    table = pane(page).get_by_role("table", name=f"{GENDER.title}: all points")
    expect(table.get_by_role("row")).to_have_count(1 + len(CHANGES[0].amounts))


def covered_cells(page: Page) -> int:
    mask = page.locator(".painter").get_attribute("data-mask") or ""
    assert len(mask) in (0, GRID**2)
    return mask.count("1")


def stroke(page: Page) -> list[tuple[float, float]]:
    """Points across the face, once the page does not scroll any more."""
    canvas = page.locator(".painter canvas")
    canvas.scroll_into_view_if_needed()
    page.wait_for_function(
        """() => {
            const at = document.querySelector('.painter canvas').getBoundingClientRect().top;
            const waited = window.restedAt === at ? performance.now() - window.restedSince : 0;
            if (window.restedAt !== at) window.restedSince = performance.now();
            window.restedAt = at;
            return waited > 600;  // the page scrolls half a second after a click
        }"""
    )
    box = canvas.bounding_box()
    return [
        (box["x"] + x * box["width"], box["y"] + y * box["height"])
        for x, y in ((0.2, 0.3), (0.5, 0.3), (0.8, 0.3))
    ]


def test_a_face_is_covered_by_mouse_by_finger_and_with_the_keyboard(page):
    """What was covered is gone with the face."""
    ready(page)
    tab(page, "What if").press("Enter")
    tab(page, "Cover").press("Enter")
    expect(page.locator(".painter canvas")).to_be_visible()
    for draw in (pointer.by_mouse, pointer.by_finger):
        check_the_brush(page, draw)
    check_a_cancelled_stroke(page)

    pane(page).get_by_role("button", name="Eyes").press("Enter")
    expect(pane(page)).to_contain_text("of the crop is covered")
    eyes = covered_cells(page)
    pane(page).get_by_role("button", name="Mouth").press("Enter")
    page.wait_for_function(
        f"document.querySelector('.painter').dataset.mask.replaceAll('0', '').length > {eyes}"
    )
    page.get_by_role("button", name="Random face").click()
    expect(page.locator("#closer")).not_to_contain_text("of the crop is covered")
    expect(page.locator(".painter")).to_have_count(0)


def check_the_brush(page: Page, draw) -> None:
    """A stroke is answered for each task, and only the cells are sent."""
    points = stroke(page)
    sent = pointer.joined(page)
    draw(page, points)
    table = pane(page).get_by_role("table", name="Before and after covering")
    for task in TASKS:
        expect(table.get_by_role("row", name=re.compile(f"^{task.title}"))).to_contain_text("→")
    n = covered_cells(page)
    assert 0.04 < n / GRID**2 < 0.4
    expect(pane(page)).to_contain_text(f"{100 * n / GRID**2:.0f} % of the crop is covered")
    assert len(sent) == 1 and len(sent[0]) < 1000
    clear(page)


def check_a_cancelled_stroke(page: Page) -> None:
    """The brush has left what it passed, but follows no pointer after that."""
    points = stroke(page)
    sent = pointer.joined(page)
    pointer.cancelled(page, ".painter canvas", points[:2])
    page.locator(".painter canvas").dispatch_event(
        "pointermove", {"clientX": points[2][0], "clientY": points[2][1]}
    )
    table = pane(page).get_by_role("table", name="Before and after covering")
    expect(table).to_be_visible()
    n = covered_cells(page)
    assert 0 < n / GRID**2 < 0.1
    expect(pane(page)).to_contain_text(f"{100 * n / GRID**2:.0f} % of the crop is covered")
    assert len(sent) == 1
    clear(page)


def clear(page: Page) -> None:
    pane(page).get_by_role("button", name="Clear").click()
    expect(pane(page).get_by_role("table", name="Before and after covering")).to_have_count(0)
    assert covered_cells(page) == 0


def check_that_pins_hold_their_text(page: Page) -> None:
    """No text leaves the card of its face, nor lies on other text of it."""
    for width in (1440, 1201, 1100, 1001, 768, 390):
        page.set_viewport_size({"width": width, "height": 900})
        for card in page.locator(".pinned").all():
            right = card.evaluate("card => card.getBoundingClientRect().right - 14")
            for part in card.locator("dd").all():
                assert part.evaluate("part => part.getBoundingClientRect().right") <= right, width
                assert part.evaluate("part => part.scrollWidth <= part.clientWidth + 1"), width
    page.set_viewport_size({"width": 1440, "height": 900})


def test_a_pinned_face_stays_while_others_are_looked_at(page):
    ready(page)
    ages = answer(page).locator(".ruler-value b")
    pinned = page.get_by_role("region", name="Pinned face", exact=True)
    first = ages.all_text_contents()
    page.get_by_role("button", name="Pin this face").click()
    for age in first:
        expect(pinned).to_contain_text(age)
    crop = page.get_by_alt_text("The crop that the models see")
    before = crop.get_attribute("src")
    page.get_by_role("button", name="Random face").click()
    expect(crop).not_to_have_attribute("src", before)
    for age in first:
        expect(pinned).to_contain_text(age)
    page.get_by_role("button", name="Pin this face").click()
    expect(page.locator(".pinned")).to_have_count(2)
    check_that_pins_hold_their_text(page)
    page.get_by_role("button", name="Unpin: Pinned face 1").press("Enter")
    expect(page.locator(".pinned")).to_have_count(1)
    expect(page.locator("#pin")).to_be_focused()
    page.get_by_label("Hide gender and race").check()
    expect(pinned).not_to_contain_text(GENDER.title)
    expect(pinned).to_contain_text("Age")
    page.get_by_role("button", name="Unpin").click()
    expect(page.locator(".pinned")).to_have_count(0)


@PHONE
def test_the_panel_fits_a_phone(page):
    ready(page)
    what_if(page, "Turn")
    page.get_by_role("button", name="Pin this face").click()
    pinned = page.locator(".pinned")
    expect(pinned).to_be_visible()
    assert pinned.evaluate("(card) => card.scrollWidth <= card.clientWidth")
    tab(page, "Cover").click()
    pane(page).get_by_role("button", name="Left half").click()
    expect(pane(page)).to_contain_text("of the crop is covered")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    table = pane(page).locator(".scroll")
    assert table.evaluate("(box) => box.scrollWidth <= box.clientWidth")
