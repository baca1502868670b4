"""The upload folder, and what is deleted in it."""

import stat
import time

import pytest

from facemtl.ui import uploads


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The path at which the upload folder is made."""
    monkeypatch.setattr(uploads, "temporary", lambda name: tmp_path / name)
    uploads.folder.cache_clear()
    yield tmp_path / "uploads"
    uploads.folder.cache_clear()


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_folder_is_private_and_the_same_after_a_restart(place):
    assert uploads.folder() == place and mode(place) == 0o700
    uploads.folder.cache_clear()
    assert uploads.folder() == place


@pytest.mark.parametrize("kind", ["file", "link", "dangling link"])
def test_another_folder_is_made_if_something_else_is_there(place, kind, tmp_path):
    if kind == "file":
        place.write_text("mine")
    else:
        place.symlink_to(tmp_path if kind == "link" else tmp_path / "missing")
    found = uploads.folder()
    assert found != place and found.is_dir() and mode(found) == 0o700
    found.rmdir()


def test_old_files_and_empty_folders_are_deleted_and_new_ones_stay(tmp_path):
    old, empty, new = tmp_path / "a" / "old.jpg", tmp_path / "empty", tmp_path / "new.jpg"
    old.parent.mkdir()
    empty.mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    old.write_bytes(b"1")
    time.sleep(0.3)
    new.write_bytes(b"2")
    uploads.sweep(tmp_path, age=0.2)
    # Its file was deleted just now, so the folder "a" is new.
    assert {*tmp_path.rglob("*")} == {tmp_path / "a", new}
    time.sleep(0.3)
    uploads.sweep(tmp_path, age=0.2)
    assert not [*tmp_path.iterdir()]
