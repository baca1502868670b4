"""Many images -> their predictions, in a run that can be killed, continued, and shared out over machines.

A run keeps a journal: its first line says what was asked for, each further line holds the answers to one batch of images.
Tables are written from whole journals only. A run over all images is shard 1 of 1, so that shards, once joined, give the
same bytes.
"""

import csv
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from ..errors import FaceMTLError
from ..faces import DETECTOR, as_record, detect, open_image, whole
from ..tables import written_whole
from .predictor import COLUMNS, Predictor, in_words

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif")
BATCH = 4  # images per line of a journal: as many are done again after a kill, at most


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of the work; `number` counts from 1. Batches are dealt out in turn."""

    number: int = 1
    count: int = 1

    def journal(self, target: Path) -> Path:
        """Its file, beside the table that is to be written."""
        return target.with_name(f"{target.stem}.{self.number}-of-{self.count}.jsonl")

    def n_images(self, n_images: int) -> int:
        """How many of so many images are its own."""
        return sum(map(len, self.batches(range(n_images)).values()))

    def batches(self, names: Sequence[str]) -> dict[int, Sequence[str]]:
        """By number, the batches of images that are this shard's."""
        return {i: names[BATCH * i : BATCH * (i + 1)] for i in range(self.number - 1, _n_batches(len(names)), self.count)}


def find_images(paths: Sequence[Path]) -> dict[str, Path]:
    """The files named, and all images below the folders named, in order. Each once, by its name in the tables.

    An image is named by its path below the folder that holds all that was given, so no two have the same name.
    """
    given = [Path(os.path.abspath(path)) for path in paths]
    files = [file for path in given for file in (_below(path) if path.is_dir() else [path])]
    if not files:
        raise FaceMTLError(f"There are no images in {', '.join(map(str, paths))}. Images end in {', '.join(IMAGE_SUFFIXES)}.")
    try:
        root = os.path.commonpath([path if path.is_dir() else path.parent for path in given])
    except ValueError:  # on several drives
        return {file.as_posix(): file for file in files}
    return {file.relative_to(root).as_posix(): file for file in files}


def predict(
    predictor: Predictor,
    images: Mapping[str, Path],
    journal: Path,
    shard: Shard,
    *,
    no_detect: bool = False,
    report: Callable[[dict], None] = lambda record: None,
) -> None:
    """Write into `journal` what the models say of the shard's images; what it holds already is not done again.

    `report` is told of each image's record: `image, error`, or `image, faces`, each with `box, angle, score, poor, answers`.
    An image that cannot be read or shows no face has an error, which stops nothing. Raises FaceMTLError where the journal is
    of a run with other images, models or options.
    """
    batches = shard.batches(list(images))
    asked = _asked(predictor, images, shard, no_detect)
    with _continued(journal, asked, list(batches), report) as (file, n_done):
        for number in list(batches)[n_done:]:
            records = _records(predictor, {name: images[name] for name in batches[number]}, no_detect)
            file.write(json.dumps({"batch": number, "images": records}) + "\n")
            file.flush()  # a process that is killed keeps it
            for record in records:
                report(record)


def shards_beside(target: Path) -> list[Path]:
    """The journals of all shards of `target`'s table, in order. Raises FaceMTLError where one is missing."""
    names = re.compile(re.escape(target.stem) + r"\.(\d+)-of-(\d+)\.jsonl")
    folder = target.parent
    found = [tuple(map(int, m.groups())) for f in folder.iterdir() if (m := names.fullmatch(f.name))] if folder.is_dir() else []
    counts = sorted({count for _, count in found})
    if len(counts) != 1:
        several = f" but of {' and of '.join(map(str, counts))}, which do not go together: delete those that are not meant"
        raise FaceMTLError(f"There are no shards named {target.stem}.1-of-N.jsonl in {folder}{several if counts else ''}.")
    missing = [str(number) for number in range(1, counts[0] + 1) if (number, counts[0]) not in found]
    if missing:
        raise FaceMTLError(f"There is no shard {', '.join(missing)} of {counts[0]} of {target.name} in {folder}.")
    return [Shard(number, counts[0]).journal(target) for number in range(1, counts[0] + 1)]


