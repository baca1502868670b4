"""python -m facemtl download | describe | train | evaluate | robustness | labels | cost | report | experiments | predict

Libraries that one command needs are imported by that command: `predict` starts without fastai.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from tqdm import tqdm

from .data import VALIDATION, contradicting_copies, default_folder, download, read_files, read_folder, without_copies
from .errors import FaceMTLError
from .own_faces import csv_of, labelled_tasks
from .tables import write_table
from .tasks import TASKS, Classification, Task, task_named

if TYPE_CHECKING:
    from .detection import Face

ASSETS = Path(__file__).resolve().parent.parent / "assets"
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
AMOUNTS = {  # of `Augmentation`
    "rotation": "degrees to either side", "scale": "relative change of size",
    "shift": "share of a side, in each direction", "light": "relative change of brightness, and of contrast",
    "tint": "relative change of each colour", "gray": "share of images made gray",
    "blur": "share of images blurred", "erase": "share of images that lose a patch",
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status. What the user can act on is one line on standard error."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
        return 0
    except FaceMTLError as error:
        print(f"facemtl: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # the disk is full, a folder may not be written ...
        print(f"facemtl: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nfacemtl: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="facemtl", description="Three single-task models and one multi-task model on faces.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(run, name: str, summary: str, data: bool = True) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name, help=summary, description=summary, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        added.set_defaults(run=run)
        if data:
            faces = "the folder of UTKFace's images, or a CSV file of your own, or a folder with a labels.csv"
            added.add_argument("--data", type=Path, default=default_folder(), help=faces)
        return added

    added = command(_download, "download", "Fetch UTKFace, and say what is in it.")
    added.add_argument("--archive", type=Path, help="a UTKFace.tar.gz to use instead of the network")

    added = command(_describe, "describe", "Count who is in UTKFace and what is wrong with it; write what the app shows.")
    added.add_argument("--output", type=Path, default=ASSETS / "dataset", help="the folder for the counts")

    added = command(_train, "train", "Train one model; all four come from the same recipe.")
    added.add_argument(
        "--tasks", nargs="+", default=["all"], metavar="TASK", choices=["all", *(t.name for t in TASKS)],
        help="all that the data has labels for, or any of " + ", ".join(t.name for t in TASKS),
    )  # fmt: skip
    added.add_argument("--output", type=Path, default=Path("runs"), help="the folder for weights, history and progress")
    added.add_argument("--resume", action="store_true", help="go on where an interrupted training stopped")
    added.add_argument("--keep-progress", action="store_true", help="let a finished training be resumed, with more --stages")
    added.add_argument("--lr-find", action="store_true", help="only suggest a learning rate")
    added.add_argument("--backbone", help="a torchvision classification model, resnet10, resnet10d or resnet18d")
    added.add_argument(
        "--no-pretrained", dest="pretrained", action="store_const", const=False, help="start from random weights"
    )
    added.add_argument("--start", metavar="FILE", help="the .json file of a trained model: start from its weights")
    added.add_argument("--stages", nargs="+", type=_stage, metavar="SIZExEPOCHS", help="such as 64x10 96x10 128x4")
    added.add_argument("--batch-size", type=int)
    added.add_argument("--lr", type=float, help="the peak of the one-cycle schedule")
    added.add_argument("--warmup", type=float, help="share of the schedule in which the rate rises to its peak")
    added.add_argument("--weight-decay", type=float)
    added.add_argument("--dropout", type=float)
    for name, meaning in AMOUNTS.items():
        added.add_argument(f"--{name}", type=float, help=f"augmentation: {meaning}")
    added.add_argument("--mixup", type=float, help="alpha of the Beta distribution that two images are mixed by")
    added.add_argument("--label-smoothing", type=float)
    added.add_argument("--sigma", type=float, help="of the Gaussian around an age that is learned, in years")
    added.add_argument("--weighting", help="how several losses become one: fixed, equal or uncertainty")
    added.add_argument(
        "--teachers", nargs="+", metavar="FILE", help=".json files of trained models: learn their mean answer too"
    )
    added.add_argument("--teacher-weight", type=float, help="of the teachers in each loss; the labels have the rest")
    added.add_argument("--sam", type=float, help="radius of sharpness-aware minimisation: flatter minima for twice the time")
    added.add_argument("--ema", type=float, help="decay per step of the running mean of the weights that is kept")
    added.add_argument("--seed", type=int)
    added.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")

    added = command(_evaluate, "evaluate", "Run the models over the validation images; write what the app shows.")
    added.add_argument("--models", type=Path, default=ASSETS / "models", help="the folder of trained models")
    added.add_argument("--output", type=Path, default=ASSETS / "validation", help="the folder for predictions and metrics")

    added = command(_robustness, "robustness", "Measure what is left where crops are shifted, turned, blurred ...")
    added.add_argument("--models", type=Path, default=ASSETS / "models", help="the folder of trained models")
    added.add_argument("--output", type=Path, default=ASSETS / "validation", help="the folder for the table")
    added.add_argument("--images", type=int, default=600, help="how many validation images")

    added = command(
        _labels, "labels", "List the labels that all models contradict; count with which of contradictory labels they side."
    )
    added.add_argument("--models", type=Path, default=ASSETS / "models", help="the folder of trained models")
    added.add_argument("--results", type=Path, default=ASSETS / "validation", help="the folder of `evaluate`'s predictions")
    added.add_argument(
        "--output", type=Path, default=Path("runs") / "labels", help="the folder for the list, which may not be passed on"
    )

    added = command(_cost, "cost", "Measure what an answer costs, three models against one.", data=False)
    added.add_argument("--models", type=Path, default=ASSETS / "models", help="the folder of trained models")
    added.add_argument("--output", type=Path, default=ASSETS / "validation", help="the folder for the table")

    added = command(_report, "report", "Write the measured tables into documents.", data=False)
    added.add_argument("files", nargs="*", type=Path, help="documents with marked tables; none: all that hold some")
    added.add_argument("--results", type=Path, default=ASSETS / "validation", help="the folder of the measured tables")

    added = command(_experiments, "experiments", "Train what short experiments need; write what they measured.")
    added.add_argument("names", nargs="*", metavar="NAME", help="experiments, or all; none: only write what is measured")
    added.add_argument("--tasks", choices=["all", *(t.name for t in TASKS)], help="the model of this task alone, or of all")
    added.add_argument("--runs", type=Path, default=Path("runs") / "experiments", help="the folder for the trainings")
    added.add_argument("--output", type=Path, default=ASSETS / "validation", help="the folder for the table")
    added.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")

    added = command(_predict, "predict", "Predictions of all models for images, as CSV.", data=False)
    added.add_argument("paths", nargs="+", type=Path, metavar="FILE|FOLDER", help="images, or folders of images")
    added.add_argument("--csv", type=Path, metavar="OUT", help="the file to write; standard output if left out")
    added.add_argument("--no-detect", action="store_true", help="take each image whole: it is a crop framed like UTKFace's")
    added.add_argument("--models", type=Path, default=ASSETS / "models", help="the folder of trained models")
    return parser


def _stage(text: str) -> tuple[int, int]:
    try:
        size, epochs = text.split("x")
        return int(size), int(epochs)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected SIZExEPOCHS such as 64x10, found {text!r}") from None


def _download(options: argparse.Namespace) -> None:
    download(_utkface(options.data), options.archive)
    print(f"UTKFace is in {options.data}")
    print(read_folder(options.data, verify=True)[1])


def _describe(options: argparse.Namespace) -> None:
    from . import description

    files, findings = read_files(_utkface(options.data))
    counts = description.counts(without_copies(files, findings))
    wrong = description.problems(files, findings)
    description.save(counts, wrong, options.output)
    print(wrong.to_string(index=False))
    print(f"Wrote the counts to {options.output}")


def _train(options: argparse.Namespace) -> None:
    from .training import TrainConfig, find_learning_rate, interrupted_config, train  # fastai takes seconds to import

    chosen = (
        "backbone", "pretrained", "start", "stages", "batch_size", "lr", "warmup", "weight_decay", "dropout",
        "mixup", "label_smoothing", "sigma", "weighting", "teachers", "teacher_weight", "ema", "sam", "seed",
    )  # fmt: skip
    given = {name: value for name in chosen if (value := getattr(options, name)) is not None}
    given |= {name: tuple(given[name]) for name in ("stages", "teachers") if name in given}
    tasks = _chosen(options.tasks, labelled_tasks(options.data))
    if "all" in options.tasks and len(tasks) < len(TASKS):
        print(f"All that there are labels for: {', '.join(tasks)}")
    config = TrainConfig(tasks=tasks)
    if options.resume:
        config = interrupted_config(config, options.output)  # what is not said anew stays as it was
    amounts = {name: value for name in AMOUNTS if (value := getattr(options, name)) is not None}
    given["augmentation"] = replace(config.augmentation, **amounts)
    config = replace(config, **given)
    images, findings = read_folder(options.data, verify=True)
    print(findings)
    shared = {"cache": options.data.absolute().parent / "cache", "device": options.device}
    if options.lr_find:
        rate = find_learning_rate(config, images, **shared)
        print(f"Suggested learning rate: {rate:.1e} (use it with --lr {rate:.1e})")
    else:
        train(config, images, options.output, resume=options.resume, keep_progress=options.keep_progress, **shared)


def _chosen(names: Sequence[str], labelled: Sequence[Task] = TASKS) -> tuple[str, ...]:
    return tuple(task.name for task in TASKS if task.name in names or ("all" in names and task in labelled))


def _utkface(data: Path) -> Path:
    """Itself; FaceMTLError where it is a CSV, of which what is counted of UTKFace's labels and copies says nothing."""
    if file := csv_of(data):
        raise FaceMTLError(f"This command is for UTKFace itself: name the folder of its images with --data; found {file}.")
    return data


