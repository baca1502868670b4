"""Training with several processes of `accelerate launch`, distributed by fastai."""

import subprocess

import pandas as pd
import torch

from facemtl.inference.predictor import LoadedModel
from facemtl.models.model_file import load_weights
from tests import support

# fastai distributes over GPUs. CPUs need another broadcast of the order of images, and no batch
# normalisation across processes.
SCRIPT = """
import sys
from contextlib import contextmanager
from pathlib import Path

from facemtl.training import train as module
import torch
from fastai.distributed import DistributedDL, rank_distrib
from facemtl import TrainConfig, read_images, train
from facemtl.models import backbones
from facemtl.training.callbacks import plain_model
from tests import support

backbones.OWN[support.SMALL] = support.small_backbone

def broadcast(self, values, rank):
    values = torch.LongTensor(values)
    torch.distributed.broadcast(values, rank)
    return values.tolist()

DistributedDL._broadcast = broadcast
module._all_processes = lambda learner: learner.distrib_ctx(sync_bn=False, cpu=True)
weights = {}
keep = module.KeepProgress.after_epoch
def after_epoch(self):
    keep(self)
    parameters = plain_model(self.learn).parameters()
    weights["last"] = torch.cat([p.detach().flatten() for p in parameters])
module.KeepProgress.after_epoch = after_epoch

faces, output = map(Path, sys.argv[1:])
config = TrainConfig(
    tasks=("age",), backbone=support.SMALL, pretrained=False, size=32, batch_size=16,
    frozen_epochs=1, epochs=1,
)
train(config, read_images(faces, progress=False)[0], output, device="cpu", progress=False)
torch.save(weights["last"], output / f"weights{rank_distrib()}.pt")
"""


def test_two_processes_train_one_model(tmp_path):
    script, output = tmp_path / "script.py", tmp_path / "out"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [*support.LAUNCH_TWO, script, support.COMPOSITES, output],
        cwd=tmp_path,
        env={**support.inherited(), "PYTHONPATH": str(support.ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = sorted(file.name for file in output.iterdir())
    assert found == ["age.history.csv", "age.onnx", "weights0.pt", "weights1.pt"]
    assert LoadedModel.load(output / "age.onnx").info.name == "age"
    assert len(pd.read_csv(output / "age.history.csv")) == 2
    first, second = (torch.load(output / f"weights{i}.pt", weights_only=True) for i in range(2))
    assert torch.equal(first, second)  # gradients are shared
    assert all(
        torch.isfinite(values).all() for values in load_weights(output / "age.onnx").values()
    )
