"""Properties of every task, compared with separately computed values."""

import json
import math
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from facemtl.errors import FaceMTLError
from facemtl.tasks import (
    ACCURACY,
    AGE,
    GENDER,
    INTERVAL,
    MAE,
    RACE,
    TASKS,
    Classification,
    Regression,
    task_named,
)

each_task = pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
classifications = pytest.mark.parametrize("task", [GENDER, RACE], ids=lambda t: t.name)

YEARS = np.arange(0, 117)


def random_logits(task, n=64, spread=3.0, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, spread, (n, task.n_outputs)).astype(np.float32)


def random_tensor(task, **how) -> torch.Tensor:
    return torch.from_numpy(random_logits(task, **how))


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def gaussian(mean: float, sd: float) -> np.ndarray:
    """A distribution over years (1, 117)."""
    p = np.exp(-((YEARS - mean) ** 2) / (2 * sd**2))
    return (p / p.sum())[None]


def numpy_quantile(p: np.ndarray, level: float) -> float:
    """Spread the probability of each year evenly over one year, integrated on a fine grid."""
    edges = np.arange(-0.5, 117.5)
    grid = np.linspace(-0.5, 116.5, 117_001)
    cdf = np.interp(grid, edges, np.concatenate([[0], np.cumsum(p)]))
    return float(np.clip(grid[np.searchsorted(cdf, level)], 0, 116))


# -------------------------------------------------------------------------------------- definitions


def test_the_tasks_match_the_dataset():
    assert [task.name for task in TASKS] == ["gender", "race", "age"]
    assert GENDER.labels == ("male", "female")  # 0 and 1 in UTKFace's file names
    assert RACE.labels == ("White", "Black", "Asian", "Indian", "Others")
    assert (AGE.low, AGE.high, AGE.n_outputs) == (0, 116, 117)


@each_task
def test_a_task_is_immutable_and_hashable(task):
    with pytest.raises(FrozenInstanceError):
        task.name = "other"
    assert task == replace(task) and hash(task) == hash(replace(task))


@each_task
def test_a_task_is_found_by_its_name(task):
    assert task_named(task.name) is task


def test_an_unknown_name_gives_an_error_with_the_known_names():
    with pytest.raises(FaceMTLError) as error:
        task_named("glasses")
    for word in ("glasses", "gender", "race", "age"):
        assert word in str(error.value)


def test_a_new_task_needs_only_one_definition():
    glasses = Classification("glasses", loss_scale=0.3, labels=("none", "reading", "sun"))
    weight = Regression("weight", loss_scale=4.0, unit="kg", low=30, high=150)
    for task, words, label, output in (
        (glasses, ["none", "reading", "sun"], 1.0, 1),
        (weight, [f"{n} kg" for n in range(30, 151)], 70.0, 40),
    ):
        decoded = task.decode(np.eye(task.n_outputs))["prediction"]
        assert [task.words(value) for value in decoded] == words
        losses = task.loss(10 * torch.eye(len(words)), torch.full((len(words),), label))
        assert losses.argmin() == output
    assert weight.axis == "Weight (kg)" and glasses.axis == "Glasses"


# ------------------------------------------------------------------------------------ probabilities


@each_task
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_probabilities_are_the_softmax_of_the_scaled_logits(task, temperature):
    logits = random_logits(task)
    found = task.probabilities(logits, temperature)
    expected = torch.softmax(torch.from_numpy(logits).double() / temperature, dim=1)
    np.testing.assert_allclose(found, expected, atol=1e-12)


@each_task
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_probabilities_are_computed_in_float64(task, dtype):
    found = task.probabilities(random_logits(task).astype(dtype))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-12)


@each_task
def test_extreme_logits_stay_probabilities(task):
    logits = np.zeros((2, task.n_outputs), np.float32)
    logits[0, 0], logits[1] = 1e4, -1e4
    found = task.probabilities(logits)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-12)


