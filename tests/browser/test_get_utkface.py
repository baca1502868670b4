"""UTKFace from the page, where it is not installed. An archive of composites stands in for it."""

import re

import pytest
from playwright.sync_api import Page, expect

from facemtl.data.download import HUB_FILE
from tests import support

PADDING = 12_000_000  # bytes; the composites alone would be less than one MB
HALF = re.compile(r"Downloading: \d+ of 1\d MB \((50|[7-9]\d) %\)")  # more after a retry
GET, AGAIN, CANCEL = "Get UTKFace (100 MB, research only)", "Try again", "Cancel"
CONTINUE = re.compile(r"Continue \(\d+ MB are here\)")
REAL = re.compile(r"Drawn from \d+ validation images of UTKFace")


@pytest.fixture
def hub(loopback, tmp_path):
    """A server in place of the Hugging Face hub. It sends half of the archive, then hangs."""
    support.put_on_hub(loopback, support.utkface_of_composites(tmp_path / "archive", PADDING))
    loopback.stalls = True
    return loopback


@pytest.fixture
def app(hub, tmp_path):
    """An app without a dataset."""
    (tmp_path / "temporary").mkdir()
    settings = {
        "FACEMTL_DATA": str(tmp_path / "data" / "UTKFace"),
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "hub"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TMPDIR": str(tmp_path / "temporary"),
    }
    with support.running_app(tmp_path / "log.txt", environment=settings) as address:
        yield address
    assert "Traceback" not in (tmp_path / "log.txt").read_text()


def offer(page: Page):
    return page.locator(".offer").filter(visible=True)


def button(page: Page, name: str | re.Pattern):
    return page.get_by_role("button", name=name, exact=True).filter(visible=True)


def open_random_faces(page: Page) -> None:
    support.choose_tab(page, "Random faces")
    expect(page.locator("#grid button.tile")).to_have_count(12)


def images(page: Page) -> list[str]:
    return [tile.get_attribute("data-choice") for tile in page.locator("#grid button.tile").all()]


def check_failures(page: Page, hub, tmp_path) -> None:
    """Each has a reason and a button for another try."""
    (served,) = hub.folder.rglob(HUB_FILE)
    served.rename(tmp_path / "away")
    button(page, GET).click()
    expect(offer(page)).to_contain_text("UTKFace could not be fetched")
    expect(offer(page)).to_contain_text("Check the network")
    support.put_on_hub(hub, tmp_path / "away")
    (tmp_path / "data").write_text("a file")
    button(page, AGAIN).click()
    expect(offer(page)).to_contain_text("cannot be made")
    (tmp_path / "data").unlink()


def test_from_the_offer_to_real_faces(page, app, hub, tmp_path):
    """Terms, failures, progress on all pages, cancel, resume, and real faces without a restart."""
    open_random_faces(page)
    for words in ("non-commercial research", "may not pass", "belong to their owners"):
        expect(offer(page)).to_contain_text(words)
    expect(page.locator("#grid")).to_contain_text("Composites")
    second = page.context.new_page()
    second.goto(app)
    support.choose_tab(second, "Dataset")
    expect(button(second, GET)).to_be_visible()

    check_failures(page, hub, tmp_path)
    button(page, AGAIN).dblclick()
    for each in (page, second):  # the second page has not been touched
        expect(offer(each)).to_contain_text(HALF)
        expect(offer(each).get_by_role("progressbar")).to_be_visible()
    assert page.evaluate("document.activeElement.classList.contains('offer')")
    page.get_by_role("button", name="New faces").click()  # the page still works
    expect(page.locator("#grid")).to_contain_text("Composites")

    button(second, CANCEL).click()
    expect(offer(second)).to_contain_text("Stopping. What has arrived is kept.")
    hub.stalls = False
    hub.let_go.set()  # the app would notice after ten seconds without a byte, too
    for each in (page, second):
        expect(button(each, CONTINUE)).to_be_visible()
    assert not (tmp_path / "data" / "UTKFace").exists()
    asked = len(hub.asked("GET", HUB_FILE))

    before = images(page)
    button(page, CONTINUE).click()
    expect(offer(page)).to_contain_text("UTKFace is installed")
    expect(page.locator("#grid")).to_contain_text(REAL)
    expect(offer(second)).to_contain_text("UTKFace is installed")
    (range_,) = hub.asked("GET", HUB_FILE)[asked:]
    assert int(range_.removeprefix("bytes=").rstrip("-")) > PADDING // 3
    assert images(page) != before
    assert len(list((tmp_path / "data" / "UTKFace").glob("*.jpg"))) == len(support.composites())

    page.locator("#grid button.tile").first.click()
    expect(page.locator("#answer")).to_contain_text("What it cost")
    page = support.reopened(page, app)
    open_random_faces(page)
    expect(page.locator("#grid")).to_contain_text(REAL)
    expect(offer(page)).to_have_count(0)
    page.get_by_role("tab", name="Guess").click()
    expect(page.locator("#guess-face")).to_contain_text(REAL)
