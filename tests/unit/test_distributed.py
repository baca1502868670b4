"""Training with several processes, distributed by fastai."""

import os
from pathlib import Path

import pandas as pd
import torch
from fastai.distributed import DistributedDL

from facemtl.data.reading import read_images
from facemtl.inference.predictor import LoadedModel
from facemtl.models.model_file import load_weights
from facemtl.training import train as module
from facemtl.training.callbacks import plain_model
from tests import support
from tests.forks import Command


def take_part(arguments: list[str]) -> None:
    """Train as one of two processes, with the variables that `accelerate launch` sets.

    fastai distributes over GPUs. CPUs need another broadcast of the order of images, and no batch
    normalisation across processes.
    """
    rank, port, output = arguments
    os.environ |= {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}

    def broadcast(self, values, source):
        values = torch.LongTensor(values)
        torch.distributed.broadcast(values, source)
        return values.tolist()

    DistributedDL._broadcast = broadcast
    module._all_processes = lambda learner: learner.distrib_ctx(sync_bn=False, cpu=True)
    weights, keep = {}, module.KeepProgress.after_epoch

    def after_epoch(self):
        keep(self)
        parameters = plain_model(self.learn).parameters()
        weights["last"] = torch.cat([p.detach().flatten() for p in parameters])

    module.KeepProgress.after_epoch = after_epoch
    config = module.TrainConfig(
        tasks=("age",), backbone=support.SMALL, pretrained=False, size=32, batch_size=16,
        frozen_epochs=1, epochs=1,
    )  # fmt: skip
    images, _ = read_images(support.COMPOSITES, progress=False)
    module.train(config, images, Path(output), device="cpu", progress=False)
    torch.save(weights["last"], Path(output) / f"weights{rank}.pt")


def test_two_processes_train_one_model(tmp_path):
    output, port = tmp_path / "out", str(support.closed_port())
    both = [Command(str(rank), port, output, cwd=tmp_path, main=take_part) for rank in range(2)]
    for status, _, said in [process.finish() for process in both]:
        assert status == 0, said
    found = sorted(file.name for file in output.iterdir())
    assert found == ["age.history.csv", "age.onnx", "weights0.pt", "weights1.pt"]
    assert LoadedModel.load(output / "age.onnx").info.name == "age"
    assert len(pd.read_csv(output / "age.history.csv")) == 2
    first, second = (torch.load(output / f"weights{i}.pt", weights_only=True) for i in range(2))
    assert torch.equal(first, second)  # gradients are shared
    assert all(
        torch.isfinite(values).all() for values in load_weights(output / "age.onnx").values()
    )
