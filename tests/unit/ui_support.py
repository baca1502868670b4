"""Shared by the tests of the page: the folder of measurements and helpers to read HTML."""

import re

from tests import support

MEASURED = support.ROOT / "assets" / "validation"


def text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def last(pages) -> str:
    *_, page = pages
    return page
