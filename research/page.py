"""Measure in a real browser how long one visitor waits.

    python -m research.page

It starts the app and Chromium, and then uploads photos and draws random faces as a visitor does.
"""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, Playwright, sync_playwright

from tests.browser.conftest import ARGUMENTS, NAMES
from tests.support import choose_tab

from .bench import MEGAPIXELS, make_photo, running_app

ROUNDS, PAUSE = 12, 1500  # PAUSE in ms, long enough for any work of an action to end
ANSWER, GRID = "#answer [data-spoken]", "#grid .tile .sr-only"
SAID = (
    "where => { const e = document.querySelector(where); return e && (e.dataset.spoken ??"
    " e.textContent); }"
)
# Both times are taken by the page's own clock. So the delays of the browser's driver, before its
# click and after the answer, do not count.
ACTED = """for (const kind of ['click', 'change'])
    addEventListener(kind, () => window.acted ??= performance.now(), true);"""
# Milliseconds from the action until a new answer is shown with all its pictures; False until then.
RENEWED = f"""([where, before]) => ![null, before].includes(({SAID})(where))
    && [...document.querySelector(where.split(' ')[0]).querySelectorAll('img')]
        .every(image => image.complete)
    && performance.now() - window.acted"""


def waits(page: Page, where: str, act: Callable[[int], None]) -> list[float]:
    """Milliseconds from an action to a new answer on the page, for each of ROUNDS rounds.

    `act` is called with the number of the round. A first round is not counted.
    """
    found = []
    for i in range(1 + ROUNDS):
        before = page.evaluate(SAID, where)
        page.evaluate("window.acted = null")
        act(i)
        found.append(
            page.wait_for_function(RENEWED, arg=[where, before], polling="raf").json_value()
        )
        page.wait_for_timeout(PAUSE)
    return found[1:]


def opened(playwright: Playwright, address: str) -> tuple[Page, float]:
    """Open the app in a new browser. Returns the page, and the milliseconds to its first answer."""
    chromium = next(filter(None, map(shutil.which, NAMES)), None)
    browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.add_init_script(ACTED)
    page.goto(address)
    page.locator(ANSWER).wait_for(state="attached", timeout=60_000)
    took = page.evaluate("performance.now()")
    page.wait_for_timeout(2 * PAUSE)
    return page, took


def photo_waits(page: Page, photos: Sequence[Path]) -> list[float]:
    """The `waits` of uploads of these photos, one after another."""
    inlet = page.locator("#photo input[type=file]")
    return waits(page, ANSWER, lambda i: inlet.set_input_files(photos[i % len(photos)]))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, running_app() as (address, _):
        photos = [
            make_photo(Path(folder) / f"{face}.jpg", MEGAPIXELS[2], face) for face in (20, 70)
        ]
        with sync_playwright() as playwright:
            page, _ = opened(playwright, address)
            found = {"a photo of 2 megapixels": photo_waits(page, photos)}
            found["a random face"] = waits(
                page, ANSWER, lambda i: page.locator("#random-face").click()
            )
            choose_tab(page, "Random faces")
            page.locator("#grid .tile").first.wait_for(timeout=60_000)
            found["twelve random faces"] = waits(
                page, GRID, lambda i: page.locator("#new-faces").click()
            )
            page.context.browser.close()
    for name, milliseconds in found.items():
        low, median, high = np.percentile(milliseconds, [25, 50, 75])
        print(f"{name:<42}{median:>7.0f} ms ({low:.0f} to {high:.0f})")


if __name__ == "__main__":
    main()
