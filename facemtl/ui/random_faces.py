"""Random faces: many faces at once, with their labels and what both approaches say."""

from concurrent.futures import Future
from html import escape

import gradio as gr
import pandas as pd

from ..prediction import APPROACHES, Predictor, approach_of
from ..tasks import AGE, Classification, Task
from . import cards, compare
from .faces import MAX_SEED, FacePool, LabelledFace, as_seed, new_seed

N_FACES = 12


def grid(predictor: Predictor, faces: list[LabelledFace], origin: str, hide: bool = False) -> str:
    """A card for each face, which opens it in Compare, and the mean age error of both approaches.

    With `hide`, nothing is said of sensitive tasks.
    """
    tasks = cards.shown(predictor.tasks, hide)
    table = predictor.predict([f.face.crop for f in faces], faces=range(len(faces))).table
    table = table.assign(approach=approach_of(table))
    tiles = "".join(_tile(i, face, table[table["face"] == i], tasks) for i, face in enumerate(faces))
    return (
        f'{cards.legend()}<p class="note">{escape(origin)}</p><div class="faces">{tiles}</div>'
        f'<p class="note">{_summary(table, faces)} A click opens a face in Compare.</p><p class="note">{cards.NOTE}</p>'
    )


def _tile(index: int, face: LabelledFace, rows: pd.DataFrame, tasks: tuple[Task, ...]) -> str:
    values = rows.pivot(index="task", columns="approach", values="prediction")
    ages = values.loc[AGE.name]
    label = face.labels[AGE.name]

    points = "".join(f'<i class="dot {a.name}" style="left:{cards.at(ages[a.name])}"></i>' for a in APPROACHES)
    numbers = "".join(f'<span class="{a.name}-text">{cards.mark(a)}<b>{ages[a.name]:.0f}</b></span>' for a in APPROACHES)
    said = "; ".join(f"{a.title}: {', '.join(t.words(values.at[t.name, a.name]) for t in tasks)}" for a in APPROACHES)
    truth = ", ".join(task.words(face.labels[task.name]) for task in tasks)
    classes = "".join(
        _class_line(task, face.labels[task.name], values.loc[task.name]) for task in tasks if isinstance(task, Classification)
    )
    picture = cards.picture(face.face.crop, "")
    return (
        f'<button type="button" class="tile" data-choice="{index}" '
        f'aria-label="Face {index + 1}, label {truth}. {said}. Open in Compare.">{picture}'
        f'<span class="mini"><i class="mini-axis"></i><i class="mini-label" style="left:{cards.at(label)}"></i>{points}</span>'
        f'<span class="mini-row"><span>label <b>{label:.0f}</b></span>{numbers}</span>{classes}</button>'
    )


def _class_line(task: Task, label: float, predictions: pd.Series) -> str:
    """The label in words, and for each approach whether it says the same."""
    said = ""
    for a in APPROACHES:
        is_right = predictions[a.name] == label
        title = escape(f"{a.title}: {task.words(predictions[a.name])}")
        said += f'<span class="{a.name}-text" title="{title}">{cards.mark(a)}{"✓" if is_right else "✗"}</span>'
    return f'<span class="mini-row mini-class"><span>{escape(task.words(label))}</span>{said}</span>'


def _summary(table: pd.DataFrame, faces: list[LabelledFace]) -> str:
    ages = table[table["task"] == AGE.name]
    labels = ages["face"].map({i: face.labels[AGE.name] for i, face in enumerate(faces)})
    error = (ages["prediction"] - labels).abs().groupby(ages["approach"]).mean()
    means = " and ".join(f"{error[a.name]:.1f} years by {a.short}" for a in APPROACHES)
    return f"Mean age error on these {len(faces)} faces: {means}. A few faces prove nothing: see Validation."


def build(predictor: Predictor, pool: "Future[FacePool]", choose: str, tabs: gr.Tabs, shared: dict, hide: gr.Checkbox) -> dict:
    """Layout and wiring; `shared` is what Compare's build returned. Returns `outputs` and `draw(seed, hidden)`, for them."""
    drawn = gr.State(None)  # the seed on display
    with gr.Row(elem_classes="toolbar"):
        seed = gr.Number(label="Seed", precision=0, minimum=0, maximum=MAX_SEED, min_width=140, scale=0, elem_id="seed")
        again = gr.Button("Show this seed", scale=0, min_width=140)
        new = gr.Button("New faces", variant="primary", scale=0, min_width=140, elem_id="new-faces")
        link = gr.HTML(elem_id="seed-link")
    faces = gr.HTML(cards.message("Drawing faces", "One moment."), elem_id="grid", js_on_load=choose)

    def draw(value: object, hidden: bool) -> tuple:
        number, source = as_seed(value), pool.result()
        html = grid(predictor, source.draw(N_FACES, number), source.origin, hidden)
        address = f'<a href="?seed={number}">Link to these faces</a>'
        return number, number, html, address

    def open_face(number: int | None, hidden: bool, event: gr.EventData) -> tuple:
        found = pool.result().draw(N_FACES, as_seed(number))
        chosen = int(event.choice)
        if not 0 <= chosen < len(found):
            raise gr.Error("There is no such face.", print_exception=False)
        labelled = found[chosen]
        return gr.Tabs(selected="compare"), *shared["show"](compare.look_at_face(labelled), hidden)

    outputs = [drawn, seed, faces, link]
    quiet = {**compare.MODEL_WORK, "show_progress_on": faces}
    gr.on([again.click, seed.submit], compare.told(draw), [seed, hide], outputs, **quiet)
    new.click(compare.told(lambda hidden: draw(new_seed(), hidden)), hide, outputs, **quiet)
    faces.click(compare.told(open_face), [drawn, hide], [tabs, *shared["outputs"]], **quiet)
    return {"drawn": drawn, "outputs": outputs, "draw": draw}
