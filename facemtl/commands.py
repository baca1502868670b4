"""The commands of the command line, one function each.

A library that only some commands need is imported inside their functions.
"""

import argparse
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import fields, replace
from itertools import chain
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from .data.download import download as download_utkface
from .data.labels_csv import csv_of, labelled_tasks, read_csv, utkface_folder
from .data.reading import CALIBRATION, VALIDATION, read_files, read_images, without_copies
from .data.utkface import named_files
from .errors import FaceMTLError
from .escapes import say, say_error
from .files import is_stream, real_path
from .label_sets import VARIABLE, require_used
from .models.model_file import SUFFIX
from .outputs import claimed, replace_together
from .paths import ASSETS
from .processes import number_of_processes
from .regular import files_in, naming, read_text
from .scratch import scratch_folder
from .tasks import TASKS, Task, task_named

HISTORY = ".history.csv"  # ends the name of the file that `train` writes beside a model


def download(options: argparse.Namespace) -> None:
    download_utkface(utkface_folder(options.data), options.archive)
    say(f"UTKFace is in {options.data}")
    say(read_images(options.data, verify=True)[1])


def describe(options: argparse.Namespace) -> None:
    from .data import summary

    folder = utkface_folder(options.data)
    with _claimed_in(options, (summary.COUNTS_FILE, summary.PROBLEMS_FILE)):
        files, report = read_files(folder)
        _warn(report.warning)
        counts = summary.counts(without_copies(files, report))
        wrong = summary.problems(files, report)
        with scratch_folder() as new:
            summary.save(counts, wrong, new)
            replace_together(new, options.output)
    say(wrong.to_string(index=False))
    say(f"Wrote the counts to {options.output}")


def train(options: argparse.Namespace) -> None:
    # fastai imports it. It warns if there is no home folder for its cache.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from .training import train as training

    number_of_processes()  # raises FaceMTLError if it is wrong
    tasks = _chosen(options.tasks, labelled_tasks(options.data))
    if "all" in options.tasks and len(tasks) < len(TASKS):
        say(f"Training on what the data has labels for: {', '.join(tasks)}")
    config = training.TrainConfig(tasks=tasks)
    if options.resume:
        # Settings that are not given as options stay as they were.
        config = training.interrupted_config(config, options.output)

    def given(settings) -> dict:
        names = [setting.name for setting in fields(settings) if "help" in setting.metadata]
        return {name: value for name in names if (value := getattr(options, name)) is not None}

    augmentation = replace(config.augmentation, **given(config.augmentation))
    config = replace(config, augmentation=augmentation, **given(config))
    shared = {"cache": options.data.absolute().parent / "cache", "device": options.device}
    if options.lr_find:
        images, report = read_images(options.data, verify=True)
        say(report)
        rate = training.find_learning_rate(config, images, **shared)
        say(f"Suggested learning rate: {rate:.1e} (use it with --lr {rate:.1e})")
        return
    start = [Path(config.start)] if config.start else []
    files = training.output_files(config, options.output)
    claim = claimed(files, chain(start, _read_files(options)))
    with claim if training.is_first_process() else nullcontext():
        images, report = read_images(options.data, verify=True)
        say(report)
        training.train(
            config, images, options.output, resume=options.resume, **shared,
            finish=lambda model: _calibrate([model], images, options.output),
        )  # fmt: skip


def _chosen(names: Sequence[str], labelled: Sequence[Task]) -> tuple[str, ...]:
    return tuple(
        task.name for task in TASKS if task.name in names or ("all" in names and task in labelled)
    )


def calibrate(options: argparse.Namespace) -> None:
    from .inference.predictor import Predictor

    require_used(options.output)
    names = [loaded.name for loaded in Predictor.load(options.models).models]
    files = [options.models / f"{name}{SUFFIX}" for name in names]
    copied = [history for file in files if (history := file.with_suffix(HISTORY)).is_file()]
    outputs = [options.output / file.name for file in (*files, *copied)]
    with claimed(outputs, _read_files(options)):
        images = _read_images(options.data, verify=True)
        with scratch_folder() as new:
            _calibrate(files, images, new)
            replace_together(new, options.output)
    say(f"Wrote {', '.join(file.name for file in files)} to {options.output}")


