"""Figures in cards: drawn once when first shown, and isolated errors."""

import re
from concurrent.futures import ThreadPoolExecutor

import gradio as gr
import pandas as pd
import pytest

from facemtl import plots
from facemtl.errors import FaceMTLError
from facemtl.ui.components import figures


def test_figures_are_drawn_once_when_first_shown():
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
    [(FaceMTLError("It is gone."), "It is gone."), (KeyError("x"), "again, see the app")],
)
def test_an_error_in_one_figure_does_not_affect_the_others(error, said, capsys):
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
    )  # the server log shows the error


def test_only_approaches_are_named_like_models():
    """A label of your own may be the word “single”."""
    table = pd.DataFrame({"approach": ["single", "multi"], "target": ["single", "multi"]})
    cells = re.findall(
        r"<t[hd][^>]*>([^<]+)<", figures.numbers(table, {"approach": "A", "target": "B"})
    )
    assert cells == ["A", "B", "Single-task model", "single", "Multi-task model", "multi"]
    assert ">single<" in figures.numbers(table, {"target": "B"})
