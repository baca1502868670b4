"""Properties of every task, with expectations worked out in numpy."""

import math
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch

from facemtl.errors import FaceMTLError
from facemtl.tasks import ACCURACY, AGE, GENDER, INTERVAL, MAE, RACE, TASKS, Classification, Regression, task_named

each_task = pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
classifications = pytest.mark.parametrize("task", [GENDER, RACE], ids=lambda t: t.name)

YEARS = np.arange(0, 117)


def random_outputs(task, n=64, spread=3.0, seed=0) -> torch.Tensor:
    return torch.randn(n, task.n_outputs, generator=torch.Generator().manual_seed(seed)) * spread


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def gaussian(mean: float, sd: float) -> torch.Tensor:
    """A distribution over years (1, 117)."""
    p = np.exp(-((YEARS - mean) ** 2) / (2 * sd**2))
    return torch.tensor(p / p.sum(), dtype=torch.float32)[None]


def numpy_quantile(p: np.ndarray, level: float) -> float:
    """Each year's mass spread evenly over the unit around it, integrated on a fine grid."""
    edges = np.arange(-0.5, 117.5)
    grid = np.linspace(-0.5, 116.5, 117_001)
    cdf = np.interp(grid, edges, np.concatenate([[0], np.cumsum(p)]))
    return float(np.clip(grid[np.searchsorted(cdf, level)], 0, 116))


# ------------------------------------------------------------------------------------ what they are


def test_the_tasks_are_those_of_the_dataset():
    assert [task.name for task in TASKS] == ["gender", "race", "age"]
    assert GENDER.labels == ("male", "female")  # 0 and 1 in UTKFace's file names
    assert RACE.labels == ("White", "Black", "Asian", "Indian", "Others")
    assert (AGE.low, AGE.high, AGE.n_outputs) == (0, 116, 117)


@each_task
def test_a_task_is_a_constant(task):
    with pytest.raises(FrozenInstanceError):
        task.name = "other"
    assert task == replace(task) and hash(task) == hash(replace(task))


@each_task
def test_every_output_stands_for_something(task):
    assert len(task.bins) == task.n_outputs == len(set(task.bins))


@each_task
def test_a_task_is_found_by_its_name(task):
    assert task_named(task.name) is task


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(FaceMTLError) as error:
        task_named("glasses")
    for word in ("glasses", "gender", "race", "age"):
        assert word in str(error.value)


def test_a_fourth_task_is_one_line():
    glasses = Classification("glasses", loss_scale=0.3, labels=("none", "reading", "sun"))
    weight = Regression("weight", loss_scale=4.0, unit="kg", low=30, high=150)
    for task, n in ((glasses, 3), (weight, 121)):
        outputs = random_outputs(task)
        assert outputs.shape[1] == n
        assert math.isfinite(task.loss(outputs, torch.full((64,), 1.0 if task is glasses else 70.0)))
        assert task.words(float(task.decode(task.probabilities(outputs))["prediction"][0]))
    assert weight.axis == "Weight (kg)" and glasses.axis == "Glasses"


# -------------------------------------------------------------------------------------- probabilities


@each_task
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_probabilities_are_the_softmax_of_the_scaled_outputs(task, temperature):
    outputs = random_outputs(task)
    found = task.probabilities(outputs, temperature)
    np.testing.assert_allclose(found.sum(dim=1), 1, atol=1e-5)
    np.testing.assert_allclose(found, softmax(outputs.double().numpy() / temperature), atol=1e-6)


@each_task
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_probabilities_are_computed_in_float32(task, dtype):
    found = task.probabilities(random_outputs(task).to(dtype))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.sum(dim=1), 1, atol=1e-5)


@each_task
def test_extreme_outputs_stay_probabilities(task):
    outputs = torch.zeros(2, task.n_outputs)
    outputs[0, 0], outputs[1] = 1e4, -1e4
    found = task.probabilities(outputs)
    assert torch.isfinite(found).all()
    np.testing.assert_allclose(found.sum(dim=1), 1, atol=1e-5)