def _calibrate(files: Sequence[Path], images: pd.DataFrame, output: Path) -> None:
    from .evaluation.calibration import calibrate_files

    n_images = int((images["split"] == CALIBRATION).sum())
    with _bar("Calibrating", 2 * n_images * len(files)) as bar:
        calibrate_files(files, images, output, bar.update)


def evaluate(options: argparse.Namespace) -> None:
    from .evaluation import composites, findings
    from .evaluation.compare import compare
    from .evaluation.validation import RESULT_FILES, save_validation, unseen, validate
    from .inference.predictor import Predictor

    predictor = Predictor.load(options.models)
    if options.split == CALIBRATION:
        _print_calibration_metrics(options, predictor)
        return
    predictor.require_pairs()
    names = (*RESULT_FILES, findings.FINDINGS_FILE, composites.FILE)
    with _claimed_in(options, names):
        images = unseen(predictor, _read_images(options.data, verify=True))
        with _bar("Validating", int((images["split"] == VALIDATION).sum())) as bar:
            table = validate(predictor, images, bar.update)
        with scratch_folder() as new:
            save_validation(table, new)
            findings.save_findings(options.output, new)
            composites.save(composites.answers(predictor, ASSETS / "faces"), new)
            replace_together(new, options.output)
    n_images = table["image"].nunique()
    which = f"{n_images:,} validation images"
    if set(images["split"]) == {VALIDATION}:
        which = f"all {n_images:,} images, which the models were not trained on,"
    say(f"Wrote predictions and metrics of {which} to {options.output}")
    say(f"The app shows them with --models {options.models} --results {options.output}")
    for row in compare(table).itertuples():
        words = task_named(row.task).metric.words
        say(
            f"{row.task:<8}{row.metric:<10} "
            f"three models {words(row.single):<12} one model {words(row.multi):<12} "
            f"difference {words(row.difference, sign=True)} "
            f"[{row.difference_low:+.2f}, {row.difference_high:+.2f}]"
        )
    uncalibrated = [loaded.name for loaded in predictor.models if not loaded.info.is_calibrated]
    if uncalibrated:
        say_error(
            f"{', '.join(uncalibrated)}: not calibrated, so confidences and intervals are"
            " unreliable. Calibrate with `python -m facemtl calibrate`."
        )


def _print_calibration_metrics(options: argparse.Namespace, predictor) -> None:
    from .evaluation.validation import metrics_of, validate

    _require_output()
    images = _read_images(options.data, verify=True)
    with _bar("Validating", int((images["split"] == CALIBRATION).sum())) as bar:
        table = validate(predictor, images, bar.update, CALIBRATION)
    for task in predictor.tasks:
        key = f"{task.name}_{task.metric.name}"
        found = {m.name: metrics_of(m, table) for m in predictor.models if task in m.tasks}
        said = [f"{name} {task.metric.words(of[key])}" for name, of in found.items()]
        say(f"{task.name:<8}{task.metric.name:<10} {', '.join(said)}")


def robustness(options: argparse.Namespace) -> None:
    from .evaluation.robustness import ROBUSTNESS_FILE, passes, save_robustness
    from .evaluation.robustness import robustness as measure
    from .evaluation.validation import unseen
    from .inference.predictor import Predictor

    predictor = Predictor.load(options.models).require_pairs()
    with _claimed_in(options, [ROBUSTNESS_FILE]):
        images = unseen(predictor, _read_images(options.data, verify=True))
        n_images = min(options.images, int((images["split"] == VALIDATION).sum()))
        with _bar("Perturbing", passes() * n_images) as bar:
            table = measure(predictor, images, options.images, bar.update)
        save_robustness(table, options.output)
    say(f"Wrote the metrics of {n_images:,} crops to {options.output}")


def cost(options: argparse.Namespace) -> None:
    from .evaluation import cost, findings
    from .evaluation.validation import PREDICTIONS_FILE
    from .inference.predictor import Predictor

    predictor = Predictor.load(options.models).require_pairs()
    with _claimed_in(options, [cost.COSTS_FILE, findings.FINDINGS_FILE]):
        table = cost.costs(predictor, options.models)
        with scratch_folder() as new:
            cost.save(table, new)
            try:
                if (options.output / PREDICTIONS_FILE).exists():
                    findings.save_findings(options.output, new)
            finally:  # damaged predictions are no reason to measure the costs again
                replace_together(new, options.output)
    say(table.drop(columns=list(cost.machine())).round(1).to_string(index=False))
    say(f"Wrote the costs to {options.output}")


