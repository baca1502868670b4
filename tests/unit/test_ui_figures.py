"""Figures in cards: drawn once, when first seen, and errors in one of them."""

from concurrent.futures import ThreadPoolExecutor

import gradio as gr
import pytest

from facemtl import plots
from facemtl.errors import FaceMTLError
from facemtl.ui.components import figures


def test_figures_are_drawn_once_and_not_before_they_are_seen():
    drawings = []

    def draw():
        drawings.append(plots.blank())
        return drawings[-1]

    with gr.Blocks() as demo, gr.Tab() as tab:
        sheet = figures.Sheet()
        sheet.card("How?", draw, lambda: "42", "A note")
        sheet.when_seen(tab)
    plot, _ = sheet.components
    assert not drawings and plot.value is None
    (select,) = demo.fns.values()
    with ThreadPoolExecutor(2) as visitors:
        first, second = visitors.map(select.fn, [False, False])
    assert len(drawings) == 1 and first == second
    assert (
        first[0] is True and first[1].type == "plotly" and "42" in first[2] and "A note" in first[2]
    )
    assert select.fn(True) == [True, gr.skip(), gr.skip()]


@pytest.mark.parametrize(
    ("error", "said"),
    [(FaceMTLError("It is gone."), "It is gone."), (KeyError("x"), "log of the server")],
)
def test_a_figure_that_cannot_be_drawn_costs_no_other(error, said, capsys):
    def fail():
        raise error

    with gr.Blocks():
        sheet = figures.Sheet()
        sheet.card("Broken?", fail, lambda: "41")
        sheet.card("Whole?", plots.blank, lambda: "42")
    plot, below, other, other_below = sheet.made()
    assert plot is None and "Cannot be shown" in below and said in below and "KeyError" not in below
    assert other.type == "plotly" and "42" in other_below
    assert ("KeyError" in capsys.readouterr().err) == isinstance(
        error, KeyError
    )  # whoever runs the server can find out
