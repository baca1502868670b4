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


def upload(page: Page, file) -> None:
    expect(answer(page)).to_contain_text(
        "What it cost"
    )  # the face that greets visitors has been drawn
    page.locator("#photo input[type=file]").set_input_files(file)


def answer(page: Page):
    return page.locator("#answer")


def closer(page: Page):
    return page.locator("#closer")


def look(page: Page, name: str):
    """A tab of the closer look."""
    return closer(page).get_by_role("tab", name=name, exact=True)


def test_the_first_page_shows_a_face_and_both_predictions(page):
    for task in TASKS:
        expect(answer(page).get_by_role("heading", name=task.title, exact=True)).to_be_visible()
    for approach in APPROACHES:
        expect(answer(page).get_by_text(approach.title, exact=True)).to_be_visible()
    expect(answer(page).get_by_text(re.compile(r"^label \d+$"))).to_be_visible()
    expect(page.get_by_alt_text("The crop that the models see")).to_be_visible()
    expect(answer(page)).to_contain_text("perceived, by the labels of one dataset")


def test_bars_show_the_probability_of_every_label(page):
    for task in TASKS:
        if isinstance(task, Classification):
            for label in task.labels:
                for approach in APPROACHES:
                    bar = answer(page).get_by_role(
                        "img", name=re.compile(rf"^{label}, {approach.title}: \d+ %$")
                    )
                    expect(bar).to_have_count(1)


def test_random_face_draws_another_one(page):
    expect(answer(page)).to_contain_text("What it cost")
    crop = page.get_by_alt_text("The crop that the models see")
    before = crop.get_attribute("src")
    page.get_by_role("button", name="Random face").click()
    expect(crop).not_to_have_attribute("src", before)


def test_an_uploaded_photo_is_predicted_and_its_faces_can_be_chosen(page, photo):
    upload(page, photo)
    view = page.locator("#view")
    expect(view.get_by_role("button", name=re.compile(r"^Face \d$"))).to_have_count(3)
    expect(view).to_contain_text("face 1 of 3")
    expect(answer(page).get_by_text(re.compile(r"^label \d+$"))).to_have_count(
        0
    )  # nobody knows the truth here
    first = page.get_by_alt_text("The crop that the models see").get_attribute("src")
    view.get_by_role("button", name="Face 3").click()
    expect(view).to_contain_text("face 3 of 3")
    expect(page.get_by_alt_text("The crop that the models see")).not_to_have_attribute("src", first)
    expect(view.get_by_role("button", name="Face 3")).to_have_attribute("aria-pressed", "true")


def test_the_same_photo_can_be_uploaded_twice(page, photo):
    for _ in range(2):
        upload(page, photo)
        expect(page.locator("#view")).to_contain_text("face 1 of 3")
        expect(page.locator("#photo")).to_contain_text("Drop a photo here")
        page.get_by_role("button", name="Random face").click()
        expect(page.locator("#view")).not_to_contain_text("face 1 of 3")


def test_all_faces_of_a_photo_are_listed_in_a_table(page, photo):
    expect(look(page, "All faces")).to_be_hidden()
    upload(page, photo)
    look(page, "All faces").click()
    table = closer(page).get_by_role("table", name="All 3 faces")
    for i in range(3):
        expect(table.get_by_role("row", name=re.compile(f"^{i + 1} "))).to_contain_text("years")
    with page.expect_download() as download:
        closer(page).get_by_role("link", name="Download as CSV").click()
    assert len(pd.read_csv(download.value.path())) == 3 * 6


def test_a_crop_can_be_corrected_with_the_keyboard_and_reset(page, photo):
    upload(page, photo)
    expect(page.locator("#view")).to_contain_text("face 1 of 3")
    crop = page.get_by_alt_text("The crop that the models see")
    found = crop.get_attribute("src")
    page.get_by_role("button", name="Correct the crop").press("Enter")
    page.get_by_role("button", name="Wider").press("Enter")
    expect(crop).not_to_have_attribute("src", found)
    expect(answer(page)).to_contain_text("What it cost")
    page.get_by_role("button", name="Undo corrections").press("Enter")
    expect(crop).to_have_attribute("src", found)


