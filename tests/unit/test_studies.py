"""The tables of the studies: each training adds its rows, and the rows show which trainings are
done.
"""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from facemtl.errors import FaceMTLError
from facemtl.evaluation.seeds import load_seeds
from facemtl.evaluation.studies import SEEDS, SHARES, complete, gaps, load_studies, named
from facemtl.inference.predictor import MODELS, LoadedModel
from facemtl.training.config import TrainConfig
from research import studies
from tests.support import made_up_studies


def predictions(config: TrainConfig) -> pd.DataFrame:
    """Four images: the models of a seed have an age error of that many years, and every label of
    the last image is predicted wrongly.
    """
    rows = []
    for task in config.tasks:
        off = 1.0 + config.seed if task == "age" else 0.0
        for i in range(4):
            rows.append(
                [
                    f"{i:016x}",
                    "multi" if len(config.tasks) > 1 else "single",
                    task,
                    1.0 + off + (i == 3),
                    1.0,
                ]
            )
    return pd.DataFrame(rows, columns=["image", "approach", "task", "prediction", "target"])


def record(study: studies.Study, output: Path, **changes) -> None:
    for config in study.configs():
        if all(getattr(config, name) == value for name, value in changes.items()):
            info = replace(
                LoadedModel.load(MODELS / "age.onnx").info, training={"images": 100, "seconds": 60}
            )
            studies.record(study, config, info, predictions(config), output)


def test_only_recorded_trainings_are_done(tmp_path):
    study = studies.study_named(SEEDS)
    record(study, tmp_path, seed=1, tasks=("age",))
    done = [config for config in study.configs() if studies.is_measured(study, config, tmp_path)]
    assert [(config.seed, config.tasks) for config in done] == [(1, ("age",))]
    other = studies.study_named("share-10")
    assert not any(studies.is_measured(other, config, tmp_path) for config in other.configs())


def test_only_seeds_with_all_models_measured_are_loaded(tmp_path):
    study = studies.study_named(SEEDS)
    record(study, tmp_path, seed=0, tasks=("age",))
    record(study, tmp_path, seed=0, tasks=studies.ALL)
    with pytest.raises(FaceMTLError, match=r"research\.studies seeds"):
        load_seeds(tmp_path)
    record(study, tmp_path, seed=0, tasks=("gender",))
    record(study, tmp_path, seed=0, tasks=("race",))
    record(study, tmp_path, seed=2, tasks=studies.ALL)
    assert set(load_seeds(tmp_path)["seed"]) == {0}


def test_values_are_the_metrics_of_the_predictions(tmp_path):
    record(studies.study_named(SEEDS), tmp_path)
    table = load_studies(tmp_path).set_index(["model", "seed", "task"])
    assert table.loc[("age", 2, "age"), "value"] == pytest.approx(
        3.25
    )  # three are off by 3 years, one by 4
    assert table.loc[("multitask", 0, "gender"), "value"] == pytest.approx(75)
    assert (gaps(named(load_studies(tmp_path), {SEEDS: 100}, "share"), "share")["gain"] == 0).all()


def test_a_share_without_all_its_trainings_is_not_shown():
    table = named(made_up_studies(), SHARES, "share")
    assert len(complete(table, "share")) == len(table)
    is_lost = (table["share"] == 30) & (table["approach"] == "single") & (table["seed"] == 2)
    for lost in (is_lost, is_lost & (table["task"] == "age")):
        assert set(complete(table[~lost], "share")["share"]) == {10, 100}


def test_trainings_differ_from_the_recipe_only_by_their_study():
    for study in studies.STUDIES:
        configs = list(study.configs())
        assert len({(config.seed, config.tasks) for config in configs}) == len(configs)
        for config in configs:
            values = vars(replace(config, tasks=TrainConfig().tasks, seed=TrainConfig().seed))
            recipe = vars(TrainConfig())
            assert study.changes == {k: v for k, v in values.items() if v != recipe[k]}


def test_an_unknown_study_gives_an_error_with_valid_names():
    with pytest.raises(FaceMTLError, match="share-10"):
        studies.study_named("share-11")
