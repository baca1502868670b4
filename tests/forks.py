"""Commands in processes of their own that start at once.

`python -m facemtl train` imports torch and fastai for many seconds. Here, a server process has
imported them, and each command runs in a fork of it. A fork runs the same code, and can be killed.
"""

import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import facemtl.__main__

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.forks_preload"])


class Command:
    """`facemtl ...`, running in a fork. Instead of its `main`, another function may be called."""

    def __init__(
        self,
        *arguments: str | Path,
        cwd: Path,
        main: Callable[[list[str]], int | None] = facemtl.__main__.main,
    ):
        self._folder = tempfile.TemporaryDirectory()  # deleted with this object
        self._said = Path(self._folder.name)
        given = (main, [*map(str, arguments)], cwd, self._said)
        self.process = _context.Process(target=_run, args=given)
        self.process.start()

    def finish(self, timeout: float = 120) -> tuple[int, str, str]:
        """Wait for it to end. Returns exit status, standard output and standard error."""
        self.process.join(timeout)
        self.process.kill()  # has no effect if it has ended by itself
        self.process.join()
        return self.process.exitcode, *(self._read(name) for name in ("out", "err"))

    def kill_once(self, condition: Callable[[], bool], patience: float = 0) -> None:
        """Kill it `patience` seconds after `condition` holds, so that it cannot clean up.

        Raises AssertionError if it ends before.
        """
        until = time.monotonic() + 120
        while not condition():
            assert self.process.is_alive() and time.monotonic() < until, self.finish()
            time.sleep(0.002)
        time.sleep(patience)
        self.process.kill()
        self.process.join()
        assert self.process.exitcode == -signal.SIGKILL, "it ended before it could be killed"

    def interrupt_once(self, condition: Callable[[], bool]) -> None:
        """Press Ctrl-C once `condition` holds. Raises AssertionError if it ends before."""
        until = time.monotonic() + 120
        while not condition():
            assert self.process.is_alive() and time.monotonic() < until, self.finish()
            time.sleep(0.002)
        os.kill(self.process.pid, signal.SIGINT)

    def _read(self, name: str) -> str:
        file = self._said / name
        return file.read_text() if file.exists() else ""


def _run(main: Callable, arguments: list[str], cwd: Path, said: Path) -> None:
    os.chdir(cwd)
    for stream, name in ((sys.stdout, "out"), (sys.stderr, "err")):
        os.dup2(os.open(said / name, os.O_CREAT | os.O_WRONLY), stream.fileno())
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the server ignores it
    sys.exit(main(arguments))
