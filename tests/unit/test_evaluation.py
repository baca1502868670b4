"""Metric tables, compared with separately computed numbers and with the shipped results."""

import os
import stat
import subprocess

import numpy as np
import pandas as pd
import pytest

from facemtl.data.reading import CALIBRATION, VALIDATION, read_images
from facemtl.errors import FaceMTLError
from facemtl.evaluation.ages import age_error_by_group, age_errors
from facemtl.evaluation.calibration import calibrate, calibration_error, trust
from facemtl.evaluation.compare import FEW, compare, delta_m, metric_tables, worst_groups
from facemtl.evaluation.groups import AGE_GROUPS, age_groups
from facemtl.evaluation.validation import (
    METRICS_FILE,
    PREDICTIONS_FILE,
    TRUST_FILE,
    are_results_of,
    load_validation,
    save_validation,
    unseen,
    validate,
    with_targets,
)
from facemtl.inference.predictor import APPROACHES, MULTI, SINGLE, Predictor
from facemtl.metrics import ACCURACY
from facemtl.models.seen import has_seen
from facemtl.tasks import AGE, GENDER, INTERVAL, RACE, TASKS
from tests import support

N = 400


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Synthetic predictions for 400 images: the mean age error of the multi-task model is 3, that
    of the single-task model is larger.
    """
    rng = np.random.default_rng(0)
    images = [f"{i:016x}" for i in range(N)]
    labels = pd.DataFrame(
        {
            "image": images,
            "age": rng.integers(1, 100, N),
            "gender": rng.integers(0, 2, N),
            "race": rng.integers(0, 5, N),
        }
    )
    parts = []
    for model, spread in (("single", 8.0), ("multitask", 4.0)):
        for task in TASKS:
            truth = labels[task.column].to_numpy(float)
            if task is AGE:
                prediction = truth + rng.normal(1, spread, N)
            else:
                prediction = np.where(rng.random(N) < 0.9, truth, (truth + 1) % task.n_outputs)
            names = (
                {"model": task.name, "approach": "single"}
                if model == "single"
                else {"model": model, "approach": "multi"}
            )
            parts.append(
                pd.DataFrame(
                    {
                        "image": images,
                        "face": 0,
                        **names,
                        "task": task.name,
                        "prediction": prediction,
                    }
                )
            )
    table = pd.concat(parts, ignore_index=True).assign(confidence=0.5)
    table["low"], table["high"] = table["prediction"] - 8, table["prediction"] + 8
    return with_targets(table.sample(frac=1, random_state=1, ignore_index=True), labels)


def by_hand(table: pd.DataFrame, task, approach: str) -> pd.Series:
    rows = (
        table[(table["task"] == task.name) & (table["approach"] == approach)]
        .set_index("image")
        .sort_index()
    )
    if task is AGE:
        return (rows["prediction"] - rows["target"]).abs()
    return 100.0 * (rows["prediction"] == rows["target"])


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_metrics_and_their_difference(table, task):
    row = compare(table).set_index("task").loc[task.name]
    single, multi = by_hand(table, task, "single"), by_hand(table, task, "multi")
    assert row["n"] == N
    assert row["single"] == pytest.approx(single.mean())
    assert row["multi"] == pytest.approx(multi.mean())
    assert row["difference"] == pytest.approx((multi - single).mean())


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_bootstrap_intervals_match_the_normal_approximation(table, task):
    """For 400 images the bootstrap must agree with the normal approximation for the mean paired
    difference.
    """
    row = compare(table).set_index("task").loc[task.name]
    difference = by_hand(table, task, "multi") - by_hand(table, task, "single")
    half = 1.96 * difference.std() / np.sqrt(N)
    assert row["difference_low"] == pytest.approx(difference.mean() - half, abs=0.15 * half)
    assert row["difference_high"] == pytest.approx(difference.mean() + half, abs=0.15 * half)


def test_equal_approaches_have_a_difference_of_zero(table):
    twin = table[table["approach"] == SINGLE.name]
    compared = compare(pd.concat([twin, twin.assign(model="multitask", approach="multi")]))
    assert (compared[["difference", "difference_low", "difference_high"]] == 0).all(axis=None)
    assert (compared["single_low"] < compared["single_high"]).all()


def test_the_order_of_rows_is_irrelevant(table):
    pd.testing.assert_frame_equal(compare(table), compare(table.iloc[::-1]))


def test_a_missing_approach_is_reported(table):
    with pytest.raises(FaceMTLError, match="one multi-task model"):
        compare(table[table["model"] != "multitask"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda table: table.drop(columns="target"), "no labels. Add a column `target`"),
        (lambda table: table.assign(target=np.nan), "800 of 800 rows of gender"),
        (lambda table: table.assign(target=table["target"].replace(0, np.inf)), "of 800 rows"),
        (lambda table: table.assign(target="a"), "800 of 800 rows of gender"),
        (lambda table: pd.concat([table, table]), "several predictions of gender"),
        (lambda table: pd.concat([table, table[:1].assign(face=1)]), "several predictions of"),
        (lambda table: table[1:], "1 of 400 images lack a prediction of gender"),
    ],
    ids=["no labels", "no numbers", "infinite", "texts", "two tables", "two faces", "one missing"],
)
@pytest.mark.parametrize("compare_all", [compare, metric_tables, delta_m])
def test_a_table_that_cannot_be_compared_is_refused(change, says, compare_all, table):
    with pytest.raises(FaceMTLError, match=says):
        compare_all(change(table))


def test_groups_add_up(table):
    tables = metric_tables(table)
    everything = tables[tables["by"] == "all"].set_index("task")
    for by in (GENDER.name, RACE.name, "gender x race", "age_group"):
        for task, groups in tables[tables["by"] == by].groupby("task"):
            assert groups["n"].sum() == N
            for approach in (SINGLE.name, MULTI.name):
                weighted = (groups[approach] * groups["n"]).sum() / N
                assert weighted == pytest.approx(everything.at[task, approach])


def test_each_group_is_compared_independently(table):
    tables = metric_tables(table)
    for by, task in ((GENDER.name, GENDER), (RACE.name, RACE)):
        alone = compare(table[table[task.name] == 1])
        among = tables[(tables["by"] == by) & (tables["group"] == task.words(1))][alone.columns]
        pd.testing.assert_frame_equal(among.reset_index(drop=True), alone)


def test_groups_of_few_images_are_marked(table):
    tables = metric_tables(table)
    assert tables["few"].any() and not tables["few"].all()
    assert (tables["few"] == (tables["n"] < 30)).all()


def test_the_worst_group_is_the_one_with_added_errors(table):
    """Add errors to one group of one approach: this group must be named for this approach."""
    spoiled = table.copy()
    where = (spoiled["gender"] == 1) & (spoiled["race"] == 2) & (spoiled["model"] == "multitask")
    ages = spoiled["task"] == AGE.name
    spoiled.loc[where & ages, "prediction"] += 60
    spoiled.loc[where & ~ages, "prediction"] = -1
    worst = worst_groups(metric_tables(spoiled)).set_index(["task", "approach"])
    assert len(worst) == 2 * len(TASKS)
    for task in TASKS:
        found = worst.loc[task.name, MULTI.name]
        assert found["group"] == "female, Asian"
        assert found["n"] == where.sum() / len(TASKS) >= FEW
        assert found["low"] <= found["value"] <= found["high"]
    before = worst_groups(metric_tables(table)).set_index(["task", "approach"])
    singles = [index for index in worst.index if index[1] == SINGLE.name]
    pd.testing.assert_frame_equal(worst.loc[singles], before.loc[singles])


@pytest.mark.filterwarnings("error")
def test_a_gain_over_zero_is_no_number_and_no_warning():
    for zero in (0.0, np.zeros(1)):
        assert np.isnan(ACCURACY.gain(zero, zero)) and np.isinf(ACCURACY.gain(zero, zero + 50))


def test_delta_m_is_the_mean_of_the_relative_gains(table):
    gains = []
    for task in TASKS:
        single, multi = by_hand(table, task, "single").mean(), by_hand(table, task, "multi").mean()
        gains.append((single - multi) / single if task is AGE else (multi - single) / single)
    value, low, high = delta_m(table)
    assert value == pytest.approx(100 * np.mean(gains))
    assert low < value < high
    assert low > 0, "single-task ages were made twice as wrong"


def test_delta_m_changes_sign_if_the_approaches_are_swapped(table):
    swapped = table.assign(approach=table["approach"].map({"single": "multi", "multi": "single"}))
    assert delta_m(swapped)[0] < 0 < delta_m(table)[0]


def test_calibrated_confidences_have_no_calibration_error():
    rng = np.random.default_rng(0)
    confidence = rng.random(100_000)
    assert calibration_error(confidence, rng.random(100_000) < confidence) < 0.01
    assert calibration_error(confidence, rng.random(100_000) < confidence / 2) == pytest.approx(
        0.25, abs=0.01
    )


@pytest.mark.parametrize(
    ("confidence", "right", "expected"),
    [(1.0, 1.0, 0.0), (1.0, 0.0, 1.0), (0.9, 0.6, 0.3), (0.5, 0.9, 0.4)],
)
def test_the_calibration_error_is_the_gap_of_a_single_confidence(confidence, right, expected):
    hits = np.arange(100) < 100 * right
    assert calibration_error(np.full(100, confidence), hits) == pytest.approx(expected)


def test_trust_values_of_known_predictions(table):
    rows = trust(table).set_index(["by", "group", "task", "approach"])
    for task in TASKS:
        for approach in (SINGLE.name, MULTI.name):
            row = rows.loc["all", "all", task.name, approach]
            errors = by_hand(table, task, approach)
            right = (errors <= task.near) if task is AGE else (errors == 100)
            assert row["hits"] == pytest.approx(100 * right.mean())
            assert row["confidence"] == 50
            assert row["ece"] == pytest.approx(abs(50 - row["hits"]))
    ages = rows.xs(AGE.name, level="task")
    assert ages["width"].to_numpy() == pytest.approx(16)
    assert ages.loc["all", "all", MULTI.name]["coverage"] == pytest.approx(
        100 * (by_hand(table, AGE, MULTI.name) <= 8).mean()
    )
    sums = rows["n"].groupby(level=["by", "task", "approach"]).sum()
    assert (sums == N).all()


def test_only_tasks_with_intervals_have_coverage(results):
    rows = trust(results)
    assert rows[rows["task"] == AGE.name]["coverage"].between(0, 100).all()
    assert rows[rows["task"] != AGE.name][["coverage", "width"]].isna().all(axis=None)


def test_age_groups_cover_every_age():
    ages = pd.Series(range(AGE.low, AGE.high + 1))
    groups = age_groups(ages)
    assert list(dict.fromkeys(groups)) == list(AGE_GROUPS)
    for age, group in zip(ages, groups, strict=True):
        low, high = group.split("-") if "-" in group else (group.rstrip("+"), AGE.high)
        assert int(low) <= age <= int(high)


def test_age_errors_by_group(table):
    groups = age_error_by_group(table)
    assert list(groups["age_group"].unique()) == [
        g for g in AGE_GROUPS if g in set(groups["age_group"])
    ]
    errors = age_errors(table)
    for row in groups.itertuples():
        signed = errors[
            (errors["age_group"] == row.age_group) & (errors["approach"] == row.approach)
        ]["error"]
        assert row.n == len(signed)
        assert row.mae == pytest.approx(signed.abs().mean())
        assert row.bias == pytest.approx(signed.mean())
        assert row.coverage == pytest.approx(100 * (signed.abs() <= 8).mean())
        assert row.mae_low <= row.mae <= row.mae_high
        assert row.bias_low <= row.bias <= row.bias_high


def test_results_survive_being_saved(table, tmp_path):
    save_validation(table, tmp_path)
    loaded = load_validation(tmp_path)
    pd.testing.assert_frame_equal(compare(loaded), compare(table), check_exact=False, atol=1e-3)
    first = (tmp_path / PREDICTIONS_FILE).read_bytes()
    save_validation(table, tmp_path)
    assert (tmp_path / PREDICTIONS_FILE).read_bytes() == first
    assert {f.name for f in tmp_path.iterdir()} == {PREDICTIONS_FILE, METRICS_FILE, TRUST_FILE}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_a_pipe_gets_the_predictions_and_stays(table, tmp_path):
    pipe = tmp_path / PREDICTIONS_FILE
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE)
    try:
        save_validation(table, tmp_path)
        assert stat.S_ISFIFO(pipe.stat().st_mode)
        assert len(pd.read_csv(reader.stdout, compression="gzip")) == len(table)
    finally:
        reader.kill()
        reader.communicate()


def test_missing_and_damaged_results_are_reported(table, tmp_path):
    with pytest.raises(FaceMTLError, match="facemtl evaluate"):
        load_validation(tmp_path)
    save_validation(table, tmp_path)
    file = tmp_path / PREDICTIONS_FILE
    for damaged in (file.read_bytes()[:500], b"", b"not gzip"):
        file.write_bytes(damaged)
        with pytest.raises(FaceMTLError, match="damaged"):
            load_validation(tmp_path)


# ------------------------------------------------------------------------------ the shipped results


def test_shipped_results_hold_every_image_once_per_model_and_task(results):
    assert results["image"].nunique() > 2500
    assert (results.groupby("image").size() == 2 * len(TASKS)).all()
    assert not results.duplicated(["image", "model", "task"]).any()
    assert results["image"].str.fullmatch("[0-9a-f]{16}").all()


def test_shipped_metrics_match_the_shipped_predictions(results):
    shipped = pd.read_csv(support.ROOT / "assets" / "validation" / METRICS_FILE)
    assert len(shipped) == len(metric_tables(results))
    overall = shipped[shipped["by"] == "all"].set_index("task")
    for row in compare(results).itertuples():
        for column in ("single", "multi", "difference", "difference_low", "difference_high"):
            assert overall.at[row.task, column] == pytest.approx(getattr(row, column), abs=0.02)


@pytest.mark.parametrize("approach", [SINGLE.name, MULTI.name])
def test_shipped_models_reach_minimum_metrics(results, approach):
    """Minimum values below the measured ones, to detect worse weights."""
    measured = compare(results).set_index("task")[approach]
    assert measured[GENDER.name] >= 93.0
    assert measured[RACE.name] >= 85.5
    assert measured[AGE.name] <= 4.7


def test_shipped_results_are_of_the_shipped_models(predictor, results):
    assert are_results_of(predictor, results)


def test_shipped_models_have_seen_all_of_utkface_but_its_validation_images(
    predictor, utkface_images
):
    for loaded in predictor.models:
        seen = loaded.info.seen
        for split, part in utkface_images.groupby("split"):
            assert {has_seen(seen, [each]) for each in part["sha256"][:10]} == {split != VALIDATION}
    assert unseen(predictor, utkface_images) is utkface_images


def test_shipped_intervals_have_their_nominal_coverage(results):
    """90 % intervals, calibrated on other images, cover about 90 % of these images."""
    ages = results[results["task"] == AGE.name]
    covered = (ages["low"] <= ages["target"]) & (ages["target"] <= ages["high"])
    for _, share in covered.groupby(ages["model"]).mean().items():
        assert share == pytest.approx(INTERVAL, abs=0.025)


def test_shipped_results_match_the_shipped_models(predictor, results, utkface_images):
    """On about 120 of the real validation images."""
    some = utkface_images[utkface_images["split"] == VALIDATION].iloc[::25]
    again = validate(predictor, some)
    shipped = results[results["image"].isin(again["image"])]
    assert len(again) == len(some) * 2 * len(TASKS) == len(shipped)
    both = again.merge(shipped, on=["image", "model", "task"], suffixes=("", "_shipped"))
    assert (both["target"] == both["target_shipped"]).all()
    ages = both["task"] == AGE.name
    assert np.allclose(
        both.loc[ages, "prediction"], both.loc[ages, "prediction_shipped"], atol=0.05
    )
    assert (both.loc[~ages, "prediction"] == both.loc[~ages, "prediction_shipped"]).mean() > 0.99
    assert np.allclose(both["confidence"], both["confidence_shipped"], atol=0.01)


def test_shipped_results_contain_no_calibration_images(results, utkface_images):
    by_hash = utkface_images.set_index(utkface_images["sha256"].str[:16])["split"]
    known = results["image"].drop_duplicates().map(by_hash).dropna()
    assert len(known) and (known == VALIDATION).all()
    assert not set(by_hash[by_hash == CALIBRATION].index) & set(results["image"])


def test_evaluation_from_start_to_end(predictor, utkface_images, tmp_path):
    """Calibration and validation on a few real images write the files of the app."""
    parts = ((VALIDATION, 30), (CALIBRATION, 20))
    few = pd.concat(
        [utkface_images[utkface_images["split"] == split].head(n) for split, n in parts]
    )
    seen = []
    calibrated = calibrate(predictor, few, seen.append)
    assert sum(seen) == 2 * 20 * len(predictor.models)
    for loaded in calibrated.models:
        assert set(loaded.info.calibration) == {t.name for t in loaded.tasks}
    table = validate(calibrated, few)
    save_validation(table, tmp_path)
    loaded = load_validation(tmp_path)
    assert loaded["image"].nunique() == 30 and are_results_of(calibrated, loaded)
    assert not are_results_of(predictor, loaded)
    with pytest.raises(FaceMTLError, match="calibration"):
        calibrate(predictor, few[few["split"] == VALIDATION])
    with pytest.raises(FaceMTLError, match="validation"):
        validate(Predictor(predictor.models), few[few["split"] == CALIBRATION])


# ------------------------------------------------------------------------------------ track records


# ----------------------------------------------------------------------------------- missing labels


@pytest.fixture
def gaps(table) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The same predictions with many missing labels, and the complete predictions of the labelled
    images.
    """
    labels = (
        table[["image", "gender", "race"]]
        .drop_duplicates("image")
        .sort_values("image", ignore_index=True)
    )
    ages = table[table["task"] == "age"].drop_duplicates("image").set_index("image")["target"]
    labels["age"] = labels["image"].map(ages)
    labels.loc[::2, "age"], labels.loc[::3, "gender"], labels["race"] = np.nan, np.nan, np.nan
    known = labels.set_index("image").notna()
    kept = table[[known.at[row.image, row.task] for row in table.itertuples()]]
    return with_targets(table.drop(columns=["target", "gender", "race", "age_group"]), labels), kept


