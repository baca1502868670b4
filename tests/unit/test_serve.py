"""The server's memory: what is freed goes back to the system, what stays is not looked through for garbage."""

import gc
import subprocess
import sys

import pytest

from facemtl import uncollected
from tests import support

SCRIPT = """
import os, time
from pathlib import Path
from facemtl.serve import keep_memory_low

def resident():  # MiB
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

blocks = [bytearray(os.urandom(64)) * 1000 for _ in range(5000)]  # 64 kB each, which are not mapped one by one
kept, full = blocks[::500], resident()
del blocks
assert resident() > full - 100  # what is kept lies above
if keep_memory_low(every=0.1):
    until = time.monotonic() + 60
    while resident() > full - 200:
        assert time.monotonic() < until, f"{full:.0f} MiB were in memory, and {resident():.0f} still are"
        time.sleep(0.1)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how much memory is used")
def test_what_was_freed_below_something_that_is_used_is_given_back():
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=support.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("collects", [True, False])
def test_garbage_is_looked_for_as_before_once_all_is_made_or_cannot_be(collects):
    before = gc.isenabled()
    try:
        gc.enable() if collects else gc.disable()
        with uncollected():
            assert not gc.isenabled()
        assert gc.isenabled() is collects
        with pytest.raises(ZeroDivisionError), uncollected():
            1 / 0  # noqa: B018
        assert gc.isenabled() is collects
    finally:
        gc.enable() if before else gc.disable()


def test_importing_leaves_the_collector_as_it_was():
    for switch in ("enable", "disable"):
        script = f"import gc; gc.{switch}(); import facemtl; assert gc.isenabled() is {switch == 'enable'}"
        subprocess.run([sys.executable, "-c", script], cwd=support.ROOT, check=True)


APP = """
import gc
from pathlib import Path
from facemtl.places import ASSETS
from facemtl.serve import make_app

made = make_app(ASSETS / "models", ASSETS / "validation", Path("no-dataset"))
assert gc.isenabled() and gc.get_freeze_count() > 100_000, gc.get_freeze_count()
"""


def test_what_a_start_has_made_is_not_looked_through_for_garbage():
    done = subprocess.run([sys.executable, "-c", APP], cwd=support.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
