"""Compare, as a visitor uses it."""

import io
import json
import re

import pandas as pd
import pytest
from PIL import Image, ImageChops, ImageFilter
from playwright.sync_api import Page, expect

from facemtl.inference.predictor import APPROACHES
from facemtl.tasks import TASKS, Classification
from tests import support
from tests.browser import pointer


def upload(page: Page, file) -> None:
    # the face that greets visitors has been drawn, or there is a message instead
    expect(answer(page).locator(".cost, .message:not(.working)").first).to_be_visible()
    page.locator("#photo input[type=file]").set_input_files(file)


def answer(page: Page):
    return page.locator("#answer")


def crop_of(page: Page):
    return page.get_by_alt_text("The crop that the models see")


def closer(page: Page):
    return page.locator("#closer")


def look(page: Page, name: str):
    """A tab of the closer look."""
    return closer(page).get_by_role("tab", name=name, exact=True)


PHONE = pytest.mark.parametrize(
    "look", [{"width": 390, "scheme": "light"}], indirect=True, ids=["390-light"]
)


def test_a_page_loads_without_jumps_and_makes_maps_on_demand(page, app):
    check_no_jumps(page)
    check_the_first_page(page)
    support.listen(page, "#closer")
    look(page, "Where").click()
    support.wait_to_hear(page, "One moment")
    check_that_others_do_not_jump(page, app)
    page.bring_to_front()
    check_the_maps(page)


@PHONE
def test_nothing_jumps_on_a_phone_nor_moves_below_the_pointer_during_a_double_click(page, app):
    check_no_jumps(page)
    page.evaluate("""() => {  // no scrolling is still under way when the next click comes
        const scroll = Element.prototype.scrollIntoView;
        Element.prototype.scrollIntoView = function (how) {
            scroll.call(this, {...how, behavior: 'instant'});
        };
    }""")
    support.listen(page, "#closer")
    look(page, "Where").click()
    support.wait_to_hear(page, "One moment")
    check_that_others_do_not_jump(page, app)
    page.bring_to_front()
    expect(closer(page)).to_contain_text("occlusion sensitivity")
    page.wait_for_function(
        "document.querySelector('#closer').style.minHeight === ''"
    )  # it has come into view
    check_a_double_click(page)


def check_the_first_page(page: Page) -> None:
    """It shows a face and both predictions. Bars show the probability of every label."""
    for task in TASKS:
        expect(answer(page).get_by_role("heading", name=task.title, exact=True)).to_be_visible()
    for approach in APPROACHES:
        expect(answer(page).get_by_text(approach.title, exact=True)).to_be_visible()
    expect(answer(page).get_by_text(re.compile(r"^label \d+$"))).to_be_visible()
    expect(crop_of(page)).to_be_visible()
    expect(answer(page)).to_contain_text("labels of one dataset: how a face is perceived")
    for task in TASKS:
        if isinstance(task, Classification):
            for label in task.labels:
                for approach in APPROACHES:
                    bar = answer(page).get_by_role(
                        "img", name=re.compile(rf"^{label}, {approach.title}: \d+ %$")
                    )
                    expect(bar).to_have_count(1)


JUMPS = """window.jumps = 0;
const add = (entries) => entries.forEach((e) => {
    if (!e.hadRecentInput) window.jumps += e.value;
});
const observer = new PerformanceObserver((list) => add(list.getEntries()));
observer.observe({type: 'layout-shift', buffered: true});
window.allJumps = () => new Promise((done) =>
    requestAnimationFrame(() => requestAnimationFrame(() => {
    add(observer.takeRecords());
    done(window.jumps);
})));"""


def check_that_others_do_not_jump(page: Page, app: str) -> None:
    """Although this visitor keeps the models busy."""
    another = page.context.new_page()
    another.goto(app)
    check_no_jumps(another)
    another = support.reopened(another, f"{app}/?seed=12")
    check_no_jumps(another, n_tiles=12)
    another.close()


