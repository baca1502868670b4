"""What one visitor waits for, in a browser: python benchmarks/page.py starts app and Chromium, and does what a person does."""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from facemtl.bench import MEGAPIXELS, make_photo, running_app  # noqa: E402
from tests.browser.conftest import ARGUMENTS, NAMES  # noqa: E402
from tests.support import choose_tab  # noqa: E402

ROUNDS = 12
MARK = "where => document.querySelectorAll(`${where} .card, ${where} .tile`).forEach(e => e.dataset.old = 1)"
RENEWED = """where => document.querySelector(`${where} .card, ${where} .tile`)
    && !document.querySelector(`${where} [data-old]`)
    && [...document.querySelectorAll(`${where} img`)].every(i => i.complete)"""


def waits(page: Page, where: str, act: Callable[[], None]) -> list[float]:
    """Milliseconds from an action to what it changes, drawn, ROUNDS times after a first one."""
    found = []
    for _ in range(1 + ROUNDS):
        page.evaluate(MARK, where)
        started = time.perf_counter()
        act()
        page.wait_for_function(RENEWED, arg=where, polling="raf")
        found.append(1000 * (time.perf_counter() - started))
        page.wait_for_timeout(300)
    return found[1:]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, running_app(ROOT / "assets" / "models") as (address, _):
        photo = make_photo(Path(folder) / "photo.jpg", MEGAPIXELS[2])
        with sync_playwright() as playwright:
            chromium = next(filter(None, map(shutil.which, NAMES)), None)
            browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(address)
            page.locator("#answer .card").first.wait_for(timeout=60_000)
            inlet = page.locator("#photo input[type=file]")
            found = {"a photo of 2 megapixels to all answers": waits(page, "#answer", lambda: inlet.set_input_files(photo))}
            found["a random face"] = waits(page, "#answer", page.locator("#random-face").click)
            choose_tab(page, "Random faces")
            page.locator("#grid .tile").first.wait_for(timeout=60_000)
            found["twelve random faces"] = waits(page, "#grid", page.locator("#new-faces").click)
            browser.close()
    for name, milliseconds in found.items():
        low, median, high = np.percentile(milliseconds, [25, 50, 75])
        print(f"{name:<42}{median:>7.0f} ms ({low:.0f} to {high:.0f})")


if __name__ == "__main__":
    main()
