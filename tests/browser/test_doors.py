"""The same predictions through every door, and no code through any."""

import base64
import json

from gradio_client import Client, handle_file
from playwright.sync_api import expect

from facemtl import cli
from tests.odd_files import scene


def test_page_endpoint_and_command_line_give_identical_predictions(page, app, tmp_path):
    photo = tmp_path / "photo.jpg"
    scene((5000, 3600), (400, 900, 1700), (2800, 1300, 1500)).save(photo, quality=92)

    told = Client(app, verbose=False, httpx_kwargs={"timeout": 60}).predict(
        handle_file(photo), api_name="/predict"
    )["faces"]
    assert len(told) == 2

    assert cli.main(["predict", str(photo), "--json", str(tmp_path / "out.json")]) == 0
    (image,) = json.loads((tmp_path / "out.json").read_text())
    assert [face["answers"] for face in image["faces"]] == [face["answers"] for face in told]
    assert [face["box"] for face in image["faces"]] == [face["box"] for face in told]

    expect(page.locator("#answer")).to_contain_text("What it cost")
    page.locator("#photo input[type=file]").set_input_files(photo)
    for number, face in enumerate(told, start=1):
        chosen = page.locator("#view").get_by_role("button", name=f"Face {number}", exact=True)
        if number > 1:  # the first is chosen already
            chosen.press("Enter")
        expect(page.locator("#view")).to_contain_text(f"face {number} of 2")
        page.get_by_role("tab", name="Save").press("Enter")
        link = page.get_by_role("link", name="Download all numbers (JSON)").get_attribute("href")
        saved = json.loads(base64.b64decode(link.partition("base64,")[2]))["answers"]
        assert [
            {key: value for key, value in answer.items() if key != "label"} for answer in saved
        ] == face["answers"]


INJECT = """() => new Promise((resolve) => {
    document.addEventListener(
        'securitypolicyviolation', (event) => resolve(event.effectiveDirective));
    document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="window.isRun = 1">');
})"""


def test_handlers_in_attributes_do_not_run(browser, app):
    with browser.new_page() as page:
        page.goto(app)
        assert page.evaluate(INJECT) == "script-src-attr"
        assert page.evaluate("window.isRun") is None
