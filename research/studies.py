"""The trainings behind the comparison: several seeds, fewer images, other starts, other weightings of the losses.

    python -m research.studies --data data/UTKFace                  # all of them: many hours; goes on where it was interrupted
    python -m research.studies seeds share-10 --tasks age           # a part of the work; several processes can share it
    python -m research.studies --collect                            # only write what is measured

A training differs from the recipe in its study's changes alone. Nothing is selected: the weights are those of the last epoch.
Each training is measured once it is done, on the validation images.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from facemtl.data import VALIDATION, default_folder, read_folder
from facemtl.errors import FaceMTLError
from facemtl.evaluation import calibrate, validate
from facemtl.inference.predictor import LoadedModel, Predictor
from facemtl.models.model_file import SUFFIX
from facemtl.places import ASSETS
from facemtl.seeds import COLUMNS, save_seeds
from facemtl.studies import SEEDS, STUDIES_FILE
from facemtl.tables import write_table
from facemtl.tasks import TASKS, task_named
from facemtl.training.config import TrainConfig

ALL = tuple(task.name for task in TASKS)
FOUR = (ALL, *((name,) for name in ALL))
MODEST = {"epochs": 5}  # a budget at which training from random weights can be afforded
PREDICTIONS = "{model}.predictions.csv.gz"


@dataclass(frozen=True)
class Study:
    """Trainings that differ from the recipe in `changes` alone, of each of `models` from each of `seeds`."""

    name: str
    question: str
    changes: dict[str, Any] = field(default_factory=dict)
    models: tuple[tuple[str, ...], ...] = FOUR
    seeds: tuple[int, ...] = (0, 1, 2)

    def configs(self) -> Iterator[TrainConfig]:
        for seed in self.seeds:
            for tasks in self.models:
                yield replace(TrainConfig(), **self.changes, tasks=tasks, seed=seed)


STUDIES = (
    Study(SEEDS, "How much does the seed matter?"),
    # Fewer images take more epochs: about half the steps at a tenth and a third of them.
    Study("share-10", "Does one model help where labels are few?", {"share": 0.1, "epochs": 25}),
    Study("share-30", "Does one model help where labels are few?", {"share": 0.3, "epochs": 15}),
    Study("from-face", "What does pretraining do?", MODEST, seeds=(0,)),
    Study("from-random", "What does pretraining do?", {**MODEST, "pretrained": False, "frozen_epochs": 0}, seeds=(0,)),
    Study("equal-weights", "Does it matter how losses are weighed?", {"weighting": "equal"}, (ALL,), (0,)),
    Study("learned-weights", "Does it matter how losses are weighed?", {"weighting": "uncertainty"}, (ALL,), (0,)),
)


def study_named(name: str) -> Study:
    for study in STUDIES:
        if study.name == name:
            return study
    raise FaceMTLError(f"There is no study named {name!r}. There are {', '.join(study.name for study in STUDIES)}.")


def run(study: Study, images: pd.DataFrame, runs: Path, tasks: Sequence[str], cache: Path, device: str = "auto") -> None:
    """Do the trainings of a study of the models of `tasks`, in `runs/<study>/<seed>`, and measure each."""
    from facemtl.training.train import train  # fastai takes seconds

    for config in study.configs():
        if config.tasks != tuple(tasks) and tasks:
            continue
        output = runs / study.name / str(config.seed)
        file = output / f"{config.name}{SUFFIX}"
        if not file.is_file():
            print(f"{study.name}: {config.name}, seed {config.seed}", flush=True)
            resume = (output / f"{config.name}.resume.pt").is_file()
            train(config, images, output, cache=cache, resume=resume, device=device, progress=False)
        if not (output / PREDICTIONS.format(model=config.name)).is_file():
            measure(file, images)


def measure(file: Path, images: pd.DataFrame) -> None:
    """Calibrate a model, and write its predictions for the validation images beside it."""
    predictor = calibrate(Predictor([LoadedModel.load(file)]), images)
    table = validate(predictor, images, split=VALIDATION)
    write_table(table, file.with_name(PREDICTIONS.format(model=predictor.models[0].name)))


def collect(runs: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What is measured in `runs`: the table of `load_studies`, and that of `load_seeds` with the seeds that have all models."""
    rows, predictions = [], []
    for study in STUDIES:
        for config in study.configs():
            file = runs / study.name / str(config.seed) / f"{config.name}{SUFFIX}"
            measured = file.with_name(PREDICTIONS.format(model=config.name))
            if not measured.is_file():
                continue
            info, table = LoadedModel.load(file).info, pd.read_csv(measured, dtype={"image": str})
            if study.name == SEEDS:
                predictions.append(table.assign(seed=config.seed))
            for name, part in table.groupby("task", sort=False):
                metric = task_named(name).metric
                value = metric(part["target"].to_numpy(), part["prediction"].to_numpy())
                row = [study.name, config.seed, config.name, part["approach"].iloc[0], name, metric.name, value]
                rows.append([*row, info.training["images"], config.epochs, info.training["seconds"]])
    columns = ["study", "seed", "model", "approach", "task", "metric", "value", "images", "epochs", "seconds"]
    seeds = pd.concat(predictions, ignore_index=True) if predictions else pd.DataFrame(columns=COLUMNS)
    whole = seeds.groupby("seed")["model"].nunique() == len(FOUR) if predictions else pd.Series(dtype=bool)
    return pd.DataFrame(rows, columns=columns), seeds[seeds["seed"].isin(whole[whole].index)]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train and measure what the comparison rests on.")
    parser.add_argument("names", nargs="*", metavar="STUDY", help=f"{', '.join(s.name for s in STUDIES)}; none: all")
    parser.add_argument("--collect", action="store_true", help="train nothing: only write what is measured")
    parser.add_argument("--tasks", choices=["all", *ALL], help="the model of this task alone, or of all; else all four models")
    parser.add_argument("--data", type=Path, default=default_folder())
    parser.add_argument("--runs", type=Path, default=Path("runs") / "studies", help="the folder for the trainings")
    parser.add_argument("--output", type=Path, default=ASSETS / "validation", help="the folder for the tables")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(arguments)
    if not options.collect:
        images, _ = read_folder(options.data)
        tasks = {"all": ALL, None: ()}.get(options.tasks, (options.tasks,))
        for study in map(study_named, options.names) if options.names else STUDIES:
            run(study, images, options.runs, tasks, options.data.absolute().parent / "cache", options.device)
    studies, seeds = collect(options.runs)
    if studies.empty:
        raise FaceMTLError(f"There are no measured trainings in {options.runs}.")
    write_table(studies, options.output / STUDIES_FILE)
    if not seeds.empty:
        save_seeds(seeds, options.output)
    print(studies.round(2).to_string(index=False))


if __name__ == "__main__":
    main()
