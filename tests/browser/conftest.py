"""A real browser that looks at the running app."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Without these Chromium asks its maker's hosts for things that no page asked for.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
PATIENCE = 60_000  # ms; a bound for a busy machine, not an expectation


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = next(filter(_works, map(shutil.which, NAMES)), None)  # None: Playwright's own
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


def _works(path: str | None) -> bool:
    """Ubuntu's chromium-browser may be a stub that only says how to install the real one."""
    return path is not None and subprocess.run([path, "--version"], capture_output=True).returncode == 0


@pytest.fixture(params=[{"width": 1440, "scheme": "light"}], ids=["1440-light"])
def look(request) -> dict:
    """The window's width and colour scheme; tests of the layout ask for others."""
    return request.param


@pytest.fixture
def answers() -> set[Request]:
    """What the page has asked and waits for: a place in the queue, then the stream of answers."""
    return set()


@pytest.fixture
def page(browser, app, look, answers) -> Iterator[Page]:
    """A page of the app that fails the test on any console error or request to another host."""
    page = browser.new_page(viewport={"width": look["width"], "height": 900}, color_scheme=look["scheme"])
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    faults = []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: faults.append(request.url) if _is_elsewhere(request.url, app) else None)
    page.on("request", lambda request: answers.add(request) if "/queue/" in request.url else None)
    for end in ("requestfinished", "requestfailed"):
        page.on(end, lambda request: answers.discard(request))
    page.goto(f"{app}/?__theme={look['scheme']}")
    yield page
    page.close()
    assert not faults


@pytest.fixture
def settle(page, answers) -> Callable[[], None]:
    """Wait until the page waits for no answer: gradio reports an error for each one that is cut off by leaving a page."""

    def wait() -> None:
        until, quiet = time.monotonic() + PATIENCE / 1000, 0
        while quiet < 10:  # half a second: a click asks a moment later, and one request follows another
            assert time.monotonic() < until, [request.url for request in answers]
            page.wait_for_timeout(50)
            quiet = 0 if answers else quiet + 1

    return wait


def _is_elsewhere(url: str, app: str) -> bool:
    return not url.startswith((app, "data:", "blob:", "ws://127.0.0.1"))
