"""Doors for files: only regular files are opened, and nothing is waited for."""

import multiprocessing
import os
import re
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from facemtl.data.download import unpack
from facemtl.data.images import load_image
from facemtl.data.labels_csv import labelled_tasks
from facemtl.data.reading import read_images
from facemtl.errors import FaceMTLError
from facemtl.evaluation import findings
from facemtl.faces import detector, open_image
from facemtl.files import read_table
from facemtl.inference import batch
from facemtl.inference.predictor import LoadedModel, Predictor
from facemtl.label_sets import read_labels, require_used
from facemtl.models import backbones
from facemtl.models.model_file import load_weights
from facemtl.regular import read_bytes, read_of_system
from facemtl.ui.launch import read_visitors
from tests import support

PATIENCE = 20  # seconds; a door that waits would wait for ever
FACE = support.composites(1)[0]


@pytest.fixture(autouse=True)
def nothing_is_waited_for() -> Iterator[None]:
    def stop(*_) -> None:
        raise TimeoutError("it waits for something that is not a file")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def device() -> Iterator[str]:
    """A device that has nothing to say yet, as /dev/zero never ends: a terminal."""
    ours, theirs = os.openpty()
    yield os.ttyname(theirs)
    os.close(ours)
    os.close(theirs)


def make_socket(path: Path, device: str) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))  # the path of a socket may have only 108 bytes


NOT_FILES: dict[str, tuple[Callable[[Path, str], None], str]] = {
    "a pipe": (lambda path, device: os.mkfifo(path), "a named pipe, not a file"),
    "a device": (lambda path, device: path.symlink_to(device), "a device, not a file"),
    "a socket": (make_socket, "a socket, not a file"),
    "a folder": (lambda path, device: path.mkdir(), "Is a directory"),
    "an endless link": (lambda path, device: path.symlink_to(path), "symbolic links"),
}
ENDLESS = Path("/proc/self/pagemap")
if ENDLESS.exists():
    NOT_FILES["an endless file"] = (
        lambda path, device: path.symlink_to(ENDLESS),
        "a file of the system, not of a disk",
    )


def detect(file: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detector, "NETWORK", file)
        detector._load.__wrapped__()


def pretrained(file: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbones, "FACE_RESNET_FILE", file)
        backbones.backbone_named("face-resnet", pretrained=True)


def found(file: Path) -> None:
    findings.load_findings(file.parent)


def journal(file: Path) -> None:
    batch.predict(Predictor([]), {"x": FACE}, file)


DOORS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "an image": ("x.jpg", open_image),
    "an image to train on": ("x.jpg", lambda file: load_image(file, 9)),
    "a model": ("x.onnx", LoadedModel.load),
    "a model to start from": ("x.onnx", load_weights),
    "a folder of models": ("x.onnx", lambda file: Predictor.load(file.parent)),
    "the detector": ("x.onnx", detect),
    "pretrained weights": ("x.safetensors", pretrained),
    "a CSV of labels": ("labels.csv", labelled_tasks),
    "a folder with a CSV": ("labels.csv", lambda file: labelled_tasks(file.parent)),
    "labels": ("labels.toml", read_labels),
    "labels beside data": ("labels.toml", lambda file: require_used(file.parent)),
    "a table": ("x.csv", lambda file: read_table(file, {}, "make it")),
    "findings": ("findings.json", found),
    "visitors": ("x.txt", read_visitors),
    "an archive": ("x.tar.gz", lambda file: unpack(file, file.parent / "UTKFace")),
    "a journal": ("x.journal", journal),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", NOT_FILES)
def test_what_is_not_a_file_is_refused_at_once(door, kind, tmp_path, device, monkeypatch):
    name, read = DOORS[door]
    make, said = NOT_FILES[kind]
    monkeypatch.chdir(tmp_path)
    make(tmp_path / name, device)
    if (door, kind) == ("a CSV of labels", "a folder"):
        return  # a folder may have any name
    with pytest.raises((FaceMTLError, OSError)) as error:
        read(tmp_path / name)
    assert not isinstance(error.value, TimeoutError), error.value
    if door != "findings":  # it says what makes them anew
        assert re.search(said, str(error.value)) and "\n" not in str(error.value)