def check_no_jumps(page: Page, n_tiles: int = 0) -> None:
    """Cumulative layout shift is below 0.1, which web.dev calls good."""
    expect(page.locator(".tile")).to_have_count(n_tiles)
    if not n_tiles:
        expect(answer(page)).to_contain_text("What it cost")
    page.evaluate(JUMPS)  # the browser has kept those of the whole load
    assert page.evaluate("window.allJumps()") < 0.1


def check_the_maps(page: Page) -> None:
    """They have scrolled into view, and are all of one size, whatever the words below them."""
    for task in TASKS:
        for approach in APPROACHES:
            expect(
                closer(page).get_by_alt_text(re.compile(f"^{task.title}, {approach.title}: "))
            ).to_be_visible()
    expect(closer(page).locator(".note").filter(visible=True).last).to_be_in_viewport()
    for width in (1440, 920, 768, 390):
        page.set_viewport_size({"width": width, "height": 900})
        images = closer(page).locator("#look-where").get_by_role("img").all()
        assert len({round(image.bounding_box()["width"]) for image in images}) == 1


def check_a_double_click(page: Page) -> None:
    """The second click hits the same tab, also if a short pane replaces a long one at the end of
    the page.
    """
    page.evaluate("""() => {
        const button = document.querySelector('#tab-save'), tops = window.tops = [];
        button.scrollIntoView({block: 'start'});
        button.addEventListener('click', ({timeStamp}) => (function watch() {
            if (performance.now() > timeStamp + 450) { window.watched = true; return; }
            tops.push(button.getBoundingClientRect().top);
            requestAnimationFrame(watch);
        })(), {capture: true, once: true});
        button.click();
    }""")
    page.wait_for_function("window.watched")
    assert len(set(page.evaluate("tops"))) == 1
    expect(closer(page)).to_contain_text("Download the picture")


def test_a_photo_has_several_faces_and_can_be_uploaded_again(page, photo):
    """Its faces can be chosen one by one, or listed in a table that can be downloaded."""
    expect(look(page, "All faces")).to_be_hidden()
    upload(page, photo)
    view = page.locator("#view")
    expect(view.get_by_role("button", name=re.compile(r"^Face \d$"))).to_have_count(3)
    expect(view).to_contain_text("face 1 of 3")
    # nobody knows the truth here
    expect(answer(page).get_by_text(re.compile(r"^label \d+$"))).to_have_count(0)
    first = crop_of(page).get_attribute("src")
    view.get_by_role("button", name="Face 3").click()
    expect(view).to_contain_text("face 3 of 3")
    expect(crop_of(page)).not_to_have_attribute("src", first)
    expect(view.get_by_role("button", name="Face 3")).to_have_attribute("aria-pressed", "true")

    look(page, "All faces").click()
    table = closer(page).get_by_role("table", name="All 3 faces")
    for i in range(3):
        expect(table.get_by_role("row", name=re.compile(f"^{i + 1} "))).to_contain_text("years")
    with page.expect_download() as download:
        closer(page).get_by_role("link", name="Download as CSV").click()
    assert len(pd.read_csv(download.value.path())) == 3 * 6

    expect(page.locator("#photo")).to_contain_text("Drop a photo here")
    page.get_by_role("button", name="Random face").click()
    expect(view).not_to_contain_text("of 3")
    upload(page, photo)
    expect(view).to_contain_text("face 1 of 3")


def test_a_crop_is_corrected_with_the_keyboard_by_mouse_and_by_finger(page, photo):
    upload(page, photo)
    box = page.locator("#view").get_by_role("button", name="Face 1", exact=True)
    expect(box).to_have_attribute("aria-pressed", "true")
    found = crop_of(page).get_attribute("src")
    page.get_by_role("button", name="Correct the crop").press("Enter")
    page.get_by_role("button", name="Wider").press("Enter")
    expect(crop_of(page)).not_to_have_attribute("src", found)
    expect(answer(page)).to_contain_text("What it cost")
    for drag in (pointer.by_mouse, pointer.by_finger):
        page.get_by_role("button", name="Undo corrections").press("Enter")
        expect(crop_of(page)).to_have_attribute("src", found)
        check_a_cancelled_drag(page, box)
        check_the_drags(page, box, drag)
    page.locator("#view").get_by_role("button", name="Face 2").click()
    expect(page.locator("#view")).to_contain_text("face 2 of 3")


