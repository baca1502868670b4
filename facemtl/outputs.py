"""The files that a command will write. They are checked and locked before its work begins."""

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from .errors import FaceMTLError
from .files import is_stream, real_path, written_whole
from .regular import files_in, naming, read_bytes


@contextmanager
def claimed(outputs: Sequence[Path], inputs: Iterable[Path] = ()) -> Iterator[None]:
    """Keep other processes from writing the same files. Missing folders are made.

    A process may claim its own files again. Raises FaceMTLError if a file is claimed by another
    process, is one of the inputs, or is named twice, and OSError if it cannot be written.
    """
    _check(outputs, inputs)
    with ExitStack() as stack:
        for file in outputs:
            if not is_stream(file):
                stack.enter_context(_claimed(real_path(file)))
        yield


def _check(outputs: Sequence[Path], inputs: Iterable[Path]) -> None:
    """Raise FaceMTLError if an output is an input, or if two outputs are one file.

    The locks count as outputs, because they are deleted.
    """
    known: set[object] = set()
    outputs = [*outputs, *(_lock(real_path(file)) for file in outputs if not is_stream(file))]
    for file in outputs:
        if (key := _key(file)) in known:
            raise FaceMTLError(
                f"{file} is the name of two outputs. Give each one a name of its own."
            )
        known.add(key)
    if any(file.exists() for file in outputs):  # a new file cannot be an input
        for file in inputs:
            if _key(file) in known:
                raise FaceMTLError(
                    f"{file} is an input of this command, so it cannot be its output. Name another"
                    " output."
                )


def _key(file: Path) -> object:
    """What two paths of one file have in common."""
    try:
        found = file.stat()
    except OSError:
        return os.path.normcase(real_path(file))
    return found.st_dev, found.st_ino


@contextmanager
def _claimed(file: Path) -> Iterator[None]:
    for is_wrong, number in (
        (file.is_dir(), errno.EISDIR),
        (file.exists() and not os.access(file, os.W_OK), errno.EACCES),
    ):
        if is_wrong:
            raise OSError(number, os.strerror(number), str(file))
    made = [folder for folder in file.parents if not folder.exists()]
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with naming(file), suppress(FileNotFoundError):
            os.lstat(file.with_name(f".{file.name}.01234567.partial"))  # the longest name
        with _locked(file):
            yield
    finally:
        for folder in made:
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def _lock(file: Path) -> Path:
    return file.with_name(f".{file.name}.lock")


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    name = _lock(file)
    lock = FileLock(name, timeout=0, is_singleton=True)
    try:
        with naming(file):
            lock.acquire()
    except Timeout as error:
        raise FaceMTLError(
            f"Another process is writing {file}. Wait until it is done, or name another output."
        ) from error
    try:
        yield
    finally:
        if lock.lock_counter == 1:
            with suppress(OSError):  # Windows does not delete open files
                name.unlink()
        lock.release()


def replace_together(new: Path, folder: Path) -> None:
    """Write all files of the folder `new` into another folder.

    If one cannot be written, all old files stay. Even after a kill, old and new ones never lie side
    by side: the old ones are deleted once all new ones are on the disk.
    """
    files = [folder / file.name for file in files_in(new, "")]
    file = folder
    try:
        with ExitStack() as stack:
            for file in files:
                opened = stack.enter_context(written_whole(file))
                opened.write(read_bytes(new / file.name))
                opened.flush()
                if not is_stream(file):
                    os.fsync(opened.fileno())
                    if file.exists():
                        os.chmod(opened.name, stat.S_IMODE(file.stat().st_mode))
            for file in files:
                if not is_stream(file):
                    real_path(file).unlink(missing_ok=True)
    except OSError as error:
        error.filename = str(file)  # `written_whole` would name the first one
        raise
