"""The download in the background: one at a time, stopped, repeated, and refused."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from facemtl.data import background
from facemtl.data.background import FAILED, IDLE, INSTALLED, RUNNING, STOPPING, BackgroundDownload
from facemtl.errors import FaceMTLError


class Download:
    """Stands in for `download`: reports 1 %, then goes on when it is let, and may fail."""

    def __init__(self):
        self.calls, self.go_on, self.error = [], threading.Event(), None

    def __call__(self, folder: Path, report: Callable) -> None:
        self.calls.append(folder)
        report("Downloading", 1, 100)
        while not self.go_on.wait(0.01):
            report("Downloading", 1, 100)
        if self.error:
            raise self.error


@pytest.fixture
def fake(monkeypatch):
    fake = Download()
    monkeypatch.setattr(background, "download", fake)
    monkeypatch.setattr(background, "n_kept", lambda: 0)
    yield fake
    fake.go_on.set()
    join()


def join() -> None:
    """Wait until no download runs any more."""
    for thread in threading.enumerate():
        if thread.name == "download":
            thread.join()


def until(job: BackgroundDownload, state: str) -> None:
    end = time.monotonic() + 30
    while job.status.state != state or (state == RUNNING and not job.status.total):
        assert time.monotonic() < end, job.status
        time.sleep(0.005)


def test_a_second_start_joins_the_first(fake, tmp_path):
    installed = []
    job = BackgroundDownload(tmp_path, lambda: installed.append(True), allowed=True)
    assert job.status.state == IDLE
    starts = [threading.Thread(target=job.start) for _ in range(8)]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    until(job, RUNNING)
    assert (job.status.done, job.status.total) == (1, 100) and not installed
    fake.go_on.set()
    until(job, INSTALLED)
    job.start()
    assert fake.calls == [tmp_path] and installed == [True]


def test_a_restarted_app_knows_what_an_earlier_one_has_fetched(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(background, "n_kept", lambda: 45_300_000)
    status = BackgroundDownload(tmp_path, lambda: None, allowed=True).status
    assert (status.state, status.done) == (IDLE, 45_300_000)


def test_a_stopped_download_can_be_started_again(fake, tmp_path):
    job = BackgroundDownload(tmp_path, lambda: None, allowed=True)
    job.start()
    until(job, RUNNING)
    job.cancel()
    assert job.status.state in (STOPPING, IDLE)
    until(job, IDLE)
    job.start()
    until(job, RUNNING)
    fake.go_on.set()
    until(job, INSTALLED)
    assert len(fake.calls) == 2


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FaceMTLError("The network is away."), "The network is away."),
        (OSError(28, "No space left on device", "some/file"), "some/file: No space left on device"),
        (OSError(30, "Read-only file system"), "Read-only file system"),
    ],
)
def test_a_failure_is_told_and_can_be_tried_again(fake, tmp_path, error, words):
    job = BackgroundDownload(tmp_path, lambda: None, allowed=True)
    fake.error = error
    fake.go_on.set()
    job.start()
    until(job, FAILED)
    assert words in job.status.error
    fake.error = None
    job.start()
    until(job, INSTALLED)
    assert job.status.error == ""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_after_an_unexpected_error_it_does_not_run_for_ever(fake, tmp_path):
    job = BackgroundDownload(tmp_path, lambda: 1 / 0, allowed=True)
    fake.go_on.set()
    job.start()
    join()
    assert job.status.state == FAILED
    assert "log" in job.status.error and job.status.can_start


def test_without_permission_nothing_starts(fake, tmp_path):
    job = BackgroundDownload(tmp_path, lambda: None, allowed=False)
    with pytest.raises(FaceMTLError, match="does not download"):
        job.start()
    assert not fake.calls and job.status.state == IDLE


def test_a_restarted_app_tells_what_is_kept_of_an_earlier_download(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(background, "n_kept", lambda: 45_300_000)
    job = BackgroundDownload(tmp_path, lambda: None, allowed=True)
    assert job.status.state == IDLE and job.status.done == 45_300_000
