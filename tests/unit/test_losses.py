"""The joint loss, worked out from the losses of its parts."""

from dataclasses import replace
from itertools import combinations

import pytest
import torch

from facemtl.losses import FixedScales
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
def test_every_head_of_the_model_learns_and_no_other(tasks, batch):
    outputs, targets = batch
    FixedScales(tasks)(outputs, targets).backward()
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
