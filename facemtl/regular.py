"""Opening of regular files, and of nothing else.

A named pipe, a device or a socket can be named like an image. Opening a pipe waits until somebody
writes to it, and reading some devices never ends. So every file that facemtl reads is opened here.
Links to regular files are followed. Some files of /proc never end, either: they are called regular,
and claim to be empty.
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
# The most bytes of a table, a text or an image that are read. A file may have holes, and so be much
# larger than the disk.
MOST_BYTES = 500 * 10**6
MOST_OF_MODEL = 2**31  # the most bytes of a model that are read; ONNX sets this limit


def open_file(file: str | Path, most: int | None = None) -> BinaryIO:
    """Open a regular file for reading.

    Raises OSError if it is missing, not a regular file, or larger than `most` bytes.
    """
    found = os.stat(file)
    mode, size = found.st_mode, found.st_size
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # `open` refuses folders
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise OSError(errno.EINVAL, f"It is {kind}, not a file", str(file))
    if most and size > most:
        said = f"It has {size:,} bytes, more than {most:,}"
        raise OSError(errno.EFBIG, said, str(file))
    if stat.S_ISREG(mode) and not size and not _is_empty(file):
        raise OSError(errno.EINVAL, "It is a file of the system, not of a disk", str(file))
    return open(file, "rb")


def _is_empty(file: str | Path) -> bool:
    """Whether nothing can be read from a file. Those of /proc have content, or wait for it."""
    opened = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        return not os.read(opened, 1)
    except OSError:
        return False
    finally:
        os.close(opened)


def read_bytes(file: str | Path, most: int = MOST_BYTES) -> bytes:
    """The content of a regular file. Raises OSError as `open_file` does."""
    with open_file(file, most) as opened:
        return opened.read()


def path_or_content(file: Path, content: bytes) -> Path | bytes:
    """What ONNX Runtime is given to open a file: the path, or `content` if the path is not UTF-8.

    Given its content, it would keep the bytes as long as the model lives.
    """
    try:
        str(file).encode()
    except UnicodeEncodeError:
        return content
    return file


def read_of_system(file: str) -> str:
    """The text of a file of /proc. Raises OSError if it cannot be read."""
    return Path(file).read_text("utf-8", "replace")


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
def naming(file: str | Path) -> Iterator[None]:
    """Name `file` in each OSError. By default, some name no file, and others a temporary one."""
    try:
        yield
    except OSError as error:
        error.filename = str(file)
        raise
