"""UTKFace from the page, where it is not installed. An archive of composites stands in for it."""

import re
from functools import partial

import httpx
import pytest
from playwright.sync_api import Page, expect

from facemtl.data.download import HUB_FILE
from tests import support

PADDING = 12_000_000  # bytes; the composites alone would be less than one MB
HALF = re.compile(r"Downloading: \d+ of 1\d MB \((50|[7-9]\d) %\)")  # more after a retry
GET, CANCEL = "Get UTKFace (100 MB, research only)", "Cancel"
CONTINUE = re.compile(r"Continue \(\d+ MB are here\)")
REAL = re.compile(r"Drawn from \d+ validation images of UTKFace")


@pytest.fixture
def hub(loopback, tmp_path):
    """A server in place of the Hugging Face hub. It sends half of the archive, then hangs."""
    support.put_on_hub(loopback, support.utkface_of_composites(tmp_path / "archive", PADDING))
    loopback.stalls = True
    return loopback


@pytest.fixture
def start_app(hub, tmp_path):
    """Start an app without a dataset. A second one finds what the first one has left."""
    (tmp_path / "temporary").mkdir()
    settings = {
        "FACEMTL_DATA": str(tmp_path / "data" / "UTKFace"),
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "hub"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TMPDIR": str(tmp_path / "temporary"),
    }

    return partial(support.running_app, tmp_path / "log.txt", environment=settings)


@pytest.fixture
def app(start_app, tmp_path):
    with start_app() as address:
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


def test_from_the_offer_to_real_faces(page, app, hub, tmp_path):
    """Terms, progress on all pages, cancel, resume, and real faces without a restart."""
    open_random_faces(page)
    for words in ("non-commercial research", "may not pass", "belong to their owners"):
        expect(offer(page)).to_contain_text(words)
    expect(page.locator("#grid")).to_contain_text("Composites")
    second = page.context.new_page()
    second.goto(app)
    support.choose_tab(second, "Dataset")
    expect(button(second, GET)).to_be_visible()

    button(page, GET).dblclick()
    for each in (page, second):  # the second page has not been touched
        expect(offer(each)).to_contain_text(HALF)
        expect(offer(each).get_by_role("progressbar")).to_be_visible()
    assert page.evaluate("document.activeElement.classList.contains('offer')")
    page.get_by_role("button", name="New faces").click()  # the page still works
    expect(page.locator("#grid")).to_contain_text("Composites")

    button(second, CANCEL).click()
    for each in (page, second):
        expect(button(each, CONTINUE)).to_be_visible()
    assert not (tmp_path / "data" / "UTKFace").exists()
    asked = len(hub.asked("GET", HUB_FILE))

    hub.stalls = False
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


def test_a_restarted_app_goes_on_where_the_first_one_was_killed(browser, start_app, hub):
    with start_app() as address:
        page = browser.new_page()
        page.goto(address)
        open_random_faces(page)
        button(page, GET).click()
        expect(offer(page)).to_contain_text(HALF)
        page.close()
    hub.stalls = False
    asked = len(hub.asked("GET", HUB_FILE))
    with start_app() as address:
        page = browser.new_page()
        page.goto(address)
        open_random_faces(page)
        button(page, CONTINUE).click()
        expect(page.locator("#grid")).to_contain_text(REAL)
        page.close()
    (range_,) = hub.asked("GET", HUB_FILE)[asked:]
    assert int(range_.removeprefix("bytes=").rstrip("-")) > PADDING // 3


def test_after_a_failure_there_is_a_reason_and_another_try(page, hub, tmp_path):
    (served,) = hub.folder.rglob(HUB_FILE)
    served.rename(tmp_path / "archive")
    open_random_faces(page)
    button(page, GET).click()
    expect(offer(page)).to_contain_text("UTKFace could not be fetched")
    expect(offer(page)).to_contain_text("Check the network")
    hub.stalls = False
    support.put_on_hub(hub, tmp_path / "archive")
    (tmp_path / "data").write_text("a file")
    button(page, "Try again").click()
    expect(offer(page)).to_contain_text("cannot be made")
    (tmp_path / "data").unlink()
    button(page, "Try again").click()
    expect(page.locator("#grid")).to_contain_text(REAL)


def test_visitors_of_a_public_app_cannot_start_it(browser, start_app, hub, tmp_path):
    """There is a sentence in place of a button, and no request to any event starts a download."""
    with start_app("--host", "0.0.0.0") as address:
        page = browser.new_page()
        page.goto(address)
        for tab in ("Random faces", "Dataset"):
            support.choose_tab(page, tab)
            said = page.get_by_text("Whoever runs this app can get it").filter(visible=True)
            expect(said).to_contain_text("python -m facemtl download")
            expect(page.get_by_role("button", name="UTKFace")).to_have_count(0)
        page.close()
        headers = {"Host": "localhost", "Origin": "http://localhost"}
        single = httpx.Limits(max_keepalive_connections=0)
        with httpx.Client(base_url=address, timeout=60, headers=headers, limits=single) as http:
            events = http.get("/config").json()["dependencies"]
            names = {event["api_name"] for event in events}
            assert "on_random" in names and not {"on_start", "on_cancel"} & names
            # The numbers of these events in an app that allows it are among the following.
            for number in range(len(events) - 15, len(events) + 15):
                body = {"fn_index": number, "data": [None], "session_hash": "x"}
                http.post("/gradio_api/run/predict", json=body)
            for name in ("on_start", "on_look"):
                http.post(f"/gradio_api/call/{name}", json={"data": [None]})
                http.post(f"/gradio_api/run/{name}", json={"data": [None]})
    assert not hub.requests and not (tmp_path / "data").exists()
