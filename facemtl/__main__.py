"""`python -m facemtl` and `facemtl`: the command line in a process of its own.

Whatever goes wrong, the user reads one line and no traceback.
"""

import io
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

INTERRUPTED = 130  # the exit status after Ctrl-C, as in shells
TWICE = 1.0  # seconds; `timeout` and closing terminals send their signal twice
VARIABLE = "FACEMTL_TRACEBACK"  # if it is set, unexpected errors are shown in full


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, as `facemtl.cli.main` does, and return its exit status."""
    _ignore_errors_of_stderr()
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed, and a file could get its number
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    _prepare_for_interrupts()
    # This imports for a while, so interrupts must be prepared for.
    from .cli import main as run
    from .cli import say_error

    try:
        status = run(arguments)
    except Exception as error:
        if os.environ.get(VARIABLE):
            traceback.print_exc()
        say_error(
            f"unexpected error, {type(error).__name__}: {' '.join(str(error).split())}."
            f" Please set {VARIABLE}=1, run the same command again, and report what it prints."
        )
        status = 1
    status = _flushed(status)
    if status == INTERRUPTED:
        os._exit(status)  # Python would wait for threads, such as those that read images
    return status


class _Errors(io.RawIOBase):
    """Standard error. What cannot be written is dropped."""

    def __init__(self, raw: io.RawIOBase):
        self._raw, self.name = raw, raw.name
        self.isatty, self.fileno = raw.isatty, raw.fileno

    def writable(self) -> bool:
        return True

    def write(self, content: bytes) -> int:
        with suppress(OSError):
            return self._raw.write(content) or len(content)
        return len(content)


def _ignore_errors_of_stderr() -> None:
    """Let the work go on if its progress bars and messages cannot be shown."""
    stderr = sys.stderr
    if isinstance(stderr, io.TextIOWrapper):
        raw = getattr(stderr.buffer, "raw", stderr.buffer)  # the same with PYTHONUNBUFFERED
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(_Errors(raw)), stderr.encoding, stderr.errors, line_buffering=True
        )


def _prepare_for_interrupts() -> None:
    """Make signals, such as SIGINT of Ctrl-C, end the process in one line, whatever it is doing.

    Usually, KeyboardInterrupt is raised, and `cli.main` reports it after everything is tidied up.
    Where libraries may swallow or print the exception, the process ends at once: while modules are
    imported, while objects are deleted, and at the second Ctrl-C.
    """
    first, report = None, sys.unraisablehook

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal first
        now = time.monotonic()
        if first is not None and number != signal.SIGINT and now - first < TWICE:
            return
        if first is not None or _is_importing(frame):
            _leave()
        first = now
        raise KeyboardInterrupt

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        # Otherwise, whoever started the process wants the signal to be ignored.
        if number and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, interrupt)
    sys.unraisablehook = lambda found: (
        _leave() if issubclass(found.exc_type, KeyboardInterrupt) else report(found)
    )


def _is_importing(frame: FrameType | None) -> bool:
    while frame and "importlib._bootstrap" not in frame.f_code.co_filename:
        frame = frame.f_back
    return frame is not None


def _leave() -> None:
    with suppress(OSError):
        os.write(2, b"\nfacemtl: interrupted\n")
    os._exit(INTERRUPTED)


def _flushed(status: int) -> int:
    """Write what is left of the output. Python would do it later, and print a traceback."""
    try:
        sys.stdout.flush()
    except OSError as error:
        if not status:  # else an error is reported
            print(f"facemtl: the output cannot be written: {error.strerror}.", file=sys.stderr)
        # Python would try again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return status or 1
    return status


if __name__ == "__main__":
    sys.exit(main())