def check_a_cancelled_drag(page: Page, box) -> None:
    """A box whose drag is taken away is where it was, and follows no pointer after that."""
    box.scroll_into_view_if_needed()
    before, asked = box.bounding_box(), pointer.joined(page)
    x, y = centre(before)
    pointer.cancelled(page, ".box[aria-pressed='true']", [(x, y), (x + 30, y + 20), (x + 50, y)])
    assert box.bounding_box() == before
    assert not asked


def check_the_drags(page: Page, box, drag) -> None:
    """A drag of the middle moves the box, one of the corner resizes it."""

    def dragged(x: float, y: float, right: float, down: float) -> dict:
        before = crop_of(page).get_attribute("src")
        drag(page, [(x, y), (x + right / 2, y + down / 2), (x + right, y + down)])
        expect(crop_of(page)).not_to_have_attribute("src", before)
        return box.bounding_box()

    area, start = page.locator("#view .photo img").bounding_box(), box.bounding_box()
    moved = dragged(*centre(start), 20, 10)
    assert (moved["x"] - start["x"], moved["y"] - start["y"]) == pytest.approx((20, 10), abs=2)
    assert moved["width"] == pytest.approx(start["width"], abs=2)
    corner = moved["x"] + moved["width"] - 5, moved["y"] + moved["height"] - 5
    assert dragged(*corner, -15, -15)["width"] == pytest.approx(moved["width"] - 15, abs=2)
    # far out of the photo, but on the page
    outside = dragged(moved["x"] + 20, moved["y"] + 20, 5 - moved["x"], 0)
    assert outside["x"] >= area["x"] - 1  # what is drawn of it stays on the photo
    expect(page.locator("#view")).to_contain_text("face 1 of 3")


def centre(box: dict) -> tuple[float, float]:
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_a_poor_photo_one_without_a_face_and_a_file_that_is_none(page, photo, tmp_path):
    """Each is answered in plain words. The camera and a random face work after that."""
    with Image.open(photo) as image:
        image.filter(ImageFilter.GaussianBlur(12)).save(tmp_path / "blurred.jpg")
    upload(page, tmp_path / "blurred.jpg")
    expect(page.locator("#view").get_by_role("status")).to_contain_text("A poor crop")
    expect(page.locator("#view").get_by_role("status")).to_contain_text("blurred")
    expect(look(page, "Where")).to_be_visible()

    Image.new("RGB", (600, 400), (90, 150, 90)).save(tmp_path / "meadow.png")
    upload(page, tmp_path / "meadow.png")
    expect(answer(page).get_by_role("heading", name="No face found")).to_be_visible()
    expect(page.get_by_label("Correct the crop")).to_be_hidden()
    expect(look(page, "Where")).to_be_hidden()
    expect(page.get_by_role("button", name="Capture from camera")).to_be_visible()
    expect(page.locator("#spoken")).to_contain_text("No face found")
    page.get_by_role("button", name="Use the centre square").click()
    expect(answer(page)).to_contain_text("What it cost")
    expect(crop_of(page)).to_be_visible()

    (tmp_path / "holiday.jpg").write_text("this is text")
    upload(page, tmp_path / "holiday.jpg")
    expect(answer(page).get_by_role("heading", name="This file cannot be used")).to_be_visible()
    expect(answer(page)).to_contain_text("Try a JPEG or PNG")

    check_the_camera(page)
    page.get_by_role("button", name="Random face").click()
    expect(answer(page)).to_contain_text("What it cost")


