"""Guessing ages, as a visitor plays it."""

import re

from playwright.sync_api import Page, expect

from tests import support


def play(page: Page, age: int) -> None:
    number, slider = (page.locator(f"#guess input[type={kind}]") for kind in ("number", "range"))
    for _ in range(20):  # a tab that has just been opened sets its fields once more
        number.fill(str(age))
        page.wait_for_timeout(300)
        if slider.input_value() == str(age):
            break
    page.get_by_role("button", name="That is my guess").click()


def test_a_game_has_ten_faces_whose_models_answer_after_the_visitor(page):
    """All are scored by the same rule."""
    support.choose_tab(page, "Guess")
    check_the_first_face(page)
    for number in range(2, 11):
        expect(page.locator("#guess-face")).to_contain_text(f"Face {number} of 10")
        page.get_by_role("button", name="That is my guess").click()
        expect(page.locator("#guess-result")).to_contain_text("The label says")
        if number < 10:
            page.get_by_role("button", name="Next face").click()
    expect(page.locator("#guess-score")).to_contain_text("That was the last face")
    expect(
        page.get_by_role("table", name="All faces of this game").locator("tbody tr")
    ).to_have_count(10)
    page.get_by_role("button", name="Play again").click()
    expect(page.locator("#guess-face")).to_contain_text("Face 1 of 10")
    expect(page.locator("#guess-score")).not_to_contain_text("years")


def check_the_first_face(page: Page) -> None:
    expect(page.get_by_alt_text("The face whose age is to be guessed")).to_be_visible()
    result, score = page.locator("#guess-result"), page.locator("#guess-score")
    expect(page.locator("#guess-face")).to_contain_text("Face 1 of 10")
    assert not re.search(r"label|years", result.inner_text() + score.inner_text())
    play(page, 70)
    expect(result).to_contain_text(re.compile(r"The label says \d+ years?"))
    for who in ("You", "Three single-task models", "One multi-task model"):
        expect(result).to_contain_text(who)
        expect(score.get_by_role("row", name=re.compile(f"^{who}"))).to_contain_text("years")
    expect(score).to_contain_text("1 face so far")
    label = int(re.search(r"The label says (\d+)", result.inner_text())[1])
    expect(result).to_contain_text(f"{abs(70 - label)}.0 off")
    # the keyboard goes on where it was
    expect(page.get_by_role("button", name="Next face")).to_be_focused()
    page.get_by_role("button", name="Next face").press("Enter")
    expect(page.locator("#guess-face")).to_contain_text("Face 2 of 10")
    slider = page.locator("#guess input[type=range]")
    expect(slider).to_be_focused()
    expect(result).not_to_contain_text("label")
    expect(slider).to_have_value("40")  # the last guess is no hint for the next
    assert (slider.get_attribute("min"), slider.get_attribute("max")) == ("0", "100")
