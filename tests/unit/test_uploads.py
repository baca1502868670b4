"""The upload folder, and what is deleted in it."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from facemtl.ui import uploads
from tests import support

# A process with a photo in its upload folder. It tells the path, and waits.
KEEPER = """
import sys
from facemtl.ui import uploads
photo = uploads.folder() / "photo"
photo.write_bytes(b"1")
print(photo, flush=True)
sys.stdin.read()
"""


@contextmanager
def keeper(temporary: Path) -> Iterator[tuple[subprocess.Popen, Path]]:
    environment = {**os.environ, "TMPDIR": str(temporary)}
    command, pipe = [sys.executable, "-c", KEEPER], subprocess.PIPE
    with subprocess.Popen(
        command, env=environment, cwd=support.ROOT, stdin=pipe, stdout=pipe, text=True
    ) as process:
        yield process, Path(process.stdout.readline().strip())
        process.stdin.close()


def test_the_folder_is_private_and_deleted_at_the_end(tmp_path):
    with keeper(tmp_path) as (process, photo):
        private = photo.parents[1]
        assert photo.is_file() and stat.S_IMODE(private.stat().st_mode) == 0o700
        assert private.parent == tmp_path
    assert process.returncode == 0 and not [*tmp_path.iterdir()]


def test_what_a_killed_process_left_is_deleted_by_the_next_one(tmp_path):
    """The folder of a process that lives stays, and so does what is no folder of this user."""
    with keeper(tmp_path) as (_, living), keeper(tmp_path) as (killed, left):
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert left.is_file()
        name, _, _ = left.parents[1].name.rpartition("-")
        (tmp_path / f"{name}-file").write_bytes(b"2")
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "mine").write_bytes(b"3")
        (tmp_path / f"{name}-link").symlink_to(tmp_path / "elsewhere")
        with keeper(tmp_path) as (_, new):
            assert new.is_file() and living.is_file() and not left.parents[1].exists()
            assert len({path.parents[1].name for path in (new, living, left)}) == 3
        assert (tmp_path / f"{name}-file").is_file() and (tmp_path / "elsewhere/mine").is_file()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid(), reason="needs the rights of root")
def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    with keeper(tmp_path) as (killed, left):
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    os.chown(left.parents[1], 12345, -1)
    with keeper(tmp_path) as (_, new):
        assert left.is_file() and new.parents[1] != left.parents[1]


def test_a_photo_is_read_once_and_other_files_stay(tmp_path):
    photo, other = uploads.folder() / "photo", tmp_path / "photo"
    for file in (photo, other):
        file.write_bytes(b"1")
        with pytest.raises(ValueError), uploads.read_once(str(file)) as path:
            raise ValueError(path)  # not an image
    assert not photo.exists() and other.exists()
    with uploads.read_once(None) as path:
        assert path is None


def test_old_files_and_empty_folders_are_deleted_and_new_ones_stay(tmp_path):
    old, empty, new = tmp_path / "a" / "old.jpg", tmp_path / "empty", tmp_path / "new.jpg"
    old.parent.mkdir()
    empty.mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    old.write_bytes(b"1")
    time.sleep(0.3)
    new.write_bytes(b"2")
    uploads.sweep(tmp_path, age=0.2)
    # Its file was deleted just now, so the folder "a" is new.
    assert {*tmp_path.rglob("*")} == {tmp_path / "a", new}
    time.sleep(0.3)
    uploads.sweep(tmp_path, age=0.2)
    assert not [*tmp_path.iterdir()]
