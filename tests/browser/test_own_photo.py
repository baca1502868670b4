"""A photo of one's own: own verdict, examples, paste, boxes that are drawn and turned."""

import re
from base64 import b64encode

from PIL import Image
from playwright.sync_api import Page, expect

from tests import support
from tests.browser import pointer

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
    """Only photos of one's own ask for the age: random faces and the examples have labels."""
    expect(answer(page)).to_contain_text("What it cost")
    expect(page.get_by_label("How old is this person?")).to_be_hidden()
    card = answer(page).locator("section", has=page.get_by_role("heading", name="Age"))
    score = {"single": 0, "multi": 0, "nobody": 0}
    for i, file in enumerate(support.composites(140)[j] for j in (3, 70)):
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
        words = {
            "single": "single-task was closer",
            "multi": "multi-task was closer",
            "nobody": "both were equally close",
        }
        found = [f"{words[name]} {('once', 'twice')[n - 1]}" for name, n in score.items() if n]
        expect(page.locator("#visit")).to_contain_text(
            f"Of the ages that you entered on this visit: {', '.join(found)}."
        )
    tell(page, "")
    expect(answer(page).locator(".truth")).to_have_count(0)

    page.get_by_role("button", name="Random face", exact=True).click()
    expect(page.get_by_label("How old is this person?")).to_be_hidden()
    check_the_examples(page)


def check_the_examples(page: Page) -> None:
    examples = page.locator("#examples").get_by_role("button")
    expect(examples).to_have_count(6)
    for number in (0, 5):
        age = re.search(r"(\d+) years?", examples.nth(number).get_attribute("aria-label"))[1]
        examples.nth(number).click()
        expect(answer(page).locator(".truth")).to_have_text(f"label {age}")
        expect(page.locator("#view")).to_contain_text("A composite of eight people.")


def test_a_photo_is_pasted_in_another_tab_and_a_face_added_and_turned(page, photo):
    expect(answer(page)).to_contain_text("What it cost")
    support.choose_tab(page, "About")
    page.evaluate(PASTE, ["photo.jpg", b64encode(photo.read_bytes()).decode()])
    expect(page.locator("#view")).to_contain_text("Your photo")
    expect(page.get_by_role("tab", name="Compare")).to_have_attribute("aria-selected", "true")
    boxes = page.locator("#view .box")
    expect(boxes).to_have_count(3)

    check_new_boxes(page, boxes)
    boxes.nth(0).click()
    expect(boxes.nth(0)).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Correct the crop").click()
    page.get_by_role("button", name="Turn", exact=True).click()
    expect(page.locator("#view")).to_contain_text("tilted")
    crop = page.get_by_alt_text("The crop that the models see")
    before = crop.get_attribute("src")
    page.get_by_role("button", name="Wider").click()
    expect(crop).not_to_have_attribute("src", before)
    expect(page.locator("#view")).to_contain_text("tilted")  # still
    page.get_by_role("button", name="Undo corrections").click()
    expect(page.locator("#view")).not_to_contain_text("tilted")
    page.get_by_role("button", name="Add a face").click()
    expect(boxes).to_have_count(5)


def check_new_boxes(page: Page, boxes) -> None:
    """A drag beside the boxes adds one, and a drag that is taken away adds none."""
    page.locator("#view .photo").scroll_into_view_if_needed()
    frame, asked = page.locator("#view .photo").bounding_box(), pointer.joined(page)
    points = [(frame["x"] + x, frame["y"] + y) for x, y in ((4, 4), (24, 22), (44, 40))]
    pointer.cancelled(page, "#view .photo", points)
    assert boxes.count() == 3 and not asked
    pointer.by_mouse(page, points)
    expect(boxes).to_have_count(4)
    expect(boxes.nth(3)).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#view")).to_contain_text("no face was found in it")
