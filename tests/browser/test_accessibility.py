"""axe-core finds no serious problem in any tab, on a light desktop and on a dark phone."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.support import choose_tab

LOOKS = [{"width": 1440, "scheme": "light"}, {"width": 390, "scheme": "dark"}]
READY = {
    "Compare": "#answer .cost", "Random faces": ".tile", "Guess": "#guess-face img",
    "Validation": ".js-plotly-plot .main-svg",
    "Dataset": "#atlas img", "Results": ".js-plotly-plot .main-svg",
    "About": "#model-card table[tabindex]",
}  # fmt: skip


@pytest.mark.parametrize("look", LOOKS, indirect=True, ids=lambda v: f"{v['width']}-{v['scheme']}")
def test_no_tab_has_a_serious_violation(page, look):
    expect(page.locator("#answer")).to_contain_text("What it cost")
    found = []
    for tab, ready in READY.items():
        choose_tab(page, tab)
        expect(page.locator(ready).filter(visible=True).first).to_be_visible()
        for violation in Axe().run(page).response["violations"]:
            if violation["impact"] in ("serious", "critical"):
                found += [
                    (tab, violation["id"], node["target"], node["failureSummary"])
                    for node in violation["nodes"]
                ]
    assert not found


def test_figures_are_named_by_their_questions(page: Page):
    expect(page.locator("#answer")).to_contain_text("What it cost")
    choose_tab(page, "Dataset")
    expect(page.get_by_role("figure", name="How old are the faces?")).to_be_visible()
    choose_tab(page, "Validation")
    expect(page.get_by_role("figure", name="At which ages are the errors largest?")).to_be_visible()
