"""The joint loss, compared with the losses of its parts."""

from dataclasses import replace
from itertools import combinations

import pytest
import torch
from fastai.layers import NoneReduce

from facemtl.errors import FaceMTLError
from facemtl.tasks import TASKS
from facemtl.training.config import WEIGHTINGS
from facemtl.training.losses import JointLoss

subsets = pytest.mark.parametrize(
    "tasks",
    [s for n in (1, 2, 3) for s in combinations(TASKS, n)],
    ids=lambda tasks: "+".join(t.name for t in tasks),
)
weightings = pytest.mark.parametrize("weighting", WEIGHTINGS)


@pytest.fixture
def batch():
    """Logits of all heads, with gradients, and targets, by task."""
    generator = torch.Generator().manual_seed(0)
    logits = {
        t.name: torch.randn(8, t.n_outputs, generator=generator).requires_grad_() for t in TASKS
    }
    return logits, {
        t.name: torch.randint(0, t.n_outputs, (8,), generator=generator).float() for t in TASKS
    }


def targets_of(tasks, targets) -> list[torch.Tensor]:
    """The targets of these tasks, in their order."""
    return [targets[task.name] for task in tasks]


@subsets
def test_losses_equal_to_their_scales_give_a_joint_loss_of_1(tasks, batch):
    logits, targets = batch
    losses = [t.loss(logits[t.name], targets[t.name]).mean().item() for t in tasks]
    scaled = tuple(replace(t, loss_scale=x) for t, x in zip(tasks, losses, strict=True))
    found = JointLoss(scaled)(logits, *targets_of(tasks, targets))
    assert found.item() == pytest.approx(1, rel=1e-6)


@subsets
def test_equal_weights_are_scales_of_1(tasks, batch):
    logits, targets = batch
    unscaled = tuple(replace(t, loss_scale=1.0) for t in tasks)
    equal, fixed = (
        loss(logits, *targets_of(tasks, targets)).item()
        for loss in (JointLoss(tasks, "equal"), JointLoss(unscaled, "fixed"))
    )
    assert equal == pytest.approx(fixed, rel=1e-6)


def test_uncertainty_weighting_balances_all_losses(batch):
    """For fixed logits, the optimal log variance of a loss L is log(2 L)."""
    logits, targets = batch
    loss = JointLoss(TASKS, "uncertainty")
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.1)
    for _ in range(500):
        optimizer.zero_grad()
        loss(
            {name: o.detach() for name, o in logits.items()}, *targets_of(TASKS, targets)
        ).backward()
        optimizer.step()
    losses = torch.stack([t.loss(logits[t.name], targets[t.name]).mean() for t in TASKS]).detach()
    assert losses.max() > 5 * losses.min()
    torch.testing.assert_close(
        loss.log_variances.detach(), torch.log(2 * losses), atol=1e-3, rtol=0
    )
    torch.testing.assert_close(
        torch.exp(-loss.log_variances.detach()) * losses,
        torch.full((len(TASKS),), 0.5),
        atol=1e-3,
        rtol=0,
    )


@weightings
@subsets
def test_exactly_the_heads_of_the_model_get_gradients(tasks, weighting, batch):
    logits, targets = batch
    JointLoss(tasks, weighting)(logits, *targets_of(tasks, targets)).backward()
    for task in TASKS:
        gradient = logits[task.name].grad
        assert (gradient is not None and gradient.abs().sum() > 0) == (task in tasks)


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_doubling_a_loss_scale_halves_the_gradient_of_its_task(task, batch):
    logits, targets = batch
    tasks = tuple(replace(t, loss_scale=2 * t.loss_scale) if t == task else t for t in TASKS)
    gradients = []
    for loss in (JointLoss(TASKS), JointLoss(tasks)):
        gradients.append(
            torch.autograd.grad(loss(logits, *targets_of(TASKS, targets)), list(logits.values()))
        )
    for t, before, after in zip(TASKS, *gradients, strict=True):
        torch.testing.assert_close(after, before / 2 if t == task else before)


