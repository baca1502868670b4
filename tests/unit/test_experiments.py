"""Experiments: they differ in what they say, run once, and go on after an interruption."""

from dataclasses import replace

import pandas as pd
import pytest

from facemtl import experiments
from facemtl.augmentation import Augmentation
from facemtl.cli import main
from facemtl.data import read_folder
from facemtl.errors import FaceMTLError
from facemtl.evaluation import validate
from facemtl.experiments import EXPERIMENTS, RECIPE, Experiment, collect, experiment_named, merged, run
from facemtl.models import Checkpoint
from facemtl.prediction import LoadedModel, Predictor
from facemtl.runs import BASE, ONE_VIEW, RUNS_FILE
from facemtl.tables import write_table
from facemtl.tasks import TASKS
from tests.support import made_up_runs

TINY = replace(RECIPE, stages=((32, 1),), batch_size=32)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(experiments, "RECIPE", TINY)


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda e: e.name)
def test_an_experiment_changes_what_it_says_and_nothing_else(experiment):
    names = [*experiment.changes, *experiment.changes.get("augmentation", {})]
    found = list(experiment.configs())
    assert len(found) == len(experiment.models) * len(experiment.seeds) == len({(c.tasks, c.seed) for c in found})
    for config in found:
        plain, base = config.plain(), RECIPE.plain()
        plain |= plain.pop("augmentation")
        base |= base.pop("augmentation")
        assert {name for name in base if plain[name] != base[name]} - {"tasks", "seed"} == {*names} - {"augmentation"}
    assert experiment_named(experiment.name) is experiment


def test_names_are_folders_and_unknown_ones_are_said():
    assert len({e.name for e in EXPERIMENTS}) == len(EXPERIMENTS)
    assert all(name == name.lower() and "/" not in name and " " not in name for name in (e.name for e in EXPERIMENTS))
    with pytest.raises(FaceMTLError, match="base, lr-5e-4, lr-1e-3"):
        experiment_named("alchemy")


def test_all_four_models_get_the_same_seeds_and_learning_rates():
    for name in ("base", "lr-1e-3", "lr-4e-3"):
        assert experiment_named(name).models == (("gender",), ("race",), ("age",), tuple(t.name for t in TASKS))
    assert len(experiment_named("base").seeds) >= 3
    for weighting in ("equal-weights", "uncertainty"):
        assert experiment_named(weighting).seeds == experiment_named("base").seeds


def test_runs_are_trained_measured_and_collected_once(tiny, synthetic_faces, tmp_path, monkeypatch):
    images, _ = read_folder(synthetic_faces, progress=False)
    experiment = Experiment(
        "mixup", "", {"mixup": 0.2, "ema": 0.9, "augmentation": {"erase": 0.5}}, (("age",), ("gender", "race"))
    )
    monkeypatch.setattr(experiments, "EXPERIMENTS", (experiment,))
    said = []
    for _ in range(2):
        run(experiment, images, tmp_path, tasks=("age",), progress=False, say=said.append)
    assert said == ["mixup-seed0: age"], "the second time nothing is left to do"
    run(experiment, images, tmp_path, progress=False)
    checkpoint, _ = Checkpoint.load(tmp_path / "mixup-seed0" / "age.json")
    assert (checkpoint.training["mixup"], checkpoint.training["augmentation"]["erase"]) == (0.2, 0.5)
    found = collect(tmp_path)
    assert list(found["task"]) == ["age", "gender", "race"]
    assert found["value"].iloc[0] == checkpoint.metrics["age_mae"]


def test_an_interrupted_run_is_resumed(tiny, synthetic_faces, tmp_path, monkeypatch):
    images, _ = read_folder(synthetic_faces, progress=False)
    experiment = Experiment("base", "", {"stages": ((32, 2),)}, (("age",),))
    whole = tmp_path / "whole"
    run(experiment, images, whole, progress=False)

    class Interrupted(Exception):
        pass

    def interrupt(self, *_):
        raise Interrupted

    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        patched.setattr("facemtl.models.Checkpoint.save", interrupt)
        run(experiment, images, tmp_path / "cut", progress=False)
    assert (tmp_path / "cut" / "base-seed0" / "age.resume.pt").exists()
    run(experiment, images, tmp_path / "cut", progress=False)
    ends = [Checkpoint.load(folder / "base-seed0" / "age.json")[0] for folder in (whole, tmp_path / "cut")]
    assert ends[0].sha256 == ends[1].sha256 and ends[0].metrics == ends[1].metrics


