"""One's own faces: a CSV file of images and their labels, in which whatever is wrong is named by
its line.
"""

import csv
import math
from pathlib import Path

from ..errors import FaceMTLError
from ..tasks import TASKS, Task
from .utkface import LABELLED

FILE = "file"  # the column of paths
NAME = "labels.csv"  # what the CSV is called where its folder is named
TOLD = 5  # so many wrong cells are told in full
_COLUMNS = [task.column for task in TASKS]


def csv_of(data: Path) -> Path | None:
    """The CSV file that `data` is or holds; None where it is a folder of images that are named like
    UTKFace's.
    """
    if data.suffix.lower() == ".csv" and not data.is_dir():
        return data
    return data / NAME if (data / NAME).is_file() else None


def utkface_folder(data: Path) -> Path:
    """The folder itself. Raises FaceMTLError for a CSV of own faces: copies are counted in
    UTKFace.
    """
    if file := csv_of(data):
        raise FaceMTLError(
            "This command is for UTKFace itself: name the folder of its images with --data; "
            f"found {file}."
        )
    return data


def labelled_tasks(data: Path) -> tuple[Task, ...]:
    """Those that there are labels for, before any image is read: all of them where images are named
    like UTKFace's.
    """
    if (file := csv_of(data)) is None:
        return LABELLED
    faces = read_csv(file)
    return tuple(
        task for task in TASKS if not all(math.isnan(labels[task.column]) for _, labels in faces)
    )


def read_csv(file: Path) -> list[tuple[Path, dict[str, float]]]:
    """Each image's path and its labels, a number for every task: NaN where the cell is empty or
    there is no such column.

    The first line names the columns: `file` and at least one of TASKS's; others are ignored. Paths
    start at the CSV's folder, and may lead out of it: whoever names the CSV may read what it lists.
    Labels are what `Task.value` takes. Separators are commas, semicolons or tabs, the text is
    UTF-8. FaceMTLError names the lines in which something is wrong.
    """
    (_, header), *lines = _lines(file)
    names = [name.lower() for name in header]
    tasks = [task for task in TASKS if task.column in names]
    if not tasks or any(
        names.count(name) != 1 for name in (FILE, *(task.column for task in tasks))
    ):
        raise FaceMTLError(
            f"The first line of {file} must name the column {FILE} and at least one of"
            f" {', '.join(_COLUMNS)}, each once; found {', '.join(header)}."
        )
    faces, wrong = [], []
    for number, cells in lines:
        if any(cells[len(names) :]):
            wrong.append(f"line {number}: found {len(cells)} cells, expected {len(names)}")
        path, labels, problems = _face(
            file.parent, dict(zip(names, cells, strict=False)), tasks
        )  # cells at the end may lack
        wrong += [f"line {number}, {problem}" for problem in problems]
        faces.append((path, labels))
    if wrong:
        more = f"; and {len(wrong) - TOLD:,} more" if len(wrong) > TOLD else ""
        raise FaceMTLError(f"{file}: {'; '.join(wrong[:TOLD])}{more}.")
    if not faces:
        raise FaceMTLError(f"{file} lists no images.")
    return faces


def _lines(file: Path) -> list[tuple[int, list[str]]]:
    """The lines that are not blank, with their numbers."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            delimiter = max(",;\t", key=text.readline().count)
            text.seek(0)
            reader = csv.reader(text, delimiter=delimiter)
            lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except OSError as error:
        raise FaceMTLError(f"{file} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise FaceMTLError(
            f"{file} is not a CSV file in UTF-8 ({error}). Save it as one."
        ) from error
    return [(number, cells) for number, cells in lines if any(cells)] or [(1, ["nothing"])]


def _face(
    folder: Path, cells: dict[str, str], tasks: list[Task]
) -> tuple[Path, dict[str, float], list[str]]:
    """A line's path and labels, and what is wrong with them."""
    path, labels, wrong = folder / cells.get(FILE, ""), dict.fromkeys(_COLUMNS, math.nan), []
    if not _is_file(path):
        wrong.append(f"{FILE}: found {cells.get(FILE, '')!r}, expected an image that is there")
    said = {task: text for task in tasks if (text := cells.get(task.column))}
    if not said:
        wrong.append(
            f"{', '.join(task.column for task in tasks)}: found no label, expected one at least"
        )
    for task, text in said.items():
        try:
            labels[task.column] = task.value(text)
        except ValueError:
            wrong.append(f"{task.column}: found {text!r}, expected {task.accepts}")
    return path, labels, wrong


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False
