"""Short trainings of one budget each: what the seed, the learning rate, the weighting of losses and the recipe change.

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
from .evaluation import note_metrics, validate
from .models import Checkpoint
from .prediction import LoadedModel, Predictor
from .tasks import TASKS, task_named
from .training import TrainConfig, train

# The shipped recipe at a budget that leaves time for dozens of runs.
BASE = TrainConfig(backbone="resnet10", pretrained=False, stages=((64, 10),), augmentation=Augmentation(erase=0.3))
ALL = tuple(task.name for task in TASKS)
FOUR_MODELS = (*((name,) for name in ALL), ALL)
THREE_SEEDS = (0, 1, 2)
RUNS_FILE = "runs.csv"


@dataclass(frozen=True)
class Experiment:
    """Trainings that differ from BASE in `changes` alone; `augmentation` among them changes single amounts."""

    name: str
    question: str
    changes: dict[str, Any] = field(default_factory=dict)
    models: tuple[tuple[str, ...], ...] = (ALL,)
    seeds: tuple[int, ...] = (0,)

    def configs(self) -> Iterator[TrainConfig]:
        changes = dict(self.changes)
        augmentation = replace(BASE.augmentation, **changes.pop("augmentation", {}))
        for seed in self.seeds:
            for tasks in self.models:
                yield replace(BASE, **changes, augmentation=augmentation, tasks=tasks, seed=seed)


EXPERIMENTS = (
    Experiment("base", "How much is luck? Three seeds of each of the four models", {}, FOUR_MODELS, THREE_SEEDS),
    Experiment("lr-1e-3", "Is half the learning rate better for any model?", {"lr": 1e-3}, FOUR_MODELS),
    Experiment("lr-4e-3", "Is twice the learning rate better for any model?", {"lr": 4e-3}, FOUR_MODELS),
    Experiment("equal-weights", "Does it matter how losses are weighed?", {"weighting": "equal"}, seeds=THREE_SEEDS),
    Experiment("uncertainty", "Does it help to learn the weights of losses?", {"weighting": "uncertainty"}, seeds=THREE_SEEDS),
    Experiment("half-as-long", "Does longer training pay?", {"stages": ((64, 5),)}),
    Experiment("twice-as-long", "Does longer training pay?", {"stages": ((64, 20),)}),
    Experiment("96-px", "Do more pixels pay, at twice the cost?", {"stages": ((64, 5), (96, 5))}),
    Experiment("resnet18", "Does a deeper backbone pay?", {"backbone": "resnet18"}),
    Experiment("no-erasing", "Does erasing patches help?", {"augmentation": {"erase": 0.0}}),
    Experiment("half-augmentation", "Is the augmentation too strong?",
               {"augmentation": {"rotation": 7.5, "scale": 0.06, "shift": 0.06, "light": 0.15, "gray": 0.05, "erase": 0.15}}),
    Experiment("mixup", "Does light mixup help?", {"mixup": 0.2}),
    Experiment("no-smoothing", "Does label smoothing help?", {"label_smoothing": 0.0}),
    Experiment("more-smoothing", "Does label smoothing help?", {"label_smoothing": 0.16}),
    Experiment("sigma-1.5", "How sharp should the targets of ages be?", {"sigma": 1.5}),
    Experiment("sigma-4", "How sharp should the targets of ages be?", {"sigma": 4.0}),
    Experiment("ema", "Does averaging the weights help?", {"ema": 0.998}),
    Experiment("no-dropout", "Does dropout help?", {"dropout": 0.0}),
    Experiment("dropout-0.4", "Does dropout help?", {"dropout": 0.4}),
    Experiment("no-weight-decay", "Does weight decay help?", {"weight_decay": 0.0}),
    Experiment("weight-decay-0.2", "Does weight decay help?", {"weight_decay": 0.2}),
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
            train(config, images, output, cache=cache, resume=resume, device=device, progress=progress)
        checkpoint, model = Checkpoint.load(description)
        if not checkpoint.metrics:
            measure(LoadedModel(checkpoint, model), images, output)


def measure(loaded: LoadedModel, images: pd.DataFrame, folder: Path) -> None:
    """Write a model's metrics on the validation split, mean with the mirror image, into its description in `folder`."""
    predictor = Predictor([loaded])
    note_metrics(predictor, validate(predictor, images), folder)


def collect(folder: Path) -> pd.DataFrame:
    """All measured runs of a folder: `experiment, seed, model, task, metric, value, epochs, size, seconds`, a row per task."""
    rows = []
    for experiment in EXPERIMENTS:
        for config in experiment.configs():
            description = folder / f"{experiment.name}-seed{config.seed}" / f"{config.name}.json"
            if not description.exists():
                continue
            checkpoint, _ = Checkpoint.load(description)
            for name in checkpoint.tasks:
                metric = task_named(name).metric.name
                if (value := checkpoint.metrics.get(f"{name}_{metric}")) is None:
                    continue
                rows.append([experiment.name, config.seed, checkpoint.name, name, metric, value,
                             len(config.sizes), checkpoint.image_size, checkpoint.training["seconds"]])  # fmt: skip
    columns = ["experiment", "seed", "model", "task", "metric", "value", "epochs", "size", "seconds"]
    return pd.DataFrame(rows, columns=columns)


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """Per experiment, model and task: `mean` and `sd` of the metric over its `seeds`, and the `change` from the base.

    The change is the mean over the seeds that both have. It is worth a thought where it is some times the base's `sd`.
    """
    keys = ["model", "task", "metric"]
    base = runs[runs["experiment"] == "base"].set_index(["seed", *keys])["value"].rename("base")
    runs = runs.join(base, on=["seed", *keys])
    runs["change"] = runs["value"] - runs["base"]
    grouped = runs.groupby(["experiment", *keys], sort=False)
    found = grouped.agg(
        seeds=("seed", "nunique"),
        mean=("value", "mean"),
        sd=("value", "std"),
        change=("change", "mean"),
        seconds=("seconds", "mean"),
    )
    return found.reset_index()
