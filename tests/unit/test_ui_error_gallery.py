"""The gallery of faces behind the figures: finding, showing and hiding faces."""

import re
from concurrent.futures import Future
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest

from facemtl import plots
from facemtl.evaluation import composites
from facemtl.evaluation.confusion import confusion
from facemtl.evaluation.validation import load_metrics
from facemtl.inference.predictor import APPROACHES
from facemtl.tasks import GENDER, RACE
from facemtl.ui.components import error_gallery, face_kinds, figures
from facemtl.ui.components.questions import QUESTIONS
from facemtl.ui.components.view import View
from facemtl.ui.faces import FacePool
from facemtl.ui.prediction_cache import PredictionCache
from facemtl.ui.tabs import random_faces
from tests.unit.ui_support import MEASURED


@pytest.mark.parametrize("kind", face_kinds.OTHERS, ids=lambda kind: kind.title)
def test_misclassified_faces_match_the_confusion_matrix(results, kind):
    labelled, answered, approach = re.fullmatch(
        r"labelled (\w+), predicted as (\w+) by the ([\w-]+) model", kind.title
    ).groups()
    task = next(task for task in (GENDER, RACE) if labelled in task.labels)
    cells = confusion(results, task).set_index(["approach", "target", "prediction"])["n"]
    name = next(a.name for a in APPROACHES if a.kind.lower() == approach)
    found = kind.find(results)
    assert (
        len(found)
        == len(set(found))
        == cells[name, task.labels.index(labelled), task.labels.index(answered)]
    )
    rows = results[results["image"].isin(found) & (results["task"] == task.name)]
    assert (rows["target"] == task.labels.index(labelled)).all()


def test_faces_with_the_largest_age_error_come_first(results):
    old, young, apart = (kind.find(results) for kind in face_kinds.AGES)
    ages = results[results["task"] == "age"]
    error = (ages["prediction"] - ages["target"]).groupby(ages["image"]).mean()
    assert old[0] == error.idxmax() and young[0] == error.idxmin()
    assert set(old).isdisjoint(young)
    assert error[old].is_monotonic_decreasing
    assert error[old].min() >= face_kinds.FAR and error[young].max() <= -face_kinds.FAR
    by = ages.pivot(index="image", columns="approach", values="prediction")
    gap = (by["single"] - by["multi"]).abs()
    assert (gap[apart] >= face_kinds.FAR).all() and len(apart) == (gap >= face_kinds.FAR).sum()
    assert gap[apart].is_monotonic_decreasing


def test_a_click_on_a_cell_finds_its_faces(results):
    """All cells together hold every image, and so do all squares of the heat map. Each cell finds
    as many faces as the figure counts.
    """
    n_images = results["image"].nunique()
    for task in (GENDER, RACE):
        clicks = [
            {"by": "cell", "task": task.name, "approach": "multi", "x": answer, "y": label}
            for answer in task.labels
            for label in task.labels
        ]
        kinds = [face_kinds.of_click(click) for click in clicks]
        assert sum(len(kind.find(results)) for kind in kinds) == n_images and all(
            kind.sensitive for kind in kinds
        )
        n = (
            confusion(results, task)
            .query("approach == 'multi'")
            .set_index(["target", "prediction"])["n"]
        )
        assert all(
            len(kind.find(results))
            == n[task.labels.index(click["y"]), task.labels.index(click["x"])]
            for kind, click in zip(kinds, clicks, strict=True)
        )
    figure = plots.predicted_against_true(View(results, results).errors)
    for trace in figure.data:
        filled = [(i, j) for i, j in np.ndindex(trace.customdata.shape) if trace.customdata[i, j]]
        for i, j in filled[:: len(filled) // 20]:
            kind = face_kinds.of_click(
                {**trace.meta, "x": float(trace.x[j]), "y": float(trace.y[i])}
            )
            assert len(kind.find(results)) == trace.customdata[i, j]


# Their figures have cells, tested above, or nothing to click on.
WITHOUT_MARKS = {
    "How close are predicted ages to the labels?",
    "How many ages are within N years of the label?",
    "How are the age errors distributed?",
    "Gender: which labels are confused?",
    "Race: which labels are confused?",
}


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda q: q.title)
def test_a_click_on_a_mark_finds_as_many_faces_as_it_stands_for(results, question):
    """What the browser reports of a mark: its trace's `meta`, its place and its group."""
    view = View(results, load_metrics(MEASURED))
    traces = [t for t in question.figure(view).data if t.meta and t.type != "heatmap"]
    assert bool(traces) == (question.title not in WITHOUT_MARKS)
    for trace in traces:
        for x, y, data in zip(trace.x, trace.y, trace.customdata, strict=True):
            group, n = (data[0], data[1]) if np.ndim(data) else (None, data)
            clicked = {**trace.meta, "x": float(x), "y": float(y), "group": group}
            kind = face_kinds.of_click(clicked)
            found = kind.find(results)
            assert len(found) == len(set(found)) == n, (group, x)
            assert kind.sensitive or not question.sensitive


