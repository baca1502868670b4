"""The cost of a prediction: counts from weights and shapes, and measured times."""

import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from facemtl.errors import FaceMTLError
from facemtl.evaluation import cost
from facemtl.evaluation.cost import ALL, costs, in_words, machine, note
from facemtl.inference.arithmetic import multiply_adds
from facemtl.inference.predictor import APPROACHES, MULTI, SINGLE, LoadedModel, Predictor
from facemtl.models.model_file import ModelInfo, load_weights, write_model
from facemtl.tasks import AGE, GENDER, TASKS
from tests import support

MODELS = support.ROOT / "assets" / "models"
STATISTICS = ("running_mean", "running_var")  # not learned


@pytest.fixture(scope="module")
def table(predictor) -> pd.DataFrame:
    """Measured in one round, so that sums of medians are medians of sums."""
    return costs(predictor, MODELS, repeats=1)


def test_a_row_per_model_and_per_approach(table, predictor):
    assert list(table["model"]) == [*(m.name for m in predictor.models), *[ALL] * len(APPROACHES)]
    approaches = [*(m.approach.name for m in predictor.models), *(a.name for a in APPROACHES)]
    assert list(table["approach"]) == approaches
    assert table.drop(columns="training_seconds").notna().all(axis=None)


def test_parameters_and_bytes_match_the_files(table, predictor):
    for row, loaded in zip(table.itertuples(), predictor.models, strict=False):
        file = MODELS / f"{loaded.name}.onnx"
        weights = load_weights(file)
        learned = [v for k, v in weights.items() if not k.endswith(STATISTICS)]
        assert row.parameters == sum(v.numel() for v in learned)
        assert row.file_bytes == len(file.read_bytes())


@pytest.mark.parametrize("approach", APPROACHES, ids=lambda a: a.name)
def test_the_cost_of_an_approach_is_the_sum_over_its_models(table, approach):
    rows = table[table["approach"] == approach.name].set_index("model")
    for column in ("parameters", "file_bytes", "multiply_adds", "milliseconds"):
        assert rows.at[ALL, column] == pytest.approx(rows[column].drop(ALL).sum()), column


def small_models(folder: Path, **seconds: float) -> Predictor:
    """Models of gender, age and both, in `folder`. `seconds` are their training times, by name."""
    for tasks in ((GENDER,), (AGE,), (GENDER, AGE)):
        name = "+".join(task.name for task in tasks)
        support.write_model(
            folder, tasks, training={"seconds": seconds[name]} if name in seconds else {}
        )
    return Predictor.load(folder)


def test_a_missing_approach_has_no_row(tmp_path):
    both = small_models(tmp_path).models[-1]
    table = costs(Predictor([both]), tmp_path, repeats=1)
    assert list(table["model"]) == [both.name, ALL] and SINGLE.name not in set(table["approach"])


def test_training_seconds_come_from_the_files(tmp_path):
    predictor = small_models(tmp_path, **{"gender": 100, "gender+age": 130})
    by = costs(predictor, tmp_path, repeats=1).set_index(["approach", "model"])["training_seconds"]
    assert by["single", "gender"] == 100 and by["multi", ALL] == 130
    assert np.isnan(by["single", "age"]) and np.isnan(by["single", ALL])  # not recorded


# ------------------------------------------------------------------------------------ multiply-adds


def counted(file: Path) -> int:
    return multiply_adds(file.read_bytes(), LoadedModel.load(file).info)


def test_multiply_adds_of_a_tiny_model(tmp_path):
    """The mean of three colours, times a matrix of 3 x outputs."""
    file = support.write_model(tmp_path, TASKS)
    assert counted(file) == 3 * sum(task.n_outputs for task in TASKS)


def test_multiply_adds_follow_from_the_shapes_of_each_layer(tmp_path, monkeypatch):
    """For plain and grouped convolutions, and for linear layers before and in the heads."""
    import torch
    from torch import nn

    from facemtl.models import face_model

    small = support.small_backbone()
    more = [nn.Conv2d(32, 32, 3, groups=32), nn.Hardswish(), nn.Conv2d(32, 8, 1, groups=4)]
    more += [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 128)]
    body = nn.Sequential(*list(small.module)[:-2], *more)
    monkeypatch.setattr(face_model, "backbone_named", lambda name, **_: replace(small, module=body))
    model, size, found = face_model.FaceModel((GENDER, AGE), "small").eval(), 64, []
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    for layer in layers:
        layer.register_forward_hook(
            lambda layer, inputs, output: found.append(
                layer.weight.numel() * (output[0, 0].numel() if output.ndim == 4 else 1)
            )
        )
    with torch.inference_mode():
        model(torch.zeros(1, 3, size, size))
    for layer in layers:
        layer._forward_hooks.clear()
    file = tmp_path / "gender+age.onnx"
    write_model(file, model, ModelInfo("gender+age", (GENDER, AGE), "small", size))
    assert len(found) == len(layers)
    assert counted(file) == sum(found)


