"""What an answer costs: counts against those from files and shapes; how times are taken, not how long they are."""

import socket
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from facemtl.prediction import APPROACHES, MULTI, SINGLE, LoadedModel, Predictor
from torch import nn

from facemtl import cost
from facemtl.cost import ALL, costs, in_words, machine, multiply_adds, note
from facemtl.errors import FaceMTLError
from facemtl.models import Checkpoint
from tests import support

MODELS = support.ROOT / "assets" / "models"
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")  # not learned


@pytest.fixture(scope="module")
def table(predictor) -> pd.DataFrame:
    """One round, so that sums of medians are medians of sums."""
    return costs(predictor, MODELS, repeats=1)


def test_a_row_per_model_and_per_approach(table, predictor):
    assert list(table["model"]) == [*(m.name for m in predictor.models), *[ALL] * len(APPROACHES)]
    assert list(table["approach"]) == [*(m.approach.name for m in predictor.models), *(a.name for a in APPROACHES)]
    assert table.notna().all(axis=None)


def test_parameters_and_bytes_are_those_of_the_files(table, predictor):
    for row, loaded in zip(table.itertuples(), predictor.models, strict=False):
        content = (MODELS / f"{loaded.name}.safetensors").read_bytes()
        learned = [v for k, v in safetensors.torch.load(content).items() if not k.endswith(STATISTICS)]
        assert row.parameters == sum(v.numel() for v in learned)
        assert row.file_bytes == len(content)
        assert row.training_seconds == loaded.checkpoint.training["seconds"]


@pytest.mark.parametrize("approach", APPROACHES, ids=lambda a: a.name)
def test_an_approach_costs_what_its_models_cost_together(table, approach):
    rows = table[table["approach"] == approach.name].set_index("model")
    for column in ("parameters", "file_bytes", "multiply_adds", "milliseconds", "training_seconds"):
        assert rows.at[ALL, column] == pytest.approx(rows[column].drop(ALL).sum()), column


def test_an_approach_that_is_not_there_has_no_row(predictor):
    table = costs(Predictor(m for m in predictor.models if m.approach is MULTI), MODELS, repeats=1)
    assert list(table["model"]) == ["multitask", ALL] and SINGLE.name not in set(table["approach"])


def test_untold_seconds_of_training_are_unknown(predictor):
    first, second = predictor.models[:2]
    untold = LoadedModel(replace(first.checkpoint, training={}), first.model)
    table = costs(Predictor([untold, second]), MODELS, repeats=1).set_index("model")
    assert np.isnan(table.at[first.name, "training_seconds"]) and np.isnan(table.at[ALL, "training_seconds"])
    assert table.at[second.name, "training_seconds"] > 0


# ---------------------------------------------------------------------------------- multiply-adds


def test_multiply_adds_of_a_tiny_model():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5))
    convolution = (4 * 4) * 4 * (3 * 3 * 3)  # an 8 px image gives 4 x 4 places, each with 4 outputs of 27 inputs
    assert multiply_adds(model.eval(), 8) == convolution + 64 * 5


def test_multiply_adds_of_the_shipped_models(table, predictor):
    """Worked out from the shapes that each layer sees."""
    for loaded, counted in zip(predictor.models, table["multiply_adds"], strict=False):
        found = []

        def note(layer, inputs, output, found=found):
            found.append(layer.weight.numel() * (output[0, 0].numel() if output.ndim == 4 else 1))

        _, model = Checkpoint.load(MODELS / f"{loaded.name}.json")
        layers = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
        hooks = [layer.register_forward_hook(note) for layer in layers]
        try:
            with torch.inference_mode():
                size = loaded.checkpoint.image_size
                model(torch.zeros(1, 3, size, size))
        finally:
            for hook in hooks:
                hook.remove()
        assert len(found) == len(layers)
        assert counted == sum(found)


# ------------------------------------------------------------------------------------------ times


def test_models_take_turns_and_see_the_same_faces(predictor, monkeypatch):
    calls = []
    monkeypatch.setattr(LoadedModel, "outputs", lambda self, crops: calls.append((self.name, len(crops))))
    table = costs(predictor, MODELS, n_faces=3, repeats=4)
    turns = [(m.name, 3) for m in predictor.models]
    assert calls == turns * (len(calls) // len(turns)) and len(calls) > 4 * len(turns)  # the first rounds warm up
    assert (table["milliseconds_low"] <= table["milliseconds"]).all()
    assert (table["milliseconds"] <= table["milliseconds_high"]).all()


def test_times_are_medians_and_quartiles_of_rounds(predictor, monkeypatch):
    """With a clock that says how long each answer takes: rounds of 1, 2, ... 9 ms, the multi-task model's ten times that."""
    clock = {"now": 0.0, "rounds": -cost._WARM_UP}

    def answer(self, crops):
        clock["rounds"] += self.name == predictor.models[0].name
        clock["now"] += clock["rounds"] * (0.010 if self.approach is MULTI else 0.001)

    monkeypatch.setattr(LoadedModel, "outputs", answer)
    monkeypatch.setattr(cost.time, "perf_counter", lambda: clock["now"])
    table = costs(predictor, MODELS, repeats=9).set_index(["approach", "model"])
    columns = ["milliseconds_low", "milliseconds", "milliseconds_high"]
    assert table.loc[("single", "age"), columns].tolist() == pytest.approx([3, 5, 7])
    assert table.loc[("single", ALL), columns].tolist() == pytest.approx([9, 15, 21])
    assert table.loc[("multi", ALL), columns].tolist() == pytest.approx([30, 50, 70])


def test_the_machine_is_named_in_general_terms():
    named = machine()
    assert named["threads"] == torch.get_num_threads() and named["torch"] == torch.__version__ and named["processor"]
    words = " ".join(map(str, named.values()))
    assert "/" not in words and socket.gethostname() not in words


# ------------------------------------------------------------------------------------------ files


def test_costs_survive_being_saved(table, tmp_path):
    cost.save(table, tmp_path / "new")
    pd.testing.assert_frame_equal(cost.load(tmp_path / "new"), table, check_exact=False, rtol=1e-5, check_dtype=False)
    assert [f.name for f in (tmp_path / "new").iterdir()] == [cost.COSTS_FILE]
    cost.save(table.assign(training_seconds=np.nan), tmp_path)
    assert cost.load(tmp_path)["training_seconds"].isna().all()


def test_missing_and_damaged_costs_are_said(table, tmp_path):
    with pytest.raises(FaceMTLError, match="facemtl cost"):
        cost.load(tmp_path)
    cost.save(table, tmp_path)
    file = tmp_path / cost.COSTS_FILE
    for damaged in (file.read_bytes()[:300], b"", b"model,approach\nage,single\n", b"\xff\xfe\x00"):
        file.write_bytes(damaged)
        with pytest.raises(FaceMTLError, match="damaged"):
            cost.load(tmp_path)


def test_costs_in_words_are_those_of_the_approaches(table):
    by = table[table["model"] == ALL].set_index("approach")
    words = {what: cells for what, *cells in in_words(table)}
    for cell, approach in zip(words["parameters"], APPROACHES, strict=True):
        assert float(cell.split()[0]) == pytest.approx(by.at[approach.name, "parameters"] / 1e6, abs=0.05)
    for cell, approach in zip(words["one face, with its mirror image"], APPROACHES, strict=True):
        assert float(cell.split()[0]) == pytest.approx(by.at[approach.name, "milliseconds"], abs=0.51)
    assert table["processor"].iloc[0] in note(table)
