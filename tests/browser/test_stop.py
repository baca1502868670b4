"""Slow work in Compare can be stopped. Here it waits for a file, which the test writes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests import support

# The real app, whose maps wait for a file.
PATIENT = """
import os, sys, time
from facemtl.cli import main
from facemtl.ui.components import panes

where = panes.occlusion_maps

def when_let(*arguments):
    while not os.path.exists(os.environ["GO_ON"]):
        time.sleep(0.01)
    return where(*arguments)

panes.occlusion_maps = when_let
sys.exit(main(["app", *sys.argv[1:]]))
"""


@pytest.fixture(scope="module")
def go_on(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("patient") / "go-on"


@pytest.fixture(scope="module")
def app(go_on) -> Iterator[str]:
    settings = {"FACEMTL_DATA": str(go_on.parent / "no-dataset"), "GO_ON": str(go_on)}
    log = go_on.with_name("log.txt")
    with support.running_app(log, environment=settings, program=("-c", PATIENT)) as address:
        yield address
    assert "Traceback" not in log.read_text(), log.read_text()


def test_slow_work_can_be_stopped_and_repeated(page, go_on):
    """Once it is stopped, its pane stays empty. The pane of the next request does not."""
    expect(page.locator("#answer")).to_contain_text("What it cost")
    closer = page.locator("#closer")
    support.listen(page, "#closer")
    page.evaluate("""() => {
        new MutationObserver(() => {
            const stop = document.querySelector('#closer [data-choice=stop]');
            if (!stop || window.stopped) return;
            window.stopped = true;
            setTimeout(() => stop.click(), 50);
        }).observe(document.querySelector('#closer'), {childList: true, subtree: true});
    }""")
    page.get_by_role("tab", name="Where").click()
    page.wait_for_function("window.stopped")
    expect(closer).not_to_contain_text("One moment")
    go_on.touch()
    page.get_by_role("tab", name="How steady").press(
        "Enter"
    )  # the page still scrolls: a pointer may miss
    expect(closer).to_contain_text("12 views")
    assert not any("occlusion sensitivity" in said for said in page.evaluate("window.said"))
    for _ in range(2):
        page.get_by_role("tab", name="Where").press("Enter")
    expect(closer).to_contain_text("occlusion sensitivity")
    expect(closer.get_by_role("button", name="Stop")).to_have_count(0)
    expect(closer).to_contain_text("occlusion sensitivity")