def test_metrics_are_over_the_labelled_images(gaps):
    found, kept = gaps
    assert found["target"].notna().all() and len(found) == len(kept)
    assert set(found["task"]) == {"age", "gender"} and found["race"].isna().all()
    compared = compare(found).set_index("task")
    for task in (AGE, GENDER):
        for a in APPROACHES:
            scores = by_hand(kept, task, a.name)
            assert (
                compared.at[task.name, "n"] == len(scores) == N - -(-N // (2 if task is AGE else 3))
            )
            assert compared.at[task.name, a.name] == pytest.approx(scores.mean())


def test_groups_contain_only_images_with_a_known_group(gaps):
    found, kept = gaps
    metrics = metric_tables(found, n_resamples=20)
    assert set(metrics["by"]) == {"all", "gender", "age_group"}
    both = set.intersection(
        *(set(kept[kept["task"] == name]["image"]) for name in ("age", "gender"))
    )
    images = metrics.groupby(["by", "task"])["n"].sum()
    assert images["gender", "age"] == images["age_group", "gender"] == len(both) > 0
    men = kept[(kept["task"] == "gender") & (kept["target"] == GENDER.labels.index("male"))]
    row = metrics[(metrics["group"] == "male") & (metrics["task"] == "gender")].iloc[0]
    assert row["n"] == men["image"].nunique()
    assert trust(found)[["confidence", "hits", "ece"]].notna().all(axis=None)
    assert set(age_error_by_group(found)["age_group"]) <= set(AGE_GROUPS)


def test_results_with_gaps_survive_being_saved(gaps, tmp_path):
    found, _ = gaps
    save_validation(found, tmp_path)
    loaded = load_validation(tmp_path)
    pd.testing.assert_frame_equal(loaded[found.columns], found, check_exact=False, atol=1e-2)


def test_calibration_uses_only_the_labelled_images(predictor, synthetic_faces):
    images = read_images(synthetic_faces, progress=False)[0].astype(
        {"age": float, "gender": float, "race": float}
    )
    images.loc[images.index % 3 > 0, "age"], images["race"] = np.nan, np.nan
    found = calibrate(predictor, images).models
    fewer = calibrate(predictor, images[images["age"].notna()]).models
    for before, one, other in zip(predictor.models, found, fewer, strict=True):
        for task in one.tasks:
            fitted, same = (
                one.info.calibration.get(task.name),
                before.info.calibration.get(task.name),
            )
            assert (fitted == same) == (task is RACE), "without a label it stays as it was"
            if task is AGE:
                assert fitted == other.info.calibration[task.name]


def test_missing_labels_for_the_tasks_give_one_message(predictor, synthetic_faces):
    images = read_images(synthetic_faces, progress=False)[0].assign(gender=np.nan, race=np.nan)
    with pytest.raises(FaceMTLError, match="label of gender"):
        validate(Predictor(m for m in predictor.models if m.name == "gender"), images)
