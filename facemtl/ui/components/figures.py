"""A figure on a page: a card whose title is the question that it answers, with its numbers
below.
"""

import sys
import threading
import traceback
from collections.abc import Callable

import gradio as gr
import pandas as pd

from ...errors import FaceMTLError
from ...inference.predictor import APPROACHES
from . import cards

# Gradio's columns have no role of their own: a screen reader should say what it meets by the
# question that is answered.
_NAMED = """
const card = element.closest('.figure');
card?.setAttribute('role', 'figure');
card?.setAttribute('aria-label', element.textContent.trim());
"""
WAITING = '<p class="note">One moment.</p>'


def card(title: str, is_sensitive: bool = False) -> list[gr.components.Component]:
    """Lay out a figure that is drawn later: its plot, and what stands below it."""
    with gr.Column(
        elem_classes=["card", "figure", *(["sensitive"] if is_sensitive else [])], min_width=320
    ):
        gr.HTML(f'<h2 class="figure-title">{title}</h2>', js_on_load=_NAMED)
        return [gr.Plot(show_label=False, label=title, container=False), gr.HTML(WAITING)]


class Sheet:
    """What a tab shows once it is first seen: made once, for everybody, and not sent to who never
    looks at it.
    """

    def __init__(self):
        self._parts: list[tuple[list[gr.components.Component], Callable[[], list]]] = []
        self._made: list[object] | None = None
        self._making = threading.Lock()

    @property
    def components(self) -> list[gr.components.Component]:
        return [component for components, _ in self._parts for component in components]

    def later(self, components: list[gr.components.Component], make: Callable[[], list]) -> None:
        """Fill them with what `make` returns. The last one takes HTML, as Markdown does, too."""
        self._parts.append((components, make))

    def card(
        self,
        title: str,
        draw: Callable[[], object],
        numbers: Callable[[], str],
        note: str = "",
        is_sensitive: bool = False,
    ) -> None:
        """Lay out one figure, to be drawn by `draw`; `numbers` makes the HTML of its table."""
        self.later(card(title, is_sensitive), lambda: [draw(), below(numbers(), note)])

    def made(self) -> list[object]:
        """What fills the `components`, as the browser gets it."""
        with self._making:
            if self._made is None:
                self._made = [value for part in self._parts for value in made(*part)]
            return self._made

    def when_seen(self, tab: gr.Tab) -> None:
        """Fill what is laid out so far when the tab is first selected."""
        seen, components = gr.State(False), self.components

        def fill(has_seen: bool) -> list[object]:
            return [True, *([gr.skip()] * len(components) if has_seen else self.made())]

        tab.select(
            fill, seen, [seen, *components], api_visibility="private", show_progress="hidden"
        )


def made(components: list[gr.components.Component], make: Callable[[], list]) -> list[object]:
    """What `make` returns, as the browser gets it: who keeps that need not draw it again for the
    next visitor.

    Where nothing can be made, the last component, which is HTML, says why; other parts of the page
    are as they are.
    """
    try:
        return [
            component.postprocess(value)
            for component, value in zip(components, make(), strict=True)
        ]
    except Exception as error:
        if not isinstance(error, FaceMTLError):
            traceback.print_exc(file=sys.stderr)
        why = (
            str(error)
            if isinstance(error, FaceMTLError)
            else "Something is wrong here. The log of the server says what."
        )
        return [*[None] * (len(components) - 1), cards.message("Cannot be shown", why)]


def below(numbers: str, note: str = "") -> str:
    """What stands under a figure: a note, and its numbers for those who cannot see it or want to
    read them.
    """
    said = f'<p class="note">{note}</p>' if note else ""
    return f'{said}<details class="numbers-of"><summary>The numbers</summary>{numbers}</details>'


def numbers(table: pd.DataFrame, columns: dict[str, str], digits: int = 1) -> str:
    """A table for the eye and the ear: `columns` are those of `table`, in order, with their
    headings.
    """
    table = table[list(columns)].replace({a.name: a.title for a in APPROACHES})
    rows = [[_cell(value, digits) for value in row] for row in table.itertuples(index=False)]
    return cards.html_table("The numbers of this figure", list(columns.values()), rows, "")


def _cell(value: object, digits: int) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:,.{digits}f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
