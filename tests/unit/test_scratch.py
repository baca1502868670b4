"""Temporary folders: private, deleted at the end, and swept after a kill."""

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from facemtl.scratch import scratch_folder
from tests import support

CODE = (
    "import sys; from facemtl.scratch import scratch_folder\n"
    "with scratch_folder() as folder: print(folder, flush=True); sys.stdin.read()"
)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    """The system's folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_is_private_and_deleted_at_the_end(place):
    for error in (None, ValueError, KeyboardInterrupt):
        with pytest.raises(error or ZeroDivisionError), scratch_folder() as folder:
            (folder / "photo").touch()
            if os.name != "nt":
                assert {stat.S_IMODE(f.stat().st_mode) for f in (folder, folder.parent)} == {0o700}
            raise error or ZeroDivisionError
        assert not [*place.iterdir()]


def test_a_killed_process_leaves_its_folder_to_the_next_one(place):
    """The folders of living processes, and others, stay."""
    (place / "facemtl-other").mkdir()
    other = subprocess.Popen(
        [sys.executable, "-c", CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(support.ROOT), "TMPDIR": str(place)},
    )  # fmt: skip
    try:
        theirs = Path(other.stdout.readline().strip())
        with scratch_folder() as one, scratch_folder() as two:
            assert theirs.is_dir() and one.is_dir() and two.is_dir()
    finally:
        other.kill()
        other.communicate()
    assert theirs.is_dir()
    with scratch_folder():
        assert not theirs.parent.exists()
    assert [path.name for path in place.iterdir()] == ["facemtl-other"]
