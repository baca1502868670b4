"""Short trainings of one budget: what the seed, the learning rate, the weighting of losses and the recipe change.

A run is a training like any other, in a folder of its own, named after what differs from the base recipe. It is skipped
where it is done and resumed where it was interrupted, so several processes can share the work by their tasks or names.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from .augmentation import Augmentation
from .errors import FaceMTLError
from .evaluation import metrics_of, validate
from .models import Checkpoint
from .prediction import LoadedModel, Predictor
from .runs import BASE, ONE_VIEW, RUNS_FILE, load_runs
from .tasks import TASKS, task_named
from .training import TrainConfig, train

# The shipped recipe at a budget that leaves time for dozens of runs.
RECIPE = TrainConfig(backbone="resnet10", pretrained=False, stages=((64, 4),), augmentation=Augmentation(erase=0.3))
ALL = tuple(task.name for task in TASKS)
FOUR_MODELS = (*((name,) for name in ALL), ALL)
THREE_SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Experiment:
    """Trainings that differ from RECIPE in `changes` alone; `augmentation` among them changes single amounts.

    `teachers` among them are descriptions in the folder of all runs.
    """

    name: str
    question: str
    changes: dict[str, Any] = field(default_factory=dict)
    models: tuple[tuple[str, ...], ...] = (ALL,)
    seeds: tuple[int, ...] = (0,)

    def configs(self) -> Iterator[TrainConfig]:
        changes = dict(self.changes)
        augmentation = replace(RECIPE.augmentation, **changes.pop("augmentation", {}))
        for seed in self.seeds:
            for tasks in self.models:
                yield replace(RECIPE, **changes, augmentation=augmentation, tasks=tasks, seed=seed)


EXPERIMENTS = (
    Experiment(BASE, "How much is luck?", {}, FOUR_MODELS, THREE_SEEDS),
    Experiment("lr-5e-4", "Is a quarter of the learning rate better for any model?", {"lr": 5e-4}, FOUR_MODELS),
    Experiment("lr-1e-3", "Is half the learning rate better for any model?", {"lr": 1e-3}, FOUR_MODELS),
    Experiment("lr-4e-3", "Is twice the learning rate better for any model?", {"lr": 4e-3}, FOUR_MODELS),
    Experiment("equal-weights", "Does it matter how losses are weighed?", {"weighting": "equal"}, seeds=THREE_SEEDS),
    Experiment("uncertainty", "Does it help to learn the weights of losses?", {"weighting": "uncertainty"}, seeds=THREE_SEEDS),
    Experiment("twice-as-long", "Does longer training pay?", {"stages": ((64, 8),)}, FOUR_MODELS),
    Experiment("96-px", "Do more pixels pay?", {"stages": ((64, 2), (96, 2))}),
    Experiment("128-px", "Do more pixels pay?", {"stages": ((64, 2), (128, 2))}),
    Experiment("resnet18", "Does a deeper backbone pay?", {"backbone": "resnet18"}),
    Experiment("resnet10d", "Do the stem and shortcuts of ResNet-D pay?", {"backbone": "resnet10d"}),
    Experiment("no-erasing", "Does erasing patches help?", {"augmentation": {"erase": 0.0}}),
    Experiment("half-augmentation", "Is the augmentation too strong?",
               {"augmentation": {"rotation": 7.5, "scale": 0.06, "shift": 0.06, "light": 0.15, "gray": 0.05, "erase": 0.15}},
               FOUR_MODELS),
    Experiment("blur", "Does it cost anything to learn from blurred images too?", {"augmentation": {"blur": 0.2}}),
    Experiment("tint", "Does it cost anything to learn from faded colours too?", {"augmentation": {"tint": 0.1}}),
    Experiment("mixup", "Does light mixup help?", {"mixup": 0.2}),
    Experiment("no-smoothing", "Does label smoothing help?", {"label_smoothing": 0.0}),
    Experiment("sigma-4", "How sharp should the targets of ages be?", {"sigma": 4.0}),
    Experiment("ema", "Does averaging the weights help?", {"ema": 0.998}),
    Experiment("sam", "Do flat minima help?", {"sam": 0.1}),
    Experiment("dropout-0.4", "Does dropout help?", {"dropout": 0.4}),
    Experiment("weight-decay-0.2", "Does weight decay help?", {"weight_decay": 0.2}),
    Experiment("three-teachers", "Does it help to learn from an ensemble of the same size?",
               {"teachers": tuple(f"{BASE}-seed{seed}/multitask.json" for seed in THREE_SEEDS)}),
    Experiment("larger-teacher", "Does it help to learn from a larger model?",
               {"teachers": ("resnet18-seed0/multitask.json",)}),
)  # fmt: skip


def experiment_named(name: str) -> Experiment:
    """The experiment of that name; FaceMTLError names those there are."""
    for experiment in EXPERIMENTS:
        if experiment.name == name:
            return experiment
    raise FaceMTLError(f"There is no experiment named {name!r}. There are {', '.join(e.name for e in EXPERIMENTS)}.")


def run(
    experiment: Experiment,
    images: pd.DataFrame,
    folder: Path,
    *,
    tasks: tuple[str, ...] = (),
    cache: Path | None = None,
    device: str = "auto",
    progress: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Train and measure what is not yet done of an experiment, into `folder`; with `tasks`, its models of these tasks alone."""
    for config in experiment.configs():
        if tasks and config.tasks != tasks:
            continue
        output = folder / f"{experiment.name}-seed{config.seed}"
        description = output / f"{config.name}.json"
        if not description.exists():
            say(f"{output.name}: {config.name}")
            resume = (output / f"{config.name}.resume.pt").exists()
            config = replace(config, teachers=tuple(str(folder / file) for file in config.teachers))
            train(config, images, output, cache=cache, resume=resume, device=device, progress=progress)
        checkpoint, model = Checkpoint.load(description)
        if not checkpoint.metrics:
            measure(LoadedModel(checkpoint, model), images, output)