# ----------------------------------------------------------------------------------------- decoding


@each_task
def test_a_one_hot_distribution_decodes_to_its_label(task):
    decoded = task.decode(np.eye(task.n_outputs))
    np.testing.assert_allclose(decoded["prediction"], np.arange(task.n_outputs))
    np.testing.assert_allclose(decoded["confidence"], 1, atol=1e-6)


@each_task
def test_decoding_is_the_same_per_batch_and_per_image(task):
    probabilities = task.probabilities(random_logits(task, n=7))
    whole = task.decode(probabilities)
    assert {name: value.shape for name, value in whole.items()} == dict.fromkeys(
        ("prediction", "confidence", "low", "high"), (7,)
    )
    for i in range(7):
        for name, value in task.decode(probabilities[i : i + 1]).items():
            np.testing.assert_array_equal(value[0], whole[name][i])


@classifications
def test_the_most_probable_label_wins_and_has_no_interval(task):
    probabilities = task.probabilities(random_logits(task))
    decoded = task.decode(probabilities)
    for i, p in enumerate(probabilities.tolist()):
        assert decoded["confidence"][i] == max(p) == p[int(decoded["prediction"][i])]
    assert np.isnan(decoded["low"]).all() and np.isnan(decoded["high"]).all()


@pytest.mark.parametrize(("mean", "sd"), [(30, 4), (58.3, 6.5), (90, 2.5)])
def test_a_gaussian_decodes_to_its_mean_and_quantiles(mean, sd):
    decoded = AGE.decode(gaussian(mean, sd))
    assert decoded["prediction"].item() == pytest.approx(mean, abs=0.01)
    # 5 % is below mean - 1.645 sd; spreading probability over whole years makes the distribution
    # slightly wider.
    wide = math.hypot(sd, math.sqrt(1 / 12))
    assert decoded["low"].item() == pytest.approx(mean - 1.6449 * wide, abs=0.1)
    assert decoded["high"].item() == pytest.approx(mean + 1.6449 * wide, abs=0.1)


def test_no_other_age_has_a_smaller_expected_error_than_the_prediction():
    """The median has this property; tested on skewed distributions, with probability spread over
    each year.
    """
    probabilities = AGE.probabilities(random_logits(AGE, n=50, spread=3))
    fine = np.linspace(-0.45, 0.45, 10)
    years = (YEARS[:, None] + fine).ravel()
    for p, prediction in zip(probabilities, AGE.decode(probabilities)["prediction"], strict=True):
        expected = [
            np.abs(years - answer) @ np.repeat(p / 10, 10) for answer in np.arange(0, 116.25, 0.25)
        ]
        assert np.abs(years - float(prediction)) @ np.repeat(p / 10, 10) <= min(expected) + 0.01


def test_confidence_in_an_age_is_the_mass_within_five_years():
    probabilities = AGE.probabilities(random_logits(AGE, spread=2))
    decoded = AGE.decode(probabilities)
    for p, prediction, confidence in zip(
        probabilities, decoded["prediction"], decoded["confidence"], strict=True
    ):
        assert confidence == pytest.approx(
            sum(p[year] for year in YEARS if abs(year - prediction) <= 5), abs=1e-5
        )


@pytest.mark.parametrize("level", [0.01, 0.05, 0.25, 0.5, 0.9, 0.95])
def test_quantiles_agree_with_a_fine_numeric_integration(level):
    probabilities = np.vstack(
        [AGE.probabilities(random_logits(AGE, n=20, spread=2)), gaussian(3, 2), gaussian(115, 3)]
    )
    found = AGE.quantile(probabilities, level)
    np.testing.assert_allclose(found, [numpy_quantile(p, level) for p in probabilities], atol=0.02)


