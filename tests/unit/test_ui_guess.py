"""The guessing game: its turns, its score and the summary at the end."""

import re
from concurrent.futures import Future

import gradio as gr
import pytest

from facemtl.ui.faces import CurrentPool, FacePool
from facemtl.ui.tabs import guess
from tests.unit.ui_support import text


def a_game(*turns: tuple[float, float, float, float], is_open: bool = True) -> guess.Game:
    """A game with turns of (label, you, single, multi)."""
    all_turns = [
        guess.Turn(label, dict(zip(guess.NAMES, values, strict=True))) for label, *values in turns
    ]
    return guess.Game(1, tuple(all_turns), is_open)


def test_a_turn_holds_the_predictions_and_the_guess(predictor, labelled):
    game = guess.uncover(predictor, guess.Game(5), labelled, 33)
    (turn,) = game.turns
    ages = (
        predictor.predict_crops([labelled.face.crop])
        .table.query("task == 'age'")
        .set_index("model")["prediction"]
    )
    assert turn.label == labelled.labels["age"] and game.is_open
    assert turn.said == {
        "you": 33,
        "single": pytest.approx(ages["age"]),
        "multi": pytest.approx(ages["multitask"]),
    }
    assert guess.uncover(predictor, guess.Game(5), labelled, -4).turns[0].said["you"] == 0


def test_nothing_is_revealed_before_the_guess(labelled):
    html = text(guess.picture(guess.Game(5), labelled, "origin"))
    assert "Face 1 of 10" in html and str(int(labelled.labels["age"])) not in html
    assert guess.score(guess.Game(5)) == ""


def test_a_game_counts_its_faces():
    assert [
        g.number
        for g in (a_game(is_open=False), a_game((1, 2, 3, 4)), a_game((1, 2, 3, 4), is_open=False))
    ] == [0, 0, 1]
    ten = [(30.0, 30.0, 30.0, 30.0)] * guess.ROUNDS
    assert a_game(*ten).is_over and not a_game(*ten[1:]).is_over


@pytest.mark.parametrize(
    ("turns", "says", "order"),
    [
        ([(30, 31, 40, 50)], "You are ahead of the models", ["You", "Three", "One"]),
        (
            [(30, 60, 40, 35), (20, 20, 30, 30)],
            "Both approaches are ahead of you",
            ["One", "Three", "You"],
        ),
        ([(30, 36, 40, 31)], "You are between the two", ["One", "You", "Three"]),
    ],
)
def test_the_score_is_the_mean_error_best_first(turns, says, order):
    words = text(guess.score(a_game(*turns)))
    assert says in words
    positions = [words.index(f" {name} ") for name in order]
    assert positions == sorted(positions)
    for column in (1, 2, 3):
        mean = sum(abs(turn[column] - turn[0]) for turn in turns) / len(turns)
        assert f"{mean:.1f} years" in words


def test_all_faces_are_summarised_after_the_last_one():
    ten = [(30.0 + i, 31.0 + i, 60.0, 70.0) for i in range(guess.ROUNDS)]
    assert "at a glance" not in guess.score(a_game(*ten[1:]))
    words = guess.score(a_game(*ten))
    assert words.count("(closest)") == guess.ROUNDS
    assert all(f"<td>{turn[0]:.0f}</td><td><b>{turn[1]:.0f} ✓<" in words for turn in ten[:5])


def test_the_closest_guess_and_ties_are_named():
    assert text(guess.result(a_game((30, 35, 25, 20)).turns[0])).count("closest") == 2
    assert "10.0 off" in text(guess.result(a_game((30, 35, 25, 20)).turns[0]))


@pytest.mark.parametrize("n", [1, 8])
def test_a_game_has_no_more_faces_than_there_are(predictor, pool, n):
    current = CurrentPool(Future())
    current.replace(FacePool(pool.table.head(n), are_composites=False))
    with gr.Blocks() as demo:
        start = guess.build(predictor, current)["start"]
    handlers = {getattr(f.fn, "__name__", ""): f.fn for f in demo.fns.values()}
    game, shown, *_ = start()
    seen = []
    for number in range(1, n + 1):
        assert f"Face {number} of {n}." in text(shown) and not game.is_over
        seen.append(re.search('src="([^"]+)"', shown)[1])
        game, _, _, _, again, _, score = handlers["on_guess"](game, 40)
        if number < n:
            game, shown, *_ = handlers["on_next"](game)
    assert len(set(seen)) == n and game.is_over and again.value == "Play again"
    assert "That was the last face." in score and "at a glance" in score
    game, shown, *_ = handlers["on_next"](game)
    assert not game.turns and f"Face 1 of {n}." in text(shown)


def test_a_game_starts_again_when_its_faces_are_replaced(predictor, pool):
    """A guess about one face must never be compared with the label of another."""
    current = CurrentPool(Future())
    current.replace(pool)
    with gr.Blocks() as demo:
        start = guess.build(predictor, current)["start"]
    on_guess = next(f.fn for f in demo.fns.values() if getattr(f.fn, "__name__", "") == "on_guess")
    game = on_guess(start()[0], 40)[0]
    assert len(game.turns) == 1
    current.replace(FacePool(pool.table, are_composites=False))
    for other in (game, start()[0]):
        answered = on_guess(other, 40)[0]
        assert len(answered.turns) == (other is not game)
