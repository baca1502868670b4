"""Temporary folders. If a process is killed, the next one that makes a folder deletes its own."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from .files import temporary

_LOCK = "in-use"  # held by a living process


@contextmanager
def scratch_folder(purpose: str = "work") -> Iterator[Path]:
    """A new folder that only this user can enter. It is deleted at the end.

    Its name cannot be guessed. A lock beside the files shows that the process runs. The lock ends
    with the process, even if the process is killed. So the next process knows which folders nobody
    uses.
    """
    name, owner = temporary(purpose), os.getpid()
    for left in name.parent.glob(f"{name.name}-*"):
        _delete_unused(left)
    while True:
        private = Path(tempfile.mkdtemp(prefix=f"{name.name}-", dir=name.parent))
        lock = FileLock(private / _LOCK)
        # Another process may take the new folder for an unused one.
        with suppress(Timeout, FileNotFoundError):
            lock.acquire(timeout=0)
            (private / "files").mkdir(mode=0o700)
            break
    try:
        yield private / "files"
    finally:
        if os.getpid() == owner:  # not a fork
            shutil.rmtree(private / "files", ignore_errors=True)
            lock.release()  # Windows deletes no open file
            shutil.rmtree(private, ignore_errors=True)


def _delete_unused(private: Path) -> None:
    """Delete a folder, if it belongs to this user and no living process holds its lock."""
    with suppress(Timeout, OSError):
        found = private.lstat()
        is_ours = not hasattr(os, "getuid") or found.st_uid == os.getuid()
        if stat.S_ISDIR(found.st_mode) and is_ours:
            with FileLock(private / _LOCK, timeout=0):
                shutil.rmtree(private, ignore_errors=True)
