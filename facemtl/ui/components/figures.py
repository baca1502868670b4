"""Figures on a page: cards with a question as the title, a plot, and its numbers below."""

import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import gradio as gr
import pandas as pd

from ...errors import FaceMTLError
from ...inference.predictor import APPROACHES
from . import cards
from .markup import HTML, html

WAITING = html('<p class="note">One moment.</p>')


def card(title: str, is_sensitive: bool = False) -> list[gr.components.Component]:
    """Lay out a figure that is drawn later. Returns its plot, and the HTML below the plot."""
    with gr.Column(
        elem_classes=["card", "figure", *(["sensitive"] if is_sensitive else [])], min_width=320
    ):
        HTML(
            html('<h2 class="figure-title">{}</h2>', title),
            js_on_load="facemtl.nameFigure(element)",
        )
        return [gr.Plot(show_label=False, label=title, container=False), HTML(WAITING)]


@dataclass(frozen=True)
class QuestionCard:
    """The components of a card whose question is answered by a sentence and a figure."""

    clicked: HTML  # the title, which reports clicks on marks of the figure
    said: HTML
    plot: gr.Plot
    below: HTML
    fold: gr.Accordion | None  # around the figure, if it is folded at first
    faces: HTML  # below the card: the faces behind a mark

    @property
    def figure(self) -> list[gr.components.Component]:
        return [self.plot, self.below]


def question_card(
    title: str, is_sensitive: bool, is_open: bool, is_square: bool = False
) -> QuestionCard:
    """Lay out a question. Its figure is folded unless it `is_open`.

    The panels of a figure that `is_square` are two squares, so its height depends on its width.
    """
    css = ["sensitive"] if is_sensitive else []
    shape = [*([] if is_open else ["folded"]), *(["squares"] if is_square else [])]
    with gr.Column(elem_classes=["card", "figure", *shape, *css], min_width=320):
        clicked = HTML(
            html('<h3 class="figure-title">{}</h3>', title),
            js_on_load="facemtl.answerFigure(element, trigger)",
        )
        said = HTML("", elem_classes="finding")
        with nullcontext() if is_open else gr.Accordion("The figure", open=False) as fold:
            plot = gr.Plot(show_label=False, label=title, container=False)
            below = HTML(WAITING)
    return QuestionCard(clicked, said, plot, below, fold, faces_place(css))


def faces_place(css: list[str]) -> HTML:
    """A place for faces, which is invisible while it is empty. A visitor can close it.

    It reports the choice of a face as a click, and a wish for more faces as a submit.
    """
    return HTML(
        "", elem_classes=["faces-of", *css], js_on_load="facemtl.reportFaces(element, trigger)"
    )


class Sheet:
    """Content of a tab that is made once for all visitors.

    A visitor gets it when the tab is first selected.
    """

    def __init__(self):
        self._parts: list[tuple[list[gr.components.Component], Callable[[], list]]] = []
        self._made: list[object] | None = None
        self._making = threading.Lock()

    @property
    def components(self) -> list[gr.components.Component]:
        return [component for components, _ in self._parts for component in components]

    def later(self, components: list[gr.components.Component], make: Callable[[], list]) -> None:
        """Fill components with the result of `make`. The last one must take HTML, for errors."""
        self._parts.append((components, make))

    def card(
        self,
        title: str,
        draw: Callable[[], object],
        numbers: Callable[[], str],
        note: str = "",
        is_sensitive: bool = False,
    ) -> None:
        """Lay out one figure. `draw` makes the plot, and `numbers` the HTML of its table."""
        self.later(card(title, is_sensitive), lambda: [draw(), below(numbers(), note)])

    def made(self) -> list[object]:
        """The values of all components, as they are sent to the browser. They are made once."""
        with self._making:
            if self._made is None:
                self._made = [value for part in self._parts for value in made(*part)]
            return self._made

    def when_seen(self, tab: gr.Tab) -> None:
        """Fill the components that are laid out so far when the tab is first selected."""
        seen, components = gr.State(False), self.components

        def fill(has_seen: bool) -> list[object]:
            return [True, *([gr.skip()] * len(components) if has_seen else self.made())]

        tab.select(
            fill, seen, [seen, *components], api_visibility="private", show_progress="hidden"
        )


def made(components: list[gr.components.Component], make: Callable[[], list]) -> list[object]:
    """The result of `make`, as it is sent to the browser, so that it can be cached.

    If `make` fails, the last component, which takes HTML, says why. The others are empty.
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
            else "Something went wrong. Reload the page. If it happens again, see the app's log."
        )
        return [*[None] * (len(components) - 1), cards.message("Cannot be shown", why)]


def below(numbers: str, note: str = "", summary: str = "The numbers") -> str:
    """The HTML below a figure: a note, and a table of its numbers that opens over the figure.

    The table is for visitors who cannot see the figure, or who want exact numbers.
    """
    said = html('<p class="note">{}</p>', note) if note else ""
    return html(
        '{}<details class="numbers-of" name="numbers"><summary>{}</summary>{}</details>',
        said,
        summary,
        numbers,
    )


def numbers(table: pd.DataFrame, columns: dict[str, str], digits: int = 1) -> str:
    """An HTML table of a figure's numbers.

    `columns` maps the columns of `table` that are shown, in order, to their headings.
    """
    table = table[list(columns)].replace({"approach": {a.name: a.model for a in APPROACHES}})
    rows = [[_cell(value, digits) for value in row] for row in table.itertuples(index=False)]
    return cards.html_table("The numbers of this figure", list(columns.values()), rows, "")


def _cell(value: object, digits: int) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:,.{digits}f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
