"""The server's memory: what is freed goes back to the system."""

import platform
import subprocess
import sys

import pytest

from tests import support

SCRIPT = """
import os
from pathlib import Path
from facemtl.ui.launch import keep_memory_low

def resident():  # MiB
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

GIVEN_BACK and keep_memory_low()
bytes(16 * 2**20)  # once such a block is freed, glibc by itself keeps smaller ones
before = resident()
blocks = [bytearray(os.urandom(64)) * 4000 for _ in range(1000)]  # of 256 kB
kept, full = blocks[::100], resident()  # these lie above those that are freed
assert full > before + 200
del blocks
left = resident() - before
assert (left < 50) is GIVEN_BACK, f"{left:.0f} of {full - before:.0f} MiB are left"
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
@pytest.mark.parametrize("given_back", [True, False])
def test_what_was_freed_below_something_that_is_used_is_given_back(given_back):
    """Where this fails without the call, as it is not to, `keep_memory_low` can go."""
    code = SCRIPT.replace("GIVEN_BACK", str(given_back))
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=support.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
