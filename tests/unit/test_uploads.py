"""The upload folder, and what is deleted in it."""

import base64
import errno
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
from starlette.formparsers import MultiPartException

from facemtl import scratch
from facemtl.errors import FaceMTLError
from facemtl.ui import uploads
from facemtl.ui.photo_requests import WithoutName, uploaded
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


def test_a_system_that_cannot_lock_gets_an_error_and_no_further_folders(tmp_path, monkeypatch):
    tries = []

    def cannot(lock, *_, **__) -> None:
        if len(tries) == 3:
            raise KeyboardInterrupt  # it would go on
        tries.append(lock)
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(scratch, "temporary", tmp_path.joinpath)
    monkeypatch.setattr(scratch.FileLock, "acquire", cannot)
    with pytest.raises(OSError, match="locks"):
        uploads.folder.__wrapped__()
    assert len(tries) == 1


def test_new_photos_are_refused_while_the_folder_is_full(monkeypatch):
    """As an upload, which is checked while it arrives, and as a data URL."""
    monkeypatch.setattr(uploads, "MOST_BYTES", sum(file_sizes()) + 100)
    url = f"data:image/jpeg;base64,{base64.b64encode(b'1').decode()}"
    part = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n' + bytes(
        2**20
    )
    scope = {"type": "http", "headers": [(b"content-type", b"multipart/form-data; boundary=b")]}

    async def receive() -> dict:
        return {"type": "http.request", "body": part, "more_body": True}

    def arrive() -> int:
        return len(support.finished(WithoutName(scope, receive)())["body"])

    (uploads.folder() / "deep").mkdir()
    (large := uploads.folder() / "deep" / "photo").write_bytes(bytes(50))
    assert Path(uploaded(url)["path"]).read_bytes() == b"1" and arrive() > 2**20
    large.write_bytes(bytes(100))
    before = file_sizes()
    with pytest.raises(FaceMTLError, match="Too many photos"):
        uploaded(url)
    with pytest.raises(MultiPartException) as refused:
        arrive()
    assert refused.value.message == uploads.FULL and file_sizes() == before
    large.unlink()
    assert arrive() > 2**20


def file_sizes() -> list[int]:
    return [file.stat().st_size for file in uploads.folder().rglob("*") if file.is_file()]


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
