"""Fixtures of all tests: pictures, UTKFace, a web server, the shipped models, the app."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock

from facemtl.data.download import unpack
from facemtl.data.reading import read_images
from facemtl.evaluation.validation import load_validation
from facemtl.inference.predictor import Predictor
from facemtl.paths import default_folder
from tests import support

# A shell that runs tests in the background makes them, and all that they start, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def synthetic_faces(tmp_path_factory) -> Path:
    """A folder of 240 pictures whose labels can be learned, named as in UTKFace. Read only."""
    folder = tmp_path_factory.mktemp("synthetic") / "UTKFace"
    support.write_pictures(folder, 240)
    return folder


@pytest.fixture(scope="session")
def utkface(tmp_path_factory) -> Path:
    """The folder of UTKFace's real images. Read only."""
    if archive := os.environ.get("FACEMTL_TEST_ARCHIVE"):
        shared = tmp_path_factory.getbasetemp()
        if "PYTEST_XDIST_WORKER" in os.environ:
            shared = shared.parent  # shared by all workers
        folder = shared / "UTKFace"
        with FileLock(shared / "UTKFace.lock"):
            if not folder.exists():
                unpack(Path(archive), folder)
        return folder
    folder = default_folder()
    if any(folder.glob("*.jpg")):
        return folder.absolute()
    pytest.skip(
        "needs UTKFace: run `python -m facemtl download`, or set FACEMTL_DATA to its folder "
        "or FACEMTL_TEST_ARCHIVE to a UTKFace.tar.gz"
    )


@pytest.fixture(scope="session")
def utkface_images(utkface) -> pd.DataFrame:
    """The table of UTKFace's real images. Reading it takes a while."""
    return read_images(utkface, progress=False)[0]


@pytest.fixture(scope="session")
def small_backbone() -> Iterator[None]:
    """A backbone named SMALL, in this process. `tests.forks` has it anyway."""
    from facemtl.models import backbones

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(backbones.OWN, support.SMALL, support.small_backbone)
        yield


@pytest.fixture
def loopback(tmp_path):
    """A web server on this machine that serves `loopback.folder`."""
    folder = tmp_path / "served"
    folder.mkdir()
    with support.serve(folder) as server:
        yield server


@pytest.fixture(scope="session")
def predictor() -> Predictor:
    """The shipped models."""
    return Predictor.load(support.ROOT / "assets" / "models")


@pytest.fixture(scope="session")
def results() -> pd.DataFrame:
    """The shipped validation results."""
    return load_validation(support.ROOT / "assets" / "validation")


@pytest.fixture(scope="session")
def app(tmp_path_factory) -> Iterator[str]:
    """The address of the real app, in a process of its own.

    The app has no dataset, so its random faces are the composites. At the end, the
    fixture checks that the log has no traceback.
    """
    folder = tmp_path_factory.mktemp("app")
    settings = {"FACEMTL_DATA": str(folder / "no-dataset")}
    with support.running_app(folder / "log.txt", "--mcp", environment=settings) as address:
        yield address
    assert "Traceback" not in (folder / "log.txt").read_text(), (folder / "log.txt").read_text()
