"""Predictions for many images, in a run that can be resumed and shared by several processes.

The work is done in rounds. In each round, every process of the `Team` predicts its next few images,
and the first process appends all answers to one journal, in the order of the images. At the end,
the tables are written from the journal.
"""

import csv
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ..errors import FaceMTLError, first_line
from ..faces import DETECTOR, as_record, detect, open_image, whole
from ..files import written_whole
from ..regular import naming, open_file
from .predictor import COLUMNS, Predictor, in_words

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif",
)  # fmt: skip
ROUND = 4  # images per process and round; a killed run repeats at most one round


def find_images(
    paths: Sequence[Path], report: Callable[[str], None] = lambda said: None
) -> dict[str, Path]:
    """The named files and all images in the named folders, as {name: file}, each once, in order.

    An image's name is its path below the folder that holds all `paths`. If they are on several
    drives, it is the whole path. `report` is called with a sentence if folders cannot be searched.
    Raises FaceMTLError if there are no images.
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
        return {file.as_posix(): file for file in files}
    return {file.relative_to(root).as_posix(): file for file in files}


def _below(folder: Path, closed: list[str]) -> list[Path]:
    """All images in a folder and its subfolders, sorted by path. Hidden ones are left out.

    Folders that cannot be searched are added to `closed`, with the reason. Linked folders are among
    them: a link may lead back to a folder above it.
    """

    def is_closed(error: OSError) -> None:
        closed.append(f"{error.filename} ({first_line(error)})")

    found = []
    for parent, folders, files in os.walk(folder, onerror=is_closed):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [path for name in folders if os.path.islink(path := os.path.join(parent, name))]
        closed += [f"{path} (it is a link: name its folder)" for path in links]
        names = [n for n in files if not n.startswith(".") and n.lower().endswith(IMAGE_SUFFIXES)]
        found += [Path(parent, name) for name in names]
    return sorted(found, key=lambda file: file.relative_to(folder).parts)


class Team:
    """The processes that `accelerate launch` started, or this process alone."""

    def __init__(self) -> None:
        given = os.environ.get("WORLD_SIZE", "1")
        if not given.isdecimal() or not int(given):
            raise FaceMTLError(f"WORLD_SIZE is {given!r}, expected a number of processes.")
        self.rank, self.size = 0, int(given)
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

    A record is `image, error` or `image, faces`. A face has `box, angle, score, poor, answers`. If
    an image cannot be read or shows no face, its record has the error, and the run goes on.
    `report` is called with each record, also with those that the journal already holds. Raises
    FaceMTLError if the journal is damaged, or belongs to other images, models or options.
    """
    team = team or Team()
    asked = _asked(predictor, images, no_detect)
    n_done = team.from_first(_open(journal, asked, images, report) if team.is_first else 0)
    left = islice(images.items(), n_done, None)
    while ours := list(islice(left, team.size * ROUND)):
        mine = dict(ours[team.rank * ROUND : (team.rank + 1) * ROUND])
        records = team.gather(_records(predictor, mine, no_detect))
        if team.is_first:
            with naming(journal), journal.open("a", encoding="ascii", newline="\n") as file:
                file.writelines(json.dumps(record) + "\n" for record in records)
            for record in records:
                report(record)


def _records(predictor: Predictor, images: Mapping[str, Path], no_detect: bool) -> list[dict]:
    """The record of each image, in order."""
    faces, errors = {}, {}
    for name, file in images.items():
        try:
            faces[name] = _faces(file, no_detect)
        except FaceMTLError as error:
            errors[name] = str(error)
        except Exception as error:  # one bad file must not stop the run
            errors[name] = f"This image cannot be used ({type(error).__name__}: {error})."
    crops = [crop for found in faces.values() for crop, _ in found]
    answers = iter(in_words(predictor.predict_crops(crops, faces=range(len(crops)))))
    return [
        {"image": name, "error": errors[name]}
        if name in errors
        else {"image": name, "faces": [{**f, "answers": next(answers)} for _, f in faces[name]]}
        for name in images
    ]


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
    """Everything that the answers depend on. A journal is continued only by the same run."""
    listed = hashlib.sha256()
    for name, file in images.items():
        size = -1
        with suppress(OSError):  # reported later, as the error of that image
            size = file.stat().st_size
        listed.update(f"{name}\0{size}\n".encode("utf-8", "surrogateescape"))
    return {
        "images": [len(images), listed.hexdigest()],
        "models": {loaded.name: loaded.info.fingerprint for loaded in predictor.models},
        "no_detect": no_detect,
        "detector": DETECTOR,
    }


def _open(journal: Path, asked: dict, images: Iterable[str], report: Callable[[dict], None]) -> int:
    """Start or continue the journal. Returns the number of images that are done.

    Raises FaceMTLError if the journal is damaged or belongs to another run.
    """
    journal.parent.mkdir(parents=True, exist_ok=True)
    length = n_lines = 0
    names = iter(images)
    for line, content in _lines(journal) if journal.exists() else ():
        if n_lines == 0 and content != asked:
            other = ", ".join(name for name in asked if content.get(name) != asked[name])
            raise FaceMTLError(
                f"{journal} belongs to an interrupted run with other {other}. Delete it to start"
                " again."
            )
        if n_lines > 0:
            if content.get("image") != next(names, None):
                raise FaceMTLError(f"{journal} is damaged. Delete it to start again.")
            report(content)
        length, n_lines = length + len(line), n_lines + 1
    if n_lines == 0:
        with naming(journal):
            journal.write_text(json.dumps(asked) + "\n", "ascii")
        return 0
    os.truncate(journal, length)  # a kill may have cut off the last line
    return n_lines - 1


def _lines(journal: Path) -> Iterator[tuple[bytes, dict]]:
    """The complete lines of a journal, each with its JSON object, or {} if it is not JSON."""
    with open_file(journal) as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            content = {}
            with suppress(ValueError):
                content = json.loads(line)
            yield line, content


# -------------------------------------------------------------------------------------- the tables


def check_writable(file: Path) -> None:
    """Create the file's folder. Raises OSError if the file cannot be written."""
    file.parent.mkdir(parents=True, exist_ok=True)
    is_new = not file.exists()
    file.open("a").close()
    if is_new:
        file.unlink()


def write_tables(journal: Path, csv_file: Path | None, json_file: Path | None) -> str:
    """Write the tables of a finished journal. Returns a summary such as "12 faces of 10 images".

    Raises FaceMTLError if no image gave a prediction. Then no table is written.
    """
    n_faces = [len(record.get("faces", ())) for record in _read(journal)]
    if not any(n_faces):
        raise FaceMTLError(f"None of the {len(n_faces)} images gave a prediction.")
    for file, write in ((csv_file, _write_csv), (json_file, _write_json)):
        if file:
            text = {"encoding": "utf-8", "errors": "surrogateescape", "newline": "\n"}
            with written_whole(file) as partial, partial.open("w", **text) as opened:
                write(_read(journal), opened)
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
                writer.writerow([row[name] for name in COLUMNS])


def _write_json(records: Iterator[dict], file: TextIO) -> None:
    """Write a JSON array with one image per line."""
    file.write("[")
    for position, record in enumerate(records):
        file.write((",\n" if position else "\n") + json.dumps(record))
    file.write("\n]\n")
