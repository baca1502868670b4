"""python -m facemtl download | train | evaluate | predict

Libraries that one command needs are imported by that command: `predict` starts without fastai.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .data import default_folder, download, read_folder
from .errors import FaceMTLError
from .tasks import TASKS

ASSETS = Path(__file__).resolve().parent.parent / "assets"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status. What the user can act on is one line on standard error."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
        return 0
    except FaceMTLError as error:
        print(f"facemtl: {error}", file=sys.stderr)
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
            added.add_argument("--data", type=Path, default=default_folder(), help="the folder of UTKFace's images")
        return added

    added = command(_download, "download", "Fetch UTKFace, and say what is in it.")
    added.add_argument("--archive", type=Path, help="a UTKFace.tar.gz to use instead of the network")

    added = command(_train, "train", "Train one model; all four come from the same recipe.")
    added.add_argument(
        "--tasks", nargs="+", default=["all"], metavar="TASK", choices=["all", *(t.name for t in TASKS)],
        help="all, or any of " + ", ".join(t.name for t in TASKS),
    )  # fmt: skip
    added.add_argument("--output", type=Path, default=Path("runs"), help="the folder for weights, history and progress")
    added.add_argument("--resume", action="store_true", help="go on where an interrupted training stopped")
    added.add_argument("--lr-find", action="store_true", help="only suggest a learning rate")
    added.add_argument("--backbone", help="a torchvision classification model, or resnet10")
    added.add_argument("--no-pretrained", dest="pretrained", action="store_const", const=False, help="start from random weights")
    added.add_argument("--stages", nargs="+", type=_stage, metavar="SIZExEPOCHS", help="such as 64x10 96x10 128x4")
    added.add_argument("--batch-size", type=int)
    added.add_argument("--lr", type=float, help="the peak of the one-cycle schedule")
    added.add_argument("--weight-decay", type=float)
    added.add_argument("--dropout", type=float)
    added.add_argument("--seed", type=int)
    added.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    return parser


def _stage(text: str) -> tuple[int, int]:
    try:
        size, epochs = text.split("x")
        return int(size), int(epochs)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected SIZExEPOCHS such as 64x10, found {text!r}") from None


def _download(options: argparse.Namespace) -> None:
    download(options.data, options.archive)
    print(f"UTKFace is in {options.data}")
    print(read_folder(options.data, verify=True)[1])


def _train(options: argparse.Namespace) -> None:
    from .training import TrainConfig, find_learning_rate, train  # fastai takes seconds to import

    names = [task.name for task in TASKS] if "all" in options.tasks else [t.name for t in TASKS if t.name in options.tasks]
    chosen = ("backbone", "pretrained", "stages", "batch_size", "lr", "weight_decay", "dropout", "seed")
    given = {name: value for name in chosen if (value := getattr(options, name)) is not None}
    if "stages" in given:
        given["stages"] = tuple(given["stages"])
    config = TrainConfig(tasks=tuple(names), **given)
    images, _ = read_folder(options.data)
    shared = {"cache": options.data.absolute().parent / "cache", "device": options.device}
    if options.lr_find:
        rate = find_learning_rate(config, images, **shared)
        print(f"Suggested learning rate: {rate:.1e} (use it with --lr {rate:.1e})")
    else:
        train(config, images, options.output, resume=options.resume, **shared)
