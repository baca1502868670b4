"""What an answer costs: parameters, file size, multiply-adds, milliseconds and seconds of training, per model and approach."""

import platform
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from .evaluation import CHIP_SIZE
from .models import FaceModel
from .prediction import APPROACHES, LoadedModel, Predictor
from .tables import read_table, write_table

COSTS_FILE = "costs.csv"
ALL = "all"  # stands in column `model` for all models of an approach together
_WARM_UP = 3  # rounds that are not measured: the first ones allocate memory and choose kernels
_TYPES = {
    "model": str, "approach": str, "parameters": int, "file_bytes": int, "multiply_adds": int,
    "milliseconds": float, "milliseconds_low": float, "milliseconds_high": float,
    "processor": str, "threads": int, "torch": str, "device": str,
}  # fmt: skip


def costs(predictor: Predictor, folder: Path, n_faces: int = 1, repeats: int = 30) -> pd.DataFrame:
    """A row per model and then, with `model` "all", a row per approach: what its models cost together.

    Columns:

    - `model, approach`
    - `parameters`: learned numbers, without the running statistics of batch normalisation
    - `file_bytes`: of the weights in `folder`, where the predictor was loaded from
    - `multiply_adds`: of one pass of one face; an answer takes two, of the face and of its mirror image
    - `milliseconds, milliseconds_low, milliseconds_high`: median and quartiles, over `repeats`, of the time from
      `n_faces` crops in one batch to their outputs: resizing, the model, the mirror images
    - `training_seconds`: as the checkpoint notes them; NaN where one does not
    - `processor, threads, torch, device`: `machine`'s, which the milliseconds hold for
    """
    times = _milliseconds(predictor, n_faces, repeats)
    answers = [(loaded.name, loaded.approach, [loaded]) for loaded in predictor.models]
    answers += [(ALL, a, found) for a in APPROACHES if (found := [m for m in predictor.models if m.approach is a])]
    rows = []
    for name, approach, models in answers:
        # Rounds are summed before their median is taken: the sum of medians is not the median of sums.
        low, median, high = np.percentile(sum(times[loaded.name] for loaded in models), [25, 50, 75])
        rows.append(
            {
                "model": name,
                "approach": approach.name,
                "parameters": sum(loaded.model.n_parameters for loaded in models),
                "file_bytes": sum((folder / f"{loaded.name}.safetensors").stat().st_size for loaded in models),
                "multiply_adds": sum(map(multiply_adds_of, models)),
                "milliseconds": median,
                "milliseconds_low": low,
                "milliseconds_high": high,
                "training_seconds": sum(loaded.checkpoint.training.get("seconds", np.nan) for loaded in models),
            }
        )
    return pd.DataFrame(rows).assign(**machine())


def in_words(table: pd.DataFrame) -> list[tuple[str, ...]]:
    """(what, three models, one model) for a reader: what each approach costs altogether."""
    by = table[table["model"] == ALL].set_index("approach")
    said = {
        "parameters": lambda r: f"{r.parameters / 1e6:.1f} million",
        "weights on disk": lambda r: f"{r.file_bytes / 1e6:.1f} MB",
        "multiply-adds for one face": lambda r: f"{r.multiply_adds / 1e9:.2f} billion",
        "one face, with its mirror image": lambda r: (
            f"{r.milliseconds:.0f} ms ({r.milliseconds_low:.0f} to {r.milliseconds_high:.0f})"
        ),
        "training": lambda r: f"{r.training_seconds / 3600:.1f} hours",
    }
    return [(what, *(say(by.loc[a.name]) for a in APPROACHES)) for what, say in said.items()]


def note(table: pd.DataFrame) -> str:
    """What the milliseconds hold for."""
    first = table.iloc[0]
    return f"Milliseconds: medians and quartiles on {first.threads} threads of {first.processor}, torch {first.torch}."


def _milliseconds(predictor: Predictor, n_faces: int, repeats: int) -> dict[str, np.ndarray]:
    """By model, how long each of its answers took, (repeats,)."""
    crops = list(np.random.default_rng(0).integers(0, 256, (n_faces, CHIP_SIZE, CHIP_SIZE, 3), np.uint8))
    return milliseconds({loaded.name: partial(loaded.outputs, crops) for loaded in predictor.models}, repeats)


def milliseconds(work: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, np.ndarray]:
    """How long each took, (repeats,). They take turns, so that a disturbance hits all alike."""

    def measured(do: Callable[[], object]) -> float:
        started = time.perf_counter()
        do()
        return 1000 * (time.perf_counter() - started)

    rounds = [[measured(do) for do in work.values()] for _ in range(_WARM_UP + repeats)]
    return dict(zip(work, np.array(rounds[_WARM_UP:]).T, strict=True))


def multiply_adds_of(loaded: LoadedModel) -> int:
    """`multiply_adds` of a model as it was trained: layers of one that was made faster cannot be counted."""
    checkpoint = loaded.checkpoint
    return multiply_adds(FaceModel(loaded.model.tasks, checkpoint.backbone).eval(), checkpoint.image_size)


def multiply_adds(model: nn.Module, size: int) -> int:
    """Multiplications, each with its addition, in the convolutions and linear layers for one image (1, 3, size, size).

    Normalisation, activations and pooling are not counted, as is usual.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, size, size))
    return counter.get_total_flops() // 2


def machine() -> dict[str, str | int]:
    """What times hold for, in general terms: `processor`, `threads` used, `torch`'s version and `device`."""
    return {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "device": "cpu",  # where `Predictor` keeps all models
    }


def _processor() -> str:
    try:
        names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        names = []  # not Linux
    return names[0].strip() if names else platform.processor() or platform.machine()


def save(table: pd.DataFrame, folder: Path) -> None:
    """Write the table."""
    write_table(table, folder / COSTS_FILE)


def load(folder: Path) -> pd.DataFrame:
    """The table that `save` wrote."""
    return read_table(folder / COSTS_FILE, _TYPES, "python -m facemtl cost")
