"""About: the model card of the repository, and what happens to uploaded photos."""

import re
from collections.abc import Sequence
from pathlib import Path

import gradio as gr

from ...regular import read_text
from ...tasks import TASKS
from ..components import cards
from ..components.markup import HTML, html

PRIVACY = html(
    "<p>A photo that you upload is processed in the memory of the machine that serves "
    "this page. It is deleted from there when you leave, or after ten minutes. The "
    "file that your browser sends is deleted within three minutes. No photo, no answer "
    "and no visit is recorded, and the page asks no other host for anything. Whether "
    "to hide gender and race is remembered in your browser alone.</p>"
)
HIDDEN = html(
    '<p class="hidden-note">Parts of the model card speak of gender and race, which '
    "you have asked to hide. To read them, untick “Hide gender and race”.</p>"
)


def sections(text: str) -> list[str]:
    """Split Markdown before each second-level heading. The first part is the text above them."""
    return re.split(r"^(?=## )", text, flags=re.MULTILINE)


def is_sensitive(section: str) -> bool:
    """Whether a section mentions a sensitive task, which visitors can hide.

    The section on what the models must not be used for is always shown.
    """
    names = "|".join(task.name for task in TASKS if task.sensitive)
    return bool(re.search(rf"\b({names})\b", section, re.IGNORECASE)) and not section.startswith(
        "## What they must not"
    )


def contents(parts: Sequence[str]) -> str:
    """Links to the headings of the model card."""
    links = ""
    for i, part in enumerate(parts):
        css = "sensitive" if is_sensitive(part) else ""
        for heading in re.findall(r"^## (.+)", part):
            links += html(
                '<a href="#model-card" class="{}" data-heading="{}">{}</a>', css, i, heading
            )
    return html('<nav class="contents" aria-label="What is in the model card">{}</nav>', links)


def readable(text: str) -> str:
    """The model card without comments and without links to files of the repository."""
    text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)
    return re.sub(r"\[([^\]]+)\]\((?!https?:)[^)]*\)", r"\1", text)


def build(model_card: Path) -> None:
    HTML(html('<p class="note">{}</p>', cards.NOTE))
    HTML(cards.card("What happens to my photos?", PRIVACY))
    HTML(HIDDEN, js_on_load="facemtl.focusTables()")
    parts = sections(readable(read_text(model_card)))
    with gr.Column(elem_classes=["card", "prose-card"]):
        HTML(contents(parts), js_on_load="facemtl.followContents(element)")
        with gr.Column(elem_id="model-card"):
            for i, part in enumerate(parts):
                gr.Markdown(
                    part, elem_classes=[f"part-{i}", *(["sensitive"] if is_sensitive(part) else [])]
                )