def by_mouse(page: Page, x: float, y: float, right: float, down: float) -> None:
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + right / 2, y + down / 2)
    page.mouse.move(x + right, y + down)
    page.mouse.up()


def by_finger(page: Page, x: float, y: float, right: float, down: float) -> None:
    browser = page.context.new_cdp_session(page)
    for kind, share in (
        ("touchStart", 0),
        ("touchMove", 0.2),
        ("touchMove", 0.6),
        ("touchMove", 1),
        ("touchEnd", None),
    ):
        points = [] if share is None else [{"x": x + share * right, "y": y + share * down}]
        browser.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


@pytest.mark.parametrize("drag", [by_mouse, by_finger])
def test_a_crop_can_be_dragged_and_resized(page, photo, drag):
    upload(page, photo)
    view, crop = page.locator("#view"), page.get_by_alt_text("The crop that the models see")
    box = view.get_by_role("button", name="Face 1", exact=True)
    expect(box).to_have_attribute("aria-pressed", "true")
    found = crop.get_attribute("src")
    area, start = view.locator(".photo img").bounding_box(), box.bounding_box()
    x, y = start["x"] + start["width"] / 2, start["y"] + start["height"] / 2

    drag(page, x, y, 20, 10)
    expect(crop).not_to_have_attribute("src", found)
    moved = box.bounding_box()
    assert (moved["x"] - start["x"], moved["y"] - start["y"]) == pytest.approx((20, 10), abs=2)
    assert moved["width"] == pytest.approx(start["width"], abs=2)
    before = crop.get_attribute("src")
    drag(page, moved["x"] + moved["width"] - 5, moved["y"] + moved["height"] - 5, -15, -15)
    expect(crop).not_to_have_attribute("src", before)
    assert box.bounding_box()["width"] == pytest.approx(moved["width"] - 15, abs=2)
    before = crop.get_attribute("src")
    drag(
        page, moved["x"] + 20, moved["y"] + 20, 5 - moved["x"], 0
    )  # far out of the photo, but on the page
    expect(crop).not_to_have_attribute("src", before)
    assert box.bounding_box()["x"] >= area["x"] - 1  # what is drawn of it stays on the photo
    expect(view).to_contain_text("face 1 of 3")
    view.get_by_role("button", name="Face 2").click()
    expect(view).to_contain_text("face 2 of 3")


def test_a_poor_crop_is_reported(page, photo, tmp_path):
    upload(page, photo)
    expect(page.locator("#view")).to_contain_text("face 1 of 3")
    with Image.open(photo) as image:
        image.filter(ImageFilter.GaussianBlur(12)).save(tmp_path / "blurred.jpg")
    upload(page, tmp_path / "blurred.jpg")
    expect(page.locator("#view").get_by_role("status")).to_contain_text("A poor crop")
    expect(page.locator("#view").get_by_role("status")).to_contain_text("blurred")


def test_a_second_photo_replaces_the_first(page, photo, tmp_path):
    upload(page, photo)
    expect(page.locator("#view")).to_contain_text("face 1 of 3")
    page.locator("#photo input[type=file]").set_input_files(support.composites(140)[30])
    expect(page.locator("#view")).not_to_contain_text("of 3")
    expect(answer(page)).to_contain_text("What it cost")


