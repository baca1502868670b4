"""Predictions for many images, in a run that can be resumed and shared by several processes.

The work is done in rounds. In each round, every process of the `Team` predicts its next few images,
and the first process appends all answers to one journal, in the order of the images. At the end,
the tables are written from the journal.
"""

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ..errors import FaceMTLError, first_line
from ..escapes import escaped, printable
from ..faces import DETECTOR, as_record, detect, open_image, whole
from ..files import written_whole
from ..processes import number_of_processes
from ..regular import MOST_BYTES, naming, open_file
from .predictor import COLUMNS, Predictor, in_words

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif",
)  # fmt: skip
ROUND = 4  # images per process and round; a killed run repeats at most one round


def find_images(
    paths: Sequence[Path], report: Callable[[str], None] = lambda said: None
) -> dict[str, Path]:
    """The named files and all images in the named folders, as {name: file}, each once, in order.

    An image's name is its path below the folder that holds all `paths`, as `escapes.escaped` writes
    it. If they are on several drives, it is the whole path. `report` is called with a message if
    folders are not searched. Raises FaceMTLError if there are no images.
    """
    given = [Path(os.path.abspath(path)) for path in paths]
    files, closed = [], []
    for path in given:
        files += _below(path, closed) if os.path.isdir(path) else [path]
    said = f"Images end in {', '.join(IMAGE_SUFFIXES)}."
    if closed:
        said = f"{_counted(len(closed), 'folder')} could not be searched, such as {closed[0]}."
    if not files:
        raise FaceMTLError(f"There are no images in {', '.join(map(str, paths))}. {said}")
    if closed:
        report(said)
    try:
        root = os.path.commonpath([p if os.path.isdir(p) else p.parent for p in given])
    except ValueError:  # the paths are on several drives
        return {escaped(file.as_posix()): file for file in files}
    return {escaped(file.relative_to(root).as_posix()): file for file in files}


def _below(folder: Path, closed: list[str]) -> list[Path]:
    """All images in a folder and its subfolders, sorted by path. Hidden ones are left out.

    Folders that are not searched are added to `closed`, with the reason. Linked folders are among
    them, because a link may lead back to a folder above it.
    """

    found, left = [], [str(folder)]
    while left:  # `os.walk` calls itself, and fails in deep folders
        parent = left.pop()
        try:
            with os.scandir(parent) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if not entry.is_dir():
                        if entry.name.lower().endswith(IMAGE_SUFFIXES):
                            found.append(Path(entry.path))
                    elif entry.is_symlink():
                        closed.append(f"{entry.path} (a link; name it, too, to search it)")
                    else:
                        left.append(entry.path)
        except OSError as error:
            closed.append(f"{error.filename} ({first_line(error)})")
    return sorted(found, key=lambda file: file.relative_to(folder).parts)


class Team:
    """The processes that `accelerate launch` started, or this process alone."""

    def __init__(self) -> None:
        self.rank, self.size = 0, number_of_processes()
        if self.size > 1:
            # Imported here because it needs torch, which a single process can do without.
            from accelerate import PartialState

            self.rank = PartialState(cpu=True).process_index

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def gather(self, values: list) -> list:
        """The values of all processes, in the order of their ranks."""
        if self.size == 1:
            return values
        from accelerate.utils import gather_object

        return gather_object(values)

    def from_first(self, value: Any) -> Any:
        """The first process's value, in every process."""
        return self.gather([value])[0]


def predict(
    predictor: Predictor,
    images: Mapping[str, Path],
    journal: Path,
    *,
    team: Team | None = None,
    no_detect: bool = False,
    report: Callable[[dict], None] = lambda record: None,
) -> None:
    """Write one record per image into `journal`. Images that it already holds are skipped.

    A record is `image, content, error` or `image, content, faces`, where `content` is a hash of the
    file. A face has `box, angle, score, poor, answers`. If an image cannot be read or shows no
    face, its record has the error, and the run goes on. If an image has changed since it was
    predicted, the run goes on from there. `report` is called with each record, also with those that
    the journal already holds. Raises FaceMTLError if the journal is damaged, or belongs to other
    images, models or options.
    """
    team = team or Team()
    asked = _asked(predictor, images, no_detect)
    n_done = team.from_first(_open(journal, asked, images, report) if team.is_first else 0)
    left = islice(images.items(), n_done, None)
    while ours := list(islice(left, team.size * ROUND)):
        mine = dict(ours[team.rank * ROUND : (team.rank + 1) * ROUND])
        records = team.gather(_records(predictor, mine, no_detect))
        if team.is_first:
            _append(journal, records)
            for record in records:
                report(record)


def _records(predictor: Predictor, images: Mapping[str, Path], no_detect: bool) -> list[dict]:
    """The record of each image, in order."""
    faces, errors, contents = {}, {}, {}
    for name, file in images.items():
        contents[name] = _content(file)
        try:
            faces[name] = _faces(file, no_detect)
        except FaceMTLError as error:
            errors[name] = printable(str(error))
        except Exception as error:  # one bad file must not stop the run
            said = f"This image cannot be used ({type(error).__name__}: {error})."
            errors[name] = printable(said)
    crops = [crop for found in faces.values() for crop, _ in found]
    answers = iter(in_words(predictor.predict_crops(crops, faces=range(len(crops)))))
    return [
        {"image": name, "content": contents[name]}
        | (
            {"error": errors[name]}
            if name in errors
            else {"faces": [{**f, "answers": next(answers)} for _, f in faces[name]]}
        )
        for name in images
    ]


