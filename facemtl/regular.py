"""Opening of regular files, and of nothing else.

A named pipe, a device or a socket can be named like an image. Opening a pipe waits until somebody
writes to it, and reading some devices never ends. So every file that facemtl reads is opened here.
Links to regular files are followed.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .errors import FaceMTLError, first_line

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def open_file(file: str | Path) -> BinaryIO:
    """Open a regular file for reading. Raises OSError if it is missing or not a regular file."""
    mode = os.stat(file).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # `open` refuses folders
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise OSError(errno.EINVAL, f"It is {kind}, not a file", str(file))
    return open(file, "rb")


def read_bytes(file: str | Path) -> bytes:
    """The content of a regular file. Raises OSError as `open_file` does."""
    with open_file(file) as opened:
        return opened.read()


def read_text(file: str | Path) -> str:
    """The text of a regular file in UTF-8.

    Raises OSError as `open_file` does, and UnicodeDecodeError if the text is not UTF-8.
    """
    return read_bytes(file).decode("utf-8-sig")  # editors on Windows begin with a mark


def files_in(folder: Path, suffix: str) -> list[Path]:
    """Everything in a folder whose name ends in `suffix`, sorted.

    The list is empty if there is no such folder. Raises FaceMTLError if there is one that cannot be
    read, in which `Path.glob` would find nothing.
    """
    try:
        return sorted(folder / name for name in os.listdir(folder) if name.endswith(suffix))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise FaceMTLError(
            f"The folder {folder} cannot be read: {first_line(error)}. Put that right, or name"
            " another folder."
        ) from error


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """Name `file` in each OSError. By default, some name no file, and others a temporary one."""
    try:
        yield
    except OSError as error:
        error.filename = str(file)
        raise