def _evaluate(options: argparse.Namespace) -> None:
    from . import evaluation
    from .prediction import Predictor

    predictor = Predictor.load(options.models).require_pairs()
    images, _ = read_folder(options.data, verify=True)
    counts = images["split"].value_counts()
    with _bar("Calibrating", counts.get("calibration", 0) * len(predictor.models)) as bar:
        predictor = evaluation.calibrate(predictor, images, bar.update)
    with _bar("Validating", counts.get("validation", 0)) as bar:
        table = evaluation.validate(predictor, images, bar.update)
    evaluation.save_evaluation(predictor, table, options.output, options.models)
    print(f"Wrote predictions and metrics of {table['image'].nunique():,} validation images to {options.output}")
    for row in evaluation.compare(table).itertuples():
        words = task_named(row.task).metric.words
        print(
            f"{row.task:<8}{row.metric:<10} three models {words(row.single):<12} one model {words(row.multi):<12} "
            f"difference {words(row.difference, sign=True)} [{row.difference_low:+.2f}, {row.difference_high:+.2f}]"
        )


def _robustness(options: argparse.Namespace) -> None:
    from .prediction import Predictor
    from .robustness import passes, robustness, save_robustness

    predictor = Predictor.load(options.models).require_pairs()
    images, _ = read_folder(options.data)
    with _bar("Perturbing", passes() * min(options.images, int((images["split"] == VALIDATION).sum()))) as bar:
        table = robustness(predictor, images, options.images, bar.update)
    save_robustness(table, options.output)
    print(f"Wrote how the models bear {passes() - 1} changes of {table['n'].max():,} crops to {options.output}")


