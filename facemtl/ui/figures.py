"""A figure on a page: a card whose title is the question that it answers, with its numbers below."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import gradio as gr
import pandas as pd

from ..prediction import APPROACHES
from . import cards, compare

# Gradio's columns have no role of their own: a screen reader should say what it meets by the question that is answered.
_NAMED = """
const card = element.closest('.figure');
card?.setAttribute('role', 'figure');
card?.setAttribute('aria-label', element.textContent.trim());
"""


WAITING = '<p class="note">One moment.</p>'


@dataclass(frozen=True)
class Drawn:
    """The two parts of a card that a later choice may replace."""

    plot: gr.Plot
    below: gr.HTML


class Sheet:
    """What a tab shows once it is first seen: made once, for everybody, and not sent to who never looks at it."""

    def __init__(self):
        self._later: list[tuple[gr.components.Component, Callable[[], object]]] = []

    def later(self, component: gr.components.Component, make: Callable[[], object]) -> None:
        """Fill the component with what `make` returns."""
        self._later.append((component, make))

    def card(
        self, title: str, draw: Callable[[], object], numbers: Callable[[], str], note: str = "", is_sensitive: bool = False
    ) -> Drawn:
        """Lay out one figure, to be drawn by `draw`; `numbers` makes the HTML of its table."""
        css = ["card", "figure", *(["sensitive"] if is_sensitive else [])]
        with gr.Column(elem_classes=css, min_width=320):
            gr.HTML(f'<h2 class="figure-title">{title}</h2>', js_on_load=_NAMED)
            drawn = Drawn(gr.Plot(show_label=False, label=title, container=False), gr.HTML(WAITING))
        self.later(drawn.plot, draw)
        self.later(drawn.below, lambda: below(numbers(), note))
        return drawn

    @cached_property
    def made(self) -> list[object]:
        """As the browser gets it."""
        return [component.postprocess(make()) for component, make in self._later]

    def when_seen(self, tab: gr.Tab, **options) -> None:
        """Fill what is laid out so far when the tab is first selected; `options` are those of the event."""
        seen, shown = gr.State(False), [component for component, _ in self._later]

        def fill(has_seen: bool) -> list[object]:
            return [True, *([gr.skip()] * len(shown) if has_seen else self.made)]

        hidden = {"api_visibility": "private", "show_progress": "hidden"}
        tab.select(compare.told(fill), seen, [seen, *shown], **hidden | options)


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
