"""The commands of the command line, one function each.

A library that only some commands need is imported inside their functions.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import fields, replace
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from .data.download import download as download_utkface
from .data.labels_csv import labelled_tasks, utkface_folder
from .data.reading import CALIBRATION, VALIDATION, read_files, read_images, without_copies
from .errors import FaceMTLError
from .paths import ASSETS
from .tasks import TASKS, Task, task_named


def download(options: argparse.Namespace) -> None:
    download_utkface(utkface_folder(options.data), options.archive)
    print(f"UTKFace is in {options.data}")
    print(read_images(options.data, verify=True)[1])


def describe(options: argparse.Namespace) -> None:
    from .data import summary

    files, report = read_files(utkface_folder(options.data))
    counts = summary.counts(without_copies(files, report))
    wrong = summary.problems(files, report)
    summary.save(counts, wrong, options.output)
    print(wrong.to_string(index=False))
    print(f"Wrote the counts to {options.output}")


def train(options: argparse.Namespace) -> None:
    from .training.train import TrainConfig, find_learning_rate, interrupted_config
    from .training.train import train as train_model

    tasks = _chosen(options.tasks, labelled_tasks(options.data))
    if "all" in options.tasks and len(tasks) < len(TASKS):
        print(f"Training on what the data has labels for: {', '.join(tasks)}")
    config = TrainConfig(tasks=tasks)
    if options.resume:
        # Settings that are not given as options stay as they were.
        config = interrupted_config(config, options.output)

    def given(settings) -> dict:
        names = [setting.name for setting in fields(settings) if "help" in setting.metadata]
        return {name: value for name in names if (value := getattr(options, name)) is not None}

    augmentation = replace(config.augmentation, **given(config.augmentation))
    config = replace(config, augmentation=augmentation, **given(config))
    images, report = read_images(options.data, verify=True)
    print(report)
    shared = {"cache": options.data.absolute().parent / "cache", "device": options.device}
    if options.lr_find:
        rate = find_learning_rate(config, images, **shared)
        print(f"Suggested learning rate: {rate:.1e} (use it with --lr {rate:.1e})")
    else:
        train_model(config, images, options.output, resume=options.resume, **shared)


def _chosen(names: Sequence[str], labelled: Sequence[Task]) -> tuple[str, ...]:
    return tuple(
        task.name for task in TASKS if task.name in names or ("all" in names and task in labelled)
    )


def evaluate(options: argparse.Namespace) -> None:
    from .evaluation import composites
    from .evaluation.calibration import calibrate
    from .evaluation.compare import compare
    from .evaluation.findings import save_findings
    from .evaluation.validation import metrics_of, save_evaluation, validate
    from .inference.predictor import Predictor

    predictor = Predictor.load(options.models)
    if is_reported := options.split == VALIDATION:
        predictor.require_pairs()
    images, _ = read_images(options.data, verify=True)
    counts = images["split"].value_counts()
    if is_reported:
        with _bar("Calibrating", 2 * counts.get(CALIBRATION, 0) * len(predictor.models)) as bar:
            predictor = calibrate(predictor, images, bar.update)
    with _bar("Validating", counts.get(options.split, 0)) as bar:
        table = validate(predictor, images, bar.update, options.split)
    if not is_reported:
        for task in predictor.tasks:
            key = f"{task.name}_{task.metric.name}"
            found = {m.name: metrics_of(m, table) for m in predictor.models if task in m.tasks}
            said = [f"{name} {task.metric.words(of[key])}" for name, of in found.items()]
            print(f"{task.name:<8}{task.metric.name:<10} {', '.join(said)}")
        return
    save_evaluation(predictor, table, options.output, options.models)
    save_findings(options.output)
    composites.save(composites.answers(predictor, ASSETS / "faces"), options.output)
    n_images = table["image"].nunique()
    print(f"Wrote predictions and metrics of {n_images:,} validation images to {options.output}")
    for row in compare(table).itertuples():
        words = task_named(row.task).metric.words
        print(
            f"{row.task:<8}{row.metric:<10} "
            f"three models {words(row.single):<12} one model {words(row.multi):<12} "
            f"difference {words(row.difference, sign=True)} "
            f"[{row.difference_low:+.2f}, {row.difference_high:+.2f}]"
        )


def robustness(options: argparse.Namespace) -> None:
    from .evaluation.robustness import passes, save_robustness
    from .evaluation.robustness import robustness as measure
    from .inference.predictor import Predictor

    predictor = Predictor.load(options.models).require_pairs()
    images, _ = read_images(options.data)
    n_images = min(options.images, int((images["split"] == VALIDATION).sum()))
    with _bar("Perturbing", passes() * n_images) as bar:
        table = measure(predictor, images, options.images, bar.update)
    save_robustness(table, options.output)
    print(f"Wrote the metrics of {n_images:,} crops to {options.output}")


def cost(options: argparse.Namespace) -> None:
    from .evaluation import cost
    from .evaluation.findings import save_findings
    from .evaluation.validation import PREDICTIONS_FILE
    from .inference.predictor import Predictor

    table = cost.costs(Predictor.load(options.models).require_pairs(), options.models)
    cost.save(table, options.output)
    if (options.output / PREDICTIONS_FILE).exists():  # written last by `evaluate`
        save_findings(options.output)
    print(table.drop(columns=list(cost.machine())).round(1).to_string(index=False))


def predict(options: argparse.Namespace) -> None:
    from .inference import batch
    from .inference.predictor import Predictor

    team = batch.Team()
    images = batch.find_images(options.paths)
    tables = [table for table in (options.csv, options.json) if table]
    for table in tables if team.is_first else ():  # fail now, not after the last image
        batch.check_writable(table)
    predictor = Predictor.load(options.models)
    with (
        tempfile.TemporaryDirectory() as folder,
        _bar("Predicting", len(images), disable=not team.is_first) as bar,
    ):

        def report(record: dict) -> None:
            if "error" in record:
                bar.write(f"facemtl: {record['image']}: {record['error']}", file=sys.stderr)
            bar.update()

        printed = Path(folder) / "predictions.csv"
        target = tables[0] if tables else printed
        journal = target.with_name(f".{target.name}.journal")
        with _alone(journal) if team.is_first else nullcontext():
            batch.predict(
                predictor, images, journal, team=team, no_detect=options.no_detect, report=report
            )
            bar.close()
            if not team.is_first:
                return
            try:
                csv = options.csv if tables else printed
                words = batch.write_tables(journal, csv, options.json)
            except FaceMTLError:  # there are no predictions to keep
                journal.unlink()
                raise
            journal.unlink()
        if tables:
            print(f"Wrote {words} to {' and '.join(map(str, tables))}")
        else:
            print(printed.read_text("utf-8").rstrip("\n"))


@contextmanager
def _alone(journal: Path) -> Iterator[None]:
    """A lock for writing a table. Raises FaceMTLError if another process holds it."""
    lock = FileLock(f"{journal}.lock", timeout=0)
    try:
        with lock:
            try:
                yield
            finally:
                Path(lock.lock_file).unlink(missing_ok=True)
    except Timeout as error:
        raise FaceMTLError(f"Another process writes {journal}. Wait until it is done.") from error


def app(options: argparse.Namespace) -> None:
    # First, because what comes now takes seconds.
    print(f"Loading the models of {options.models} and the page ...", flush=True)
    from .ui.hosts import is_local
    from .ui.launch import make_app, read_visitors, serve

    visitors = read_visitors(options.auth_file) if options.auth_file else None
    allowed = options.allow_download
    if allowed is None:
        allowed = is_local(options.host.strip("[]"))
    app = make_app(options.models, options.results, options.data, allow_download=allowed)
    serve(
        app,
        options.host,
        options.port,
        show=options.open,
        mcp=options.mcp,
        root_path=options.root_path,
        visitors=visitors,
    )


def _bar(title: str, total: int, **settings) -> tqdm:
    return tqdm(total=total, desc=title, unit=" images", **settings)