def test_a_photo_without_a_face_can_be_used_with_its_centre_square(page, tmp_path):
    Image.new("RGB", (600, 400), (90, 150, 90)).save(tmp_path / "meadow.png")
    upload(page, tmp_path / "meadow.png")
    expect(answer(page).get_by_role("heading", name="No face found")).to_be_visible()
    expect(page.get_by_label("Correct the crop")).to_be_hidden()
    expect(page.get_by_role("button", name="Capture from camera")).to_be_visible()
    expect(page.locator("#spoken")).to_contain_text("No face found")
    page.get_by_role("button", name="Use the centre square").click()
    expect(answer(page)).to_contain_text("What it cost")
    expect(page.get_by_alt_text("The crop that the models see")).to_be_visible()


def test_a_file_that_is_not_an_image_is_refused_in_plain_words(page, tmp_path):
    (tmp_path / "holiday.jpg").write_text("this is text")
    upload(page, support.composites(140)[30])
    expect(page.get_by_alt_text("The face", exact=True)).to_be_visible()
    expect(answer(page).get_by_text(re.compile(r"^label \d+$"))).to_have_count(0)
    upload(page, tmp_path / "holiday.jpg")
    expect(answer(page).get_by_role("heading", name="This file cannot be used")).to_be_visible()
    expect(answer(page)).to_contain_text("Try a JPEG or PNG")
    page.get_by_role("button", name="Random face").click()
    expect(answer(page)).to_contain_text("What it cost")


def test_a_photo_from_the_camera(page):
    """Chromium's fake camera shows a test pattern, which has no face."""
    expect(answer(page)).to_contain_text("What it cost")
    page.get_by_role("button", name="Capture from camera").click()
    page.get_by_role("button", name=re.compile("access|webcam", re.IGNORECASE)).first.click()
    page.wait_for_function(
        "document.querySelector('#photo video')?.readyState === 4"
    )  # a person waits to see the picture
    page.get_by_role("button", name=re.compile("capture photo", re.IGNORECASE)).click()
    expect(answer(page)).to_contain_text("No face found")


def test_slow_work_shows_progress_and_scrolls_into_view(page):
    expect(page.locator("#answer section").first).to_be_visible()
    support.listen(page, "#closer")
    look(page, "Where").click()
    support.wait_to_hear(page, "One moment")
    expect(closer(page)).to_contain_text("occlusion sensitivity")
    expect(closer(page)).to_be_in_viewport()


@pytest.mark.parametrize(
    "look", [{"width": 390, "scheme": "light"}], indirect=True, ids=["390-light"]
)
def test_nothing_moves_below_the_pointer_during_a_double_click(page):
    """The second click hits the same tab, also if a short pane replaces a long one at the end of
    the page.
    """
    expect(answer(page)).to_contain_text("What it cost")
    page.evaluate("""() => {  // no scrolling is still under way when the next click comes
        const scroll = Element.prototype.scrollIntoView;
        Element.prototype.scrollIntoView = function (how) {
            scroll.call(this, {...how, behavior: 'instant'});
        };
    }""")
    look(page, "Where").click()
    expect(closer(page)).to_contain_text("occlusion sensitivity")
    page.wait_for_function(
        "document.querySelector('#closer').style.minHeight === ''"
    )  # it has come into view
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


def test_a_screen_reader_announces_each_new_answer(page):
    region = page.locator("#spoken")
    said = []
    for file in (support.composites(140)[3], support.composites(140)[70]):
        upload(page, file)
        if said:
            expect(region).not_to_have_text(said[0])
        for approach in APPROACHES:
            expect(region).to_contain_text(f"{approach.title}: ")
            ages = answer(page).locator(f".ruler-value.{approach.name}-text b")
            expect(region).to_contain_text(f"{ages.text_content()} years")
        said.append(region.text_content())


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