# These may be larger: an archive, and what a run of our own has begun.
UNLIMITED = {"an archive", "a journal"}


@pytest.mark.parametrize("door", sorted(DOORS.keys() - UNLIMITED))
def test_what_is_far_too_large_is_refused_at_once(door, tmp_path):
    name, read = DOORS[door]
    (tmp_path / name).touch()
    os.truncate(tmp_path / name, 10**12)  # it takes no room
    with pytest.raises((FaceMTLError, OSError)) as error:
        read(tmp_path / name)
    if door != "findings":
        assert "It has 1,000,000,000,000 bytes" in str(error.value)


def test_far_too_large_images_are_left_out(tmp_path):
    (tmp_path / "1_0_0_face.jpg").symlink_to(FACE)
    (tmp_path / "1_0_0_large.jpg").touch()
    os.truncate(tmp_path / "1_0_0_large.jpg", 10**12)
    images, report = read_images(tmp_path, progress=False)
    assert len(images) == 1 and "1,000,000,000,000 bytes" in report.warning
    assert batch._content(tmp_path / "1_0_0_large.jpg") == ""


def test_a_file_of_the_system_is_read_where_it_is_meant():
    if ENDLESS.exists():
        assert read_of_system("/proc/self/comm").strip()


def test_a_link_to_a_file_is_followed(tmp_path):
    (tmp_path / "x.jpg").symlink_to(FACE)
    assert read_bytes(tmp_path / "x.jpg") == FACE.read_bytes()
    assert open_image(tmp_path / "x.jpg").size == open_image(FACE).size


def test_images_that_cannot_be_read_are_counted_with_an_example(tmp_path, device):
    for i, (make, _) in enumerate(NOT_FILES.values()):
        make(tmp_path / f"1_0_0_{i}.jpg", device) if make is not make_socket else None
    (tmp_path / "1_0_0_face.jpg").symlink_to(FACE)
    images, report = read_images(tmp_path, verify=True, progress=False)
    assert [Path(file).name for file in images["file"]] == ["1_0_0_face.jpg"]
    n = len(NOT_FILES) - 1  # no socket
    assert len(report.unreadable) == n
    assert report.warning.startswith(
        f"{n} images cannot be read and are left out, such as 1_0_0_0.jpg"
    )
    assert "a named pipe, not a file" in report.warning


def test_linked_folders_are_counted_with_an_example(tmp_path):
    (tmp_path / "x.jpg").symlink_to(FACE)
    (tmp_path / "again").symlink_to(tmp_path)
    said = []
    assert list(batch.find_images([tmp_path], said.append)) == ["x.jpg"]
    (sentence,) = said
    assert "1 folder could not be searched" in sentence and str(tmp_path / "again") in sentence


def refuses_a_closed_folder(folder: Path) -> None:
    if os.geteuid() == 0:
        os.setuid(12_345)  # root reads every folder
    for read in (read_images, Predictor.load, lambda folder: batch.find_images([folder])):
        with pytest.raises(FaceMTLError, match="Permission denied"):
            read(folder)


def test_a_closed_folder_is_not_taken_for_an_empty_one():
    # In a process of its own, which may become another user. Others cannot see pytest's folders.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0)
        child = multiprocessing.get_context("fork").Process(
            target=refuses_a_closed_folder, args=(Path(folder),)
        )
        child.start()
        child.join()
        Path(folder).chmod(0o700)
    assert child.exitcode == 0


def test_a_path_that_is_too_long_is_reported(tmp_path):
    long = tmp_path / "/".join(["a" * 200] * 30)
    for read in (read_images, Predictor.load, lambda folder: open_image(folder / "x.jpg")):
        with pytest.raises(FaceMTLError, match="name too long"):
            read(long)
    # Among several files, it does not keep the others from being predicted.
    assert [*batch.find_images([long / "x.jpg", FACE])][1].endswith(FACE.name)
