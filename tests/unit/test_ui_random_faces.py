"""The grid of random faces: labels, predictions and hidden text."""

import re
from concurrent.futures import Future
from types import SimpleNamespace

import gradio as gr
import pytest

from facemtl.tasks import GENDER, RACE
from facemtl.ui.components.get_utkface import Offer
from facemtl.ui.faces import CurrentPool, FaceFilter, FacePool
from facemtl.ui.prediction_cache import PredictionCache
from facemtl.ui.tabs import random_faces
from tests import support
from tests.unit.ui_support import text


def test_the_grid_shows_each_face_with_its_truth_and_both_predictions(predictor, pool):
    faces = pool.draw(6, FaceFilter(11))
    html = random_faces.grid(PredictionCache(predictor), faces, pool.origin)
    assert html.count('class="tile"') == 6
    assert "omposite" in html
    table = predictor.predict_crops([f.face.crop for f in faces], faces=range(6)).table.query(
        "task == 'age'"
    )
    tiles = html.split('class="tile"')[1:]
    for i, (tile, face) in enumerate(zip(tiles, faces, strict=True)):
        assert f"label <b>{face.labels['age']:.0f}</b>" in tile
        for age in table[table["face"] == i]["prediction"]:
            assert f"<b>{age:.0f}</b>" in tile


def test_the_page_itself_can_hide_sensitive_text_in_a_tile(predictor, pool):
    """The page can do this without the server's state."""
    html = random_faces.grid(PredictionCache(predictor), pool.draw(6, FaceFilter(1)), "")
    left = re.sub(
        r"<span"
        r' class="[^"]*sensitive[^"]*">(?:<span[^>]*>(?:<i[^>]*></i>|[^<])*</span>|[^<])*</span>',
        "",
        html,
    )
    assert not re.search(r"\b(" + "|".join([*GENDER.labels, *RACE.labels]) + r")\b", text(left))
    assert "years" in left


def test_a_click_opens_the_face_on_display_or_none_at_all(predictor, pool, tmp_path):
    """The faces can be replaced between the drawing of a page and a click on it. Predictions of
    the new ones are not known yet.
    """
    half = len(pool.table) // 2
    first, second = (
        FacePool(part.reset_index(drop=True), are_composites=True)
        for part in (pool.table[:half], pool.table[half:])
    )
    current, wanted = CurrentPool(Future()), FaceFilter(5, order="hardest")
    current.replace(first)
    with gr.Blocks() as demo:
        shared = {"outputs": [], "show": lambda view, hidden: (view,)}
        offer = Offer(support.COMPOSITES, lambda: None, allowed=False)
        cache, tabs = PredictionCache(predictor), gr.Tabs()
        random_faces.build(cache, current, tabs, shared, gr.Checkbox(), offer)
    open_face = next(
        f.fn for f in demo.fns.values() if getattr(f.fn, "__name__", "") == "open_face"
    )
    first.learn(cache)
    face = first.draw(3, wanted)[2]
    click = SimpleNamespace(choice=face.image)
    _, view = open_face(False, click)
    assert view.labels == face.labels
    current.replace(second)
    with pytest.raises(gr.Error, match="no longer there"):
        open_face(False, click)
