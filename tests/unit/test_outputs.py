"""Writing of files: whole or not at all, through links, into pipes; and claims to files."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from facemtl.errors import FaceMTLError
from facemtl.files import write_whole, written_whole
from facemtl.outputs import claimed, replace_together
from tests import support

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


# ------------------------------------------------------------------------------------------ writing


def test_a_failed_write_leaves_the_old_content(tmp_path):
    file = tmp_path / "out"
    file.write_bytes(b"old")
    for error in (ValueError, OSError, KeyboardInterrupt):
        with pytest.raises(error), written_whole(file) as opened:
            opened.write(b"new")
            assert file.read_bytes() == b"old"
            raise error
    assert file.read_bytes() == b"old" and names(tmp_path) == ["out"]


def test_content_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    file, synced, sync = tmp_path / "out", [], os.fsync
    file.write_bytes(b"old")

    def spy(descriptor: int) -> None:
        sync(descriptor)
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        synced.append((is_folder, os.fstat(descriptor).st_size, file.read_bytes()))

    monkeypatch.setattr(os, "fsync", spy)
    write_whole(file, b"newer")
    first, *rest = synced
    assert first == (False, 5, b"old")
    assert [(kind, content) for kind, _, content in rest] == [(True, b"newer")] * (os.name != "nt")


@posix
def test_permissions_stay_and_new_files_follow_the_umask(tmp_path):
    file = tmp_path / "out"
    mask = os.umask(0o027)
    try:
        write_whole(file, b"1")
        assert stat.S_IMODE(file.stat().st_mode) == 0o640
        file.chmod(0o604)
        write_whole(file, b"2")
    finally:
        os.umask(mask)
    assert stat.S_IMODE(file.stat().st_mode) == 0o604 and file.read_bytes() == b"2"


@posix
def test_links_are_followed(tmp_path):
    (tmp_path / "there").mkdir()
    real, link, dangling = (tmp_path / name for name in ("there/real", "link", "dangling"))
    real.write_bytes(b"old")
    link.symlink_to("there/real")
    dangling.symlink_to("there/new")
    write_whole(link, b"one")
    write_whole(dangling, b"two")
    assert link.is_symlink() and real.read_bytes() == b"one"
    assert dangling.is_symlink() and (tmp_path / "there" / "new").read_bytes() == b"two"


@posix
def test_a_pipe_is_written_directly(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE)
    write_whole(pipe, b"content")
    assert reader.communicate(timeout=60)[0] == b"content"
    assert stat.S_ISFIFO(pipe.stat().st_mode) and names(tmp_path) == ["pipe"]


@posix
@pytest.mark.parametrize("redirected", [False, True], ids=["a pipe", "a file"])
def test_standard_output_is_written_in_order(redirected, tmp_path):
    """As `/dev/stdout`, which is such a link."""
    (tmp_path / "link").symlink_to("/proc/self/fd/1" if sys.platform == "linux" else "/dev/fd/1")
    code = (
        "from pathlib import Path; from facemtl.files import write_whole\n"
        "print('before'); write_whole(Path('link'), b'content\\n'); print('after')"
    )
    kept = tmp_path / "kept"
    kept.write_bytes(b"first\n")
    with kept.open("ab") as file:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=60,
            env={**os.environ, "PYTHONPATH": str(support.ROOT)},
            stdout=file if redirected else subprocess.PIPE,
        )  # fmt: skip
    found = kept.read_bytes().removeprefix(b"first\n") if redirected else done.stdout
    assert found == b"before\ncontent\nafter\n" and (tmp_path / "link").is_symlink()


@posix
def test_what_a_killed_process_left_is_swept_and_what_a_living_one_writes_is_not(tmp_path):
    file, code = tmp_path / "out[1]", (
        "import os, sys; from pathlib import Path; from facemtl.files import written_whole\n"
        "with written_whole(Path(sys.argv[1])) as opened:\n"
        "    opened.write(b'other'); opened.flush(); print(flush=True); sys.stdin.read()"
    )  # fmt: skip
    (tmp_path / ".other.0.partial").write_bytes(b"of another file")
    other = subprocess.Popen(
        [sys.executable, "-c", code, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(support.ROOT)},
    )  # fmt: skip
    other.stdout.readline()
    write_whole(file, b"mine")
    assert len(names(tmp_path)) == 3
    other.send_signal(signal.SIGKILL)
    other.communicate()
    write_whole(file, b"mine again")
    assert names(tmp_path) == [".other.0.partial", "out[1]"]
    assert file.read_bytes() == b"mine again"


@pytest.mark.parametrize("name", ["/dev/full", "missing/out", f"{'x' * 250}"])
def test_an_error_names_the_file(name, tmp_path):
    """And no temporary one beside it."""
    if name == "/dev/full" and not Path(name).exists():
        pytest.skip("only Linux has a full device")
    with pytest.raises(OSError) as caught:
        write_whole(tmp_path / name, bytes(10**6))
    assert caught.value.filename == str(tmp_path / name)


def a_set(folder: Path, content: bytes) -> Path:
    folder.mkdir()
    for name in ("a", "b", "c"):
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_an_old_set_stays_if_a_new_one_cannot_be_written(nth, tmp_path, monkeypatch):
    new, old = a_set(tmp_path / "new", b"2"), a_set(tmp_path / "old", b"1")
    sync, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == nth:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    before = support.contents(old)
    with pytest.raises(OSError, match=f"No space left.*{'abc'[nth - 1]}'"):
        replace_together(new, old)
    assert support.contents(old) == before and names(old) == ["a", "b", "c"]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("nth", range(1, 8))
def test_a_kill_never_leaves_old_files_beside_new_ones(nth, tmp_path, monkeypatch):
    """At any deletion or renaming."""
    new, old, calls = a_set(tmp_path / "new", b"2"), a_set(tmp_path / "old", b"1"), []

    def killed_once(does):
        def replacement(*arguments, **settings):
            calls.append(does)
            if len(calls) >= nth:
                raise Killed
            return does(*arguments, **settings)

        return replacement

    with monkeypatch.context() as patch, pytest.raises(Killed):
        for name in ("unlink", "replace"):
            patch.setattr(Path, name, killed_once(getattr(Path, name)))
        replace_together(new, old)
        raise Killed  # after its end
    assert len(calls) == min(nth, 6) or len(calls) > nth
    assert len({(old / name).read_bytes() for name in names(old) if name in "abc"}) < 2
    replace_together(new, old)
    assert support.contents(old) == support.contents(new) and names(old) == ["a", "b", "c"]


@posix
def test_a_replaced_set_keeps_links_and_permissions(tmp_path):
    new, old = a_set(tmp_path / "new", b"2"), a_set(tmp_path / "old", b"1")
    (old / "a").chmod(0o604)
    (old / "b").rename(tmp_path / "real")
    (old / "b").symlink_to(tmp_path / "real")
    replace_together(new, old)
    assert stat.S_IMODE((old / "a").stat().st_mode) == 0o604
    assert (old / "b").is_symlink() and (tmp_path / "real").read_bytes() == b"2"


# ------------------------------------------------------------------------------------------- claims


def test_a_claim_leaves_nothing_behind(tmp_path):
    with claimed([tmp_path / "new" / "folder" / "out"]):
        assert names(tmp_path / "new" / "folder") == [".out.lock"]
    assert names(tmp_path) == []
    with claimed([tmp_path / "new" / "out"]), claimed([tmp_path / "new" / "out"]):
        write_whole(tmp_path / "new" / "out", b"1")
    assert names(tmp_path / "new") == ["out"]


@pytest.mark.parametrize("ended", [False, True], ids=["living", "killed"])
def test_a_file_is_claimed_until_its_process_ends(ended, tmp_path):
    file, code = tmp_path / "out", (
        "import sys; from pathlib import Path; from facemtl.outputs import claimed\n"
        "with claimed([Path(sys.argv[1])]): print(flush=True); sys.stdin.read()"
    )  # fmt: skip
    other = subprocess.Popen(
        [sys.executable, "-c", code, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(support.ROOT)},
    )  # fmt: skip
    try:
        other.stdout.readline()
        if ended:
            other.kill()
            other.wait(60)
            with claimed([file]):
                pass
            assert names(tmp_path) == []
        else:
            with pytest.raises(FaceMTLError, match="Another process is writing"), claimed([file]):
                pass
    finally:
        other.kill()
        other.communicate()


def test_an_input_and_one_file_twice_are_refused(tmp_path):
    file, link, new = (tmp_path / name for name in ("in", "link", "new"))
    file.write_bytes(b"1")
    os.link(file, tmp_path / "hard")
    link.symlink_to(file)
    for output in (file, link, tmp_path / "hard", tmp_path / "x" / ".." / "in"):
        (tmp_path / "x").mkdir(exist_ok=True)
        with pytest.raises(FaceMTLError, match="is an input of this command"):
            claimed([new, output], [tmp_path / "missing", file]).__enter__()
    lock = tmp_path / ".new.lock"
    for twice in ([new, tmp_path / "x" / ".." / "new"], [file, link], [new, lock], [lock, new]):
        with pytest.raises(FaceMTLError, match="two outputs"):
            claimed(twice).__enter__()
    lock.write_bytes(b"an input that is named like the lock")
    with pytest.raises(FaceMTLError, match="is an input of this command"):
        claimed([new], [lock]).__enter__()
    with claimed([new], [file]), pytest.raises(IsADirectoryError), claimed([tmp_path / "x"]):
        pass


@pytest.mark.parametrize("length", [238, 252])
def test_a_claim_that_fails_names_the_file(length, tmp_path):
    """With 238 letters, only the partial file would have too long a name."""
    with pytest.raises(OSError) as caught, claimed([tmp_path / "new" / ("x" * length)]):
        pass
    assert caught.value.filename == str(tmp_path / "new" / ("x" * length))
    assert names(tmp_path) == []


def test_a_file_that_can_be_claimed_can_be_written(tmp_path):
    with claimed([tmp_path / ("x" * 237)]):
        write_whole(tmp_path / ("x" * 237), b"1")


def test_a_refused_claim_gives_back_what_it_had(tmp_path):
    one, other = tmp_path / "new" / "one", tmp_path / "other"
    with (
        FileLock(tmp_path / ".other.lock"),
        pytest.raises(FaceMTLError, match="other"),
        claimed([one, other]),
    ):
        pass
    assert not one.parent.exists()
    with claimed([one, other]):
        pass
