"""The joint loss, worked out from the losses of its parts."""

from dataclasses import replace
from itertools import combinations

import pytest
import torch

from facemtl.losses import WEIGHTINGS, EqualWeights, FixedScales, Uncertainty
from facemtl.tasks import TASKS

subsets = pytest.mark.parametrize(
    "tasks", [s for n in (1, 2, 3) for s in combinations(TASKS, n)], ids=lambda tasks: "+".join(t.name for t in tasks)
)


@pytest.fixture
def batch():
    """Outputs of all heads, with gradients, and targets."""
    generator = torch.Generator().manual_seed(0)
    outputs = {t.name: torch.randn(8, t.n_outputs, generator=generator).requires_grad_() for t in TASKS}
    return outputs, {t.name: torch.randint(0, t.n_outputs, (8,), generator=generator) for t in TASKS}


@subsets
def test_each_loss_counts_in_units_of_its_scale(tasks, batch):
    outputs, targets = batch
    shares = [t.loss(outputs[t.name], targets[t.name]).item() / t.loss_scale for t in tasks]
    assert FixedScales(tasks)(outputs, targets).item() == pytest.approx(sum(shares) / len(tasks), rel=1e-6)


@subsets
def test_equal_weights_are_the_plain_mean(tasks, batch):
    outputs, targets = batch
    losses = [t.loss(outputs[t.name], targets[t.name]).item() for t in tasks]
    assert EqualWeights(tasks)(outputs, targets).item() == pytest.approx(sum(losses) / len(tasks), rel=1e-6)


def test_uncertainty_finds_weights_by_which_all_losses_count_the_same(batch):
    """With outputs that stand still, the best log variance of a loss of L is log(2 L)."""
    outputs, targets = batch
    loss = Uncertainty(TASKS)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.1)
    for _ in range(500):
        optimizer.zero_grad()
        loss({name: o.detach() for name, o in outputs.items()}, targets).backward()
        optimizer.step()
    losses = torch.stack([t.loss(outputs[t.name], targets[t.name]) for t in TASKS]).detach()
    assert losses.max() > 5 * losses.min()
    torch.testing.assert_close(loss.log_variances.detach(), torch.log(2 * losses), atol=1e-3, rtol=0)
    torch.testing.assert_close(
        torch.exp(-loss.log_variances.detach()) * losses, torch.full((len(TASKS),), 0.5), atol=1e-3, rtol=0
    )


@pytest.mark.parametrize("weighting", WEIGHTINGS.values(), ids=WEIGHTINGS)
def test_mixed_images_are_answerable_to_both_targets(weighting, batch):
    outputs, targets = batch
    others = {name: values.flip(0) for name, values in targets.items()}
    loss = weighting(TASKS)
    one, other = loss(outputs, targets).item(), loss(outputs, others).item()
    assert one != pytest.approx(other, rel=1e-4)
    for share in (1.0, 0.7, 0.0):
        assert loss(outputs, targets, others, share).item() == pytest.approx(share * one + (1 - share) * other, rel=1e-5)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
@subsets
def test_what_teachers_say_counts_with_their_weight(tasks, weight, batch):
    """Worked out from logarithms of probabilities; a task that no teacher answers is learned from its labels alone."""
    outputs, targets = batch
    taught = {t.name: torch.softmax(torch.randn(8, t.n_outputs), dim=1) for t in tasks[1:]}
    expected = 0.0
    for task in tasks:
        own = task.loss(outputs[task.name], targets[task.name]).item()
        share = weight if task.name in taught else 0.0
        log_probabilities = outputs[task.name].double().softmax(dim=1).log()
        said = -(taught.get(task.name, torch.zeros(())) * log_probabilities).sum(dim=1).mean().item()
        expected += (share * said + (1 - share) * own) / len(tasks)
    found = EqualWeights(tasks)(outputs, targets, taught=taught, teacher_weight=weight)
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("weighting", WEIGHTINGS.values(), ids=WEIGHTINGS)
@subsets
def test_every_head_of_the_model_learns_and_no_other(tasks, weighting, batch):
    outputs, targets = batch
    weighting(tasks)(outputs, targets).backward()
    for task in TASKS:
        gradient = outputs[task.name].grad
        assert (gradient is not None and gradient.abs().sum() > 0) == (task in tasks)


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_doubling_a_scale_halves_the_task_s_say(task, batch):
    outputs, targets = batch
    tasks = tuple(replace(t, loss_scale=2 * t.loss_scale) if t == task else t for t in TASKS)
    gradients = []
    for loss in (FixedScales(TASKS), FixedScales(tasks)):
        gradients.append(torch.autograd.grad(loss(outputs, targets), list(outputs.values())))
    for t, before, after in zip(TASKS, *gradients, strict=True):
        torch.testing.assert_close(after, before / 2 if t == task else before)