def test_the_base_is_measured_with_and_without_the_mirror_image(tiny, synthetic_faces, tmp_path, monkeypatch):
    images, _ = read_folder(synthetic_faces, progress=False)
    experiment = Experiment(BASE, "How much is luck?", {}, (("age",),))
    monkeypatch.setattr(experiments, "EXPERIMENTS", (experiment,))
    run(experiment, images, tmp_path, progress=False)
    found = collect(tmp_path).set_index("experiment")
    assert list(found.index) == [BASE, ONE_VIEW]
    assert found["value"].nunique() == 2
    loaded = LoadedModel(*Checkpoint.load(tmp_path / "base-seed0" / "age.json"))
    for name, mirrored in ((BASE, True), (ONE_VIEW, False)):
        table = validate(Predictor([replace(loaded, mirrored=mirrored)]), images)
        error = (table["prediction"] - table["target"]).abs().mean()
        assert found.at[name, "value"] == pytest.approx(error, abs=1e-3)


def test_teachers_are_runs_that_come_before():
    done = set()
    for experiment in EXPERIMENTS:
        for config in experiment.configs():
            assert done >= {*config.teachers}
        done |= {f"{experiment.name}-seed{c.seed}/{c.name}.json" for c in experiment.configs()}


def test_pupils_learn_from_the_runs_of_their_folder(tiny, synthetic_faces, tmp_path):
    images, _ = read_folder(synthetic_faces, progress=False)
    pupil = Experiment("pupil", "", {"teachers": ("base-seed0/age.json",)}, (("age",),))
    with pytest.raises(FaceMTLError, match="age has no description"):
        run(pupil, images, tmp_path, progress=False)
    run(Experiment(BASE, "", {}, (("age",),)), images, tmp_path, progress=False)
    run(pupil, images, tmp_path, progress=False)
    assert (tmp_path / "pupil-seed0" / "age.safetensors").exists()


def test_the_command_line_runs_and_writes(tiny, synthetic_faces, tmp_path, capsys):
    arguments = [
        "experiments",
        "--data",
        str(synthetic_faces),
        "--runs",
        str(tmp_path / "runs"),
        "--output",
        str(tmp_path / "out"),
    ]
    assert main(arguments) == 1
    assert "no measured trainings" in capsys.readouterr().err
    assert main([*arguments, "dropout-0.4"]) == 0
    assert "dropout-0.4" in capsys.readouterr().out
    written = pd.read_csv(tmp_path / "out" / RUNS_FILE)
    assert set(written["task"]) == {t.name for t in TASKS} and set(written["experiment"]) == {"dropout-0.4"}
    assert main(arguments) == 0  # what is measured, without the dataset


def test_augmentation_changes_single_amounts(tiny):
    (config,) = Experiment("x", "", {"augmentation": {"gray": 0.4}}).configs()
    assert config.augmentation == replace(RECIPE.augmentation, gray=0.4) != Augmentation(gray=0.4)


def test_trainings_made_elsewhere_are_kept_and_those_made_anew_replace_them(tmp_path):
    """But for those of another budget, and of experiments that there are no more."""
    runs = made_up_runs().assign(epochs=4)
    assert merged(runs, tmp_path).equals(runs)
    longer = runs[runs["experiment"] == "lr-1e-3"].assign(epochs=6, seed=7)
    write_table(pd.concat([runs, longer, runs.head(1).assign(experiment="alchemy")]), tmp_path / RUNS_FILE)
    anew = runs[runs["experiment"] == "ema"].assign(value=1.25)
    both = merged(anew, tmp_path)
    assert len(both) == len(runs)
    assert (both.loc[both["experiment"] == "ema", "value"] == 1.25).all()
    assert not (both.loc[both["experiment"] != "ema", "value"] == 1.25).any()
