"""Training: results and costs of the four models, and an earlier claim from 2018."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import gradio as gr
import pandas as pd

from ... import plots
from ...errors import FaceMTLError
from ...evaluation import cost, studies
from ...evaluation.findings import load_history, sentences
from ...inference.predictor import APPROACHES, MULTI, Approach, Predictor
from ...tasks import AGE, TASKS, Task, task_named
from ..components import cards, figures
from ..components.markup import HTML, html, joined
from ..measured import findings as load_findings

THEN = "2018"
HISTORY = (
    "The app grew out of a notebook of 2018 (“Multi-task Deep Learning Experiment using fastai"
    " Pytorch”, Yang Zhang). It found a mean age error of {single} for the single-task model and"
    " {multi} for the multi-task model, and concluded that multi-task learning halves the error."
    " But its single-task age model was trained at ten times the learning rate of the other models,"
    " and was far worse than such models are elsewhere. The lower row shows the models of this app,"
    " which have an equal recipe."
)
OF_THE_FIRST = " Its figures are of the first of {} trainings, whose models are shipped."


WHAT = html(
    '<p class="note">A backbone turns a picture into a few hundred numbers, and a head '
    "turns those into an answer. A single-task model has one head. A multi-task model "
    "has one backbone for all tasks, and a head for each task. So it costs about a third as "
    "much as three models. What the backbone learns for one task may help the others.</p>"
)
CURVES = (
    "The metric after each epoch (one pass over the training images), on the calibration images and"
    " without mirror images. The first epoch trains only the heads. The others train the whole"
    " model, with a learning rate that first rises and then falls to almost zero."
)
FEWER_LABELS = (
    "All four models were also trained on shares of the images: compare the gaps between the lines."
    " Lines go through the means over the seeds. "
)
LOSSES = (
    "Training minimises a loss. With fixed scales, the loss of each task is divided by its usual"
    " size. With equal weights, the losses are averaged as they are. Learned weights are trained"
    " with the model. These trainings had a small budget. "
)
STROKES, MARKS = (
    "Each stroke is the mean over the seeds. ",
    "Each mark is one training. More in docs/experiments.md.",
)
OWN_FACES = """
Put crops of faces into a folder, here `faces`, with a file `labels.csv`. It has a line for each
image. Its columns are `file`, and `age`<span class="sensitive">, `gender`, `race`, or some of
these</span>. Labels are words or numbers<span class="sensitive"> (gender: male, female; race:
White, Black, Asian, Indian, Others)</span>. An empty cell is a missing label. Run the first command
once for each task, and once with `all` in place of `age`. The second command measures the models.
The third one opens this app with them. Images with names like UTKFace's,
`[age]_[gender]_[race]_[anything].jpg`, need no such file.