def test_quantiles_grow_with_their_level():
    probabilities = AGE.probabilities(random_logits(AGE, spread=4))
    found = np.stack([AGE.quantile(probabilities, level) for level in np.linspace(0, 1, 41)])
    assert (np.diff(found, axis=0) >= 0).all()
    assert (found >= AGE.low).all() and (found <= AGE.high).all()


@pytest.mark.parametrize("spread", [0.0, 1.0, 5.0, 30.0])
@pytest.mark.parametrize("margin", [0.0, 2.5, -3.0, 200.0])
def test_the_interval_holds_the_prediction_and_stays_in_range(spread, margin):
    decoded = AGE.decode(AGE.probabilities(random_logits(AGE, n=200, spread=spread)), margin)
    assert (decoded["low"] <= decoded["prediction"]).all() and (
        decoded["prediction"] <= decoded["high"]
    ).all()
    assert (decoded["low"] >= AGE.low).all() and (decoded["high"] <= AGE.high).all()


def test_a_negative_margin_keeps_an_interval_at_the_end_of_the_range():
    logits = np.full((1, AGE.n_outputs), -20.0)
    logits[0, :2] = [2.0, 3.0]
    assert AGE.decode(AGE.probabilities(logits), margin=-0.1)["low"].item() == AGE.low


def test_a_margin_widens_the_interval_at_both_ends():
    p = gaussian(50, 5)
    plain, wider = AGE.decode(p), AGE.decode(p, margin=2.0)
    assert (plain["low"] - wider["low"]).item() == pytest.approx(2, abs=1e-4)
    assert (wider["high"] - plain["high"]).item() == pytest.approx(2, abs=1e-4)
    assert plain["prediction"] == wider["prediction"]


# --------------------------------------------------------------------------------------------- loss


@classifications
@pytest.mark.parametrize("smoothing", [0.0, 0.08, 0.5])
def test_loss_and_gradient_match_torch(task, smoothing):
    logits, target = random_tensor(task, n=50).requires_grad_(), torch.arange(50) % task.n_outputs
    found = replace(task, label_smoothing=smoothing).loss(logits, target).mean()
    expected = F.cross_entropy(logits, target, label_smoothing=smoothing)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        *(torch.autograd.grad(loss, logits)[0] for loss in (found, expected))
    )


@pytest.mark.parametrize("spread", [0.5, 5.0], ids=["near", "far"])
def test_age_loss_and_gradient_match_torch(spread):
    """With peaks within a year of the label and far from it, to test both parts of the smooth
    distance.
    """
    target = torch.linspace(0, 116, 40).round()
    peaks = target + spread * torch.sin(torch.arange(40.0))
    logits = (-((torch.arange(117) - peaks[:, None]) ** 2) / 8).requires_grad_()
    wanted = torch.softmax(
        -((torch.arange(117) - target[:, None]) ** 2) / (2 * AGE.sigma**2), dim=1
    )
    years = logits.softmax(dim=1) @ torch.arange(117.0)
    expected = F.cross_entropy(logits, wanted) + F.smooth_l1_loss(years, target, beta=2.0) / 2
    found = AGE.loss(logits, target).mean()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        *(torch.autograd.grad(loss, logits)[0] for loss in (found, expected))
    )


