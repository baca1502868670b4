"""Short trainings: what is told of them, worked out by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from facemtl.errors import FaceMTLError
from facemtl.runs import (
    BASE,
    RUNS_FILE,
    WEIGHTINGS,
    at_best_rates,
    by_approach,
    by_weighting,
    delta_m_by_seed,
    delta_m_over_seeds,
    learning,
    load_runs,
    luck,
    summary,
)
from facemtl.tables import write_table
from facemtl.tasks import TASKS
from tests import support
from tests.support import made_up_runs


def test_a_summary_worked_out_by_hand():
    rows = [("base", 0, 5.0), ("base", 1, 6.0), ("base", 2, 10.0), ("ema", 0, 4.0), ("ema", 1, 5.5)]
    runs = pd.DataFrame(rows, columns=["experiment", "seed", "value"])
    runs = runs.assign(question="?", model="age", task="age", metric="mae", epochs=10, size=64, seconds=60)
    found = summary(runs).set_index("experiment")
    assert found.loc["base", ["seeds", "mean", "change"]].tolist() == [3, 7.0, 0.0]
    assert found.loc["base", "sd"] == pytest.approx(7**0.5)
    assert found.loc["ema", ["seeds", "mean", "change"]].tolist() == [2, 4.75, -0.75]  # against seeds 0 and 1 alone
    assert found.loc["ema", "luck"] == pytest.approx(stats.t.ppf(0.975, 2) * 7**0.5)  # of two means of two: sqrt(1/2 + 1/2) sd


def test_what_was_written_is_read(tmp_path):
    runs = made_up_runs()
    write_table(runs, tmp_path / RUNS_FILE)
    pd.testing.assert_frame_equal(load_runs(tmp_path), runs, check_dtype=False, rtol=1e-5)
    with pytest.raises(FaceMTLError, match="facemtl experiments all"):
        load_runs(tmp_path / "nowhere")


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_luck_is_told_by_seeds(task):
    runs = made_up_runs()
    base = runs[(runs["experiment"] == BASE) & (runs["task"] == task.name)]
    single = base[base["model"] == task.name]["value"].to_numpy()
    multi = base[base["model"] == "multitask"]["value"].to_numpy()
    row = luck(runs).set_index("task").loc[task.name]
    assert row["seeds"] == len(single) == len(multi) == 3
    assert row[["single", "single_sd", "multi", "multi_sd", "difference"]].tolist() == pytest.approx(
        [single.mean(), np.std(single, ddof=1), multi.mean(), np.std(multi, ddof=1), multi.mean() - single.mean()]
    )
    found = stats.ttest_ind(multi, single, equal_var=False)
    assert (row["t"], row["p"]) == pytest.approx((found.statistic, found.pvalue))


def test_no_luck_is_told_where_an_approach_is_missing():
    runs = made_up_runs()
    assert luck(runs[runs["model"] != "multitask"]).empty
    assert list(luck(runs[runs["model"] != "race"])["task"]) == ["gender", "age"]


def test_delta_m_of_a_seed_is_that_of_its_metrics():
    """2 % and 4 % more accurate, and an error that is 6 % larger."""
    metric = {"gender": "accuracy", "race": "accuracy", "age": "mae"}
    rows = [(name, name, value) for name, value in (("gender", 50.0), ("race", 25.0), ("age", 5.0))]
    rows += [("multitask", name, value) for name, value in (("gender", 51.0), ("race", 26.0), ("age", 5.3))]
    runs = pd.DataFrame(rows, columns=["model", "task", "value"]).assign(experiment=BASE, seed=4)
    found = delta_m_by_seed(runs.assign(metric=runs["task"].map(metric)))
    assert found.to_dict() == {4: pytest.approx((2 + 4 - 6) / 3)}


def test_delta_m_over_seeds_is_a_t_test_against_none():
    gains = delta_m_by_seed(made_up_runs())
    found, told = stats.ttest_1samp(gains, 0), delta_m_over_seeds(made_up_runs())
    assert (told["seeds"], told["mean"], told["sd"]) == (3, pytest.approx(gains.mean()), pytest.approx(gains.std()))
    assert (told["t"], told["p"]) == pytest.approx((found.statistic, found.pvalue))


@pytest.mark.parametrize("left", [{"seed": 0}, {"model": "multitask"}, {"experiment": "ema"}], ids=str)
def test_of_too_few_trainings_nothing_is_told(left):
    """One seed, one approach, no base: no probability, and no error."""
    runs = made_up_runs()
    ((column, value),) = left.items()
    runs = runs[runs[column] == value]
    assert luck(runs)["p"].isna().all()
    assert np.isnan(delta_m_over_seeds(runs)["p"])


def test_each_model_has_the_rate_that_suits_it():
    """By hand: the single-task model is best at half the rate, the multi-task model at the base's."""
    values = {"base": (7.6, 7.0), "lr-1e-3": (7.2, 7.1), "lr-4e-3": (7.9, 7.3), "ema": (1.0, 1.0)}
    rows = [(name, m, v) for name, pair in values.items() for m, v in zip(("age", "multitask"), pair, strict=True)]
    runs = pd.DataFrame(rows, columns=["experiment", "model", "value"]).assign(seed=0, task="age", metric="mae")
    other = runs.assign(seed=1, value=0.0)
    (row,) = at_best_rates(pd.concat([runs, other])).itertuples()
    assert (row.task, row.rates, row.base, row.difference) == ("age", 3, pytest.approx(-0.6), pytest.approx(-0.2))
    assert at_best_rates(runs[runs["experiment"].isin(["base", "ema"])]).empty
    assert at_best_rates(runs[runs["model"] == "multitask"]).empty


