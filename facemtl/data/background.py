"""A download of UTKFace in a thread: one for the whole app, however many pages show it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Lock, Thread

from ..errors import FaceMTLError
from .download import DOWNLOADING, download, n_kept

IDLE, RUNNING, STOPPING, FAILED, INSTALLED = "idle", "running", "stopping", "failed", "installed"
READING = "Reading"


class _Stopped(Exception):
    """Raised inside a download to stop it."""


@dataclass(frozen=True)
class Status:
    """How far a download is. `done` and `total` are the bytes of one `step`."""

    state: str = IDLE
    step: str = ""
    done: int = 0
    total: int = 0  # 0 if it is not known
    error: str = ""

    @property
    def is_active(self) -> bool:
        return self.state in (RUNNING, STOPPING)

    @property
    def can_start(self) -> bool:
        return self.state in (IDLE, FAILED)

    @property
    def can_stop(self) -> bool:
        return self.state == RUNNING and self.step != READING


class BackgroundDownload:
    """Downloads UTKFace into `folder`, and calls `when_installed` after that.

    Nobody can start it unless it is `allowed`, which is decided when the app starts.
    """

    def __init__(self, folder: Path, when_installed: Callable[[], None], *, allowed: bool):
        self.folder, self.allowed = folder, allowed
        self._when_installed = when_installed
        self._status = Status()
        self._starting, self._stop = Lock(), Event()

    @property
    def status(self) -> Status:
        status = self._status
        if status.state == RUNNING and self._stop.is_set():
            return replace(status, state=STOPPING)
        if status.state == IDLE:
            return replace(status, done=n_kept())
        return status

    def start(self) -> None:
        """Start the download, or go on with it. Does nothing if it is running or done.

        Raises FaceMTLError if it is not allowed.
        """
        if not self.allowed:
            raise FaceMTLError("This app does not download UTKFace. Ask whoever runs it.")
        with self._starting:
            if not self._status.can_start:
                return
            self._stop.clear()
            self._status = Status(RUNNING, DOWNLOADING)
            # The process can end meanwhile, because the thread is a daemon.
            Thread(target=self._run, name="download", daemon=True).start()

    def cancel(self) -> None:
        """Stop the download soon. What has arrived is kept for the next start."""
        if self._status.can_stop:
            self._stop.set()

    def _run(self) -> None:
        status = Status(FAILED, error="Something unexpected happened. See the log of the app.")
        try:
            download(self.folder, report=self._report)
            self._status = Status(RUNNING, READING)
            self._stop.clear()  # too late to stop
            self._when_installed()
            status = Status(INSTALLED)
        except _Stopped:
            status = Status()
        except FaceMTLError as error:
            status = Status(FAILED, error=str(error))
        except OSError as error:
            where = error.filename or self.folder
            status = Status(
                FAILED, error=f"{where}: {error.strerror or error}. Put that right, then try again."
            )
        finally:
            self._status = status

    def _report(self, step: str, done: int, total: int) -> None:
        if self._stop.is_set():
            raise _Stopped
        self._status = Status(RUNNING, step, done, total)