def _content(file: Path) -> str:
    """A hash of a file's bytes. It is an empty text if the file cannot be read."""
    try:
        with open_file(file, MOST_BYTES) as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:  # reported as the error of that image
        return ""


def _faces(file: Path, no_detect: bool) -> list[tuple[np.ndarray, dict]]:
    """The crop and the description of each face in an image.

    Raises FaceMTLError if the image cannot be read or no face is found.
    """
    image = open_image(file)
    faces = [whole(image)] if no_detect else detect(image)
    if not faces:
        raise FaceMTLError("no face found. If the image is a crop of a face, use --no-detect.")
    return [(face.crop, as_record(face, image)) for face in faces]


# ------------------------------------------------------------------------------------- the journal


def _asked(predictor: Predictor, images: Mapping[str, Path], no_detect: bool) -> dict:
    """Everything that the answers depend on, except the content of the images.

    A journal is continued only by the same run.
    """
    listed = hashlib.sha256("\n".join(images).encode()).hexdigest()
    return {
        "images": [len(images), listed],
        "models": {loaded.name: loaded.info.fingerprint for loaded in predictor.models},
        "no_detect": no_detect,
        "detector": DETECTOR,
    }


def _open(
    journal: Path, asked: dict, images: Mapping[str, Path], report: Callable[[dict], None]
) -> int:
    """Start or continue the journal. Returns the number of images that are done.

    If an image has changed, its record and all later ones are deleted. Raises FaceMTLError if the
    journal is damaged or belongs to another run.
    """
    length = n_lines = 0
    left = iter(images.items())
    for line, content in _lines(journal) if journal.exists() else ():
        if n_lines == 0 and content != asked:
            other = ", ".join(name for name in asked if content.get(name) != asked[name])
            raise FaceMTLError(
                f"{journal} belongs to an interrupted run with other {other}. Delete this file to"
                " start again."
            )
        if n_lines > 0:
            name, file = next(left, (None, journal))
            if "content" not in content or content.get("image") != name:
                raise FaceMTLError(f"{journal} is damaged. Delete it to start again.")
            if content["content"] != _content(file):
                break
            report(content)
        length, n_lines = length + len(line), n_lines + 1
    if journal.exists():
        os.truncate(journal, length)  # a kill may have cut off the last line
    if n_lines == 0:
        _append(journal, [asked])
        return 0
    return n_lines - 1


def _append(journal: Path, lines: Iterable[dict]) -> None:
    """Add lines to a journal, so that they survive a power failure."""
    with naming(journal), journal.open("a", encoding="ascii", newline="\n") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())


def _lines(journal: Path) -> Iterator[tuple[bytes, dict]]:
    """The complete lines of a journal, each with its JSON object, or {} if it has none."""
    with open_file(journal) as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            content = {}
            with suppress(ValueError, TypeError):
                content = dict(json.loads(line))
            yield line, content


# -------------------------------------------------------------------------------------- the tables


def write_tables(journal: Path, csv_file: Path | None, json_file: Path | None) -> str:
    """Write the tables of a finished journal. Returns a summary such as "12 faces of 10 images".

    Raises FaceMTLError if no image gave a prediction. Then no table is written.
    """
    n_faces = [len(record.get("faces", ())) for record in _read(journal)]
    if not any(n_faces):
        raise FaceMTLError(f"None of the {len(n_faces)} images gave a prediction.")
    for file, write in ((csv_file, _write_csv), (json_file, _write_json)):
        if file:
            with written_whole(file) as opened:
                text = io.TextIOWrapper(opened, "utf-8", newline="\n")
                write(_read(journal), text)
                text.detach()  # writes the rest, and leaves the file open
    failed = n_faces.count(0)
    words = f"{_counted(sum(n_faces), 'face')} of {_counted(len(n_faces) - failed, 'image')}"
    return f"{words}; {_counted(failed, 'image')} left out" if failed else words


def _counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _read(journal: Path) -> Iterator[dict]:
    """The records of a journal, without its first line."""
    return (record for _, record in islice(_lines(journal), 1, None))


def _write_csv(records: Iterator[dict], file: TextIO) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for record in records:
        for i, face in enumerate(record.get("faces", ())):
            for answer in face["answers"]:
                row = {**answer, "image": record["image"], "face": i}
                row["model"] = escaped(row["model"])
                writer.writerow([row[name] for name in COLUMNS])


def _write_json(records: Iterator[dict], file: TextIO) -> None:
    """Write a JSON array with one image per line."""
    file.write("[")
    for position, record in enumerate(records):
        said = {name: value for name, value in record.items() if name != "content"}
        file.write((",\n" if position else "\n") + json.dumps(said))
    file.write("\n]\n")
