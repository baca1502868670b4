"""Training in two processes, as Accelerate starts them: it ends where one process does."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from torch import nn

from facemtl import cli, models, training
from facemtl.augmentation import Augmentation, augment
from facemtl.errors import FaceMTLError
from facemtl.training import processes
from facemtl.training.loader import FaceLoader
from tests import support

ARGUMENTS = [
    *("--no-pretrained", "--stages", "32x2", "40x1", "--batch-size", "32", "--lr", "0.002", "--seed", "5", "--device", "cpu"),
    *("--ema", "0.9", "--weighting", "uncertainty", "--sam", "0.05", "--erase", "0.3", "--blur", "0.2", "--tint", "0.1"),
]
MODEL = "multitask"


# --------------------------------------------------------------------------------- parts of batches


def loader(part: tuple[int, int]) -> FaceLoader:
    pixels = torch.arange(50, dtype=torch.uint8)[:, None, None, None].expand(50, 6, 6, 3)
    return FaceLoader(pixels, {"row": torch.arange(50)}, np.arange(3, 50), 12, seed=3, part=part)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
def test_processes_share_each_batch(count):
    parts = [list(loader((number, count))) for number in range(count)]
    for (images, targets), *own in zip(loader((0, 1)), *parts, strict=True):
        assert {len(i) for i, _ in own} == {12 // count}
        assert torch.equal(torch.cat([i for i, _ in own]), images)
        assert torch.equal(torch.cat([t["row"] for _, t in own]), targets["row"])


@pytest.mark.parametrize("how", [Augmentation(), Augmentation(tint=0.2, erase=0.5, gray=0.5), Augmentation(blur=0.5)])
def test_an_image_is_changed_the_same_way_in_any_part(how):
    torch.manual_seed(0)
    images = torch.rand(12, 3, 36, 36)

    def changed(images: torch.Tensor, part: tuple[int, int]) -> torch.Tensor:
        torch.manual_seed(7)
        return augment(images, 32, how, part)

    whole = changed(images, (0, 1))
    for count in (2, 3):
        parts = [changed(own, (number, count)) for number, own in enumerate(images.chunk(count))]
        assert torch.allclose(torch.cat(parts), whole, atol=1e-6)
    assert not torch.allclose(changed(images[6:], (0, 1)), whole[6:], atol=1e-2)


@pytest.mark.parametrize(("count", "fit", "not_fit"), [(2, 64, 5), (3, 6, 3), (4, 8, 4)])
def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch, count, fit, not_fit):
    monkeypatch.setenv("WORLD_SIZE", str(count))
    processes.check_parts(fit)
    with pytest.raises(FaceMTLError, match=rf"multiple of {count},.* found {not_fit}\."):
        processes.check_parts(not_fit)


def test_the_finder_of_learning_rates_is_not_for_several(monkeypatch, synthetic_faces, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert cli.main(["train", "--data", str(synthetic_faces), "--lr-find", *ARGUMENTS]) == 1
    assert "one process" in capsys.readouterr().err


# ------------------------------------------------------------------------------------ two processes

# What makes two processes differ from one is left out: dropout, which draws by the size of a part, batch normalisation, which
# on CPUs sees only a part, and bfloat16, whose three digits show the order of a sum.
SAME = [*ARGUMENTS, "--backbone", "plain", "--dropout", "0"]
SCRIPT = """
import os, sys
from pathlib import Path
from facemtl import cli, models, training
from facemtl.training.callbacks import KeepProgress
from tests.unit.test_processes import in_float32, plain

def before_batch(self):
    if self.epoch == 1:
        os._exit(3)

models.OWN_BACKBONES["plain"] = plain
training.precision = in_float32
if "STOP" in os.environ:  # ends in the second epoch, with no chance to clean up
    KeepProgress.before_batch = before_batch
status = cli.main()
threads = [file.read_text() for file in Path("/proc/self/task").glob("*/comm")]
sys.exit(f"These threads are left: {threads}" if any("gloo" in name for name in threads) else status)
"""


def plain() -> nn.Module:
    return support.small_backbone(nn.Identity)


def in_float32(device: torch.device) -> str:
    return "float32"


@pytest.fixture(scope="module")
def launch(synthetic_faces, tmp_path_factory) -> Callable:
    """`accelerate launch` of a training in two processes; its exit status and what it said."""
    script = tmp_path_factory.mktemp("script") / "script.py"
    script.write_text(SCRIPT)

    def run(output: Path, *arguments: str, module: bool = False, **environment: str) -> tuple[int, str]:
        launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
        command = [*launcher, "--main_process_port", str(support.closed_port()), *(["-m", "facemtl"] if module else [script])]
        command += ["train", "--data", synthetic_faces, "--output", output, *arguments]
        environment = {**support.inherited(), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(support.ROOT), **environment}
        options = {"cwd": output.parent, "capture_output": True, "text": True, "timeout": 600}
        done = subprocess.run([*map(str, command)], env=environment, **options)
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.fixture
def alone(synthetic_faces, tmp_path, monkeypatch) -> Callable:
    """The same in this process; where its output is."""
    monkeypatch.setitem(models.OWN_BACKBONES, "plain", plain)

    def run(*arguments: str, name: str = "alone") -> Path:
        output = tmp_path / name
        assert cli.main(["train", "--data", str(synthetic_faces), "--output", str(output), *arguments]) == 0
        return output

    return run


def weights(output: Path) -> torch.Tensor:
    """All of a model in one vector."""
    loaded = safetensors.torch.load_file(output / f"{MODEL}.safetensors")
    return torch.cat([value.flatten().double() for _, value in sorted(loaded.items())])


def history(output: Path) -> pd.DataFrame:
    return pd.read_csv(output / f"{MODEL}.history.csv").drop(columns="seconds")


def test_two_processes_stopped_and_resumed_end_where_one_does(launch, alone, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "precision", in_float32)
    output = tmp_path / "two"
    status, said = launch(output, *SAME, STOP="1")
    assert status != 0 and (output / f"{MODEL}.resume.pt").is_file(), said
    assert len(history(output)) == 1
    status, said = launch(output, *SAME, "--resume")
    assert status == 0, said
    assert said.count("Wrote ") == said.count("ready to use") == 1  # one process prints
    expected = alone(*SAME)
    assert sorted(f.name for f in output.iterdir()) == sorted(f.name for f in expected.iterdir())
    assert (weights(output) - weights(expected)).norm() < 1e-3 * weights(expected).norm()
    assert np.allclose(history(output), history(expected), rtol=1e-3)
    other = alone(*SAME, "--seed", "6", name="other")
    assert (weights(other) - weights(expected)).norm() > 0.1 * weights(expected).norm()


def test_with_batch_normalisation_over_parts_two_processes_learn_about_as_much(launch, alone, tmp_path):
    arguments = ["--no-pretrained", "--backbone", "resnet10", "--stages", "32x2", "--batch-size", "64", "--device", "cpu"]
    status, said = launch(tmp_path / "two", *arguments, module=True)
    assert status == 0, said
    two, one = history(tmp_path / "two"), history(alone(*arguments))
    assert np.allclose(two["train_loss"], one["train_loss"], rtol=0.1)
    assert two["train_loss"].iloc[-1] < 0.9 * two["train_loss"].iloc[0]
