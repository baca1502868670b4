"""The command line: `python -m facemtl COMMAND`, or `facemtl COMMAND` after an installation."""

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from .errors import FaceMTLError, file_error
from .escapes import escape_what_cannot_be_encoded, say_error
from .label_sets import use_labels_beside
from .paths import ASSETS, as_path, default_folder

DESCRIPTION = "Three single-task models and one multi-task model on faces."
# The start of a URL, or a path, or both, or an empty text.
_ROOT_PATH = re.compile(
    r"(https?://([\w.-]+|\[[\da-f:.]+\])(:\d+)?)?(/(?!/)[^\x00-\x20\x7f?#\\]*)?", re.IGNORECASE
)
Option = tuple[str, dict[str, Any]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    An error that the user can act on is printed as one line on standard error.
    """
    escape_what_cannot_be_encoded()
    try:
        _choose_labels(arguments)
        options = _parser().parse_args(arguments)
        options.run(options)
        return 0
    except FaceMTLError as error:
        say_error(error)
        return 1
    except ModuleNotFoundError as error:  # libraries for training are optional
        library = str(error.name).partition(".")[0]
        say_error(
            f"this command needs {library}, which is not installed. Run `pip install {library}`"
        )
        return 1
    except BrokenPipeError:
        say_error("the output was closed before everything was written")
        return 1
    except OSError as error:  # the disk is full, a folder may not be written ...
        say_error(file_error(error))
        return 1
    except KeyboardInterrupt:
        print("\nfacemtl: interrupted", file=sys.stderr)
        return 130


def _choose_labels(arguments: Sequence[str] | None) -> None:
    """Use the label sets that are declared beside the data or the models.

    This must be done before the tasks are imported, and so before the real parser is made.
    """
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--data", type=_given, default=default_folder())
    parser.add_argument("--models", type=_given, default=ASSETS / "models")
    try:
        options, _ = parser.parse_known_args(arguments)
    except argparse.ArgumentError:
        return  # the real parser reports it
    use_labels_beside(options.data, options.models)


def _option(name: str, meaning: str, **settings: Any) -> Option:
    """An option with its help, which tells the default if that is a text or a number."""
    default = settings.get("default")
    if default and isinstance(default, str | int | Path):
        meaning += " (default: %(default)s)"
    return name, {"help": meaning, **settings}


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, found {text}")
    return int(text)


def _root_path(text: str) -> str:
    if not _ROOT_PATH.fullmatch(text):
        raise argparse.ArgumentTypeError(
            "expected a URL such as https://faces.example.org, or a path such as /facemtl; found"
            f" {text}"
        )
    return text


def _given(text: str) -> Path:
    try:
        return as_path(text)
    except FaceMTLError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _new_file(text: str) -> Path:
    if text.endswith(("/", os.sep)):  # `Path` drops it
        raise argparse.ArgumentTypeError(f"expected a file, found the folder {text}")
    return _given(text)


def _path(name: str, meaning: str, default: Path | None = None, **settings: Any) -> Option:
    return _option(name, meaning, default=default, **{"type": _given, **settings})


def _parser() -> argparse.ArgumentParser:
    from . import commands
    from .data.reading import CALIBRATION, VALIDATION
    from .tasks import TASKS

    parser = argparse.ArgumentParser(prog="facemtl", description=DESCRIPTION)
    added = parser.add_subparsers(required=True, metavar="COMMAND")
    data = _path(
        "--data",
        "the folder of UTKFace's images, or a CSV file of your own, or a folder with a labels.csv",
        default_folder(),
    )
    utkface = _path("--data", "the folder of UTKFace's images", default_folder())
    models = _path("--models", "the folder of trained models", ASSETS / "models")
    results = _path("--output", "the folder for the tables", Path("runs") / "validation")

    def command(run: Callable, summary: str, *options: Option) -> None:
        command = added.add_parser(run.__name__, help=summary, description=summary)
        command.set_defaults(run=run)
        for name, settings in options:
            command.add_argument(name, **settings)

    command(
        commands.download,
        "Fetch UTKFace, and say what is in it.",
        utkface,
        _path("--archive", "a UTKFace.tar.gz to use instead of the network"),
    )
    command(
        commands.describe,
        "Count the faces of UTKFace by their labels, and the problems of its files; write tables.",
        utkface,
        _path("--output", "the folder for the counts", Path("runs") / "dataset"),
    )
    names = [task.name for task in TASKS]
    command(
        commands.train,
        "Train one model; all four come from the same recipe.",
        data,
        _option(
            "--tasks",
            f"any of {', '.join(names)}; or all, which is the default: every task that the data has"
            " labels for",
            nargs="+",
            default=["all"],
            metavar="TASK",
            choices=["all", *names],
        ),
        _path("--output", "the folder for weights, history and progress", Path("runs")),
        _option("--resume", "continue an interrupted training", action="store_true"),
        _option("--lr-find", "only suggest a learning rate", action="store_true"),
        *_settings(),
        _option("--device", "where to train: auto, cpu, cuda or mps", default="auto"),
    )
    command(
        commands.calibrate,
        "Fit confidences and intervals to the calibration images; write copies of the models."
        " `train` does so for the model that it trains.",
        data,
        models,
        _path("--output", "the folder for the calibrated models", required=True),
    )
    command(
        commands.evaluate,
        "Measure the models on images that they have not seen; write tables for the app.",
        data,
        models,
        results,
        _option(
            "--split",
            "validation: measure the validation images, or all images if the models have seen none"
            " of them; calibration: only print metrics of the calibration images, to choose models"
            " by",
            choices=[VALIDATION, CALIBRATION],
            default=VALIDATION,
        ),
    )
    command(
        commands.robustness,
        "Measure the models on shifted, scaled, rotated or degraded crops.",
        data,
        models,
        results,
        _option("--images", "how many validation images", type=_count, default=600),
    )
    command(commands.cost, "Measure the costs of three models and of one.", models, results)
    command(
        commands.predict,
        "Write the predictions of all models for images, as CSV or JSON."
        " `accelerate launch -m facemtl predict` shares the work among processes.",
        models,
        _path("paths", "images, or folders with images", nargs="+", metavar="FILE|FOLDER"),
        _path(
            "--csv",
            "the table to write; it is printed without --csv and --json",
            type=_new_file,
            metavar="OUT",
        ),
        _path(
            "--json",
            "the file for all predictions with boxes, words, probabilities and errors",
            type=_new_file,
            metavar="OUT",
        ),
        _option(
            "--no-detect", "take each image whole, as a crop like UTKFace's", action="store_true"
        ),
    )
    command(
        commands.app,
        "Compare three single-task models with one multi-task model, in the browser.",
        data,
        models,
        _path("--results", "the folder that `evaluate` wrote", ASSETS / "validation"),
        _option(
            "--host",
            "the address to listen on; 0.0.0.0 for all",
            # A Hugging Face Space sets GRADIO_SERVER_NAME.
            default=os.environ.get("GRADIO_SERVER_NAME") or "127.0.0.1",
        ),
        _option(
            "--allow-download",
            "offer the download of UTKFace on the page if it is missing, or do not; without these"
            " options, it is offered only if --host is an address of this machine alone",
            action=argparse.BooleanOptionalAction,
        ),
        _option("--port", "the port; without it, the first free one from 7860 on", type=int),
        _option(
            "--root-path",
            "where a proxy serves the app: a URL such as https://faces.example.org, or only its"
            " path, such as /facemtl",
            type=_root_path,
            default="",
        ),
        _path("--auth-file", "a file with a line name:password for each visitor who may enter"),
        _option("--open", "open the page in a browser, if there is a screen", action="store_true"),
        _option(
            "--mcp",
            "also answer language models over MCP, without a login; needs gradio[mcp]",
            action="store_true",
        ),
    )
    return parser


def _settings() -> list[Option]:
    """The options for the settings of `TrainConfig` and `Augmentation`.

    An option that is not given has the value None. It stands for the recipe's value.
    """
    from .training.config import Augmentation, TrainConfig

    options = []
    for setting in (*fields(TrainConfig), *fields(Augmentation)):
        if not (meaning := setting.metadata.get("help")):
            continue
        name, default = setting.name.replace("_", "-"), setting.default
        if isinstance(default, bool):
            off = {"dest": setting.name, "action": "store_const", "const": False}
            options.append(_option(f"--no-{name}", f"do not {meaning}", **off))
        else:
            if default != "":
                meaning += f" (recipe: {default})"
            options.append(_option(f"--{name}", meaning, type=type(default)))
    return options