```sh
python -m facemtl train --data faces --tasks age --output runs/own
python -m facemtl evaluate --data faces --models runs/own --output runs/own/validation
python app.py --data faces --models runs/own --results runs/own/validation
```
"""


def findings(measured: Path) -> str:
    """The findings as HTML. Those on sensitive tasks can be hidden."""
    introduction, said, (verdict, *more) = sentences(load_findings(measured))
    sensitive = {task.name for task in TASKS if task.sensitive}
    lines = joined(
        html(
            '<li class="{}"><b>{}:</b> {}</li>',
            "sensitive" if subject in sensitive else "",
            subject.capitalize(),
            sentence,
        )
        for subject, sentence in said
    )
    more = joined(html("<p>{}</p>", text) for text in more)
    return html("<p>{}</p><ul>{}</ul><p><b>{}</b></p>{}", introduction, lines, verdict, more)


def age_then_and_now(metrics: pd.DataFrame) -> pd.DataFrame:
    """The age errors of the notebook of 2018 and of the shipped models.

    Columns: `experiment, approach, value`.
    """
    then = load_history().query("task == @AGE.name")
    now = metrics[metrics["by"] == "all"].set_index("task").loc[AGE.name]
    rows = [[THEN, row.approach, row.value] for row in then.itertuples()]
    rows += [["This app", a.name, now[a.name]] for a in APPROACHES]
    return pd.DataFrame(rows, columns=["experiment", "approach", "value"])


def history_note(errors: pd.DataFrame, seeds: int = 1) -> str:
    """What the figure of 2018 shows. The findings are means over so many `seeds`."""
    then = errors[errors["experiment"] == THEN].set_index("approach")["value"]
    said = {a.name: AGE.metric.words(then[a.name]) for a in APPROACHES}
    shipped = OF_THE_FIRST.format(seeds) if seeds > 1 else ""
    return html('<p class="note">{}{}</p>', HISTORY.format(**said), shipped)


def n_seeds(measured: Path) -> int:
    """Over how many seeds the findings are means; 1 if there are no findings."""
    try:
        return min(row["seeds"] for row in load_findings(measured)["tasks"])
    except FaceMTLError:
        return 1


def architecture(approach: Approach, tasks: Sequence[Task]) -> str:
    """A drawing of an approach's models, with their backbones and heads, as SVG."""
    step, middle = 58, 58 * (len(tasks) - 1) / 2 + 30
    heights = [30 + step * i for i in range(len(tasks))]
    backbones = [middle] * len(tasks) if approach is MULTI else heights
    n = len(dict.fromkeys(backbones))
    seen = [
        html(
            '<path d="M64 {} L116 {}"/>{}', middle, y, _box(116, y, 130, "backbone", approach.name)
        )
        for y in backbones
    ]
    drawn = [_box(0, middle, 64, "face", "plain"), *seen[:n]]
    for y, start, task in zip(heights, backbones, tasks, strict=True):
        drawn.append(
            html('<path d="M246 {} L298 {}"/>{}', start, y, _box(298, y, 64, "head", approach.name))
        )
        css, place = "sensitive" if task.sensitive else "", html('x="376" y="{}"', y + 5)
        drawn.append(html('<text class="{}" {}>{}</text>', css, place, task.name))
        if task.sensitive:  # shown in its place if it is hidden
            drawn.append(html('<text class="hidden-note" {}>a task</text>', place))
    said = (
        f"{approach.title}: the face goes through {n} backbone{'s' if n > 1 else ''}, then through"
        " one head per task."
    )
    svg = html(
        '<svg viewBox="0 0 440 {:.0f}" role="img" aria-label="{}">{}</svg>',
        2 * middle,
        said,
        joined(drawn),
    )
    return html(
        '<figure class="architecture"><figcaption>{}{}</figcaption>{}</figure>',
        cards.mark(approach),
        approach.title,
        svg,
    )


def _box(x: float, y: float, width: float, text: str, css: str) -> str:
    return html(
        '<rect class="{css}" x="{}" y="{}" width="{}" height="38" rx="8"/><text class="in" '
        'x="{}" y="{}" text-anchor="middle">{text}</text>',
        x + 1,
        y - 19,
        width - 2,
        x + width / 2,
        y + 5,
        css=css,
        text=text,
    )


def costs_table(costs: pd.DataFrame) -> str:
    """The costs of both approaches as an HTML table."""
    rows = [[what.capitalize(), *cells] for what, *cells in cost.in_words(costs)]
    columns = ["Cost", *(cards.named(a) for a in APPROACHES)]
    question = "What does each cost?"
    table = cards.html_table(question, columns, rows, cost.note(costs))
    return html('<h2 class="figure-title">{}</h2>{}', question, table)


def numbers_of_learning(learned: pd.DataFrame, task: Task) -> str:
    wide = (
        learned[learned["task"] == task.name]
        .pivot(index="epoch", columns="approach", values="value")
        .reset_index()
    )
    columns = {a.name: f"{a.model} ({task.metric.unit})" for a in APPROACHES if a.name in wide}
    return figures.numbers(wide, {"epoch": "Epoch", **columns}, digits=2)


def numbers_of_trainings(table: pd.DataFrame, by: str) -> str:
    """An HTML table with a row per training and task.

    Columns of `table`: `by`, which is what the trainings differ in, and `approach, task, seed,
    value`.
    """
    tasks = [task_named(name) for name in table["task"]]
    table = table.assign(
        metric=[task.metric.title for task in tasks],
        value=[task.metric.words(value) for task, value in zip(tasks, table["value"], strict=True)],
    )
    columns = {
        by: "Images (%)" if by == "share" else by.capitalize(),
        **({"approach": "Approach"} if table["approach"].nunique() > 1 else {}),
        "task": "Task",
        "metric": "Metric",
        "seed": "Seed",
        "value": "Value",
    }
    return figures.numbers(table, columns)


