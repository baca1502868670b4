"""The pool of dataset faces: filters, order and pages, and the filters as links."""

import asyncio
from concurrent.futures import Future
from dataclasses import fields, replace
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest

from facemtl.errors import FaceMTLError
from facemtl.evaluation import composites
from facemtl.tasks import AGE, GENDER, RACE, TASKS
from facemtl.ui.faces import ANY, MAX_SEED, CurrentPool, FaceFilter, FacePool, as_seed, ready, wait
from facemtl.ui.prediction_cache import PredictionCache
from tests import support
from tests.unit.ui_support import MEASURED


def test_without_a_dataset_the_pool_holds_composites(pool):
    assert pool.are_composites
    assert "omposite" in pool.origin


def test_with_a_dataset_faces_are_validation_images(synthetic_faces):
    pool = FacePool.open(synthetic_faces, support.COMPOSITES)
    assert not pool.are_composites
    assert set(pool.table["split"]) == {"validation"}
    assert "UTKFace" in pool.origin


def test_the_same_seed_draws_the_same_faces(pool):
    a, b, other = (pool.draw(12, FaceFilter(seed)) for seed in (5, 5, 6))
    same = [np.array_equal(x.face.crop, y.face.crop) for x, y in zip(a, b, strict=True)]
    assert all(same)
    assert not all(np.array_equal(x.face.crop, y.face.crop) for x, y in zip(a, other, strict=True))
    assert len({x.face.crop.tobytes() for x in a}) == 12
    assert all(set(x.labels) == {t.name for t in TASKS} for x in a)


def test_damaged_images_are_skipped(synthetic_faces, tmp_path):
    for i, file in enumerate(sorted(synthetic_faces.iterdir())):
        (tmp_path / file.name).write_bytes(b"damaged" + bytes([i]) if i % 2 else file.read_bytes())
    pool = FacePool.open(tmp_path, support.COMPOSITES)
    drawn = pool.draw(len(pool.table), FaceFilter(1))
    assert 0 < len(drawn) < len(pool.table)
    for file in tmp_path.iterdir():
        file.unlink()
    with pytest.raises(FaceMTLError, match="Start the app again"):
        pool.draw(3, FaceFilter(1))


@pytest.mark.parametrize("gender", [ANY, 0, 1])
@pytest.mark.parametrize("race", [ANY, 0, 4])
def test_select_returns_exactly_the_matching_faces(pool, gender, race):
    face_filter = FaceFilter(3, low=20, high=50, gender=gender, race=race)
    found = pool.table.iloc[pool.select(face_filter)]
    assert len(found) and found["age"].between(20, 50).all()
    expected = pool.table.query("20 <= age <= 50")
    for task, value in ((GENDER, gender), (RACE, race)):
        if value != ANY:
            expected = expected[expected[task.name] == value]
    assert sorted(found.index) == sorted(expected.index)


def test_the_order_is_random_unless_the_filter_sets_one(pool, predictor):
    saved = composites.load(MEASURED, predictor)
    pool.learn(PredictionCache(predictor, None, saved))
    ages = (
        saved[saved["task"] == "age"]
        .pivot(index="image", columns="model", values="prediction")
        .loc[pool.names]
    )
    errors = (ages.sub(pool.table["age"].to_numpy(), axis=0)).abs().mean(axis=1).to_numpy()
    apart = (ages["age"] - ages["multitask"]).abs().to_numpy()
    for order, amount in (("hardest", errors), ("apart", apart)):
        found = amount[pool.select(FaceFilter(3, order=order))]
        assert len(found) == len(pool.table) and (np.diff(found) < 1e-2).all()
    chance = pool.select(FaceFilter(3))
    assert sorted(chance) == list(range(len(pool.table))) and (np.diff(errors[chance]) > 0).any()


