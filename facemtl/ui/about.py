"""About: the model card, as it stands in the repository, and what becomes of what visitors upload."""

import re
from html import escape
from pathlib import Path

import gradio as gr

from . import cards

PRIVACY = (
    "<p>A photo that you upload is looked at in the memory of the machine that serves this page, and forgotten when you leave, "
    "or after ten minutes. The file that your browser sends is deleted within two minutes. No photo, no answer and no visit is "
    "recorded, and the page asks no other host for anything. Whether to hide gender and race is remembered in your browser "
    "alone.</p>"
)
HIDDEN = (
    '<p class="hidden-note">The model card speaks of gender and race, which you have asked to hide. To read it, '
    "untick “Hide gender and race”.</p>"
)
# Wide tables scroll sideways: the keyboard must be able to reach them.
_REACHABLE = """
const reach = () => document.querySelectorAll('#model-card table').forEach((table) => { table.tabIndex = 0; });
new MutationObserver(reach).observe(document.body, {childList: true, subtree: true});
reach();
"""

_TO_HEADING = """
element.addEventListener('click', (event) => {
    const chosen = event.target.closest('[data-heading]');
    if (!chosen) return;
    event.preventDefault();
    const heading = document.querySelectorAll('#model-card h2')[Number(chosen.dataset.heading)];
    heading.tabIndex = -1;
    heading.focus({preventScroll: true});
    heading.scrollIntoView({behavior: 'smooth'});
});
"""


def contents(text: str) -> str:
    """A link to each heading of the model card."""
    headings = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    links = "".join(f'<a href="#model-card" data-heading="{i}">{escape(heading)}</a>' for i, heading in enumerate(headings))
    return f'<nav class="contents" aria-label="What is in the model card">{links}</nav>'


def readable(text: str) -> str:
    """The model card for a page of its own: without comments, and without links to files of the repository."""
    text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)
    return re.sub(r"\[([^\]]+)\]\((?!https?:)[^)]*\)", r"\1", text)


def build(model_card: Path) -> None:
    gr.HTML(f'<p class="note">{cards.NOTE}</p>')
    gr.HTML(cards.card("What becomes of what I upload?", PRIVACY), elem_id="privacy")
    gr.HTML(HIDDEN, js_on_load=_REACHABLE)
    text = readable(model_card.read_text("utf-8"))
    with gr.Column(elem_classes=["card", "prose-card", "sensitive"]):
        gr.HTML(contents(text), js_on_load=_TO_HEADING)
        gr.Markdown(text, elem_id="model-card")
