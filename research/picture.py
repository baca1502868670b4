"""Take the pictures of the app for the README, light and dark.

    python -m research.picture

They show composites only, so nobody in them is real.
"""

import shutil
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from facemtl.files import write_whole
from facemtl.paths import ASSETS, ROOT
from tests.browser.conftest import ARGUMENTS, NAMES

from .bench import running_app

FACE = ASSETS / "faces" / "31_1_3_composite078.jpg"
IMAGES = ROOT / "docs" / "images"
WINDOW = {"width": 1200, "height": 760}
COLORS = 255  # in the picture's palette, so that the file is small


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    with running_app() as (address, _), sync_playwright() as playwright:
        path = next(filter(None, map(shutil.which, NAMES)), None)
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport=WINDOW, color_scheme=scheme, device_scale_factor=1.5)
            page.goto(f"{address}/?__theme={scheme}")
            save(page, IMAGES / f"compare-{scheme}.png")
            page.close()
        browser.close()


def save(page: Page, file: Path) -> None:
    """Show the composite in the Compare tab, and save a screenshot of the window."""
    page.locator("#answer .cost").wait_for(timeout=60_000)
    page.wait_for_timeout(
        8000
    )  # the app draws ahead, and the models' times would be of that moment
    page.locator("#photo input[type=file]").set_input_files(FACE)
    page.wait_for_timeout(5000)
    picture = Image.open(BytesIO(page.screenshot()))
    picture.convert("RGB").quantize(COLORS).save(content := BytesIO(), "PNG", optimize=True)
    write_whole(file, content.getvalue())


if __name__ == "__main__":
    main()
