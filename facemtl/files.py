"""Writing of files whole or not at all, tables in CSV, and temporary paths."""

import gzip
import hashlib
import io
import os
import secrets
import stat
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import BinaryIO

import pandas as pd

from .errors import FaceMTLError, first_line
from .escapes import escaped, unescaped
from .regular import MOST_BYTES, naming, open_file, read_bytes

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextmanager
def written_whole(file: Path) -> Iterator[BinaryIO]:
    """A new file to write to, which gets the name `file` at the end.

    Readers of `file` find the old content or the new one, even after a crash or a power failure.
    If anything goes wrong, the old content stays. A symbolic link stays one: its target is
    replaced. A pipe, a device and this process's own output are written directly. Every OSError
    names `file`, even that of a full disk.
    """
    with naming(file):
        if (stream := _stream(file)) is not None:
            with stream:
                yield stream
            return
        target = real_path(file)
        sweep(target.parent, escape(target.name))
        partial, opened = _new_partial(target)
        try:
            with opened:
                yield opened
                opened.flush()
                os.fsync(opened.fileno())
                if target.exists():
                    partial.chmod(stat.S_IMODE(target.stat().st_mode))
                if fcntl is None:
                    opened.close()  # Windows does not rename open files
                partial.replace(target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    _sync_folder(target.parent)


def write_whole(file: Path, content: bytes) -> None:
    """Write a file whole or not at all, as `written_whole` does."""
    with written_whole(file) as opened:
        opened.write(content)


def sweep(folder: Path, name: str) -> None:
    """Delete what killed processes left of files. `name` is the pattern of the files' names.

    Partial files in use are locked.
    """
    for left in folder.glob(f".{name}.*partial"):
        with suppress(OSError), open_file(left) as opened:
            if _lock(opened):
                left.unlink()


def real_path(file: Path) -> Path:
    """The path that is written to: symbolic links are followed."""
    return Path(os.path.realpath(file))


def is_stream(file: Path) -> bool:
    """Whether a path is a pipe, a device or this process's own output, to be written directly."""
    try:
        found = file.stat()
    except OSError:
        return False
    is_plain = stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)
    return not is_plain or _own_output(found) is not None


def _stream(file: Path) -> BinaryIO | None:
    if not is_stream(file):
        return None
    own = _own_output(file.stat())
    if own is None:
        return file.open("wb")
    sys.stdout.flush()
    return os.fdopen(os.dup(own), "wb")  # opening it by its name would empty a file


def _own_output(found: os.stat_result) -> int | None:
    """The descriptor of this process's standard output or error, if that is the file."""
    for descriptor in (1, 2):
        with suppress(OSError):
            if os.path.samestat(found, os.fstat(descriptor)):
                return descriptor
    return None


def _new_partial(target: Path) -> tuple[Path, BinaryIO]:
    """A new, locked file beside `target`."""
    while True:
        partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
        opened = partial.open("xb")
        if _lock(opened) is not False and partial.exists():
            return partial, opened
        opened.close()  # another process has just swept it


def _lock(opened: BinaryIO) -> bool | None:
    """Lock an open file until it is closed. None means that it cannot be locked here."""
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    except (AttributeError, OSError):  # Windows, or a file system without locks
        return None


def _sync_folder(folder: Path) -> None:
    """Make a new name in a folder survive a power failure, where folders can be synced."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_table(table: pd.DataFrame, file: Path) -> None:
    """Write a table as a CSV file, compressed if its name ends in .gz.

    The same table gives the same bytes. Its texts are `escaped`. Missing folders are made.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    table = _with_texts(table, escaped)
    content = table.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode()
    write_whole(file, gzip.compress(content, mtime=0) if file.suffix == ".gz" else content)


def read_table(
    file: Path,
    types: dict[str, type],
    command: str,
    gaps: Sequence[str] = (),
    rows: Sequence[dict[str, str]] = (),
) -> pd.DataFrame:
    """Read a table that `write_table` wrote, and check that it is complete.

    It must have at least one row and all columns of `types`. These columns must have a value in
    every row, except those in `gaps`. Each of `rows` names values that a row of the table must
    have, because a table may be cut off between two lines. Raises FaceMTLError if the file is
    missing or damaged. The message names the `command` that makes the file.
    """
    try:
        content = read_bytes(file)
        if file.suffix == ".gz":
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as whole:
                content = whole.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ValueError("it is far too large")
        if not content.endswith(b"\n"):  # pandas would take half a number for a number
            raise ValueError("it is cut off")
        # By default, texts such as "None" and "NA" would be gaps, too.
        table = pd.read_csv(io.BytesIO(content), dtype=types, keep_default_na=False, na_values=[""])
        table = _with_texts(table, unescaped)
        if (
            table.empty
            or not {*types} <= {*table}
            or table[[c for c in types if c not in gaps]].isna().any(axis=None)
            or not all((table[[*row]] == [*row.values()]).all(axis=1).any() for row in rows)
        ):
            raise ValueError("something is missing or cut off")
        return table
    except FileNotFoundError as error:
        raise FaceMTLError(
            f"There is no {file.name} in {file.parent}. Make it with `{command}`."
        ) from error
    except (OSError, EOFError, ValueError, zlib.error) as error:
        is_closed = isinstance(error, OSError) and error.errno is not None
        wrong = f"cannot be read: {first_line(error)}" if is_closed else "is damaged"
        raise FaceMTLError(f"{file} {wrong}. Make it again with `{command}`.") from error


def _with_texts(table: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    """The table with each text changed."""
    new = {}
    for name in table.select_dtypes(exclude=["number", "bool"]):
        column = table[name]
        said = {text: change(text) for text in column.unique() if isinstance(text, str)}
        if any(text != other for text, other in said.items()):
            new[name] = [said.get(cell, cell) for cell in column]
    return table.assign(**new)


def temporary(name: str) -> Path:
    """A path in the system's folder for temporary files. Each user has a different one."""
    # The user's number if there is one: a user without an account has no home folder.
    who = os.getuid() if hasattr(os, "getuid") else Path.home()
    user = hashlib.sha256(str(who).encode()).hexdigest()[:8]
    return Path(tempfile.gettempdir()) / f"facemtl-{user}-{name}"
