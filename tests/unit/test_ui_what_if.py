"""The page of What if, the brush, and pinned faces."""

import re
from dataclasses import replace

import numpy as np
import pytest

from facemtl.errors import FaceMTLError
from facemtl.inference.predictor import APPROACHES
from facemtl.inference.what_if import CHANGES, GRID, covered
from facemtl.tasks import AGE, GENDER, TASKS, Classification
from facemtl.ui import photo as photos
from facemtl.ui.components import cover, looks, pins, what_if
from facemtl.ui.faces import FaceFilter
from tests.unit.ui_support import last, text


@pytest.fixture(scope="module")
def view(labelled):
    return photos.view_of_face(labelled)


@pytest.fixture(scope="module")
def light(predictor, view):
    return [*what_if.change_card(CHANGES[0], predictor, view, TASKS)]


def test_a_change_reports_its_progress(light):
    shares = [float(s) for page in light for s in re.findall(r'<progress value="([\d.]+)"', page)]
    assert shares[0] == 0 and shares[-1] == 1 and shares == sorted(shares)
    assert len(shares) == 1 + len(CHANGES[0].amounts)


def test_every_point_has_a_picture_and_both_answers(predictor, view, light):
    html, change = light[-1], CHANGES[0]
    n = len(change.amounts)
    assert html.count("data:image/jpeg") == n and not re.search(r'src="(?!data:)', html)
    assert f'max="{n - 1}"' in html and f'value="{change.start}"' in html
    for i in (0, n - 1):
        table = predictor.predict_crops([change.apply(view.face.crop, change.amounts[i])]).table
        shown = " ".join(re.findall(rf'<div class="now" data-at="{i}".*?</div>', html))
        for row in table.itertuples():
            task = next(task for task in TASKS if task.name == row.task)
            assert f"<b>{task.answer(row.prediction)}</b>" in shown
    # Only the unchanged point is shown at first: its picture, its words, and its answers.
    visible = re.findall(r'data-at="(\d+)">', html)
    assert {*visible} == {str(change.start)} and len(visible) == 2 + len(TASKS)


def test_points_of_a_plot_are_at_their_values(predictor, view, light):
    html, change = light[-1], CHANGES[0]
    for task in TASKS:
        part = re.search(rf'data-task="{task.name}".*?</details>', html, re.DOTALL)[0]
        ticks = {
            float(value): float(top)
            for top, value in re.findall(r'class="tick-y" style="top:([\d.]+)%">([\d.]+)<', part)
        }
        (low, bottom), (high, top) = min(ticks.items()), max(ticks.items())
        assert (bottom, top) == (100, 0)
        for approach in APPROACHES:
            points = re.findall(
                rf'class="dot {approach.name}" style="left:([\d.]+)%;top:([\d.]+)%', part
            )
            assert len(points) == len(change.amounts)
            assert [float(x) for x, _ in points] == pytest.approx(
                np.linspace(0, 100, len(points)), abs=0.01
            )
            if not isinstance(task, Classification):
                crops = [change.apply(view.face.crop, amount) for amount in change.amounts]
                table = predictor.predict_crops(crops).table
                rows = table[(table["task"] == task.name) & (table["approach"] == approach.name)]
                values = [high - float(y) / 100 * (high - low) for _, y in points]
                assert sorted(values) == pytest.approx(sorted(rows["prediction"]), abs=0.01)
        assert part.count("<polyline") == 2


def test_different_first_answers_are_both_named(predictor, view):
    curve = what_if.Curve((50.0, 40.0), ("female", "male"), (0.5, 0.6), "female")
    same = {a.name: curve for a in APPROACHES}
    differ = {**same, APPROACHES[1].name: replace(curve, label="male")}
    assert what_if._title(GENDER, same) == "Gender: probability of female (%)"
    for part in ("female (three models)", "male (one model)"):
        assert part in what_if._title(GENDER, differ)


# ------------------------------------------------------------------------------------------- brush


@pytest.mark.parametrize(
    "sent",
    [
        None, 5, "", "0", "1" * (GRID**2 - 1), "1" * (GRID**2 + 1), "1" * 10**6, "2" * GRID**2,
        "١" * GRID**2, [1] * GRID**2, {"mask": "1"}, b"1" * GRID**2,
    ],
    ids=lambda sent: f"{type(sent).__name__} {len(str(sent))}",
)  # fmt: skip
def test_a_wrong_mask_is_refused_in_words(sent):
    with pytest.raises(FaceMTLError, match="16 × 16 cells"):
        cover.mask_of(sent)


