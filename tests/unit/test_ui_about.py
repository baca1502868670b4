"""The About tab: the model card as a page."""

from facemtl.ui.tabs import about


def test_the_model_card_has_a_page_of_its_own():
    page = about.readable(
        "a <!-- begin: x -->\n| b |\n<!-- end: x -->\n[here](README.md) and"
        " [there](https://example.org)"
    )
    assert page == "a | b |\nhere and [there](https://example.org)"