def test_the_worst_faces_of_a_mark_come_first(results):
    ages = results[results["task"] == "age"]
    off = (ages["prediction"] - ages["target"]).abs()
    by = off.groupby([ages["approach"], ages["image"]]).first()
    clicked = {"by": "group", "task": "age", "group": "20-29"}
    found = face_kinds.of_click(clicked | {"approach": "single"}).find(results)
    assert by["single"][found].is_monotonic_decreasing
    found = face_kinds.of_click(clicked).find(results)
    assert (by["single"] - by["multi"]).abs()[found].is_monotonic_decreasing
    clicked = {"by": "confidence", "task": "gender", "approach": "multi", "x": 95.0, "y": 90.0}
    found = face_kinds.of_click(clicked).find(results)
    genders = results[(results["task"] == "gender") & (results["approach"] == "multi")]
    right = (genders["prediction"] == genders["target"]).set_axis(genders["image"])[found]
    assert right.is_monotonic_increasing and not right.all()


@pytest.mark.parametrize(
    "clicked",
    [
        {},
        {"by": "square", "task": "age", "approach": "multi", "x": "20", "y": None},
        {"by": "square", "task": "age", "approach": "multi", "x": float("nan"), "y": 2},
        {"by": "cell", "task": "race", "approach": "both", "x": "White", "y": "Black"},
        {"by": "cell", "task": "race", "approach": "multi", "x": "White", "y": "Martian"},
        {"by": "cell", "task": "race", "approach": "multi", "x": ["White"], "y": "White"},
        {"by": "confidence", "task": "race", "x": 50, "y": 50},
        {"by": "group", "task": "age", "approach": "multi", "group": 3},
        {"task": "height", "approach": "multi", "x": 1, "y": 2},
    ],
)
def test_an_invalid_click_finds_no_faces(clicked):
    assert face_kinds.of_click(clicked) is None


def test_an_unknown_group_has_no_faces(results):
    clicked = {"by": "group", "task": "age", "approach": "multi", "group": "<b>Martian</b>"}
    assert face_kinds.of_click(clicked).find(results) == []


@pytest.fixture(scope="module")
def mislabelled(predictor, pool):
    """Predictions for the composites, with labels that make many of them misclassified and far too
    old.
    """
    table = composites.load(MEASURED, predictor)
    assert set(table["image"]) == set(pool.names)
    target = table["task"].map({"age": 0, "gender": 0, "race": 4})
    return table.assign(target=target, age_group="0-9", face=0, confidence=0.9, low=0.0, high=1.0)


@pytest.fixture
def gallery_handlers(predictor, pool, mislabelled):
    """The handlers of the card by name. Composites stand in for an installed dataset."""
    found, opened = FacePool(pool.table, are_composites=False), Future()
    opened.set_result(found)
    with gr.Blocks() as demo:
        hide, tabs = gr.Checkbox(), gr.Tabs()
        shared = {"outputs": [], "show": lambda view, hidden: (view,)}
        by_race = mislabelled[mislabelled["image"].isin(mislabelled["image"].unique()[::2])]

        def chosen(hidden, values):
            return by_race if "race" in values and not hidden else mislabelled

        cards = [figures.question_card(f"Question {i}?", False, True) for i in range(2)]
        error_gallery.build(
            PredictionCache(predictor, None, composites.load(MEASURED, predictor)),
            opened, chosen, gr.State(()), cards, tabs, shared, hide,
        )  # fmt: skip
    picks = [f.fn for f in demo.fns.values() if getattr(f.fn, "__name__", "") == "on_pick"]
    handlers = {f.fn.__name__: f.fn for f in demo.fns.values() if callable(f.fn)}
    return handlers | {"picks": picks}, found


