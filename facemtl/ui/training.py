"""Training: what came out of training the four models, what it cost, and what was claimed before."""

import re
from pathlib import Path

import gradio as gr
import pandas as pd

from .. import cost, plots, report, runs
from ..errors import FaceMTLError
from ..prediction import APPROACHES
from ..tasks import AGE, TASKS
from . import cards

THEN = "2018"
HISTORY = (
    "The app grows out of a notebook of 2018 (“Multi-task Deep Learning Experiment using fastai Pytorch”, Yang Zhang), "
    "which found {single} for the single-task model and {multi} for the multi-task one, and concluded that learning several "
    "tasks halves the error. But its single-task age model was trained at ten times the learning rate of all others and came "
    "out far worse than such models do elsewhere. With an equal recipe the gap is the lower one."
)


def findings(measured: Path) -> str:
    """The answer, in which what is said of sensitive tasks can be hidden."""
    text = report.answer(measured)
    for task in (task for task in TASKS if task.sensitive):
        text = re.sub(rf"^- (\*\*{task.title}:.*)$", r'- <span class="sensitive">\1</span>', text, flags=re.MULTILINE)
    return text


def age_then_and_now(metrics: pd.DataFrame) -> pd.DataFrame:
    """`experiment, approach, value`: the age error of the notebook, and of the shipped models."""
    then = report.load_history().query("task == @AGE.name")
    now = metrics[metrics["by"] == "all"].set_index("task").loc[AGE.name]
    rows = [[THEN, row.approach, row.value] for row in then.itertuples()]
    rows += [["This app", a.name, now[a.name]] for a in APPROACHES]
    return pd.DataFrame(rows, columns=["experiment", "approach", "value"])


def history_note(errors: pd.DataFrame) -> str:
    then = errors[errors["experiment"] == THEN].set_index("approach")["value"]
    return f'<p class="note">{HISTORY.format(**{a.name: AGE.metric.words(then[a.name]) for a in APPROACHES})}</p>'


def costs_table(costs: pd.DataFrame) -> str:
    """What both approaches cost, for the eye."""
    rows = [[what.capitalize(), *cells] for what, *cells in cost.in_words(costs)]
    columns = ["Cost", *(f"{cards.mark(a)}{a.title}" for a in APPROACHES)]
    question = "What does each cost?"
    return f'<h2 class="figure-title">{question}</h2>{cards.html_table(question, columns, rows, cost.note(costs))}'


def build(metrics: pd.DataFrame, measured: Path) -> None:
    """Drawn once, from the saved `metrics` and other tables in `measured`: what is missing there is named in its place."""
    with gr.Column(elem_classes="card answer"):
        gr.HTML('<h2 class="figure-title">One model in place of three: what is lost, what is gained?</h2>')
        _or_message(lambda: gr.Markdown(findings(measured), elem_id="findings"))
    errors = age_then_and_now(metrics)
    with gr.Row(equal_height=True):
        with gr.Column(elem_classes="card figure", min_width=320):
            _figure("Does it halve the age error, as was once claimed?", plots.then_and_now(errors))
            gr.HTML(history_note(errors))
        with gr.Column(elem_classes="card figure", min_width=320):
            _or_message(lambda: gr.HTML(costs_table(cost.load(measured)), elem_id="costs"))
    if (measured / runs.RUNS_FILE).exists():
        trainings = runs.load_runs(measured)
        with gr.Row(equal_height=True):
            for title, figure in (
                ("How much is the luck of a training?", plots.spread_over_seeds(runs.by_approach(trainings), "approach")),
                ("Does it matter how losses are weighed?", plots.spread_over_seeds(runs.by_weighting(trainings), "weighting")),
            ):
                with gr.Column(elem_classes="card figure", min_width=320):
                    _figure(title, figure)


def _figure(title: str, figure) -> None:
    gr.HTML(f'<h2 class="figure-title">{title}</h2>')
    gr.Plot(figure, show_label=False, label=title, container=False)


def _or_message(make) -> None:
    """What `make` makes, or why it cannot be made."""
    try:
        make()
    except FaceMTLError as error:
        gr.HTML(cards.message("Not measured yet", str(error)))
