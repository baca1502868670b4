"""Writing of files as a whole or not at all, tables in CSV and Markdown, and temporary paths."""

import gzip
import hashlib
import io
import os
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from .errors import FaceMTLError, first_line
from .regular import naming, read_bytes


@contextmanager
def written_whole(file: Path) -> Iterator[Path]:
    """A temporary path to write to, which is renamed to `file` at the end.

    Readers of `file` find the old content or the new one, even after a crash. After an error the
    temporary file is deleted. An OSError names `file`, such as that of a full disk.
    """
    partial = file.with_name(f".{file.name}.partial")
    try:
        with naming(file):
            yield partial
            partial.replace(file)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_whole(file: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with written_whole(file) as partial:
        partial.write_bytes(content)


def write_table(table: pd.DataFrame, file: Path) -> None:
    """Write a table as a CSV file, compressed if its name ends in .gz.

    The same table gives the same bytes. Missing folders are made.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
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
    every row, except those in `gaps`. For each of `rows`, there must be a row with these values in
    these columns: a table may be cut off between two lines. Raises FaceMTLError if the file is
    missing or damaged. The message names the `command` that makes the file.
    """
    try:
        content = read_bytes(file)
        if file.suffix == ".gz":
            content = gzip.decompress(content)
        if not content.endswith(b"\n"):  # pandas would take half a number for a number
            raise ValueError("it is cut off")
        table = pd.read_csv(io.BytesIO(content), dtype=types)
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
        is_whole = isinstance(error, OSError) and error.errno is not None
        wrong = f"cannot be read: {first_line(error)}" if is_whole else "is damaged"
        raise FaceMTLError(f"{file} {wrong}. Make it again with `{command}`.") from error


def temporary(name: str) -> Path:
    """A path in the system's folder for temporary files. Each user has a different one."""
    # Not the home folder: a user who is not listed has none.
    who = os.getuid() if hasattr(os, "getuid") else Path.home()
    user = hashlib.sha256(str(who).encode()).hexdigest()[:8]
    return Path(tempfile.gettempdir()) / f"facemtl-{user}-{name}"