def test_hiding_removes_sensitive_text_from_displayed_faces(gallery_handlers):
    handlers, _ = gallery_handlers
    number = next(
        i
        for i, kind in enumerate(face_kinds.KINDS)
        if kind.title == "labelled male, predicted as female by the multi-task model"
    )
    drawn, html, *_ = handlers["on_show"](number, False, ())
    says = re.compile(r"\b(" + "|".join([*GENDER.labels, *RACE.labels]) + r")\b")
    assert drawn.images and says.search(html)
    assert handlers["on_hide"](drawn, True)[:2] == (error_gallery.Drawn(), "")
    drawn, html, *_ = handlers["on_show"](0, False, ())
    assert drawn.images and says.search(html)
    again, hidden, *_ = handlers["on_hide"](drawn, True)
    assert again == drawn and not says.search(hidden) and "Face 1," in hidden
    assert handlers["on_hide"](again, False)[1] == html


def test_faces_selected_by_race_disappear_when_race_is_hidden(gallery_handlers):
    handlers, _ = gallery_handlers
    drawn, *_ = handlers["on_show"](0, False, ("race",))
    assert drawn.images and handlers["on_hide"](drawn, True)[:2] == (error_gallery.Drawn(), "")
    all_faces, *_ = handlers["on_show"](0, True, ("race",))
    assert len(all_faces.images) > len(drawn.images)


def test_all_faces_can_be_paged_through(gallery_handlers):
    handlers, _ = gallery_handlers
    drawn, html, *_ = handlers["on_show"](0, False, ())
    first, n_tiles = html, 0
    assert len(drawn.images) > random_faces.N_FACES and "Mean age error" not in html
    for _ in range(drawn.n_sheets):
        n_tiles += html.count('class="tile"')
        drawn, html, *_ = handlers["on_more"](drawn, False)
    assert n_tiles == len(drawn.images) and html == first
    assert "More of these" in first
    assert handlers["on_more"](error_gallery.Drawn(), False)[:2] == (error_gallery.Drawn(), "")


def test_missing_faces_are_skipped(gallery_handlers):
    """With a partial dataset, the remaining faces are shown. Without any of the faces, the card
    says that they are missing.
    """
    handlers, found = gallery_handlers
    whole_table = found.table
    drawn, *_ = handlers["on_show"](0, False, ())
    gone = whole_table["sha256"].str[:16].isin(drawn.images[: random_faces.N_FACES])
    found.table = whole_table[~gone].reset_index(drop=True)
    assert handlers["on_show"](0, False, ())[1].count('class="tile"') == min(
        12, len(drawn.images) - gone.sum()
    )
    found.table = whole_table[[False] * len(whole_table)]
    assert error_gallery.NONE_HERE in handlers["on_show"](0, False, ())[1]


def test_faces_appear_only_below_the_figure_that_was_clicked(gallery_handlers):
    handlers, _ = gallery_handlers
    click = {"by": "cell", "task": "race", "approach": "multi", "x": "White", "y": "Others"}
    for place, pick in enumerate(handlers["picks"], start=1):
        drawn, *places = pick(False, (), SimpleNamespace(**click))
        assert drawn.place == place and [bool(html) for html in places] == [
            i == place for i in range(3)
        ]
        assert "Close" in places[place]
        drawn, *places = handlers["on_more"](drawn, False)
        assert drawn.place == place and places[place]
        assert all(value == gr.skip() for value in pick(True, (), SimpleNamespace(**click)))
    assert handlers["nobody"]() == (error_gallery.Drawn(), "", "", "")