# ------------------------------------------------------------------------------------------- decoding


@each_task
def test_certainty_decodes_to_itself(task):
    decoded = task.decode(torch.eye(task.n_outputs))
    np.testing.assert_allclose(decoded["prediction"], np.arange(task.n_outputs))
    np.testing.assert_allclose(decoded["confidence"], 1, atol=1e-6)


@each_task
def test_decoding_keeps_the_batch(task):
    probabilities = task.probabilities(random_outputs(task, n=7))
    whole = task.decode(probabilities)
    assert {name: value.shape for name, value in whole.items()} == dict.fromkeys(
        ("prediction", "confidence", "low", "high"), (7,)
    )
    for i in range(7):
        for name, value in task.decode(probabilities[i : i + 1]).items():
            np.testing.assert_allclose(value[0], whole[name][i], rtol=1e-5)


@classifications
def test_the_most_probable_label_wins_and_has_no_interval(task):
    probabilities = task.probabilities(random_outputs(task))
    decoded = task.decode(probabilities)
    p = probabilities.numpy()
    np.testing.assert_array_equal(decoded["prediction"], p.argmax(axis=1))
    np.testing.assert_allclose(decoded["confidence"], p.max(axis=1))
    assert decoded["low"].isnan().all() and decoded["high"].isnan().all()


@pytest.mark.parametrize(("mean", "sd"), [(30, 4), (58.3, 6.5), (90, 2.5)])
def test_a_gaussian_decodes_to_its_middle_and_quantiles(mean, sd):
    decoded = AGE.decode(gaussian(mean, sd))
    assert float(decoded["prediction"]) == pytest.approx(mean, abs=0.01)
    # 5 % lies below mean - 1.645 sd; spreading mass over whole years widens the distribution a little.
    wide = math.hypot(sd, math.sqrt(1 / 12))
    assert float(decoded["low"]) == pytest.approx(mean - 1.6449 * wide, abs=0.1)
    assert float(decoded["high"]) == pytest.approx(mean + 1.6449 * wide, abs=0.1)


def test_no_other_age_has_a_smaller_expected_error_than_the_prediction():
    """The median's property, on skewed distributions: mass is spread over each year's width."""
    probabilities = AGE.probabilities(random_outputs(AGE, n=50, spread=3)).double().numpy()
    fine = np.linspace(-0.45, 0.45, 10)
    years = (YEARS[:, None] + fine).ravel()
    for p, prediction in zip(probabilities, AGE.decode(torch.tensor(probabilities).float())["prediction"], strict=True):
        expected = [np.abs(years - answer) @ np.repeat(p / 10, 10) for answer in np.arange(0, 116.25, 0.25)]
        assert np.abs(years - float(prediction)) @ np.repeat(p / 10, 10) <= min(expected) + 0.01


def test_confidence_in_an_age_is_the_mass_within_five_years():
    probabilities = AGE.probabilities(random_outputs(AGE, spread=2))
    decoded = AGE.decode(probabilities)
    for p, prediction, confidence in zip(
        probabilities.numpy(), decoded["prediction"].numpy(), decoded["confidence"].numpy(), strict=True
    ):
        assert confidence == pytest.approx(sum(p[year] for year in YEARS if abs(year - prediction) <= 5), abs=1e-5)


@pytest.mark.parametrize("level", [0.01, 0.05, 0.25, 0.5, 0.9, 0.95])
def test_quantiles_agree_with_a_fine_numeric_integration(level):
    probabilities = torch.cat([AGE.probabilities(random_outputs(AGE, n=20, spread=2)), gaussian(3, 2), gaussian(115, 3)])
    found = AGE.quantile(probabilities, level).numpy()
    np.testing.assert_allclose(found, [numpy_quantile(p, level) for p in probabilities.double().numpy()], atol=0.02)


