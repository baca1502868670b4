"""The command line: `python -m facemtl COMMAND`, or `facemtl COMMAND` after an installation."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from .errors import FaceMTLError, file_error
from .escapes import escape_what_cannot_be_encoded, say_error
from .label_sets import use_labels_beside
from .paths import ASSETS, default_folder

DESCRIPTION = "Three single-task models and one multi-task model on faces."
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
        say_error(f"this needs {library}, which is not installed. pip install {library}")
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
    parser.add_argument("--data", type=Path, default=default_folder())
    parser.add_argument("--models", type=Path, default=ASSETS / "models")
    try:
        options, _ = parser.parse_known_args(arguments)
    except argparse.ArgumentError:
        return  # the real parser reports it
    use_labels_beside(options.data, options.models)


def _option(name: str, meaning: str, **settings: Any) -> Option:
    return name, {"help": meaning, **settings}


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, found {text}")
    return int(text)


def _path(name: str, meaning: str, default: Path | None = None, **settings: Any) -> Option:
    return _option(name, meaning, type=Path, default=default, **settings)


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
    models = _path("--models", "the folder of trained models", ASSETS / "models")
    results = _path("--output", "the folder for the tables", Path("runs") / "validation")

    def command(run: Callable, summary: str, *options: Option) -> None:
        command = added.add_parser(
            run.__name__,
            help=summary,
            description=summary,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        command.set_defaults(run=run)
        for name, settings in options:
            command.add_argument(name, **settings)

    command(
        commands.download,
        "Fetch UTKFace, and say what is in it.",
        data,
        _path("--archive", "a UTKFace.tar.gz to use instead of the network"),
    )
    command(
        commands.describe,
        "Count who is in UTKFace and what is wrong with it; write tables of it.",
        data,
        _path("--output", "the folder for the counts", Path("runs") / "dataset"),
    )
    names = [task.name for task in TASKS]
    command(
        commands.train,
        "Train one model; all four come from the same recipe.",
        data,
        _option(
            "--tasks",
            f"all that the data has labels for, or any of {', '.join(names)}",
            nargs="+",
            default=["all"],
            metavar="TASK",
            choices=["all", *names],
        ),
        _path("--output", "the folder for weights, history and progress", Path("runs")),
        _option("--resume", "continue an interrupted training", action="store_true"),
        _option("--lr-find", "only suggest a learning rate", action="store_true"),
        *_settings(),
        _option("--device", "auto, cpu, cuda or mps", default="auto"),
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
            "validation: of data that the models were trained on, else all images; calibration:"
            " only print metrics of the calibration images, to choose models by",
            choices=[VALIDATION, CALIBRATION],
            default=VALIDATION,
        ),
    )
    command(
        commands.robustness,
        "Measure the models on shifted, turned, blurred, dark ... crops.",
        data,
        models,
        results,
        _option("--images", "how many validation images", type=_count, default=600),
    )
    command(
        commands.cost, "Measure what an answer costs, three models against one.", models, results
    )
    command(
        commands.predict,
        "Predictions of all models for images, as CSV or JSON. "
        "`accelerate launch -m facemtl predict` shares the work out over processes.",
        models,
        _path("paths", "images, or folders that hold some", nargs="+", metavar="FILE|FOLDER"),
        _path("--csv", "the table to write; without --csv and --json it is printed", metavar="OUT"),
        _path("--json", "the same with boxes, words, probabilities and errors", metavar="OUT"),
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
            "offer the download of UTKFace on the page, if it is missing; without this option, only"
            " an app that listens on this machine's own address offers it",
            action=argparse.BooleanOptionalAction,
        ),
        _option("--port", "7860 if left out, or the next free one", type=int),
        _option(
            "--root-path",
            "the URL at which a proxy serves the app, such as https://faces.example.org, or only"
            " its path, such as /facemtl",
            default="",
        ),
        _path("--auth-file", "a file with lines name:password: only these visitors may enter"),
        _option("--open", "open the page in a browser, if there is a screen", action="store_true"),
        _option(
            "--mcp", "also answer language models, by MCP: needs gradio[mcp]", action="store_true"
        ),
    )
    return parser


def _settings() -> list[Option]:
    """The options for the settings of `TrainConfig` and `Augmentation`.

    The value of an option that is not given is None, which means the recipe's value.
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
            options.append(
                _option(f"--{name}", f"{meaning} (recipe: {default})", type=type(default))
            )
    return options
