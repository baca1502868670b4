"""Your own faces: a CSV file of image paths and labels. Errors name the lines that are wrong."""

import csv
import io
import math
import os
import unicodedata
from pathlib import Path

from ..errors import FaceMTLError
from ..label_sets import require_used
from ..regular import MOST_BYTES, open_file
from ..tasks import TASKS, Task
from .utkface import LABELLED

FILE = "file"  # the column of paths
NAME = "labels.csv"  # the name of the CSV file if only its folder is given
_MAX_SHOWN = 5  # an error lists at most so many problems
_MAX_LENGTH = 100  # characters of a text that an error shows
_COLUMNS = [task.column for task in TASKS]


def csv_of(data: Path) -> Path | None:
    """The CSV file that `data` is or contains, or None.

    None means that `data` is a folder of images with UTKFace's file names.
    """
    if data.suffix.lower() == ".csv" and not data.is_dir():
        return data
    # Also if it is not a file: then reading it fails. Otherwise, labels in file names would be used
    # without a word.
    return data / NAME if os.path.lexists(data / NAME) else None


def utkface_folder(data: Path) -> Path:
    """Return `data`, for commands that work on UTKFace only.

    Raises FaceMTLError if it is or contains a CSV file of your own faces.
    """
    if file := csv_of(data):
        raise FaceMTLError(
            f"This command is only for UTKFace, and {file} is not. Name the folder of UTKFace's"
            " images with --data."
        )
    return data


def labelled_tasks(data: Path) -> tuple[Task, ...]:
    """The tasks that the data has labels for. No image is read.

    A folder of images with UTKFace's file names has labels for all tasks of LABELLED.
    """
    if (file := csv_of(data)) is None:
        return LABELLED
    faces, _ = read_csv(file)
    return tuple(
        task for task in TASKS if not all(math.isnan(labels[task.column]) for _, labels in faces)
    )


def read_csv(file: Path) -> tuple[list[tuple[Path, dict[str, float]]], list[str]]:
    """The path and labels of each image, and the columns that are neither.

    Labels are a number for each task, or NaN if missing. The first line names the columns: `file`,
    and at least one of the columns of TASKS. Other columns are ignored. Paths are relative to the
    CSV's folder. They may lead out of it, because whoever names the CSV may read the files that it
    lists. Labels are texts that `Task.value` accepts. Cells are separated by commas, semicolons or
    tabs. The encoding is UTF-8.

    Raises FaceMTLError, which names the wrong lines, if anything is wrong.
    """
    require_used(file)
    (_, header), *lines = _lines(file)
    names = [name.lower() for name in header]
    tasks = [task for task in TASKS if task.column in names]
    if not tasks or any(
        names.count(name) != 1 for name in (FILE, *(task.column for task in tasks))
    ):
        raise FaceMTLError(
            f"The first line of {file} must name the column {FILE} and at least one of"
            f" {', '.join(_COLUMNS)}, each once; found {_short(', '.join(header))}."
        )
    faces, wrong = [], []
    for number, cells in lines:
        if any(cells[len(names) :]):
            wrong.append(f"line {number}: found {len(cells)} cells, expected {len(names)}")
        # The last cells of a line may be missing.
        path, labels, problems = _face(file.parent, dict(zip(names, cells, strict=False)), tasks)
        wrong += [f"line {number}, {problem}" for problem in problems]
        faces.append((path, labels))
    if wrong:
        more = f"; and {len(wrong) - _MAX_SHOWN:,} more" if len(wrong) > _MAX_SHOWN else ""
        raise FaceMTLError(f"{file}: {'; '.join(wrong[:_MAX_SHOWN])}{more}.")
    if not faces:
        raise FaceMTLError(f"{file} lists no images. Add a line for each image.")
    return faces, [name for name in header if name.lower() not in (FILE, *_COLUMNS)]


def _lines(file: Path) -> list[tuple[int, list[str]]]:
    """The lines that are not blank, as (line number, cells).

    An empty file gives a line with the cell "nothing", for the message that follows. Raises
    FaceMTLError if the file cannot be read or is not a CSV file in UTF-8.
    """
    try:
        with io.TextIOWrapper(open_file(file, MOST_BYTES), "utf-8-sig", newline="") as text:
            delimiter = max(",;\t", key=text.readline().count)
            text.seek(0)
            reader = csv.reader(text, delimiter=delimiter)
            lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except OSError as error:
        raise FaceMTLError(
            f"{file} cannot be read: {error.strerror}. Put that right, or name another CSV file"
            " with --data."
        ) from error
    except UnicodeDecodeError as error:
        raise FaceMTLError(
            f"{file} is not a CSV file in UTF-8 ({error}). Save it as one."
        ) from error
    except csv.Error as error:
        raise FaceMTLError(
            f"{file}, line {reader.line_num}: {error}. Perhaps a quotation mark is not closed."
        ) from error
    return [(number, cells) for number, cells in lines if any(cells)] or [(1, ["nothing"])]


def _face(
    folder: Path, cells: dict[str, str], tasks: list[Task]
) -> tuple[Path | None, dict[str, float], list[str]]:
    """The path and labels of one line, and the problems with them."""
    name, labels, wrong = cells.get(FILE, ""), dict.fromkeys(_COLUMNS, math.nan), []
    # Macs may write é as e and an accent.
    forms = (name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD")))
    path = next(filter(_is_file, (folder / each for each in forms)), None)
    if path is None:
        wrong.append(f"{FILE}: found {_short(name)!r}, expected an existing image file")
    said = {task: text for task in tasks if (text := cells.get(task.column))}
    if not said:
        wrong.append(
            f"{', '.join(task.column for task in tasks)}: found no label, expected at least one"
        )
    for task, text in said.items():
        try:
            labels[task.column] = task.value(text)
        except ValueError:
            wrong.append(f"{task.column}: found {_short(text)!r}, expected {task.accepts}")
    return path, labels, wrong


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have, or a folder that is closed
        return False


def _short(text: str) -> str:
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}..."
