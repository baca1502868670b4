"""Files that are written whole or not at all, and tables in them, whose damage is said in plain
words.
"""

import gzip
import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from .errors import FaceMTLError


@contextmanager
def written_whole(file: Path) -> Iterator[Path]:
    """A path to write to, which then becomes `file`: its readers, also after a crash, find the old
    one or the new one.
    """
    partial = file.with_name(f".{file.name}.partial")
    try:
        yield partial
        partial.replace(file)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def write_whole(file: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with written_whole(file) as partial:
        partial.write_bytes(content)


def write_table(table: pd.DataFrame, file: Path) -> None:
    """Write a CSV file, compressed where its name ends in .gz; the same table gives the same
    bytes.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    content = table.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode()
    write_whole(file, gzip.compress(content, mtime=0) if file.suffix == ".gz" else content)


def read_table(
    file: Path, types: dict[str, type], command: str, gaps: Sequence[str] = ()
) -> pd.DataFrame:
    """What `write_table` wrote: at least one row, and in each of the columns `types` but `gaps` a
    value in every row.

    Raises FaceMTLError, which names the `command` that makes the file, where it is missing or
    damaged.
    """
    try:
        table = pd.read_csv(file, dtype=types)
        if (
            table.empty
            or not {*types} <= {*table}
            or table[[c for c in types if c not in gaps]].isna().any(axis=None)
        ):
            raise ValueError("something is missing or cut off")
        return table
    except FileNotFoundError as error:
        raise FaceMTLError(
            f"There is no {file.name} in {file.parent}. Make it with `{command}`."
        ) from error
    except (OSError, EOFError, ValueError) as error:
        raise FaceMTLError(f"{file} is damaged. Make it again with `{command}`.") from error


def as_markdown(columns: Sequence[str], rows: Iterable[Sequence]) -> str:
    """A table of Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def temporary(name: str) -> Path:
    """A path in the system's folder for temporary files, another one for each user."""
    user = hashlib.sha256(str(Path.home()).encode()).hexdigest()[:8]
    return Path(tempfile.gettempdir()) / f"facemtl-{user}-{name}"
