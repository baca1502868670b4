"""The training studies behind the comparison: seeds, fewer images, other starts, loss weights.

    python -m research.studies --data data/UTKFace         # all studies; takes many hours
    python -m research.studies seeds share-10 --tasks age  # two studies, for one model
    python -m research.studies --output mine               # all studies, into tables of your own

A training differs from the recipe only in the changes of its study. There is no model selection:
the weights are those of the last epoch. Each training is measured on the validation images as soon
as it is done. Trainings that are already in the tables in `--output` are skipped, and interrupted
ones are resumed. To let several processes share the work, start the same command again.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from facemtl.data.reading import VALIDATION, read_images
from facemtl.errors import FaceMTLError
from facemtl.evaluation.calibration import calibrate
from facemtl.evaluation.seeds import add_seeds
from facemtl.evaluation.studies import COLUMNS, MODEST_STUDY, SEEDS, STUDIES_FILE, load_studies
from facemtl.evaluation.validation import validate
from facemtl.files import write_table
from facemtl.inference.predictor import LoadedModel, Predictor
from facemtl.models.model_file import SUFFIX, ModelInfo
from facemtl.paths import ASSETS, default_folder
from facemtl.tasks import TASKS, task_named
from facemtl.training.config import TrainConfig

from . import imagenet, run_script

ALL = tuple(task.name for task in TASKS)
FOUR = (ALL, *((name,) for name in ALL))
# A budget for a CPU: 56 % of the recipe's pixels, 30 % of its images, half of its epochs.
MODEST = {"size": 112, "share": 0.3, "epochs": 3}
RANDOM = {"pretrained": False, "frozen_epochs": 0, "epochs": 4}


@dataclass(frozen=True)
class Study:
    """The trainings that answer a question: one per model and seed.

    They differ from the recipe only in `changes`. A model is given by the names of its tasks.
    """

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
    # Both have as many steps: 108 with a frozen backbone, and 648.
    Study(
        "share-10",
        "Does one model help where labels are few?",
        {"share": 0.1, "frozen_epochs": 3, "epochs": 18},
    ),
    Study("share-30", "Does one model help where labels are few?", {"share": 0.3}),
    Study(MODEST_STUDY, "What does a small budget reach?", MODEST),
    # The less a start knows about faces, the higher its learning rate: there is less to preserve.
    Study(
        "from-imagenet",
        "What does pretraining do?",
        {**MODEST, "backbone": imagenet.NAME, "lr": 4e-4},
        seeds=(0,),
    ),
    Study(
        "from-random",
        "What does pretraining do?",
        {**MODEST, **RANDOM, "lr": 1e-3, "head_lr": 1e-3},
        seeds=(0,),
    ),
    Study(
        "equal-weights",
        "Does it matter how losses are weighed?",
        {**MODEST, "weighting": "equal"},
        (ALL,),
    ),
    Study(
        "learned-weights",
        "Does it matter how losses are weighed?",
        {**MODEST, "weighting": "uncertainty"},
        (ALL,),
    ),
)


def study_named(name: str) -> Study:
    for study in STUDIES:
        if study.name == name:
            return study
    raise FaceMTLError(
        f"There is no study named {name!r}. There are {', '.join(study.name for study in STUDIES)}."
    )


def run(
    study: Study,
    tasks: Sequence[str],
    images: pd.DataFrame,
    runs: Path,
    output: Path,
    cache: Path,
    device: str,
) -> None:
    """Run the trainings of a study in `runs/<study>/<seed>`, and measure each one.

    Trainings that are already in the tables in `output` are skipped. `tasks` are those of the model
    to train. If `tasks` is empty, all models are trained.
    """
    from facemtl.training.train import train  # here, because importing fastai takes seconds

    imagenet.register()

    for config in study.configs():
        if tasks and config.tasks != tuple(tasks):
            continue
        folder = runs / study.name / str(config.seed)
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{config.name}{SUFFIX}"
        try:
            with FileLock(folder / f"{config.name}.lock", timeout=0):
                if is_measured(study, config, output):
                    continue
                if not file.is_file():
                    print(f"{study.name}: {config.name}, seed {config.seed}", flush=True)
                    resume = (folder / f"{config.name}.resume.pt").is_file()
                    train(
                        config,
                        images,
                        folder,
                        cache=cache,
                        resume=resume,
                        device=device,
                        progress=False,
                    )
                record(study, config, *measure(file, images), output)
        except Timeout:
            continue  # another process does this training


def measure(file: Path, images: pd.DataFrame) -> tuple[ModelInfo, pd.DataFrame]:
    """Calibrate a model. Returns its info and its predictions for the validation images."""
    predictor = calibrate(Predictor([LoadedModel.load(file)]), images)
    return predictor.models[0].info, validate(predictor, images, split=VALIDATION)


def is_measured(study: Study, config: TrainConfig, output: Path) -> bool:
    if not (output / STUDIES_FILE).is_file():
        return False
    table = load_studies(output)
    return bool(
        (
            (table["study"] == study.name)
            & (table["seed"] == config.seed)
            & (table["model"] == config.name)
        ).any()
    )


def record(
    study: Study, config: TrainConfig, info: ModelInfo, predictions: pd.DataFrame, output: Path
) -> None:
    """Add a training's results to the table of `load_studies`.

    Trainings of the study SEEDS are also added to the table of `load_seeds`.
    """
    rows = []
    for name, part in predictions.groupby("task", sort=False):
        metric = task_named(name).metric
        value = metric(part["target"].to_numpy(), part["prediction"].to_numpy())
        row = [
            study.name,
            config.seed,
            config.name,
            part["approach"].iloc[0],
            name,
            metric.name,
            round(value, 4),
        ]
        rows.append([*row, info.training["images"], config.epochs, info.training["seconds"]])
    with FileLock(output / f".{STUDIES_FILE}.lock"):
        found = pd.DataFrame(rows, columns=COLUMNS)
        if (output / STUDIES_FILE).is_file():
            found = pd.concat([load_studies(output), found], ignore_index=True)
        if study.name == SEEDS:
            add_seeds(predictions.assign(seed=config.seed), output)
        write_table(found, output / STUDIES_FILE)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train and measure what the comparison rests on.")
    parser.add_argument(
        "names", nargs="*", metavar="STUDY", help=f"{', '.join(s.name for s in STUDIES)}; none: all"
    )
    parser.add_argument(
        "--tasks",
        choices=["all", *ALL],
        help="the model of this task alone, or of all; else all four models",
    )
    parser.add_argument("--data", type=Path, default=default_folder())
    parser.add_argument(
        "--runs", type=Path, default=Path("runs") / "studies", help="the folder for the trainings"
    )
    parser.add_argument(
        "--output", type=Path, default=ASSETS / "validation", help="the folder for the tables"
    )
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(arguments)
    images, _ = read_images(options.data)
    tasks, cache = (
        {"all": ALL, None: ()}.get(options.tasks, (options.tasks,)),
        options.data.absolute().parent / "cache",
    )
    options.output.mkdir(parents=True, exist_ok=True)
    for study in map(study_named, options.names) if options.names else STUDIES:
        run(study, tasks, images, options.runs, options.output, cache, options.device)
    print(load_studies(options.output).round(2).to_string(index=False))


if __name__ == "__main__":
    run_script(main)
