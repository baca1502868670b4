"""Measure two editions of the app side by side, in one run on this machine.

    git worktree add ../first 5fe4146
    (cd ../first && python -m venv .venv && .venv/bin/pip install -r requirements.txt)
    python -m research.editions ../first --json assets/validation/editions.json

The editions take turns, so what else the machine does meets both alike. The other checkout needs
an environment of its own in `.venv`.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np

from facemtl.errors import FaceMTLError
from facemtl.evaluation.cost import machine, milliseconds
from facemtl.files import write_whole
from facemtl.paths import ASSETS

from . import run_script
from .bench import (
    MEGAPIXELS,
    ROOT,
    call,
    client,
    make_photo,
    most_memory,
    running_app,
    upload_and_predict,
)

STARTS, REPEATS = 5, 15


def compare(other: Path) -> dict[str, dict[str, list[float]]]:
    """Measured values by measurement and edition, "before" and "now"."""
    python = other.absolute() / ".venv" / "bin" / "python"
    if not python.is_file():
        raise FaceMTLError(f"{other} has no .venv: make one, and install requirements.txt in it.")
    editions = {
        "before": partial(
            running_app, other.absolute() / "assets" / "models", tree=other, python=str(python)
        ),
        "now": partial(running_app, ASSETS / "models", tree=ROOT, python=sys.executable),
    }
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for _ in range(STARTS):
        for edition, run in editions.items():
            started = time.perf_counter()
            with run() as (_, process):
                found["start to a served page, s"][edition].append(time.perf_counter() - started)
                found["memory once started, MiB"][edition].append(most_memory(process))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        apps = {edition: stack.enter_context(run()) for edition, run in editions.items()}
        to = {e: stack.enter_context(client(address)) for e, (address, _) in apps.items()}
        for megapixels, size in MEGAPIXELS.items():
            photo = make_photo(folder / f"{megapixels}.jpg", size)
            steps = {e: partial(upload_and_predict, http, photo) for e, http in to.items()}
            for edition, values in milliseconds(steps, REPEATS).items():
                what = f"a photo of {megapixels} megapixels over HTTP, ms"
                found[what][edition] = values.tolist()
        for edition, values in milliseconds(
            {e: partial(call, http, "metrics", "all") for e, http in to.items()}, REPEATS
        ).items():
            found["an answer without a model over HTTP, ms"][edition] = values.tolist()
        for edition, (_, process) in apps.items():
            found["memory after these requests, MiB"][edition].append(most_memory(process))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure two editions of the app side by side.")
    parser.add_argument("other", type=Path, help="a checkout of the other edition")
    parser.add_argument("--json", type=Path, metavar="OUT", help="a file for the figures")
    options = parser.parse_args()
    rows = [
        {"what": what, **{e: round(float(np.median(v)), 2) for e, v in by.items()}}
        for what, by in compare(options.other).items()
    ]
    for row in rows:
        ratio = row["now"] / row["before"]
        print(f"{row['what']:<48}{row['before']:>9.2f}{row['now']:>9.2f}   x {ratio:.2f}")
    if options.json:
        found = {"machine": machine(), "measured": rows}
        write_whole(options.json, (json.dumps(found, indent=2) + "\n").encode())


if __name__ == "__main__":
    run_script(main)
