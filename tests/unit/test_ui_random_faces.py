"""The grid of random faces: labels, predictions and hidden text."""

import re

from facemtl.tasks import GENDER, RACE
from facemtl.ui.faces import FaceFilter
from facemtl.ui.prediction_cache import PredictionCache
from facemtl.ui.tabs import random_faces
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
