"""About: the model card, as it stands in the repository."""

import re
from pathlib import Path

import gradio as gr

from . import cards


def readable(text: str) -> str:
    """The model card for a page of its own: without comments, and without links to files of the repository."""
    text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)
    return re.sub(r"\[([^\]]+)\]\((?!https?:)[^)]*\)", r"\1", text)


def build(model_card: Path) -> None:
    gr.HTML(f'<p class="note">{cards.NOTE}</p>')
    with gr.Column(elem_classes="card prose-card"):
        gr.Markdown(readable(model_card.read_text("utf-8")), elem_id="model-card")