def _claimed_in(options: argparse.Namespace, names: Sequence[str]) -> AbstractContextManager[None]:
    """A claim to files in the output folder."""
    return claimed([options.output / name for name in names], _read_files(options))


def _read_files(options: argparse.Namespace) -> Iterator[Path]:
    """The files that a command reads: declared labels, models, a CSV, and labelled images."""
    if declared := os.environ.get(VARIABLE):
        yield Path(declared)
    if "models" in options:
        for suffix in (SUFFIX, HISTORY):
            yield from files_in(options.models, suffix)
    if "data" in options:
        own = csv_of(options.data)
        if own:
            yield own
        labelled = read_csv(own)[0] if own else named_files(options.data)
        yield from (file for file, _ in labelled)


def predict(options: argparse.Namespace) -> None:
    from .inference import batch
    from .inference.predictor import Predictor

    team = batch.Team()
    # The processes find the same images, so only the first one prints warnings.
    images = batch.find_images(options.paths, _warn if team.is_first else lambda said: None)
    tables = [table for table in (options.csv, options.json) if table]
    if not tables:
        _require_output()
    inputs = [*images.values(), *_read_files(options)]
    with ExitStack() as stack:
        printed = stack.enter_context(scratch_folder()) / "predictions.csv"
        target = next((real_path(table) for table in tables if not is_stream(table)), printed)
        journal = target.with_name(f".{target.name}.journal")
        if team.is_first:
            stack.enter_context(claimed([*tables, journal], inputs))
        predictor = Predictor.load(options.models)
        with _bar("Predicting", len(images), disable=not team.is_first) as bar:

            def report(record: dict) -> None:
                if "error" in record:
                    with bar.external_write_mode(sys.stderr):
                        say_error(f"{record['image']}: {record['error']}")
                bar.update()

            batch.predict(
                predictor, images, journal, team=team, no_detect=options.no_detect, report=report
            )
        if not team.is_first:
            return
        try:
            csv = options.csv if tables else printed
            words = batch.write_tables(journal, csv, options.json)
        except FaceMTLError:  # there is no prediction, so there is nothing to continue
            journal.unlink()
            raise
        journal.unlink()
        if tables:
            # On standard error if a table is on standard output.
            file = sys.stderr if any(map(is_stream, tables)) else sys.stdout
            say(f"Wrote {words} to {' and '.join(map(str, tables))}", file=file)
        else:
            with naming("The output"):
                print(read_text(printed).rstrip("\n"), flush=True)


def app(options: argparse.Namespace) -> None:
    # Before anything else, because the imports and the models take seconds.
    say(f"Loading the models of {options.models} and the page ...")
    from .ui.hosts import is_local
    from .ui.launch import checked_host, make_app, read_visitors, serve

    if options.mcp and options.auth_file:
        raise FaceMTLError("--mcp has no login: leave out --mcp or --auth-file.")
    host = checked_host(options.host, options.port)
    visitors = read_visitors(options.auth_file) if options.auth_file else None
    allowed = options.allow_download
    if allowed is None:
        allowed = is_local(host.strip("[]"))
    app = make_app(options.models, options.results, options.data, allow_download=allowed)
    serve(
        app,
        host,
        options.port,
        show=options.open,
        mcp=options.mcp,
        root_path=options.root_path,
        visitors=visitors,
    )


def _require_output() -> None:
    """Raise FaceMTLError if standard output is closed, for commands that print their result."""
    if sys.__stdout__ is None:
        raise FaceMTLError("The output is closed, so the result would be lost. Open it.")


def _read_images(data: Path, *, verify: bool = False) -> pd.DataFrame:
    """The table of `read_images`. A message says which images cannot be read."""
    images, report = read_images(data, verify=verify)
    _warn(report.warning)
    return images


def _warn(said: str) -> None:
    if said:
        say_error(said)


def _bar(title: str, total: int, **settings) -> tqdm:
    return tqdm(total=total, desc=title, unit=" images", **settings)
