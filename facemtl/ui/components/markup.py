"""HTML that escapes by itself.

`html("<b>{}</b>", text)` escapes the text. A value stays as it is only if it is HTML that was made
here, too. The app shows HTML by `HTML` only.
"""

import base64
import re
from collections.abc import Iterable
from typing import LiteralString

import gradio as gr
from markupsafe import Markup, escape

from ..no_stubs import no_stubs


def html(template: LiteralString, /, *values: object, **named: object) -> Markup:
    """HTML from a template with the fields of `str.format`, whose values are escaped.

    The linter refuses a template that is not a constant.
    """
    return Markup(template).format(*values, **named)  # noqa: S704


def joined(parts: Iterable[str], by: str = "") -> Markup:
    """HTML from several parts. Those that were not made here are escaped."""
    return escape(by).join(parts)


def with_code(text: str) -> Markup:
    """A message as HTML, with its commands as code, which it has between backticks."""
    parts = re.split(r"`([^`]+)`", text)
    return joined(html("<code>{}</code>", part) if i % 2 else part for i, part in enumerate(parts))


def data_url(kind: str, content: bytes) -> str:
    """A URL that holds a file of a media type such as `image/png`."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


with no_stubs():

    class HTML(gr.HTML):
        """`gr.HTML` that escapes all text that was not made here, such as an f-string.

        So a forgotten escape never becomes code: the page shows its tags as text.
        """

        def postprocess(self, value: str | None) -> Markup | None:
            return None if value is None else escape(value)