def test_quantiles_grow_with_their_level():
    probabilities = AGE.probabilities(random_outputs(AGE, spread=4))
    found = torch.stack([AGE.quantile(probabilities, level) for level in np.linspace(0, 1, 41)])
    assert (found.diff(dim=0) >= 0).all()
    assert (found >= AGE.low).all() and (found <= AGE.high).all()


@pytest.mark.parametrize("spread", [0.0, 1.0, 5.0, 30.0])
@pytest.mark.parametrize("margin", [0.0, 2.5, -3.0, 200.0])
def test_the_interval_holds_the_prediction_and_stays_in_range(spread, margin):
    decoded = AGE.decode(AGE.probabilities(random_outputs(AGE, n=200, spread=spread)), margin)
    assert (decoded["low"] <= decoded["prediction"]).all() and (decoded["prediction"] <= decoded["high"]).all()
    assert (decoded["low"] >= AGE.low).all() and (decoded["high"] <= AGE.high).all()


def test_a_margin_widens_the_interval_at_both_ends():
    p = gaussian(50, 5)
    plain, wider = AGE.decode(p), AGE.decode(p, margin=2.0)
    assert float(plain["low"] - wider["low"]) == pytest.approx(2, abs=1e-4)
    assert float(wider["high"] - plain["high"]) == pytest.approx(2, abs=1e-4)
    assert float(plain["prediction"]) == float(wider["prediction"])


# ----------------------------------------------------------------------------------------------- loss


@classifications
def test_the_loss_is_smoothed_cross_entropy(task):
    outputs, k, smoothing = random_outputs(task, n=30), task.n_outputs, task.label_smoothing
    target = np.arange(30) % k
    wanted = np.eye(k)[target] * (1 - smoothing) + smoothing / k
    expected = -(wanted * np.log(softmax(outputs.double().numpy()))).sum(axis=1).mean()
    assert float(task.loss(outputs, torch.tensor(target))) == pytest.approx(expected, rel=1e-4)


def test_the_loss_of_age_is_cross_entropy_to_a_gaussian_plus_a_smooth_distance():
    outputs = random_outputs(AGE, n=30, spread=2)
    target = np.linspace(0, 116, 30).round()
    p = softmax(outputs.double().numpy())
    wanted = np.stack([gaussian(t, AGE.sigma)[0].double().numpy() for t in target])
    distance = np.abs(p @ YEARS - target)
    smooth = np.where(distance < 2, distance**2 / 4, distance - 1)  # quadratic up to 2 years, then linear
    expected = -(wanted * np.log(p)).sum(axis=1).mean() + smooth.mean() / 2
    assert float(AGE.loss(outputs, torch.tensor(target))) == pytest.approx(expected, rel=1e-4)