def test_the_multi_task_model_has_one_rate_for_all_its_tasks():
    """By hand: half the rate makes its age 2 % worse and its race 4 % better, so it is its best rate, for age too."""
    values = {"base": (5.0, 50.0, 5.0, 50.0), "lr-1e-3": (5.1, 49.0, 5.1, 52.0)}
    models = [("age", "age"), ("race", "race"), ("multitask", "age"), ("multitask", "race")]
    rows = [(name, *pair, v) for name, each in values.items() for pair, v in zip(models, each, strict=True)]
    runs = pd.DataFrame(rows, columns=["experiment", "model", "task", "value"]).assign(seed=0)
    found = at_best_rates(runs).set_index("task")
    assert found["difference"].to_dict() == pytest.approx({"age": 0.1, "race": 2.0})
    assert found["base"].to_dict() == {"age": 0.0, "race": 0.0}


def test_weightings_are_compared_at_the_same_seeds():
    found = by_weighting(made_up_runs())
    assert set(found["weighting"]) == set(WEIGHTINGS.values())
    assert len(found) == len(WEIGHTINGS) * 3 * len(TASKS)
    fixed = found[found["weighting"] == WEIGHTINGS[BASE]]
    multi = by_approach(made_up_runs()).query("approach == 'multi'")
    assert sorted(fixed["value"]) == sorted(multi["value"])


def test_what_was_learned_is_the_histories_beside_the_weights(predictor):
    folder = support.ROOT / "assets" / "models"
    learned = learning(predictor, folder)
    for loaded in predictor.models:
        history = pd.read_csv(folder / f"{loaded.name}.history.csv")
        for task in loaded.model.tasks:
            rows = learned[(learned["approach"] == loaded.approach.name) & (learned["task"] == task.name)]
            assert rows["value"].tolist() == history[f"{task.name}_{task.metric.name}"].tolist()
            assert rows["size"].iloc[-1] == loaded.checkpoint.image_size


def test_models_without_histories_have_learned_nothing_that_is_known(predictor, tmp_path):
    assert learning(predictor, tmp_path).empty
