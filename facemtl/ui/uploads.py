"""Where uploads lie, and that they do not lie there for long, whatever becomes of the process that
received them.
"""

import os
import stat
import tempfile
import threading
import time
from functools import cache
from pathlib import Path

from ..files import temporary

KEEP = 120  # seconds until an uploaded file is deleted
EVERY = 30  # seconds between two looks for such files


@cache
def folder() -> Path:
    """This user's own. It is the same after a restart, so that what a killed process left behind is
    found.
    """
    path = temporary("uploads")
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or (hasattr(os, "getuid") and found.st_uid != os.getuid()):
        return Path(tempfile.mkdtemp(prefix="facemtl-uploads-"))  # somebody else was there first
    return path


def sweep(path: Path, age: float = KEEP) -> None:
    """Delete all below it that has not been touched for `age` seconds: whole uploads, broken-off
    ones, empty folders.
    """
    oldest = time.time() - age
    for directory, _, files in os.walk(path, topdown=False):
        for name in files:
            _delete(Path(directory, name), oldest)
        if Path(directory) != path:
            _delete(Path(directory), oldest)


def _delete(path: Path, oldest: float) -> None:
    try:
        found = path.lstat()
        if found.st_ctime < oldest:
            path.rmdir() if stat.S_ISDIR(found.st_mode) else path.unlink()
    except OSError:  # gone meanwhile, or a folder that is not empty
        pass


@cache
def keep_clear() -> threading.Thread:
    """Sweep from now on, as long as the process lives."""

    def run() -> None:
        while True:
            sweep(folder())
            time.sleep(EVERY)

    thread = threading.Thread(target=run, name="uploads", daemon=True)
    thread.start()
    return thread