@weightings
def test_the_loss_does_not_depend_on_the_order_of_tasks(weighting, batch):
    logits, targets = batch
    one, other = (
        JointLoss(tasks, weighting)(logits, *targets_of(tasks, targets)).item()
        for tasks in (TASKS, TASKS[::-1])
    )
    assert one == pytest.approx(other)


def test_as_many_targets_as_tasks_are_needed(batch):
    logits, targets = batch
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        JointLoss(TASKS)(logits, *targets_of(TASKS[:2], targets))


# ----------------------------------------------------------------------------------- missing labels


def half_labelled(batch):
    """The batch with different missing labels for each task, and its labelled part alone."""
    logits, targets = batch
    known = {t.name: torch.arange(8) % 2 == i % 2 for i, t in enumerate(TASKS)}
    gaps = {name: values.where(known[name], torch.nan) for name, values in targets.items()}
    alone = (
        {n: o.detach()[known[n]].requires_grad_() for n, o in logits.items()},
        {n: t[known[n]] for n, t in targets.items()},
    )
    return known, gaps, alone


@weightings
@subsets
def test_the_loss_uses_only_the_labelled_images(tasks, weighting, batch):
    logits, _ = batch
    known, gaps, (some, labels) = half_labelled(batch)
    found = JointLoss(tasks, weighting)(logits, *targets_of(tasks, gaps))
    expected = JointLoss(tasks, weighting)(some, *targets_of(tasks, labels))
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    found.backward()
    expected.backward()
    for name in (task.name for task in tasks):
        torch.testing.assert_close(logits[name].grad[known[name]], some[name].grad)
        assert some[name].grad.abs().sum() > 0 and (logits[name].grad[~known[name]] == 0).all()


@weightings
@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_a_task_without_a_label_contributes_nothing(task, weighting, batch):
    logits, targets = batch
    gaps = targets | {task.name: torch.full((8,), torch.nan)}
    others = tuple(t for t in TASKS if t != task)
    loss = JointLoss(TASKS, weighting)
    found, alone = (
        loss(logits, *targets_of(TASKS, gaps)),
        JointLoss(others, weighting)(logits, *targets_of(others, targets)),
    )
    assert found.item() == pytest.approx(alone.item() * len(others) / len(TASKS), rel=1e-6)
    found.backward()
    assert (logits[task.name].grad == 0).all() and all(
        logits[t.name].grad.abs().sum() > 0 for t in others
    )
    for parameter in loss.parameters():  # the learned weights
        assert [bool(g) for g in parameter.grad] == [t != task for t in TASKS]


@weightings
@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_a_batch_without_labels_gives_no_gradient(task, weighting, batch):
    logits, _ = batch
    found = JointLoss((task,), weighting)(logits, torch.full((8,), torch.nan))
    found.backward()
    assert found.item() == 0 and (logits[task.name].grad == 0).all()


@weightings
def test_mixup_gets_the_loss_of_each_image(batch, weighting):
    """fastai's MixUp uses the reduction "none". The mean of these losses is the joint loss if no
    label is missing.
    """
    logits, targets = batch
    loss = JointLoss(TASKS, weighting)
    mean = loss(logits, *targets_of(TASKS, targets))
    with NoneReduce(loss) as of_images:
        each = of_images(logits, *targets_of(TASKS, targets))
        for i in range(8):
            one = {name: values[i : i + 1] for name, values in logits.items()}
            alone = loss(one, *(y[i : i + 1] for y in targets_of(TASKS, targets)))
            torch.testing.assert_close(each[i : i + 1], alone)
    assert each.shape == (8,) and loss.reduction == "mean"
    torch.testing.assert_close(each.mean(), mean)


def test_an_unknown_weighting_is_refused():
    with pytest.raises(FaceMTLError, match=r"weighting must be one of .*found 'best'"):
        JointLoss(TASKS, "best")
