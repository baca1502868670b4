"""Ways to run the shipped multi-task model on this CPU: python benchmarks/runtimes.py. OpenVINO is asked where it is installed.

Each way answers the same images, in turns; told are the median milliseconds of a batch, by how much an answer differs from
torch's own at most, and how long it takes to make the model ready.
"""

import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from facemtl.cost import milliseconds  # noqa: E402
from facemtl.inference import faster, folded  # noqa: E402
from facemtl.models import Checkpoint, FaceModel  # noqa: E402

BATCHES = (2, 8, 48)  # images: a face and its mirror image, four, a page
ROUNDS = 12
warnings.filterwarnings("ignore", category=DeprecationWarning)


class Joined(nn.Module):
    """All answers side by side in one tensor, as some runtimes want it."""

    def __init__(self, model: FaceModel):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([*self.model(images).values()], dim=1)


def without_normalisation(model: FaceModel, size: int) -> nn.Module:
    model.backbone = folded(model.backbone)
    return Joined(model.to(memory_format=torch.channels_last))


def scripted(model: FaceModel, size: int) -> nn.Module:
    traced = torch.jit.trace(Joined(model).eval(), torch.rand(2, 3, size, size))
    return torch.jit.optimize_for_inference(torch.jit.freeze(traced))


def openvino(model: FaceModel, size: int) -> Callable[[Tensor], Tensor]:
    import openvino

    converted = openvino.convert_model(
        Joined(model).eval(), example_input=torch.rand(2, 3, size, size), input=[-1, 3, size, size]
    )
    options = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(converted, "CPU", {"PERFORMANCE_HINT": "LATENCY", **options})
    return lambda images: torch.from_numpy(compiled(images.numpy())[0])


WAYS = {
    "torch": lambda model, size: Joined(model),
    "torch, normalisation folded": without_normalisation,
    "packed, as shipped": lambda model, size: Joined(faster(model, size)),
    "TorchScript": scripted,
    "OpenVINO": openvino,
}


def main() -> None:
    ready, making = {}, {}
    with torch.no_grad():
        for name, make in WAYS.items():
            checkpoint, model = Checkpoint.load(ROOT / "assets" / "models" / "multitask.json")
            started = time.perf_counter()
            try:
                ready[name] = make(model, checkpoint.image_size)
            except ImportError:
                continue
            making[name] = time.perf_counter() - started
        heads = "".join(f"{n} images ms".rjust(14) for n in BATCHES)
        print(f"{'':<30}{'ready s':>9}{heads}{'differs by':>13}")
        images = {n: torch.rand(n, 3, checkpoint.image_size, checkpoint.image_size) for n in BATCHES}
        times = {n: milliseconds({name: partial(run, images[n]) for name, run in ready.items()}, ROUNDS) for n in BATCHES}
        expected = ready["torch"](images[48])
        for name, run in ready.items():
            medians = "".join(f"{np.median(times[n][name]):>14.1f}" for n in BATCHES)
            print(f"{name:<30}{making[name]:>9.2f}{medians}{float((run(images[48]) - expected).abs().max()):>13.1e}")


if __name__ == "__main__":
    main()