def test_the_loss_is_the_same_whichever_order_tasks_come_in(batch):
    outputs, targets = batch
    assert FixedScales(TASKS)(outputs, targets).item() == pytest.approx(FixedScales(TASKS[::-1])(outputs, targets).item())


# ---------------------------------------------------------------------------------- missing labels

weightings = pytest.mark.parametrize("weighting", WEIGHTINGS.values(), ids=WEIGHTINGS)


def halves(batch):
    """The batch in which each task lacks the labels of other images, and what is left of it alone."""
    outputs, targets = batch
    known = {t.name: torch.arange(8) % 2 == i % 2 for i, t in enumerate(TASKS)}
    gaps = {name: values.float().where(known[name], torch.nan) for name, values in targets.items()}
    alone = {n: o.detach()[known[n]].requires_grad_() for n, o in outputs.items()}, {n: t[known[n]] for n, t in targets.items()}
    return known, gaps, alone


@weightings
@subsets
def test_the_loss_is_that_of_the_labelled_images_alone(tasks, weighting, batch):
    outputs, _ = batch
    known, gaps, (some, labels) = halves(batch)
    found, expected = weighting(tasks)(outputs, gaps), weighting(tasks)(some, labels)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    found.backward()
    expected.backward()
    for name in (task.name for task in tasks):
        torch.testing.assert_close(outputs[name].grad[known[name]], some[name].grad)
        assert some[name].grad.abs().sum() > 0 and (outputs[name].grad[~known[name]] == 0).all()


@weightings
@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_a_task_without_a_label_contributes_nothing(task, weighting, batch):
    outputs, targets = batch
    gaps = {name: values.float() for name, values in targets.items()} | {task.name: torch.full((8,), torch.nan)}
    others = tuple(t for t in TASKS if t != task)
    loss = weighting(TASKS)
    found = loss(outputs, gaps)
    assert found.item() == pytest.approx(weighting(others)(outputs, targets).item() * len(others) / len(TASKS), rel=1e-6)
    found.backward()
    assert (outputs[task.name].grad == 0).all() and all(outputs[t.name].grad.abs().sum() > 0 for t in others)
    for parameter in loss.parameters():  # the learned weights
        assert [bool(g) for g in parameter.grad] == [t != task for t in TASKS]


@weightings
@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_a_batch_without_any_label_teaches_nothing(task, weighting, batch):
    outputs, _ = batch
    found = weighting((task,))(outputs, {task.name: torch.full((8,), torch.nan)})
    found.backward()
    assert found.item() == 0 and (outputs[task.name].grad == 0).all()


@pytest.mark.parametrize("share", [1.0, 0.7, 0.0])
def test_mixed_images_are_answerable_to_the_labels_that_there_are(share, batch):
    outputs, _ = batch
    _, gaps, _ = halves(batch)
    others = {name: values.flip(0) for name, values in gaps.items()}
    loss = EqualWeights(TASKS)
    expected = share * loss(outputs, gaps).item() + (1 - share) * loss(outputs, others).item()
    found = loss(outputs, gaps, others, share)
    found.backward()
    assert found.item() == pytest.approx(expected, rel=1e-5)
    assert all(output.grad.isfinite().all() for output in outputs.values())


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_teachers_need_no_label(task, batch):
    """Worked out from logarithms of probabilities."""
    outputs, _ = batch
    taught = {task.name: torch.softmax(torch.randn(8, task.n_outputs), dim=1)}
    found = EqualWeights((task,))(outputs, {task.name: torch.full((8,), torch.nan)}, taught=taught, teacher_weight=0.3)
    found.backward()
    said = -(taught[task.name] * outputs[task.name].detach().double().softmax(dim=1).log()).sum(dim=1).mean().item()
    assert found.item() == pytest.approx(0.3 * said, rel=1e-5)
    assert outputs[task.name].grad.abs().sum() > 0
