"""A photo of one's own: own verdict, examples, paste, boxes that are drawn and turned."""

import re
from base64 import b64encode

from PIL import Image
from playwright.sync_api import Page, expect

from tests import support

PASTE = """async ([name, content]) => {
    const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], name, {type: 'image/jpeg'}));
    document.body.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true}));
}"""


def answer(page: Page):
    return page.locator("#answer")


def upload(page: Page, file) -> None:
    expect(answer(page)).to_contain_text("What it cost")
    page.locator("#photo input[type=file]").set_input_files(file)
    expect(page.locator("#view")).to_contain_text("Your photo")
    expect(page.get_by_label("How old is this person?")).to_be_visible()


def tell(page: Page, age: str) -> None:
    page.get_by_label("How old is this person?").fill(age)
    page.get_by_role("button", name="Check").click()


def ages(page: Page) -> dict[str, float]:
    """The ages on display, by approach."""
    return {
        name: float(answer(page).locator(f".ruler-value.{name}-text b").text_content())
        for name in ("single", "multi")
    }


def test_the_visitor_s_own_age_is_the_truth_and_the_visit_has_a_score(page, tmp_path):
    card = answer(page).locator("section", has=page.get_by_role("heading", name="Age"))
    files = [support.composites(140)[i] for i in (3, 70)]
    score = {"single": 0, "multi": 0, "nobody": 0}
    for i, file in enumerate(files):
        with Image.open(file) as face:
            canvas = Image.new("RGB", (900, 700), (120, 140, 150))
            canvas.paste(face.resize((400, 400)), (200, 100))
            canvas.save(tmp_path / f"{i}.jpg", quality=92)
        upload(page, tmp_path / f"{i}.jpg")
        expect(answer(page).locator(".truth")).to_have_count(0)
        said = ages(page)
        tell(page, "60")
        expect(answer(page).locator(".truth")).to_have_text("you say 60")
        lead = round(abs(said["single"] - 60) - abs(said["multi"] - 60), 1)
        ahead = "nobody" if abs(lead) < 1 else "multi" if lead > 0 else "single"
        words = {"nobody": "Equally close", "multi": "Multi-task is", "single": "Single-task is"}
        expect(card).to_contain_text(words[ahead])
        score[ahead] += 1
        times = {0: "0 times", 1: "once", 2: "twice"}
        expect(page.locator("#visit")).to_contain_text(
            f"single-task was closer {times[score['single']]}, multi-task"
            f" {times[score['multi']]}, and both were equally close {times[score['nobody']]}"
        )
    tell(page, "")
    expect(answer(page).locator(".truth")).to_have_count(0)


def test_only_photos_of_one_s_own_ask_for_the_age(page, photo):
    expect(answer(page)).to_contain_text("What it cost")
    expect(page.get_by_label("How old is this person?")).to_be_hidden()
    upload(page, photo)
    page.get_by_role("button", name="Random face", exact=True).click()
    expect(page.get_by_label("How old is this person?")).to_be_hidden()


def test_six_examples_can_be_looked_at(page):
    expect(answer(page)).to_contain_text("What it cost")
    examples = page.locator("#examples").get_by_role("button")
    expect(examples).to_have_count(6)
    for number in (0, 5):
        age = re.search(r"(\d+) years?", examples.nth(number).get_attribute("aria-label"))[1]
        examples.nth(number).click()
        expect(answer(page).locator(".truth")).to_have_text(f"label {age}")
        expect(page.locator("#view")).to_contain_text("A composite of eight people.")


def test_a_photo_can_be_pasted_in_any_tab(page, photo):
    expect(answer(page)).to_contain_text("What it cost")
    support.choose_tab(page, "About")
    page.evaluate(PASTE, ["photo.jpg", b64encode(photo.read_bytes()).decode()])
    expect(page.locator("#view")).to_contain_text("Your photo")
    expect(page.get_by_role("tab", name="Compare")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#view .box")).to_have_count(3)


def test_a_face_can_be_added_and_turned(page, photo):
    upload(page, photo)
    boxes = page.locator("#view .box")
    expect(boxes).to_have_count(3)
    frame = page.locator("#view .photo").bounding_box()
    page.mouse.move(frame["x"] + 4, frame["y"] + 4)
    page.mouse.down()
    page.mouse.move(frame["x"] + 44, frame["y"] + 40, steps=4)
    page.mouse.up()
    expect(boxes).to_have_count(4)
    expect(boxes.nth(3)).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#view")).to_contain_text("no face was found in it")
    boxes.nth(0).click()
    expect(boxes.nth(0)).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Correct the crop").click()
    page.get_by_role("button", name="Turn", exact=True).click()
    expect(page.locator("#view")).to_contain_text("tilted")
    page.get_by_role("button", name="Undo corrections").click()
    expect(page.locator("#view")).not_to_contain_text("tilted")
    page.get_by_role("button", name="Add a face").click()
    expect(boxes).to_have_count(5)
