"""Random faces, as a visitor uses them."""

import re

from playwright.sync_api import Page, expect

from tests import support


def faces(page: Page):
    return page.get_by_role("button", name=re.compile(r"^Face \d+, label"))


def open_tab(page: Page) -> None:
    support.choose_tab(page, "Random faces")
    expect(faces(page)).to_have_count(12)


def spoken(page: Page) -> list[str]:
    return [face.locator(".sr-only").text_content() for face in faces(page).all()]


def test_faces_are_drawn_their_link_is_copied_and_a_click_opens_one(page, app):
    open_tab(page)
    for name in spoken(page):
        assert re.search(
            r"label (fe)?male, \w+, \d+ years?\. Three single-task models: .*years?; One multi-task"
            r" model: .*years?",
            name,
        )
    expect(page.locator("#grid")).to_contain_text("Composites")
    expect(page.locator("#grid")).to_contain_text(
        re.compile(r"Mean age error on these 12 faces: \d+\.\d years")
    )
    seed, old = page.get_by_label("Seed").input_value(), spoken(page)
    page.get_by_role("button", name="New faces").click()
    expect(page.get_by_label("Seed")).not_to_have_value(seed)
    assert spoken(page) != old
    check_the_link_is_copied(page, app)
    page = check_a_typed_seed(page, app)

    chosen = faces(page).nth(10)  # below the fold
    age = re.search(r"label .*?(\d+) years?", chosen.locator(".sr-only").text_content())[1]
    page.evaluate("window.scrollTo({top: 300, behavior: 'instant'})")
    page.wait_for_function("window.scrollY > 0")
    chosen.click()
    expect(page.get_by_role("tab", name="Compare")).to_have_attribute("aria-selected", "true")
    page.wait_for_function("window.scrollY === 0")
    expect(page.locator("#answer").get_by_text(f"label {age}", exact=True)).to_be_visible()


def check_the_link_is_copied(page: Page, app: str) -> None:
    """Without access to the clipboard, the address bar has the link."""
    link = f"{app}/?tab=faces&seed={page.get_by_label('Seed').input_value()}"
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    support.listen(page, ".copy")
    copy = page.get_by_role("button", name="Copy", exact=True)
    copy.click()
    support.wait_to_hear(page, "Copied")
    assert page.evaluate("navigator.clipboard.readText()") == link
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(); }")
    copy.click()  # once it has this name again
    support.wait_to_hear(page, "Copy it from the address bar")
    assert page.url == link


def check_a_typed_seed(page: Page, app: str) -> Page:
    """The link opens its second page. Returns a page of that address."""
    page.get_by_label("Seed").fill("4711")
    page.get_by_role("button", name="Show this seed").click()
    link = page.get_by_role("link", name="Link to these faces")
    expect(link).to_have_attribute("href", "?tab=faces&seed=4711")
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("Page 2 of")).to_be_visible()
    second = spoken(page)
    page = support.reopened(page, f"{app}/{link.get_attribute('href')}")
    expect(page.get_by_text("Page 2 of")).to_be_visible()
    expect(faces(page)).to_have_count(12)
    expect(page.get_by_label("Seed")).to_have_value("4711")
    assert spoken(page) == second
    return page


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_label(label, exact=True).filter(visible=True).click()
    page.get_by_role("option", name=option, exact=True).click()


def open_filter(page: Page) -> None:
    page.get_by_role("button", name="Choose which faces").click()
    expect(page.get_by_label("Age from")).to_have_value("0")
    expect(page.get_by_label("Age to")).to_have_value("116")


def type_age(page: Page, label: str, age: int) -> None:
    page.get_by_label(label).click()
    page.keyboard.press("Control+A")
    page.keyboard.type(str(age), delay=50)


def ages(page: Page) -> list[int]:
    return [int(re.search(r"label .*?(\d+) years?", name)[1]) for name in spoken(page)]


def check_the_link_keeps_the_filter(page: Page, app: str, browser) -> None:
    link = page.get_by_role("link", name="Link to these faces")
    expect(link).to_have_attribute("href", re.compile("low=5&high=60.*gender=1.*race=2"))
    shown = spoken(page)
    assert shown and all("label female, Asian" in name for name in shown)
    somebody = browser.new_page()
    somebody.set_default_timeout(60_000)
    somebody.goto(f"{app}/{link.get_attribute('href')}")
    expect(faces(somebody).first).to_be_visible()
    assert spoken(somebody) == shown
    somebody.close()


def test_faces_are_filtered_the_largest_errors_come_first_and_the_link_keeps_it(page, app, browser):
    """The filter is described."""
    open_tab(page)
    open_filter(page)
    check_the_largest_errors(page)
    expect(page.locator("#grid")).not_to_contain_text("Only")
    type_age(page, "Age from", 60)
    type_age(page, "Age to", 5)
    page.get_by_role("button", name="Show these").click()
    expect(page.locator("#grid")).to_contain_text("Only ages 5 to 60: ")
    assert ages(page) and all(5 <= age <= 60 for age in ages(page))
    choose(page, "Race", "Asian")
    expect(page.locator("#grid")).to_contain_text("Only ages 5 to 60, Asian: ")
    n = re.search(r"Asian: (\d+)\.", page.locator("#grid").inner_text())[1]
    expect(page.locator("#page-number")).to_contain_text(f"{n} faces")
    choose(page, "Gender", "female")
    expect(page.locator("#grid")).to_contain_text("Only ages 5 to 60, female, Asian: ")
    check_the_link_keeps_the_filter(page, app, browser)
    page.get_by_label("Hide gender and race").check()
    expect(page.locator("#grid")).to_contain_text("Only ages 5 to 60: ")
    type_age(page, "Age from", 116)
    type_age(page, "Age to", 115)
    page.keyboard.press("Enter")
    expect(page.locator("#grid")).to_contain_text("No such face")


def check_the_largest_errors(page: Page) -> None:
    """They are smaller on the second page."""
    choose(page, "Order", "largest age errors")
    expect(page.get_by_role("link", name="Link to these faces")).to_have_attribute(
        "href", re.compile("order=hardest")
    )

    def error() -> float:
        words = re.search(
            r"faces: (\d+\.\d) years by three models and (\d+\.\d)",
            page.locator("#grid").inner_text(),
        )
        return (float(words[1]) + float(words[2])) / 2

    first = error()
    expect(page.get_by_role("button", name="Previous", exact=True)).to_be_disabled()
    page.get_by_role("button", name="Next", exact=True).click()
    expect(page.locator("#page-number")).to_contain_text("Page 2 of 12")
    assert error() < first
