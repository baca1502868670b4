"""Label sets of your own, declared in a file `labels.toml` beside the data.

    race = ["White", "Black", "Latino", "East Asian", "Southeast Asian", "Indian", "Middle Eastern"]
    glasses = ["without", "with"]

The name of a task replaces its labels. A new name adds a task. `train` copies the file beside the
models, so that the app finds it there. A process has one set of tasks: `facemtl.tasks` reads the
file when it is imported.
"""

import os
import sys
import tomllib
from collections.abc import Mapping
from keyword import iskeyword
from pathlib import Path

from .errors import FaceMTLError
from .files import write_whole
from .regular import read_bytes, read_text

NAME = "labels.toml"
VARIABLE = "FACEMTL_LABELS"  # the path of the file that is used
# No task may be named after a column of our tables, a model of several tasks, a part of the filters
# of faces, or a parameter of addresses.
RESERVED = (
    "age_from", "age_group", "age_to", "agreement", "all", "approach", "by", "confidence", "face",
    "file", "high", "image", "low", "made_by", "metric", "model", "multi", "multitask", "n",
    "needs_predictions", "order", "page", "prediction", "query", "read", "said", "seed", "sha256",
    "sheet", "single", "split", "tab", "target", "task", "value",
)  # fmt: skip
Labels = Mapping[str, tuple[str, ...]]


def use_labels_beside(*places: Path) -> None:
    """Use the first `labels.toml` that lies beside one of the places.

    A place is a CSV file or a folder. Nothing changes if $FACEMTL_LABELS names a file, or if the
    tasks have been imported.
    """
    if os.environ.get(VARIABLE) or f"{__package__}.tasks" in sys.modules:
        return
    found = [file for place in places if (file := _beside(place))]
    if found:
        os.environ[VARIABLE] = str(found[0].absolute())


def used_labels() -> Labels:
    """The labels of the file that $FACEMTL_LABELS names, or none if it is not set."""
    file = os.environ.get(VARIABLE)
    return read_labels(Path(file)) if file else {}


def require_used(place: Path) -> None:
    """Raise FaceMTLError if other labels are declared beside a place than are used."""
    file = _beside(place)
    if file and read_labels(file) != used_labels():
        raise FaceMTLError(
            f"{file} declares other labels than this process uses"
            f" ({os.environ.get(VARIABLE) or 'the built-in ones'})."
            f" Set {VARIABLE}={file} before facemtl is imported."
        )


def copy_labels(folder: Path) -> None:
    """Copy the file that is used, if any, to a folder of models that declares no labels."""
    if (file := os.environ.get(VARIABLE)) and _beside(folder) is None:
        write_whole(folder / NAME, read_bytes(file))


def read_labels(file: Path) -> Labels:
    """The labels by task. Raises FaceMTLError if the file cannot be read or understood."""
    try:
        declared = tomllib.loads(read_text(file))
    except OSError as error:
        raise FaceMTLError(
            f"{file} cannot be read: {error.strerror}. Put that right, or move the file away."
        ) from error
    except (ValueError, RecursionError) as error:  # of TOML or UTF-8, or lists in lists in lists
        raise FaceMTLError(
            f"{file} is not a TOML file in UTF-8: {error}. Put that right, or move the file away."
        ) from error
    for name, labels in declared.items():
        if not name.isidentifier() or iskeyword(name) or name != name.lower() or name in RESERVED:
            raise FaceMTLError(
                f"{file}: found the name {name!r}, expected a lower-case word that is not one of"
                f" {', '.join(RESERVED)}."
            )
        are_texts = isinstance(labels, list) and all(
            isinstance(label, str) and label == label.strip() != "" for label in labels
        )
        if not are_texts or len({label.lower() for label in labels}) != max(2, len(labels)):
            raise FaceMTLError(
                f"{file}: {name} is {labels!r}, expected two or more different texts, as in"
                f' {name} = ["no", "yes"].'
            )
    return {name: tuple(labels) for name, labels in declared.items()}


def _beside(place: Path) -> Path | None:
    file = (place.parent if place.suffix.lower() == ".csv" else place) / NAME
    return file if os.path.lexists(file) else None  # `read_labels` says if it is not a file
