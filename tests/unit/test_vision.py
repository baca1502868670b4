"""The module that imports torchvision beside a CPU build of torch."""

import subprocess
import sys

import pytest
import torch


@pytest.mark.skipif(torch.version.cuda is not None, reason="torch is a CUDA build")
def test_torchvision_by_itself_does_not_import():
    """If this fails, torchvision works with a CPU build of torch: models/vision.py can go."""
    found = subprocess.run(
        [sys.executable, "-c", "import torchvision"], capture_output=True, text=True
    )
    assert found.returncode and "torchvision::" in found.stderr