def check_the_camera(page: Page) -> None:
    """Chromium's fake camera shows a test pattern, which has no face.

    The camera takes the picture's place until another face is shown, or another tab is selected.
    """
    camera = page.locator("#photo video")
    for _ in range(2):
        turn_on_the_camera(page)
        expect(page.locator("#view")).to_be_hidden()
        page.get_by_role("button", name=re.compile("capture photo", re.IGNORECASE)).click()
        expect(answer(page)).to_contain_text("No face found")
        expect(page.locator("#view img")).to_be_visible()
        expect(camera).to_have_count(0)
        for _ in range(2):  # the second face has the same form of view as the first one
            before = answer(page).inner_text()
            turn_on_the_camera(page)
            page.get_by_role("button", name="Random face").click()
            expect(answer(page)).not_to_have_text(before, use_inner_text=True)
            expect(camera).to_have_count(0)
            expect(page.locator("#view img").first).to_be_visible()

    turn_on_the_camera(page)
    page.get_by_role("tab", name="About").click()
    expect(camera).to_have_count(0)
    page.get_by_role("tab", name="Compare").click()
    expect(page.locator("#view img").first).to_be_visible()

    page.evaluate("""() => {
        navigator.mediaDevices.getUserMedia =
            () => Promise.reject(new DOMException('Permission denied', 'NotAllowedError'));
    }""")
    ask_for_the_camera(page)
    expect(page.get_by_role("alert")).to_contain_text("The browser does not allow it.")
    expect(page.locator("#view img").first).to_be_visible()


def ask_for_the_camera(page: Page) -> None:
    page.get_by_role("button", name="Capture from camera").click()
    page.get_by_role("button", name=re.compile("access|webcam", re.IGNORECASE)).first.click()


def turn_on_the_camera(page: Page) -> None:
    ask_for_the_camera(page)
    page.wait_for_function(
        "document.querySelector('#photo video')?.readyState === 4"
    )  # a person waits to see the picture


def test_each_new_answer_is_announced_and_can_be_saved(page, photo):
    """A screen reader says it, the picture shows its face, and the JSON file has its numbers."""
    pictures = []
    for file in (photo, support.composites(140)[3]):
        upload_and_hear(page, file)
        expect(closer(page)).not_to_contain_text("Download the picture")
        look(page, "Save").press("Enter")
        expect(closer(page)).to_contain_text("Download the picture")
        with Image.open(io.BytesIO(saved(page, "Download the picture", "facemtl.png"))) as picture:
            assert picture.format == "PNG" and picture.size == (980, 480)
            pictures.append(picture.convert("RGB").crop((30, 50, 410, 430)))  # the face
        file = saved(page, "Download all numbers (JSON)", "facemtl.json")
        answers = json.loads(file)["answers"]
        assert {(a["task"], a["approach"]) for a in answers} == {
            (task.name, approach.name) for task in TASKS for approach in APPROACHES
        }
        for value in answers:  # the page shows each of them
            expect(answer(page)).to_contain_text(value["answer"])
    assert ImageChops.difference(*pictures).getbbox() is not None
    expect(page.locator("#view")).not_to_contain_text("of 3")  # the second photo has one face


def upload_and_hear(page: Page, file) -> None:
    """Upload a photo, and wait until its own answer is announced and shown."""
    region = page.locator("#spoken")
    expect(region).to_contain_text(APPROACHES[0].title)
    before = region.text_content()
    upload(page, file)
    expect(region).not_to_have_text(before)
    for approach in APPROACHES:
        expect(region).to_contain_text(f"{approach.title}: ")
        ages = answer(page).locator(f".ruler-value.{approach.name}-text b")
        expect(region).to_contain_text(f"{ages.text_content()} years")


def saved(page: Page, link: str, name: str) -> bytes:
    with page.expect_download() as download:
        page.get_by_role("link", name=link).press("Enter")
    assert download.value.suggested_filename == name
    return download.value.path().read_bytes()


def test_the_approaches_can_be_told_apart_with_forced_colours(page):
    expect(answer(page)).to_contain_text("What it cost")
    page.emulate_media(forced_colors="active")
    for mark in (".legend .mark", ".ruler .dot", ".bar i"):
        single, multi = (
            answer(page)
            .locator(f"{mark}.{approach}")
            .first.evaluate("mark => getComputedStyle(mark).backgroundColor")
            for approach in ("single", "multi")
        )
        assert single != multi, mark
