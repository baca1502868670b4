"""The costs of each model and approach: size, multiply-adds and time.

Size is parameters and bytes of the file. Time is milliseconds per face and seconds of training.
"""

import platform
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from ..data.utkface import CHIP_SIZE
from ..files import read_table, write_table
from ..inference.predictor import APPROACHES, RUNTIME, Predictor, threads, to_batch
from ..models.model_file import SUFFIX
from ..regular import MOST_OF_MODEL, read_bytes, read_of_system

COSTS_FILE = "costs.csv"
ALL = "all"  # in column `model`: all models of an approach together
_WARM_UP = 3  # rounds that do not count: the first ones allocate memory
_TYPES = {
    "model": str, "approach": str, "parameters": int, "file_bytes": int, "multiply_adds": int,
    "milliseconds": float, "milliseconds_low": float, "milliseconds_high": float,
    "processor": str, "threads": int, "runtime": str,
}  # fmt: skip


def costs(predictor: Predictor, folder: Path, repeats: int = 30) -> pd.DataFrame:
    """One row per model, then one row per approach with `model` "all": the sum over its models.

    Columns:

    - `model, approach`
    - `parameters`: learned numbers, without the running statistics of batch normalisation
    - `file_bytes`: size of the model file in `folder`, from which the predictor was loaded
    - `multiply_adds`: of one pass; a prediction takes two, for the face and for its mirror image
    - `milliseconds, milliseconds_low, milliseconds_high`: median and quartiles, over `repeats`, of
      the model's time on one core for a crop of its size and the mirror image
    - `training_seconds`: from the model file; NaN if it has none
    - `processor, threads, runtime`: from `machine`; the milliseconds were measured there
    """
    from ..inference.arithmetic import multiply_adds

    crop = np.random.default_rng(0).integers(0, 256, (CHIP_SIZE, CHIP_SIZE, 3), np.uint8)
    times = milliseconds(
        {m.name: partial(m.logits, to_batch([crop], m.info.size)) for m in predictor.models},
        repeats,
    )
    counted = {
        m.name: multiply_adds(read_bytes(_file(folder, m.name), MOST_OF_MODEL), m.info)
        for m in predictor.models
    }
    answers = [(m.name, m.approach, [m]) for m in predictor.models]
    answers += [
        (ALL, a, found)
        for a in APPROACHES
        if (found := [m for m in predictor.models if m.approach is a])
    ]
    rows = []
    for name, approach, models in answers:
        # Rounds are summed first: the sum of medians is not the median of sums.
        low, median, high = np.percentile(sum(times[m.name] for m in models), [25, 50, 75])
        rows.append(
            {
                "model": name,
                "approach": approach.name,
                "parameters": sum(m.info.parameters for m in models),
                "file_bytes": sum(_file(folder, m.name).stat().st_size for m in models),
                "multiply_adds": sum(counted[m.name] for m in models),
                "milliseconds": median,
                "milliseconds_low": low,
                "milliseconds_high": high,
                "training_seconds": sum(m.info.training.get("seconds", np.nan) for m in models),
            }
        )
    return pd.DataFrame(rows).assign(**machine())


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}{SUFFIX}"


def in_words(table: pd.DataFrame) -> list[tuple[str, ...]]:
    """The costs as text: (kind of cost, three models, one model)."""
    by = table[table["model"] == ALL].set_index("approach")
    said = {
        "parameters": lambda r: f"{r.parameters / 1e6:.1f} million",
        "model files": lambda r: f"{r.file_bytes / 1e6:.1f} MB",
        "multiply-adds for one face": lambda r: f"{r.multiply_adds / 1e9:.2f} billion",
        "one face, with its mirror image": lambda r: (
            f"{r.milliseconds:.0f} ms ({r.milliseconds_low:.0f} to {r.milliseconds_high:.0f})"
        ),
        "training": lambda r: f"{r.training_seconds / 3600:.1f} hours",
    }
    return [(what, *(say(by.loc[a.name]) for a in APPROACHES)) for what, say in said.items()]


def note(table: pd.DataFrame) -> str:
    """How and on which processor the milliseconds were measured."""
    first = table.iloc[0]
    return f"Milliseconds: medians and quartiles on one core of {first.processor}, {first.runtime}."


def milliseconds(work: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, np.ndarray]:
    """The times that each function in `work` takes, in milliseconds: {name: (repeats,)}.

    The functions take turns, so that a disturbance affects all of them alike.
    """

    def measured(do: Callable[[], object]) -> float:
        started = time.perf_counter()
        do()
        return 1000 * (time.perf_counter() - started)

    rounds = [[measured(do) for do in work.values()] for _ in range(_WARM_UP + repeats)]
    return dict(zip(work, np.array(rounds[_WARM_UP:]).T, strict=True))


def machine() -> dict[str, str | int]:
    """The processor, threads and runtime that times hold for, without the host's name.

    As many models as `threads` run at a time, each on one thread.
    """
    return {"processor": _processor(), "threads": threads(), "runtime": RUNTIME}


def _processor() -> str:
    try:
        names = re.findall(r"^model name\s*:\s*(.+)$", read_of_system("/proc/cpuinfo"), re.M)
    except OSError:
        names = []  # not Linux
    return names[0].strip() if names else platform.processor() or platform.machine()


def save(table: pd.DataFrame, folder: Path) -> None:
    """Write the table of `costs`."""
    write_table(table, folder / COSTS_FILE)


def load(folder: Path) -> pd.DataFrame:
    """The table that `save` wrote."""
    rows = [{"model": ALL, "approach": a.name} for a in APPROACHES]
    command = f"python -m facemtl cost --output {folder}"
    return read_table(folder / COSTS_FILE, _TYPES, command, rows=rows)
