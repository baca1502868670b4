"""The private folder of uploaded photos, and when they are deleted.

A photo is deleted once it has been read, or after KEEP seconds. The process deletes the folder when
it ends. If a process is killed, the next one that starts deletes its folder.
"""

import atexit
import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

from ..scratch import scratch_folder

KEEP = 120  # seconds until an uploaded file that nobody reads is deleted
EVERY = 30  # seconds between two sweeps
MOST_BYTES = 300 * 2**20  # of all files in the folder
FULL = "Too many photos arrive at the moment. Try again in a minute."
_ended = ExitStack()  # deletes the folder
atexit.register(_ended.close)


@cache
def folder() -> Path:
    """The folder of this process. Its name cannot be guessed, and only its user can enter it."""
    return _ended.enter_context(scratch_folder("uploads"))


def delete() -> None:
    """Delete the folder of this process: at its end, and earlier if it ends without `atexit`."""
    _ended.close()


def is_uploaded(path: str | Path) -> bool:
    """Whether a path is in the folder. Raises ValueError or OSError if it is not a path."""
    return Path(path).resolve().is_relative_to(folder().resolve())


@contextmanager
def read_once(path: str | Path | None) -> Iterator[str | Path | None]:
    """An uploaded file, which is deleted at the end: nobody needs it again."""
    try:
        yield path
    finally:
        if path and is_uploaded(path):
            Path(path).unlink(missing_ok=True)


def is_full() -> bool:
    """Whether the files in the folder take more than MOST_BYTES."""
    total = 0
    for directory, _, files in os.walk(folder()):
        for name in files:
            with suppress(OSError):  # deleted meanwhile
                total += Path(directory, name).lstat().st_size
    return total > MOST_BYTES


def sweep(path: Path, age: float) -> None:
    """Delete everything in a folder that has not changed for `age` seconds.

    This includes interrupted uploads, links and empty folders. The folder itself stays.
    """
    oldest = time.time() - age
    for directory, folders, files in os.walk(path, topdown=False):
        for name in (*files, *folders):
            _delete_old(Path(directory, name), oldest)


def _delete_old(path: Path, oldest: float) -> None:
    try:
        found = path.lstat()
        if found.st_ctime < oldest:
            path.rmdir() if stat.S_ISDIR(found.st_mode) else path.unlink()
    except OSError:  # already deleted, or a folder that is not empty
        pass


@cache
def keep_clear() -> threading.Thread:
    """Start a thread that sweeps the upload folder until the process ends."""

    def run() -> None:
        while True:
            sweep(folder(), KEEP)
            time.sleep(EVERY)

    thread = threading.Thread(target=run, name="uploads", daemon=True)
    thread.start()
    return thread