def test_a_mask_is_read_row_by_row():
    cells = ["0"] * GRID**2
    cells[GRID + 3] = "1"
    mask = cover.mask_of("".join(cells))
    assert mask.dtype == bool and np.argwhere(mask).tolist() == [[1, 3]]


def test_places_cover_what_they_say(predictor, view):
    found = cover.places()
    middle = GRID // 2
    for name, mask in found.items():
        assert mask.shape == (GRID, GRID) and 0 < mask.mean() <= 0.5, name
    assert found["Eyes"][:middle].any() and not found["Eyes"][middle:].any()
    assert found["Mouth"][middle:].any() and not found["Mouth"][:middle].any()
    assert not (found["Left half"] & found["Right half"]).any()
    assert (found["Upper half"] | found["Lower half"]).all()
    html = last(cover.painter(predictor, view, TASKS))
    for mask in found.values():
        sent = "".join("1" if cell else "0" for cell in mask.flat)
        assert f'data-mask="{sent}"' in html and np.array_equal(cover.mask_of(sent), mask)


def test_answers_of_a_covered_face_are_beside_the_original_ones(predictor, view):
    mask = cover.places()["Eyes"]
    crops = [view.face.crop, covered(view.face.crop, mask)]
    table = predictor.predict_crops(crops, ["0", "1"]).table
    html = cover.covered_card(predictor, view, TASKS, mask)
    for task in TASKS:
        row = text(re.search(rf'<th scope="row">{task.title}</th>.*?</tr>', html)[0])
        for approach in APPROACHES:
            rows = table[(table["task"] == task.name) & (table["approach"] == approach.name)]
            before, after = rows.sort_values("image")["prediction"]
            if isinstance(task, Classification):
                said = rf"{task.answer(before)} \(\d+ %\) → {task.answer(after)} \(\d+ %\)"
            else:
                change = round(after, 1) - round(before, 1)
                said = re.escape(f"{before:.1f} → {after:.1f} {task.unit} ({change:+.1f})")
            assert re.search(said, re.sub(r"\s+", " ", row))
    assert cover.covered_card(predictor, view, TASKS, np.zeros((GRID, GRID), bool)) == ""


# -------------------------------------------------------------------------------------------- pins


def test_pinned_faces_keep_their_answers(predictor, pool):
    views = [photos.view_of_face(face) for face in pool.draw(3, FaceFilter(5))]
    kept = ()
    for i, view in enumerate(views):
        kept = pins.with_face(kept, predictor, view)
        assert len(kept) == min(i + 1, pins.MOST)
        assert pins.with_face(kept, predictor, view) is kept  # once is enough
    html = pins.pins_html(kept, TASKS)
    for view, card in zip(views[1:], html.split("<section")[1:], strict=True):
        for row in predictor.predict_crops([view.face.crop]).table.itertuples():
            task = next(task for task in TASKS if task.name == row.task)
            is_class = isinstance(task, Classification)
            assert (task.answer(row.prediction) if is_class else f"{row.prediction:.1f}") in card
    assert [pin.crop for pin in pins.without(kept, "0")] == [kept[1].crop]
    for wrong in (None, "7", "-1", [0], "x"):
        assert pins.without(kept, wrong) == kept
    assert pins.pins_html((), TASKS) == ""


def test_hidden_tasks_of_a_pinned_face_are_not_mentioned(predictor, view):
    html = pins.pins_html(pins.with_face((), predictor, view), (AGE,))
    assert "Age" in html and "Gender" not in html and "male" not in html
    everything = pins.pins_html(pins.with_face((), predictor, view), TASKS)
    assert everything.count('class="sensitive"') == sum(task.sensitive for task in TASKS)


# -------------------------------------------------------------------------------------------- tabs


def test_tabs_are_there_only_for_a_face_and_none_is_chosen(predictor, view, photo):
    assert looks.bar(photos.PhotoView()) == ""
    one, several = looks.bar(view), looks.bar(photos.open_view(photo))
    assert "All faces" not in one and "All faces" in several
    top = re.search(r'<div class="look-tabs".*?</div>', one)[0]
    assert top.count('role="tab"') == 4 and 'aria-selected="true"' not in top
    assert re.findall(r'data-choice="([^"]+)"', one) == [
        "where", "steady", "what-if", "save", *(change.name for change in CHANGES), "cover",
    ]  # fmt: skip
    assert looks.bar(view) != looks.bar(view)  # else the page would keep the choice