def check_writable(file: Path) -> None:
    """Raise the OSError that writing it would raise; make its folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    is_new = not file.exists()
    file.open("a").close()
    if is_new:
        file.unlink()


def write_tables(journals: Sequence[Path], csv_file: Path | None, json_file: Path | None) -> str:
    """Write the tables of all shards, whose journals come in order; what they hold, in words.

    Raises FaceMTLError where a shard is incomplete or of another run, or where no image has a prediction: then no table is
    touched.
    """
    n_faces = [len(record.get("faces", ())) for record in _joined(journals)]
    if not any(n_faces):
        raise FaceMTLError(f"None of the {len(n_faces)} images gave a prediction.")
    for file, write in ((csv_file, _write_csv), (json_file, _write_json)):
        if file:
            text = {"encoding": "utf-8", "errors": "surrogateescape", "newline": "\n"}
            with written_whole(file) as partial, partial.open("w", **text) as opened:
                write(_joined(journals), opened)
    failed = n_faces.count(0)
    words = f"{sum(n_faces):,} faces of {len(n_faces) - failed:,} images"
    return f"{words}; {failed:,} images left out" if failed else words


# ------------------------------------------------------------------------------------------ images


def _below(folder: Path) -> list[Path]:
    """All images in a folder and its subfolders but for hidden ones, in the order of their names, the same everywhere."""
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in files if not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)]
    return sorted(found, key=lambda file: file.relative_to(folder).parts)


def _records(predictor: Predictor, images: Mapping[str, Path], no_detect: bool) -> list[dict]:
    """What is found in each image of a batch."""
    faces, errors = {}, {}
    for name, file in images.items():
        try:
            faces[name] = _faces(file, no_detect)
        except FaceMTLError as error:
            errors[name] = str(error)
        except Exception as error:  # whatever an odd file brings about, the others are not its victims
            errors[name] = f"This image cannot be used ({type(error).__name__}: {error})."
    crops = [crop for found in faces.values() for crop, _ in found]
    answers = iter(in_words(predictor.predict(crops, faces=range(len(crops)))))
    return [
        {"image": name, "error": errors[name]}
        if name in errors
        else {"image": name, "faces": [{**told, "answers": next(answers)} for _, told in faces[name]]}
        for name in images
    ]


def _faces(file: Path, no_detect: bool) -> list[tuple[np.ndarray, dict]]:
    """The crop of each face, and what is told of it."""
    image = open_image(file)
    faces = [whole(image)] if no_detect else detect(image)
    if not faces:
        raise FaceMTLError("no face found. If the image is a crop of a face, use --no-detect.")
    return [(face.crop, as_record(face, image)) for face in faces]


# ---------------------------------------------------------------------------------------- journals


def _n_batches(n_images: int) -> int:
    return -(-n_images // BATCH)


def _asked(predictor: Predictor, images: Mapping[str, Path], shard: Shard, no_detect: bool) -> dict:
    """All that answers depend on, so that only shards of one run are joined, and only that run is continued."""
    listed = hashlib.sha256()
    for name, file in images.items():
        size = -1
        with suppress(OSError):  # what cannot be read is an error of that image, later
            size = file.stat().st_size
        listed.update(f"{name}\0{size}\n".encode("utf-8", "surrogateescape"))
    return {
        "images": [len(images), listed.hexdigest()],
        "models": {loaded.name: loaded.info.fingerprint for loaded in predictor.models},
        "no_detect": no_detect,
        "detector": DETECTOR,
        "batch": BATCH,
        "shard": [shard.number, shard.count],
    }


@contextmanager
def _continued(journal: Path, asked: dict, numbers: list[int], report: Callable[[dict], None]) -> Iterator[tuple[TextIO, int]]:
    """The journal, open at the end of what is done, and how many batches that are; a line cut off by a kill is dropped."""
    journal.parent.mkdir(parents=True, exist_ok=True)
    length, n_done = 0, 0
    with journal.open("a+", encoding="ascii", newline="\n") as file:
        for position, (line, content) in enumerate(_lines(journal)):
            if position == 0 and content != asked:
                other = ", ".join(name for name in asked if content.get(name) != asked[name])
                raise FaceMTLError(f"{journal} is of an interrupted run with other {other}. Delete it to start anew.")
            if position > 0:
                _check_batch(journal, content, numbers[n_done : n_done + 1])
                n_done += 1
                for record in content["images"]:
                    report(record)
            length += len(line)
        file.truncate(length)
        if length == 0:
            file.write(json.dumps(asked) + "\n")
            file.flush()
        yield file, n_done


def _joined(journals: Sequence[Path]) -> Iterator[dict]:
    """The records of all images, in order. Raises FaceMTLError where a journal is not whole, or not of the same run."""
    lines = [_lines(journal) for journal in journals]
    heads = [next(of_one, (b"", {}))[1] for of_one in lines]
    for journal, head, number in zip(journals, heads, range(1, len(journals) + 1), strict=True):
        if not head:
            raise _incomplete(journal)
        if head.get("shard") != [number, len(journals)] or {**head, "shard": 0} != {**heads[0], "shard": 0}:
            raise FaceMTLError(f"{journal} is not of the same run as {journals[0]}: other images, models or options.")
    for number in range(_n_batches(heads[0]["images"][0])):
        journal, of_one = journals[number % len(journals)], lines[number % len(journals)]
        _, content = next(of_one, (b"", {}))
        if not content:
            raise _incomplete(journal)
        _check_batch(journal, content, [number])
        yield from content["images"]
    for journal, of_one in zip(journals, lines, strict=True):
        for _, content in of_one:
            _check_batch(journal, content, [])


def _incomplete(journal: Path) -> FaceMTLError:
    return FaceMTLError(f"{journal} is not complete. Run its `predict` again: it goes on where it stopped.")


def _lines(journal: Path) -> Iterator[tuple[bytes, dict]]:
    """The whole lines of a journal and what they hold; {} where that is no JSON object."""
    with journal.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return  # its writer was killed
            content = {}
            with suppress(ValueError):
                content = json.loads(line)
            yield line, content


def _check_batch(journal: Path, content: dict, expected: list[int]) -> None:
    """The next line is of the one batch that is expected, if one is. Two processes that wrote one journal are found out."""
    if [content.get("batch")] != expected:
        raise FaceMTLError(f"{journal} is damaged, or two processes wrote it at a time. Start anew without it.")


# ------------------------------------------------------------------------------------------ tables


def _write_csv(records: Iterator[dict], file: TextIO) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for record in records:
        for i, face in enumerate(record.get("faces", ())):
            for answer in face["answers"]:
                row = {**answer, "image": record["image"], "face": i}
                writer.writerow([row[name] for name in COLUMNS])


def _write_json(records: Iterator[dict], file: TextIO) -> None:
    """An array with one image per line."""
    file.write("[")
    for position, record in enumerate(records):
        file.write((",\n" if position else "\n") + json.dumps(record))
    file.write("\n]\n")
