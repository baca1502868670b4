"""Reading of a folder or CSV file: one table of labelled images, without copies, split by hash."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from ..errors import first_line
from ..escapes import printable
from ..paths import as_path
from ..regular import MOST_BYTES, open_file
from ..tasks import TASKS
from .images import as_rgb, opened_image
from .labels_csv import csv_of, read_csv
from .utkface import named_files

TRAIN, VALIDATION, CALIBRATION = "train", "validation", "calibration"
_LABELS = [task.column for task in TASKS]


@dataclass
class FolderReport:
    """What was found while reading a folder of images: the number of images, and problems."""

    images: int = 0
    # Names are in one line each.
    badly_named: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)  # as "name: why"
    copy_groups: int = 0  # groups of byte-identical files
    copy_files: int = 0  # files in these groups
    contradictory_groups: int = 0  # groups whose files have different labels
    contradictory_files: int = 0  # files in these groups
    # By column: the number of images that are used although they lack this label.
    unlabelled: dict[str, int] = field(default_factory=dict)
    unused_columns: list[str] = field(default_factory=list)  # of the CSV file

    @property
    def warning(self) -> str:
        """How many files cannot be read, with an example; an empty text if there are none."""
        if not (n := len(self.unreadable)):
            return ""
        example = self.unreadable[0]
        if n == 1:
            return f"1 image cannot be read and is left out ({example})."
        return f"{n:,} images cannot be read and are left out, such as {example}."

    def __str__(self) -> str:
        def named(names: list[str]) -> str:
            return f"{len(names):,}" + (
                f" ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})" if names else ""
            )

        lacking = " and ".join(f"{n:,} of {name}" for name, n in self.unlabelled.items())
        return "\n".join(
            (
                f"images             {self.images:,} different ones, ready to use",
                f"badly named        {named(self.badly_named)}: left out",
                f"unreadable         {named(self.unreadable)}: left out",
                (
                    f"identical copies   {self.copy_files:,} files in {self.copy_groups:,} groups:"
                    " each kept once"
                ),
                (
                    f"contradictory      {self.contradictory_files:,} of these files, in"
                    f" {self.contradictory_groups:,} groups, carry different labels: left out"
                ),
                *(
                    [f"without a label    {lacking}: used for their other labels"]
                    if lacking
                    else []
                ),
                *(
                    [f"unused columns     {', '.join(self.unused_columns)}: no task has this name"]
                    if self.unused_columns
                    else []
                ),
            )
        )


def read_images(
    folder: str | Path, *, verify: bool = False, progress: bool = True
) -> tuple[pd.DataFrame, FolderReport]:
    """Read the labelled images of a folder. Returns their table and the report.

    `folder` is a folder of UTKFace's images, a CSV file of your own, or a folder that contains a
    labels.csv (see `labels_csv`). The table is in the order of the hashes. Columns: `file` (path),
    `sha256` (of the file's bytes, in hex), a column for each task (a label's index, or years; NaN
    if it is missing), `split`. With `verify`, every image is decoded, which takes about half a
    minute for UTKFace.
    """
    files, report = read_files(as_path(folder), verify=verify, progress=progress)
    return without_copies(files, report), report


def without_copies(files: pd.DataFrame, report: FolderReport) -> pd.DataFrame:
    """The images of `read_files` without copies. What is left out is counted in `report`.

    One of several identical copies is kept. If their labels differ, all are left out. The column
    `split` is added.
    """
    sizes, contradicts = _copies(files)
    report.copy_groups, report.copy_files = len(sizes), int(sizes.sum())
    report.contradictory_groups, report.contradictory_files = (
        int(contradicts.sum()),
        int(sizes[contradicts].sum()),
    )

    images = files[~files["sha256"].isin(sizes[contradicts].index)]
    # `first` skips missing labels: a copy may have a label that another one lacks.
    images = images.groupby("sha256", as_index=False).first()[files.columns]
    images["split"] = images["sha256"].map(split_of)
    report.images = len(images)
    report.unlabelled = {name: n for name, n in images[_LABELS].isna().sum().items() if n}
    return images


def contradicting_copies(folder: Path, *, progress: bool = True) -> pd.DataFrame:
    """Byte-identical files with different labels, which `read_images` leaves out.

    One row per file, in the order of the hashes. Columns as in `read_images`, without `split`.
    """
    files, _ = read_files(folder, progress=progress)
    _, contradicts = _copies(files)
    chosen = files["sha256"].isin(contradicts[contradicts].index)
    return files[chosen].sort_values("sha256", kind="stable", ignore_index=True)


def read_files(
    folder: Path, *, verify: bool = False, progress: bool = True
) -> tuple[pd.DataFrame, FolderReport]:
    """Read every well-named, readable file, including copies. Returns a table and the report.

    The columns are those of `read_images`, without `split`. The report lists the other files.
    """
    own = csv_of(folder)
    listed, unused = (named_files(folder), []) if own is None else read_csv(own)
    report, rows = FolderReport(unused_columns=[*map(_line, unused)]), []
    with ThreadPoolExecutor() as pool:
        contents = pool.map(lambda each: _read(each[0], verify), listed)
        bar = tqdm(contents, "Reading", len(listed), leave=False, disable=not progress)
        try:
            for (file, labels), (sha256, wrong) in zip(listed, bar, strict=True):
                if labels is None:
                    report.badly_named.append(_line(file.name))
                elif wrong:
                    report.unreadable.append(f"{_line(file.name)}: {wrong}")
                else:
                    rows.append({"file": str(file), "sha256": sha256, **labels})
        finally:  # after Ctrl-C, do not read the rest
            pool.shutdown(cancel_futures=True)
    return pd.DataFrame(rows, columns=["file", "sha256", *_LABELS]), report


def _line(name: str) -> str:
    return printable(name).replace("\n", "\\x0a")


def _copies(images: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Number of files, and whether their labels differ, for each hash that several files share.

    A missing label does not differ from any other.
    """
    copies = images[images.duplicated("sha256", keep=False)].groupby("sha256")[_LABELS]
    return copies.size(), copies.nunique().gt(1).any(axis=1)


def _read(file: Path, verify: bool) -> tuple[str, str]:
    """The SHA-256 of a file's bytes, and why it cannot be read; one of the two is empty.

    With `verify`, an image that cannot be decoded cannot be read.
    """
    try:
        with open_file(file, MOST_BYTES) as opened:
            if verify:
                with opened_image(opened) as image:
                    as_rgb(image)
                opened.seek(0)
            return hashlib.file_digest(opened, "sha256").hexdigest(), ""
    except MemoryError:
        return "", "needs more memory than there is"
    except Exception as error:  # damaged files raise nearly anything
        is_damaged = not isinstance(error, OSError) or error.errno is None
        return "", "damaged" if is_damaged else first_line(error)


def split_of(sha256: str) -> str:
    """The split of an image, by its hash.

    12 of 15 images are for training, 2 for validation and 1 for calibration. Calibration images are
    used for temperatures and intervals, never for reported numbers.
    """
    number = int(sha256, 16)
    if number % 5:
        return TRAIN
    return VALIDATION if number % 15 else CALIBRATION
