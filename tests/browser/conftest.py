"""Fixtures for tests in a real browser: the browser, and a page of the running app."""

import shutil
import subprocess
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests import support

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
    return (
        path is not None
        and subprocess.run([path, "--version"], capture_output=True).returncode == 0
    )


@pytest.fixture(params=[{"width": 1440, "scheme": "light"}], ids=["1440-light"])
def look(request) -> dict:
    """The window's width and colour scheme; tests of the layout ask for others."""
    return request.param


@pytest.fixture
def query() -> str:
    """What the address of the page asks for, in addition to the colour scheme."""
    return ""


@pytest.fixture
def page(browser, app, look, query) -> Iterator[Page]:
    """A page of the app. The test fails on a console error or a request to another host, in this
    page or in any other page of its context.
    """
    context = browser.new_context(
        viewport={"width": look["width"], "height": 900}, color_scheme=look["scheme"]
    )
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    faults = []
    context.on(
        "console", lambda message: faults.append(message.text) if message.type == "error" else None
    )
    context.on("weberror", lambda error: faults.append(str(error.error)))
    context.on(
        "request",
        lambda request: faults.append(request.url) if _is_elsewhere(request.url, app) else None,
    )
    page = context.new_page()
    page.goto(f"{app}/?__theme={look['scheme']}{query}")
    yield page
    context.close()
    assert not faults


def _is_elsewhere(url: str, app: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme not in ("data", "blob") and f"{parts.scheme}://{parts.netloc}" != app


@pytest.fixture
def photo(tmp_path):
    """Three composites in a landscape, as a phone might have taken it."""
    canvas = Image.new("RGB", (1600, 1100), (120, 140, 150))
    files = support.composites(140)
    for file, size, corner in (
        (files[70], 420, (200, 300)),
        (files[93], 300, (900, 420)),
        (files[3], 180, (1300, 500)),
    ):
        with Image.open(file) as face:
            canvas.paste(face.resize((size, size)), corner)
    canvas.save(tmp_path / "photo.jpg", quality=92)
    return tmp_path / "photo.jpg"