def measure(loaded: LoadedModel, images: pd.DataFrame, folder: Path) -> None:
    """Write a model's metrics on the validation split into its description in `folder`, also those without mirror images."""
    one_view = replace(loaded, mirrored=False)
    whole, part = (metrics_of(each, validate(Predictor([each]), images)) for each in (loaded, one_view))
    loaded.checkpoint.metrics = whole | {f"{name}_{ONE_VIEW}": value for name, value in part.items()}
    loaded.checkpoint.save_description(folder)


def collect(folder: Path) -> pd.DataFrame:
    """All measured runs of a folder, a row per task: the table of `runs.load_runs`."""
    rows = []
    for experiment in EXPERIMENTS:
        for config in experiment.configs():
            description = folder / f"{experiment.name}-seed{config.seed}" / f"{config.name}.json"
            if not description.exists():
                continue
            checkpoint, _ = Checkpoint.load(description)
            views = {"": (experiment.name, experiment.question)}
            if experiment.name == BASE:
                views[f"_{ONE_VIEW}"] = (ONE_VIEW, "Does the mean with the mirror image help?")
            for suffix, named in views.items():
                for name in checkpoint.tasks:
                    metric = task_named(name).metric.name
                    if (value := checkpoint.metrics.get(f"{name}_{metric}{suffix}")) is not None:
                        rows.append([*named, config.seed, checkpoint.name, name, metric, value,
                                     len(config.sizes), checkpoint.image_size, checkpoint.training["seconds"]])  # fmt: skip
    columns = ["experiment", "question", "seed", "model", "task", "metric", "value", "epochs", "size", "seconds"]
    return pd.DataFrame(rows, columns=columns).sort_values("experiment", key=lambda c: c == ONE_VIEW, kind="stable")


def merged(runs: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """`runs`, and those of the folder's table that are not among them: trainings may be made in several places.

    What is no experiment any more, or was made at another budget, is left out. In the order of EXPERIMENTS.
    """
    if not (folder / RUNS_FILE).exists():
        return runs
    keys, both = ["experiment", "seed", "model", "task"], pd.concat([runs, load_runs(folder)], ignore_index=True)
    budgets = {e.name: (len(c.sizes), c.sizes[-1]) for e in EXPERIMENTS for c in e.configs()}
    budgets[ONE_VIEW] = budgets.get(BASE)
    fits = [budgets.get(row.experiment) == (row.epochs, row.size) for row in both.itertuples()]
    order = {name: position for position, name in enumerate(budgets)}
    both = both[fits].drop_duplicates(keys)
    return both.sort_values("experiment", key=lambda names: names.map(order), kind="stable", ignore_index=True)
