"""The cards of an answer: badges, verdicts, cost and messages."""

import re
from collections import deque

import pandas as pd

from facemtl.tasks import AGE, GENDER
from facemtl.ui import photo as photos
from facemtl.ui.components import cards
from facemtl.ui.faces import FaceFilter
from facemtl.ui.tabs import compare
from tests.unit.ui_support import text


def badge(task, single: float, multi: float, label: float | None) -> str:
    rows = pd.DataFrame(
        {"prediction": [single, multi], "low": [1.0, 1.0], "high": [90.0, 90.0]},
        index=["single", "multi"],
    )
    bins = [str(b) for b in task.bins]
    probabilities = pd.DataFrame(
        {"label": bins * 2, "probability": 1 / len(bins)},
        index=["single"] * len(bins) + ["multi"] * len(bins),
    )
    html = cards.task_card(task, rows, probabilities, label)
    return re.search(r'class="badge[^"]*">([^<]*)<', html)[1]


def test_the_badge_of_a_card_is_the_verdict():
    assert badge(GENDER, 0, 1, 1) == "Multi-task is right, single-task is not"
    assert badge(AGE, 30.0, 34.0, 33) == "Multi-task is closer, by 2.0 years"


def test_the_time_per_face_is_the_median_of_the_latest_faces(predictor, pool):
    seconds = [{"single": s, "multi": s / 2} for s in (0.5, 0.04, 0.06, 0.04, 0.5)]
    words = text(cards.cost_card(seconds, {"single": 3_000_000, "multi": 1_000_000}))
    assert "60 ms" in words and "30 ms" in words and "the last 5 answers" in words
    timings = deque(maxlen=2)
    for labelled in pool.draw(3, FaceFilter(3)):
        html = compare.answer(predictor, photos.view_of_face(labelled), timings=timings)
    assert len(timings) == 2 and "the last 2 answers" in html


def test_messages_are_escaped():
    assert "<script" not in cards.message("<script>", "<script>alert(1)</script>")


def test_commands_in_messages_are_code_and_spoken_without_backticks():
    said = cards.message("No results", "Run `python <x>`.")
    assert "<code>python &lt;x&gt;</code>" in said and "`" not in said
    assert 'data-spoken="No results. Run python &lt;x&gt;."' in said
