"""Every tab, on a light desktop and on a dark phone: axe-core finds no serious problem, and nothing
is wider than the window.
"""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.support import choose_tab

LOOKS = [{"width": 1440, "scheme": "light"}, {"width": 390, "scheme": "dark"}]
# Tabs with many figures come last: axe-core walks through all that earlier tabs have filled, too.
READY = {
    "Compare": "#answer .cost", "Random faces": ".tile", "Guess": "#guess-face img",
    "About": "#model-card table[tabindex]", "Dataset": "#atlas img",
    "Results": ".js-plotly-plot .main-svg", "Validation": ".js-plotly-plot .main-svg",
}  # fmt: skip


@pytest.mark.parametrize("look", LOOKS, indirect=True, ids=lambda v: f"{v['width']}-{v['scheme']}")
def test_every_tab_has_no_serious_violation_and_fits_the_window(page, look):
    expect(page.locator("#answer")).to_contain_text("What it cost")
    found = []
    for tab, ready in READY.items():
        choose_tab(page, tab)
        expect(page.locator(ready).filter(visible=True).first).to_be_visible()
        response = Axe().run(page, options={"resultTypes": ["violations"]}).response
        for violation in response["violations"]:
            if violation["impact"] in ("serious", "critical"):
                found += [
                    (tab, violation["id"], node["target"], node["failureSummary"])
                    for node in violation["nodes"]
                ]
        assert page.evaluate("document.documentElement.scrollWidth") <= look["width"], tab
        if look["width"] > 768:  # nor in a window that becomes narrower, once figures have followed
            page.set_viewport_size({"width": 768, "height": 900})
            page.wait_for_function("document.documentElement.scrollWidth <= 768")
            page.set_viewport_size({"width": look["width"], "height": 900})
    assert not found
