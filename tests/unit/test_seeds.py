"""The comparison over seeds, on scores with known variation over seeds and images."""

import numpy as np
import pandas as pd
import pytest

from facemtl.errors import FaceMTLError
from facemtl.evaluation import seeds
from facemtl.evaluation.compare import compare
from facemtl.inference.predictor import MULTI, SINGLE
from facemtl.tasks import AGE, GENDER


def synthetic_scores(
    k: int,
    n: int = 400,
    of_seed: float = 0.0,
    of_image: float = 4.0,
    gap: float = 0.5,
    seed: int = 0,
) -> pd.DataFrame:
    """Ages of `k` seeds: all seeds share the errors of images, and each training has a constant
    error of its own.
    """
    rng = np.random.default_rng(seed)
    hard, rows = np.abs(rng.normal(0, of_image, n)), []
    for s in range(k):
        for approach, better in ((SINGLE.name, 0.0), (MULTI.name, gap)):
            error = hard + 10 + rng.normal(0, of_seed) - better
            part = pd.DataFrame(
                {"image": [f"{i:04}" for i in range(n)], "target": 30.0, "prediction": 30 + error}
            )
            rows.append(part.assign(seed=s, approach=approach, task=AGE.name, model=approach))
    return pd.concat(rows, ignore_index=True)


def test_values_are_means_over_seeds():
    table = synthetic_scores(3, of_seed=1.0)
    (row,) = seeds.compare_seeds(table, n_resamples=50).itertuples()
    errors = (table["prediction"] - table["target"]).abs()
    by_seed = errors.groupby([table["seed"], table["approach"]]).mean().unstack()
    assert (row.seeds, row.n, row.metric) == (3, 400, "mae")
    assert row.single == pytest.approx(by_seed["single"].mean()) and row.single_sd == pytest.approx(
        by_seed["single"].std()
    )
    difference = by_seed["multi"] - by_seed["single"]
    assert row.difference == pytest.approx(
        difference.mean()
    ) and row.difference_sd == pytest.approx(difference.std())


def test_one_seed_has_the_interval_of_the_images():
    table = synthetic_scores(1)
    (row,) = seeds.compare_seeds(table).itertuples()
    (plain,) = compare(table).itertuples()
    assert np.isnan(row.single_sd) and row.single == pytest.approx(plain.single)
    assert row.single_high - row.single_low == pytest.approx(
        plain.single_high - plain.single_low, rel=0.15
    )


def test_variation_over_seeds_widens_the_interval():
    """The variance is that of the mean over images plus that of the mean over seeds. Here the seeds
    contribute more.
    """
    width = lambda table: (lambda r: r.difference_high - r.difference_low)(  # noqa: E731
        next(seeds.compare_seeds(table).itertuples())
    )
    assert width(synthetic_scores(3)) < 0.01  # paired: difficult images are difficult for both
    assert width(synthetic_scores(8, of_seed=1.0)) == pytest.approx(
        2 * 1.96 * (2 * 1.0 / 8) ** 0.5, rel=0.5
    )


def test_intervals_cover_the_truth():
    """Of 40 tables with a true difference of half a year, nearly all intervals contain it."""
    held = []
    for i in range(40):
        (row,) = seeds.compare_seeds(
            synthetic_scores(8, 100, of_seed=0.5, seed=i), n_resamples=300
        ).itertuples()
        held.append(row.difference_low <= -0.5 <= row.difference_high)
    assert np.mean(held) > 0.8  # with only eight seeds, a bootstrap interval is a little narrow


def test_delta_m_is_the_mean_gain_over_tasks():
    ages = synthetic_scores(2)
    genders = ages.assign(
        task=GENDER.name, target=1.0, prediction=(np.arange(len(ages)) % 10 > 0).astype(float)
    )
    found = seeds.delta_m_of_seeds(pd.concat([ages, genders]), n_resamples=100)
    by = seeds.compare_seeds(ages, n_resamples=50).iloc[0]
    assert found["value"] == pytest.approx((100 * (1 - by.multi / by.single) + 0) / 2, rel=1e-3)
    assert found["low"] < found["value"] < found["high"] and found["seeds"] == 2


def test_seeds_of_different_images_are_refused():
    table = synthetic_scores(2)
    with pytest.raises(FaceMTLError, match="different images"):
        seeds.compare_seeds(table[~((table["seed"] == 1) & (table["image"] == "0003"))])


def test_saved_seeds_are_loaded_unchanged(tmp_path):
    table = synthetic_scores(2, n=20)
    seeds.save_seeds(table, tmp_path)
    found = seeds.load_seeds(tmp_path)
    pd.testing.assert_frame_equal(found, table[seeds.COLUMNS].round(3), check_dtype=False)


def test_a_missing_file_names_the_command_that_makes_it(tmp_path):
    with pytest.raises(FaceMTLError, match=r"research\.studies"):
        seeds.load_seeds(tmp_path)