def _labels(options: argparse.Namespace) -> None:
    from . import label_noise
    from .evaluation import load_validation
    from .prediction import Predictor

    table = load_validation(options.results)
    predictor = Predictor.load(options.models).require_pairs()
    copies = contradicting_copies(_utkface(options.data))
    with _bar("Looking at copies", copies["sha256"].nunique()) as bar:
        sided = label_noise.sides(predictor, copies, bar.update)
    counts = label_noise.disputed_counts(table)
    images, _ = read_folder(options.data)
    leaks = label_noise.without(table, label_noise.near_copies(images, cache=options.data.absolute().parent / "cache")["image"])
    label_noise.save_disputed(label_noise.disputed(table), options.output)
    label_noise.save_summary(counts, sided, leaks, options.results)
    print(
        f"{counts.to_string(index=False)}\n\n{sided.round(1).to_string(index=False)}\n\n{leaks.round(2).to_string(index=False)}"
    )
    print(f"Wrote the list to {options.output} and the counts to {options.results}")


def _cost(options: argparse.Namespace) -> None:
    from . import cost
    from .prediction import Predictor

    table = cost.costs(Predictor.load(options.models).require_pairs(), options.models)
    cost.save(table, options.output)
    print(table.drop(columns=list(cost.machine())).round(1).to_string(index=False))


