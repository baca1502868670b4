"""The server's memory: freed memory returns to the system."""

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
bytes(16 * 2**20)  # after freeing such a block, glibc keeps smaller ones
before = resident()
blocks = [bytearray(os.urandom(64)) * 4000 for _ in range(1000)]  # of 256 kB
kept, full = blocks[::100], resident()  # these are above the freed blocks
assert full > before + 200
del blocks
left = resident() - before
assert (left < 50) is GIVEN_BACK, f"{left:.0f} of {full - before:.0f} MiB are left"
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
@pytest.mark.parametrize("given_back", [True, False])
def test_freed_memory_below_used_blocks_is_returned_to_the_system(given_back):
    """If the case False fails, `keep_memory_low` is no longer needed."""
    code = SCRIPT.replace("GIVEN_BACK", str(given_back))
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=support.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