@pytest.mark.parametrize(
    "look",
    [{"width": w, "scheme": "light"} for w in (1440, 390)],
    indirect=True,
    ids=lambda v: v["width"],
)
def test_nothing_jumps_while_a_page_loads(page, app):
    """Cumulative layout shift is below 0.1, which web.dev calls good, also if another visitor keeps
    the models busy.
    """
    expect(answer(page)).to_contain_text(
        "What it cost"
    )  # else that answer would keep the next page waiting
    page.add_init_script(JUMPS)
    page.goto(app)
    expect(answer(page)).to_contain_text("What it cost")
    assert page.evaluate("window.allJumps()") < 0.1
    other = page.context.browser.new_page()
    other.set_default_timeout(60_000)
    other.goto(app)
    expect(answer(other)).to_contain_text("What it cost")
    support.listen(other, "#closer")
    look(other, "Where").click()
    support.wait_to_hear(other, "One moment")
    page.goto(app)
    expect(answer(page)).to_contain_text("What it cost")
    other.close()
    assert page.evaluate("window.allJumps()") < 0.1
    page.goto(f"{app}/?seed=12")
    expect(page.locator(".tile")).to_have_count(12)
    assert page.evaluate("window.allJumps()") < 0.1


def test_occlusion_maps_are_shown_on_demand(page):
    expect(answer(page)).to_contain_text("What it cost")
    look(page, "Where").click()
    for task in TASKS:
        for approach in APPROACHES:
            expect(
                closer(page).get_by_alt_text(re.compile(f"^{task.title}, {approach.title}: "))
            ).to_be_visible()
    expect(closer(page)).to_contain_text("occlusion sensitivity")
    for width in (1440, 920, 768, 390):  # all maps are of one size, whatever the words below them
        page.set_viewport_size({"width": width, "height": 900})
        assert (
            len(
                {
                    round(image.bounding_box()["width"])
                    for image in closer(page).locator("#look-where").get_by_role("img").all()
                }
            )
            == 1
        )


def test_steadiness_is_shown_on_demand_and_removed_with_its_face(page):
    expect(answer(page)).to_contain_text("What it cost")
    look(page, "How steady").click()
    for task in TASKS:
        expect(closer(page).get_by_role("row", name=re.compile(f"^{task.title}"))).to_contain_text(
            "12 views"
        )
    page.get_by_role("button", name="Random face").click()
    expect(closer(page)).not_to_contain_text("views")


def test_the_result_can_be_downloaded_as_picture_and_json(page):
    pictures, crop = [], page.get_by_alt_text("The crop that the models see")
    expect(answer(page)).to_contain_text("What it cost")
    for file in (support.composites(140)[3], support.composites(140)[70]):
        before = crop.get_attribute("src")
        upload(page, file)
        expect(crop).not_to_have_attribute("src", before)
        expect(closer(page)).not_to_contain_text("Download the picture")
        look(page, "Save").press("Enter")
        expect(closer(page)).to_contain_text("Download the picture")
        saved = {}
        for link, name in (
            ("Download the picture", "facemtl.png"),
            ("Download all numbers (JSON)", "facemtl.json"),
        ):
            with page.expect_download() as download:
                page.get_by_role("link", name=link).press("Enter")
            assert download.value.suggested_filename == name
            saved[name] = download.value.path().read_bytes()
        with Image.open(io.BytesIO(saved["facemtl.png"])) as picture:
            assert picture.format == "PNG" and picture.size == (980, 480)
            pictures.append(picture.convert("RGB").crop((30, 50, 410, 430)))  # the face
        answers = json.loads(saved["facemtl.json"])["answers"]
        assert {(a["task"], a["approach"]) for a in answers} == {
            (task.name, approach.name) for task in TASKS for approach in APPROACHES
        }
        for value in answers:  # the page shows each of them
            expect(answer(page)).to_contain_text(value["answer"])
    assert ImageChops.difference(*pictures).getbbox() is not None


def test_without_a_face_no_closer_look_is_offered(page, tmp_path):
    Image.new("RGB", (640, 480), (90, 120, 90)).save(tmp_path / "wall.jpg")
    upload(page, tmp_path / "wall.jpg")
    expect(answer(page)).to_contain_text("No face found")
    expect(look(page, "Where")).not_to_be_visible()