# -------------------------------------------------------------------------------------------- times


def test_models_are_timed_in_turn_on_the_same_face(tmp_path, monkeypatch):
    predictor, calls = small_models(tmp_path), []
    monkeypatch.setattr(
        LoadedModel, "logits", lambda self, images: calls.append((self.name, images.tobytes()))
    )
    table = costs(predictor, tmp_path, repeats=4)
    turns = [m.name for m in predictor.models]
    assert [name for name, _ in calls] == turns * (len(calls) // len(turns))
    assert len(calls) > 4 * len(turns)  # the first rounds warm up
    assert len({images for _, images in calls}) == 1
    assert (table["milliseconds_low"] <= table["milliseconds"]).all()
    assert (table["milliseconds"] <= table["milliseconds_high"]).all()


def test_times_are_medians_and_quartiles_of_rounds(tmp_path, monkeypatch):
    """With a fake clock: rounds take 1, 2, ... 9 ms, and ten times as long for the multi-task
    model.
    """
    predictor = small_models(tmp_path)
    clock = {"now": 0.0, "rounds": -cost._WARM_UP}

    def answer(self, images):
        clock["rounds"] += self.name == predictor.models[0].name
        clock["now"] += clock["rounds"] * (0.010 if self.approach is MULTI else 0.001)

    monkeypatch.setattr(LoadedModel, "logits", answer)
    monkeypatch.setattr(cost.time, "perf_counter", lambda: clock["now"])
    table = costs(predictor, tmp_path, repeats=9).set_index(["approach", "model"])
    columns = ["milliseconds_low", "milliseconds", "milliseconds_high"]
    assert table.loc[("single", "age"), columns].tolist() == pytest.approx([3, 5, 7])
    assert table.loc[("single", ALL), columns].tolist() == pytest.approx([6, 10, 14])
    assert table.loc[("multi", ALL), columns].tolist() == pytest.approx([30, 50, 70])


def test_the_machine_is_named_in_general_terms():
    named = machine()
    assert named["processor"]
    words = " ".join(map(str, named.values()))
    assert "/" not in words and socket.gethostname() not in words


# -------------------------------------------------------------------------------------------- files


def test_costs_survive_being_saved(table, tmp_path):
    cost.save(table, tmp_path / "new")
    loaded = cost.load(tmp_path / "new")
    pd.testing.assert_frame_equal(loaded, table, check_exact=False, rtol=1e-5, check_dtype=False)
    assert [f.name for f in (tmp_path / "new").iterdir()] == [cost.COSTS_FILE]
    cost.save(table.assign(training_seconds=np.nan), tmp_path)
    assert cost.load(tmp_path)["training_seconds"].isna().all()


def test_missing_and_damaged_costs_are_reported(table, tmp_path):
    with pytest.raises(FaceMTLError, match="facemtl cost"):
        cost.load(tmp_path)
    cost.save(table, tmp_path)
    file = tmp_path / cost.COSTS_FILE
    damaged = (file.read_bytes()[:300], b"", b"model,approach\nage,single\n", b"\xff\xfe\x00")
    for content in damaged:
        file.write_bytes(content)
        with pytest.raises(FaceMTLError, match="damaged"):
            cost.load(tmp_path)


def test_costs_in_words_match_the_table(table):
    by = table[table["model"] == ALL].set_index("approach")
    words = {what: cells for what, *cells in in_words(table)}
    expected = {"parameters": ("parameters", 1e6, 0.05), "model files": ("file_bytes", 1e6, 0.05)}
    expected["one face, with its mirror image"] = ("milliseconds", 1, 0.51)
    for what, (column, unit, most) in expected.items():
        for cell, approach in zip(words[what], APPROACHES, strict=True):
            assert float(cell.split()[0]) == pytest.approx(
                by.at[approach.name, column] / unit, abs=most
            )
    assert table["processor"].iloc[0] in note(table)
