"""Addresses of what the page shows: the tab, and what was chosen in it."""

from collections.abc import Mapping
from urllib.parse import urlencode


def address(tab: str, values: Mapping[str, object], defaults: Mapping[str, object]) -> str:
    """A link to the tab, relative to the page, with the `values` that are not their defaults."""
    said = {name: value for name, value in values.items() if value != defaults[name]}
    return f"?{urlencode({'tab': tab, **said})}"
