"""The server's memory goes back to the system."""

import subprocess
import sys

import pytest

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
