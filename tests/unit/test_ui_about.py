"""The About tab: the model card as a page."""

import re

from facemtl.ui.tabs import about
from tests import support


def test_the_model_card_has_a_page_of_its_own():
    page = about.readable(
        "a <!-- begin: x -->\n| b |\n<!-- end: x -->\n[here](README.md) and"
        " [there](https://example.org)"
    )
    assert page == "a | b |\nhere and [there](https://example.org)"


def test_all_links_of_the_page_are_https():
    page = about.readable((support.ROOT / "MODEL_CARD.md").read_text("utf-8"))
    links = re.findall(r"\]\((\S+?)\)", page)
    assert links and all(link.startswith("https://") for link in links)