def _report(options: argparse.Namespace) -> None:
    from .report import DOCUMENTS, fill

    for file in options.files or DOCUMENTS:
        file.write_text(fill(file.read_text("utf-8"), options.results), "utf-8")
        print(f"Wrote the tables of {file.name}")


def _experiments(options: argparse.Namespace) -> None:
    from . import experiments
    from .runs import RUNS_FILE, summary

    wanted = experiments.EXPERIMENTS if "all" in options.names else [experiments.experiment_named(n) for n in options.names]
    if wanted:
        images, _ = read_folder(options.data)
    for experiment in wanted:
        experiments.run(
            experiment, images, options.runs, tasks=_chosen([options.tasks]), say=print,
            cache=options.data.absolute().parent / "cache", device=options.device,
        )  # fmt: skip
    made = experiments.collect(options.runs)
    if made.empty:
        raise FaceMTLError(f"There are no measured trainings in {options.runs}. Name experiments to run, or all.")
    runs = experiments.merged(made, options.output)
    write_table(runs, options.output / RUNS_FILE)
    print(summary(runs).drop(columns="question").round(2).to_string(index=False))


def _predict(options: argparse.Namespace) -> None:
    from .prediction import BATCH_SIZE, Predictor

    files = list(_images(options.paths))
    if not files:
        raise FaceMTLError(
            f"There are no images in {', '.join(map(str, options.paths))}. Images end in {', '.join(IMAGE_SUFFIXES)}."
        )
    predictor = Predictor.load(options.models)
    is_new = options.csv and not options.csv.exists()
    if options.csv:  # better refused now than after the last image
        options.csv.parent.mkdir(parents=True, exist_ok=True)
        options.csv.open("a").close()
    tables, pending = [], []

    def flush() -> None:
        positions, numbers, crops = zip(*pending, strict=True)
        tables.append(predictor.predict(crops, positions, numbers).table)
        pending.clear()

    n_failed = 0
    with _bar("Predicting", len(files)) as bar:
        for position, file in enumerate(files):  # by position: files of several folders may have the same name
            try:
                pending += [(position, i, face.crop) for i, face in enumerate(_faces(file, options.no_detect))]
            except FaceMTLError as error:
                n_failed += 1
                bar.write(f"facemtl: {file.name}: {error}", file=sys.stderr)
            if len(pending) >= BATCH_SIZE:
                flush()
            bar.update()
    if pending:
        flush()
    if not tables:
        if is_new:
            options.csv.unlink()
        raise FaceMTLError(f"None of the {len(files)} images gave a prediction.")
    result = pd.concat(tables, ignore_index=True)
    n_read = result["image"].nunique()
    result["image"] = result["image"].map(lambda position: files[position].name)
    is_class = result["task"].map(lambda name: isinstance(task_named(name), Classification))
    result["prediction"] = result["prediction"].map("{:.4f}".format).where(~is_class, result["prediction"].map("{:.0f}".format))
    result.to_csv(options.csv or sys.stdout, index=False, float_format="%.4f", lineterminator="\n")
    if options.csv:
        print(
            f"Wrote {len(result):,} rows of {n_read:,} images to {options.csv}"
            + (f"; {n_failed:,} left out" if n_failed else "")
        )


def _images(paths: Sequence[Path]) -> Iterator[Path]:
    """The files named, and the images of the folders named, in order."""
    for path in paths:
        if path.is_dir():
            yield from sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))
        else:
            yield path


def _faces(file: Path, no_detect: bool) -> "list[Face]":
    from .detection import detect, open_image, whole

    image = open_image(file)
    faces = [whole(image)] if no_detect else detect(image)
    if not faces:
        raise FaceMTLError("no face found. If the image is a crop of a face, use --no-detect.")
    return faces


def _bar(title: str, total: int) -> tqdm:
    return tqdm(total=total, desc=title, unit=" images")