@each_task
def test_the_loss_is_lowest_at_the_label(task):
    """Outputs that point at value v are punished least where the label is v."""
    step = max(1, task.n_outputs // 12)
    for value in range(0, task.n_outputs, step):
        outputs = -(torch.arange(task.n_outputs)[None] - value).abs().float()
        losses = {label: float(task.loss(outputs, torch.tensor([label]))) for label in range(0, task.n_outputs, step)}
        assert min(losses, key=losses.get) == value


@each_task
def test_descending_the_loss_finds_the_label(task):
    target = torch.tensor([0, 1, task.n_outputs - 1])
    outputs = torch.zeros(3, task.n_outputs, requires_grad=True)
    optimizer = torch.optim.Adam([outputs], lr=0.2)
    for _ in range(300):
        optimizer.zero_grad()
        task.loss(outputs, target).backward()
        optimizer.step()
    found = task.decode(task.probabilities(outputs.detach()))["prediction"]
    # At the ends of the range half of the Gaussian is cut off, so that its middle is pulled inwards.
    np.testing.assert_allclose(found, target, atol=0 if isinstance(task, Classification) else 2.0)


@each_task
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_loss_and_gradient_are_finite_at_the_extremes(task, scale):
    outputs = (random_outputs(task, n=2 * task.n_outputs) * scale).requires_grad_()
    loss = task.loss(outputs, torch.arange(2 * task.n_outputs) % task.n_outputs)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(outputs.grad).all()


@each_task
def test_the_loss_takes_any_kind_of_number_as_target(task):
    outputs = random_outputs(task, n=3)
    values = [0, 1, 1]
    losses = {
        float(task.loss(outputs, torch.tensor(values, dtype=dtype)))
        for dtype in (torch.int64, torch.int32, torch.uint8, torch.float64)
    }
    assert max(losses) - min(losses) < 1e-5


# ----------------------------------------------------------------------------------------- calibration


@each_task
def test_the_temperature_undoes_a_scaling_of_the_outputs(task):
    generator = torch.Generator().manual_seed(1)
    outputs = random_outputs(task, n=4000, spread=2, seed=2)
    target = torch.multinomial(torch.softmax(outputs, dim=1), 1, generator=generator)[:, 0]  # so that 1 is right
    for factor in (0.5, 1.0, 3.0):
        assert task.calibrate(outputs * factor, target)["temperature"] == pytest.approx(factor, rel=0.08)


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0], ids=["too narrow", "about right", "too wide"])
def test_the_margin_makes_intervals_cover_what_they_promise(scale):
    rng = np.random.default_rng(3)
    truth = rng.uniform(15, 90, 3000)
    centre = truth + rng.normal(0, 6, 3000)
    outputs = torch.tensor(-((YEARS[None] - centre[:, None]) ** 2) / (2 * (6 * scale) ** 2), dtype=torch.float32)
    found = AGE.calibrate(outputs[:1500], torch.tensor(truth[:1500]))
    decoded = AGE.decode(AGE.probabilities(outputs[1500:], found["temperature"]), found["margin"])
    unseen = truth[1500:]
    covered = ((decoded["low"].numpy() <= unseen) & (unseen <= decoded["high"].numpy())).mean()
    assert covered == pytest.approx(INTERVAL, abs=0.025)  # three standard errors of 1500 images


@each_task
def test_what_calibration_finds_can_be_stored_as_json(task):
    found = task.calibrate(random_outputs(task, n=50), torch.arange(50) % task.n_outputs)
    assert found and all(type(value) is float and math.isfinite(value) for value in found.values())


# ------------------------------------------------------------------------------------ metrics and words


def test_accuracy_and_error_by_hand():
    assert ACCURACY(np.array([0, 1, 1, 0]), np.array([0.0, 1.0, 0.0, 0.0])) == 75
    assert MAE(np.array([10, 20]), np.array([12.5, 19.5])) == pytest.approx(1.5)
    assert not ACCURACY.lower_is_better and MAE.lower_is_better


@each_task
def test_a_metric_is_the_mean_of_its_scores(task):
    rng = np.random.default_rng(0)
    y_true, y_pred = rng.integers(0, task.n_outputs, 40), rng.integers(0, task.n_outputs, 40).astype(float)
    scores = task.metric.scores(y_true, y_pred)
    assert scores.shape == (40,)
    assert task.metric(y_true, y_pred) == pytest.approx(sum(scores) / 40)


@each_task
def test_no_prediction_beats_the_truth(task):
    y = np.arange(task.n_outputs)
    perfect, wrong = task.metric(y, y), task.metric(y, np.roll(y, 1))
    assert perfect < wrong if task.metric.lower_is_better else perfect > wrong


def test_metrics_of_unsigned_labels_do_not_wrap_around():
    assert MAE(np.array([3], np.uint8), np.array([5], np.uint8)) == 2


def test_values_read_as_words():
    assert GENDER.words(1.0) == "female" and RACE.words(3) == "Indian"
    assert AGE.words(34.4) == "34 years" and AGE.words(1.2) == "1 year" and AGE.axis == "Age (years)"
    assert ACCURACY.words(94.06) == "94.1 %" and MAE.words(4.541) == "4.54 years"


@classifications
def test_each_label_reads_as_itself(task):
    assert [task.words(float(i)) for i in range(task.n_outputs)] == list(task.labels)
