"""The upload folder, and a thread that deletes old files.

Files of a killed process are deleted by the next process.
"""

import os
import stat
import tempfile
import threading
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from ..files import temporary

KEEP = 120  # seconds until an uploaded file is deleted
EVERY = 30  # seconds between two sweeps


@cache
def folder() -> Path:
    """The upload folder of this user.

    It is the same after a restart, so that files of a killed process are found. If something else
    is there, such as a file, a link or another user's folder, a new temporary folder is made.
    """
    path = temporary("uploads")
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or (hasattr(os, "getuid") and found.st_uid != os.getuid()):
        return Path(tempfile.mkdtemp(prefix="facemtl-uploads-"))
    return path


def sweep(path: Path, age: float = KEEP) -> None:
    """Delete everything in a folder that has not changed for `age` seconds.

    This includes interrupted uploads, links and empty folders. The folder itself stays.
    """
    oldest = time.time() - age
    for directory, folders, files in os.walk(path, topdown=False):
        for name in (*files, *folders):
            _delete(Path(directory, name), oldest)


def _delete(path: Path, oldest: float) -> None:
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
            sweep(folder())
            time.sleep(EVERY)

    thread = threading.Thread(target=run, name="uploads", daemon=True)
    thread.start()
    return thread
