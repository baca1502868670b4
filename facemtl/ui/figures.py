"""A figure on a page: a card whose title is the question that it answers, with its numbers below."""

from dataclasses import dataclass

import gradio as gr
import pandas as pd

from ..prediction import APPROACHES
from . import cards

# Gradio's columns have no role of their own: a screen reader should say what it meets by the question that is answered.
_NAMED = """
const card = element.closest('.figure');
card?.setAttribute('role', 'figure');
card?.setAttribute('aria-label', element.textContent.trim());
"""


@dataclass(frozen=True)
class Drawn:
    """The two parts of a card that a later choice may replace."""

    plot: gr.Plot
    below: gr.HTML


def card(title: str, figure: object, numbers: str, note: str = "", is_sensitive: bool = False) -> Drawn:
    """Lay out one figure; `numbers` is the HTML of its table."""
    with gr.Column(elem_classes=["card", "figure", *(["sensitive"] if is_sensitive else [])], min_width=320):
        gr.HTML(f'<h2 class="figure-title">{title}</h2>', js_on_load=_NAMED)
        return Drawn(gr.Plot(figure, show_label=False, label=title, container=False), gr.HTML(below(numbers, note)))


def below(numbers: str, note: str = "") -> str:
    """What stands under a figure: a note, and its numbers for those who cannot see it or want to read them."""
    said = f'<p class="note">{note}</p>' if note else ""
    return f'{said}<details class="numbers-of"><summary>The numbers</summary>{numbers}</details>'


def numbers(table: pd.DataFrame, columns: dict[str, str], digits: int = 1) -> str:
    """A table for the eye and the ear: `columns` are those of `table`, in order, with their headings."""
    table = table[list(columns)].replace({a.name: a.title for a in APPROACHES})
    rows = [[_cell(value, digits) for value in row] for row in table.itertuples(index=False)]
    return cards.html_table("The numbers of this figure", list(columns.values()), rows, "")


def _cell(value: object, digits: int) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:,.{digits}f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