@each_task
def test_the_loss_is_lowest_at_the_label(task):
    """Logits with their peak at value v have the lowest loss if the label is v."""
    step = max(1, task.n_outputs // 12)
    for value in range(0, task.n_outputs, step):
        logits = -(torch.arange(task.n_outputs)[None] - value).abs().float()
        losses = {
            label: float(task.loss(logits, torch.tensor([label])))
            for label in range(0, task.n_outputs, step)
        }
        assert min(losses, key=losses.get) == value


@each_task
def test_descending_the_loss_finds_the_label(task):
    target = torch.tensor([0, 1, task.n_outputs - 1])
    logits = torch.zeros(3, task.n_outputs, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.2)
    for _ in range(300):
        optimizer.zero_grad()
        task.loss(logits, target).mean().backward()
        optimizer.step()
    found = task.decode(task.probabilities(logits.detach().numpy()))["prediction"]
    # At the ends of the range, half of the Gaussian is cut off, which moves its mean inwards.
    np.testing.assert_allclose(found, target, atol=0 if isinstance(task, Classification) else 2.0)


@each_task
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_loss_and_gradient_are_finite_at_the_extremes(task, scale):
    logits = (random_tensor(task, n=2 * task.n_outputs) * scale).requires_grad_()
    loss = task.loss(logits, torch.arange(2 * task.n_outputs) % task.n_outputs).mean()
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()


@each_task
def test_the_loss_takes_any_kind_of_number_as_target(task):
    logits = random_tensor(task, n=3)
    values = [0, 1, 1]
    losses = {
        float(task.loss(logits, torch.tensor(values, dtype=dtype)).mean())
        for dtype in (torch.int64, torch.int32, torch.uint8, torch.float64)
    }
    assert max(losses) - min(losses) < 1e-5


# -------------------------------------------------------------------------------------- calibration


@each_task
def test_the_temperature_undoes_a_scaling_of_the_logits(task):
    logits = random_logits(task, n=1500, spread=2, seed=2)
    drawn = np.random.default_rng(1).random((1500, 1))
    target = (
        (softmax(logits).cumsum(axis=1) < drawn).sum(axis=1).clip(max=task.n_outputs - 1)
    )  # so that a temperature of 1 is correct
    for factor in (0.5, 1.0, 3.0):
        assert task.calibrate(logits * factor, target)["temperature"] == pytest.approx(
            factor, rel=0.08
        )


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0], ids=["too narrow", "about right", "too wide"])
def test_the_margin_gives_intervals_their_nominal_coverage(scale):
    rng = np.random.default_rng(3)
    truth = rng.uniform(15, 90, 3000)
    centre = truth + rng.normal(0, 6, 3000)
    logits = -((YEARS[None] - centre[:, None]) ** 2) / (2 * (6 * scale) ** 2)
    found = AGE.calibrate(logits[:1500], truth[:1500])
    decoded = AGE.decode(AGE.probabilities(logits[1500:], found["temperature"]), found["margin"])
    unseen = truth[1500:]
    covered = ((decoded["low"] <= unseen) & (unseen <= decoded["high"])).mean()
    assert covered == pytest.approx(INTERVAL, abs=0.025)  # three standard errors of 1500 images


@each_task
def test_calibration_results_can_be_stored_as_json(task):
    found = task.calibrate(random_logits(task, n=50), np.arange(50) % task.n_outputs)
    assert found and json.loads(json.dumps(found, allow_nan=False)) == found


# -------------------------------------------------------------------------------- metrics and words


def test_accuracy_and_error_by_hand():
    assert ACCURACY(np.array([0, 1, 1, 0]), np.array([0.0, 1.0, 0.0, 0.0])) == 75
    assert MAE(np.array([10, 20]), np.array([12.5, 19.5])) == pytest.approx(1.5)
    assert not ACCURACY.lower_is_better and MAE.lower_is_better


@each_task
def test_the_metric_is_best_for_perfect_predictions(task):
    y = np.arange(task.n_outputs)
    perfect, wrong = task.metric(y, y), task.metric(y, np.roll(y, 1))
    assert perfect < wrong if task.metric.lower_is_better else perfect > wrong


def test_metrics_of_unsigned_labels_do_not_wrap_around():
    assert MAE(np.array([3], np.uint8), np.array([5], np.uint8)) == 2


def test_values_are_formatted_as_words():
    assert GENDER.words(1.0) == "female" and RACE.words(3) == "Indian"
    assert (
        AGE.words(34.4) == "34 years" and AGE.words(1.2) == "1 year" and AGE.axis == "Age (years)"
    )
    assert ACCURACY.words(94.06) == "94.1 %" and MAE.words(4.541) == "4.54 years"
