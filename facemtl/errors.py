"""FaceMTLError, the base class of errors whose message is meant for the user."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

_REMEDIES = {
    errno.ENOSPC: "Make room there, then run the same command again",
    errno.EDQUOT: "Make room there, then run the same command again",
    errno.EACCES: "Change the permissions, or name another path",
    errno.EPERM: "Change the permissions, or name another path",
    errno.EROFS: "Name another path",
    errno.ENAMETOOLONG: "Name a shorter path",
}


class FaceMTLError(Exception):
    """An error that the user can act on.

    Its message says what was expected, what was found and what to do next. The app shows it as a
    message and the command line as one line, both without a traceback.
    """


@contextmanager
def memory_needed() -> Iterator[None]:
    """Report a lack of memory as a FaceMTLError. NumPy, Pillow and ONNX Runtime raise others."""
    try:
        yield
    except FaceMTLError:  # the name of a file may contain "alloc"
        raise
    except Exception as error:
        if not isinstance(error, MemoryError) and "alloc" not in str(error).lower():
            raise
        raise FaceMTLError(
            "There is too little memory for this image. Close other programs, or try again later."
        ) from error


def first_line(error: BaseException) -> str:
    """What is wrong, in one line: an OSError's reason, or the first line of the message.

    If there is no message, it is the name of the error's type.
    """
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror)
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def file_error(error: OSError) -> str:
    """An OSError in words: the file, what is wrong with it, and what to do next."""
    if "usable temporary directory" in str(error):  # Python lists all folders that it has tried
        return f"{first_line(error)}. Set TMPDIR to a folder that can be written."
    remedy = _REMEDIES.get(error.errno, "Put that right, then run the same command again")
    unnamed = "The working folder" if error.errno == errno.ENOENT else "A file"  # it was deleted
    return f"{error.filename or unnamed}: {first_line(error)}. {remedy}."