def test_agreeing_and_disagreeing_faces_together_are_all_faces(pool, predictor):
    saved = composites.load(MEASURED, predictor)
    pool.learn(PredictionCache(predictor, None, saved))
    agree, differ = (
        set(pool.select(FaceFilter(3, agreement=agreement))) for agreement in ("agree", "differ")
    )
    assert agree and differ and not agree & differ and len(agree | differ) == len(pool.table)
    ages = pool.predictions["age"]
    classes = [
        pool.predictions[name]["single"] == pool.predictions[name]["multi"]
        for name in ("gender", "race")
    ]
    for position in agree:
        assert (
            all(same[position] for same in classes)
            and abs(ages["single"][position] - ages["multi"][position]) <= AGE.near
        )
    only_age = set(pool.select(FaceFilter(3, agreement="differ"), tasks=(AGE,)))
    assert only_age == set(np.flatnonzero((ages["single"] - ages["multi"]).abs() > AGE.near))


def test_hidden_tasks_do_not_filter(pool):
    face_filter = FaceFilter(3, gender=1, race=2)
    assert (
        len(pool.select(face_filter, tasks=(AGE,)))
        == len(pool.table)
        > len(pool.select(face_filter))
    )


def test_pages_hold_every_face_once(pool):
    face_filter = FaceFilter(8, low=30, high=60)
    total = len(pool.select(face_filter))
    pages = [
        pool.draw(12, replace(face_filter, sheet=sheet)) for sheet in range(-(-total // 12) + 1)
    ]
    crops = [face.face.crop.tobytes() for page in pages for face in page]
    assert len(crops) == len(set(crops)) == total and [len(page) for page in pages[:-2]] == [12] * (
        len(pages) - 2
    )
    assert pages[-1] == []


def test_a_pool_finds_the_faces_of_images(pool):
    keys = list(pool.table["sha256"].str[:16])
    found = pool.of_images([keys[5], "0" * 16, keys[2], keys[9]], 2)
    assert [face.labels["age"] for face in found] == [pool.table["age"].iloc[i] for i in (5, 2)]
    assert pool.of_images([], 12) == []


def test_ready_fails_and_wait_waits_while_faces_are_read(pool):
    current = CurrentPool(reading := Future())
    with pytest.raises(FaceMTLError, match="still being read"):
        ready(current)

    async def waits() -> bool:
        waiting = asyncio.ensure_future(wait(current))
        await asyncio.sleep(0.01)
        was_done = waiting.done()
        reading.set_result(pool)
        await waiting
        return was_done

    assert support.finished(waits()) is False
    assert ready(current) is pool


def test_a_replaced_pool_is_ready_at_once_even_while_the_first_is_being_read(pool):
    current = CurrentPool(reading := Future())
    current.replace(other := FacePool(pool.table, are_composites=False))
    assert ready(current) is other and support.finished(wait(current)) is None
    reading.set_result(pool)
    assert ready(current) is other


@pytest.mark.parametrize(
    "wanted",
    [
        FaceFilter(5), FaceFilter(0, sheet=3), FaceFilter(9, low=20, high=40),
        FaceFilter(9, gender=0, race=4),
        FaceFilter(1, agreement="differ", order="hardest"), FaceFilter(2, order="apart", sheet=1),
    ],
)  # fmt: skip
def test_a_filter_survives_as_a_link(wanted):
    parameters = dict(parse_qsl(urlsplit(wanted.query()).query))
    assert FaceFilter.read(parameters) == wanted
    assert set(parameters) == {"seed", "tab"} | {
        f.name for f in fields(FaceFilter) if getattr(wanted, f.name) != f.default
    }


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, {}),
        ({"low": "50", "high": "20"}, {"low": 20, "high": 50}),
        ({"low": "-3", "high": "999", "sheet": "-1"}, {}),
        ({"low": "x", "gender": "7", "race": "nan", "order": "<b>", "agreement": None}, {}),
        ({"gender": 1.0, "race": "2", "sheet": "4"}, {"gender": 1, "race": 2, "sheet": 4}),
    ],
)
def test_invalid_values_in_a_link_are_ignored(values, expected):
    found = FaceFilter.read({"seed": "1", **values})
    assert found == replace(FaceFilter(1), **expected)


@pytest.mark.parametrize("typed", ["7", 7, 7.0, "7.9"])
def test_a_seed_can_be_typed(typed):
    assert as_seed(typed) == 7


@pytest.mark.parametrize("typed", [None, "", "x", "-1", MAX_SEED + 1, "1e99", "nan", "inf"])
def test_an_invalid_seed_is_replaced_by_a_new_one(typed):
    assert 0 < as_seed(typed) <= MAX_SEED
