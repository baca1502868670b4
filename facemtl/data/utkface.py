"""UTKFace: the labels in its file names."""

import re
from pathlib import Path

from ..errors import FaceMTLError
from ..regular import files_in
from ..tasks import AGE, GENDER, RACE, TASKS

# The tasks with labels in its file names. A task whose labels are replaced is not one of them.
LABELLED = tuple(task for task in (GENDER, RACE, AGE) if task in TASKS)
CHIP_SIZE = 200  # side of its images, in px
# [age]_[gender]_[race]_[timestamp].jpg.chip.jpg. A few published names end differently, and yours
# may, too.
FILE_NAME = re.compile(r"(?P<age>\d{1,3})_(?P<gender>[01])_(?P<race>[0-4])_.+\.jpg")


def named_files(folder: Path) -> list[tuple[Path, dict[str, int] | None]]:
    """The images of a folder with the labels in their names; None for a name without labels.

    Raises FaceMTLError if there are no images, or if the folder cannot be read.
    """
    files = files_in(folder, ".jpg")
    if not files:
        raise FaceMTLError(
            f"There are no images in {folder}. Run `python -m facemtl download`, "
            "or name another folder, or a CSV file of your own faces, with --data or FACEMTL_DATA."
        )
    return [(file, _labels(file.name)) for file in files]


def _labels(name: str) -> dict[str, int] | None:
    match = FILE_NAME.fullmatch(name)
    if not match or int(match["age"]) > AGE.high:
        return None
    return {task.column: int(match[task.name]) for task in LABELLED}