def build(
    predictor: Predictor, models: Path, metrics: pd.DataFrame, measured: Path, tab: gr.Tab
) -> Callable[[], object]:
    """Lay out the tab. Its figures are drawn once, from `metrics` and the tables in `measured`.

    If a table is missing, a message names it in its place. Without a table of studies, their
    figures are left out. Returns a function that draws the figures in advance.
    """
    sheet = figures.Sheet()
    with gr.Column(elem_classes="card answer"):
        HTML(
            html(
                '<h2 class="figure-title">One model in place of three: what is lost, what is '
                "gained?</h2>"
            )
        )
        sheet.later([HTML(figures.WAITING, elem_id="findings")], lambda: [findings(measured)])
    with gr.Column(elem_classes="card"):
        drawings = joined(architecture(approach, predictor.tasks) for approach in APPROACHES)
        HTML(
            html(
                '<h2 class="figure-title">What is multi-task learning?</h2><div '
                'class="architectures">{}</div>{}',
                drawings,
                WHAT,
            )
        )
    with gr.Row(equal_height=True):
        if AGE.name in set(metrics["task"]):
            _or_message(lambda: _lay_out_history(sheet, metrics, n_seeds(measured)))
        with gr.Column(elem_classes="card figure", min_width=320):
            _or_message(lambda: HTML(costs_table(cost.load(measured)), elem_id="costs"))
    _or_message(lambda: _lay_out_curves(sheet, predictor, models))
    if (measured / studies.STUDIES_FILE).exists():
        _or_message(lambda: _lay_out_studies(sheet, studies.load_studies(measured)))
    with gr.Column(elem_classes="card answer"):
        HTML(html('<h2 class="figure-title">How do I train them on my own faces?</h2>'))
        gr.Markdown(OWN_FACES, elem_id="own-faces")
    sheet.when_seen(tab)
    return sheet.made


def _lay_out_history(sheet: figures.Sheet, metrics: pd.DataFrame, seeds: int) -> None:
    errors = age_then_and_now(metrics)
    columns = {"experiment": "Experiment", "approach": "Approach", "value": f"MAE ({AGE.unit})"}
    sheet.card(
        "Does multi-task learning halve the age error, as a notebook of 2018 found?",
        partial(plots.compared_with_2018, errors),
        partial(figures.numbers, errors, columns, 2),
        history_note(errors, seeds),
    )


def _lay_out_curves(sheet: figures.Sheet, predictor: Predictor, models: Path) -> None:
    learned = studies.learning(predictor, models)
    if learned.empty:
        return
    with gr.Row(equal_height=True):
        for task in predictor.tasks:
            title, draw = (
                f"{task.title}: how was it learned?",
                partial(plots.learning_curves, learned, task),
            )
            sheet.card(
                title,
                draw,
                partial(numbers_of_learning, learned, task),
                is_sensitive=task.sensitive,
            )
    HTML(html('<p class="note">{}</p>', CURVES))


def _lay_out_studies(sheet: figures.Sheet, trainings: pd.DataFrame) -> None:
    """Lay out figures that compare several trainings.

    A figure is left out if there is only one group to compare.
    """
    shares = studies.complete(studies.named(trainings, studies.SHARES, "share"), "share")
    seeds = trainings[trainings["study"] == studies.SEEDS]
    weighed = studies.named(
        trainings[trainings["approach"] == MULTI.name], studies.WEIGHTINGS, "weighting"
    )
    with gr.Row(equal_height=True):
        for title, by, table, draw, note in (
            (
                "Does one model help where labels are few?",
                "share",
                shares,
                partial(plots.over_shares, shares),
                FEWER_LABELS + MARKS,
            ),
            (
                "How much do the results vary between seeds?",
                "approach",
                seeds,
                partial(plots.spread_over_seeds, seeds, "approach"),
                STROKES + MARKS,
            ),
            (
                "Does it matter how the losses are weighted?",
                "weighting",
                weighed,
                partial(plots.spread_over_seeds, weighed, "weighting"),
                LOSSES + STROKES + MARKS,
            ),
        ):
            if table[by].nunique() > 1:
                numbers = partial(numbers_of_trainings, table, by)
                sheet.card(title, draw, numbers, note, is_sensitive=True)


def _or_message(make) -> None:
    """Call `make`. If it fails, show a message with the reason."""
    try:
        make()
    except FaceMTLError as error:
        HTML(cards.message("Cannot be shown", str(error)))
