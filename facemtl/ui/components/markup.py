"""HTML that escapes by itself.

`html("<b>{}</b>", text)` escapes the text. A value stays as it is only if it is HTML that was made
here, too. A `gr.HTML` escapes all text that was not made here, such as an f-string. So a forgotten
escape never becomes code: the page shows its tags as text.
"""

from collections.abc import Iterable
from typing import LiteralString

import gradio as gr
from markupsafe import Markup, escape


def html(template: LiteralString, /, *values: object, **named: object) -> Markup:
    """HTML from a template with the fields of `str.format`, whose values are escaped.

    The linter refuses a template that is not a constant.
    """
    return Markup(template).format(*values, **named)  # noqa: S704


def joined(parts: Iterable[str], by: str = "") -> Markup:
    """HTML from several parts. Those that were not made here are escaped."""
    return escape(by).join(parts)


# This is set on the class, so that no `gr.HTML` can do without it, and because gradio would write a
# stub file here for a subclass.
gr.HTML.postprocess = lambda self, value: None if value is None else escape(value)
