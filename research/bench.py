"""Measure times and memory of the app, the models and training on this machine, in one run.

    python -m research.bench

Each row is one measurement, with several repetitions. Measurements that are compared take turns.
"""

import argparse
import io
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
from PIL import Image

from facemtl.data.reading import TRAIN, read_images
from facemtl.data.utkface import CHIP_SIZE
from facemtl.errors import FaceMTLError
from facemtl.evaluation.cost import milliseconds
from facemtl.faces import detect, open_image
from facemtl.inference.predictor import APPROACHES, MULTI, SINGLE, Approach, Predictor, to_batch
from facemtl.paths import ASSETS, default_folder
from facemtl.tasks import AGE

from . import run_script

COLUMNS = ["what", "unit", "median", "low", "high", "n"]
MEGAPIXELS = {0.3: (640, 480), 2: (1632, 1224), 12: (4000, 3000)}
MANY = 64  # faces in one prediction
ROOT = Path(__file__).parent.parent
_STARTS = 3
_PATIENCE = 300  # seconds to wait for an app that does not answer
# Libraries that training needs, and the app does not.
_TRAINING = ("fastai", "onnxscript", "torch", "torchvision")


def bench(
    models: Path, data: Path, repeats: int = 15, report: Callable[[dict], None] = lambda row: None
) -> pd.DataFrame:
    """The measurements, one row each, with COLUMNS.

    `low` and `high` are quartiles, `n` is the number of repetitions. `report` is called with each
    row as soon as it is measured. If `data` has no images, training is measured on composites. If
    the libraries for training are not installed, training is left out.
    """
    rows: list[dict] = []

    def note(what: str, unit: str, values: np.ndarray) -> None:
        low, median, high = np.percentile(values, [25, 50, 75])
        rows.append(dict(zip(COLUMNS, (what, unit, median, low, high, len(values)), strict=True)))
        report(rows[-1])

    with tempfile.TemporaryDirectory() as folder:
        photos = {
            mp: make_photo(Path(folder) / f"{mp}.jpg", size) for mp, size in MEGAPIXELS.items()
        }
        app = chain(_start(models), _requests(models, photos, repeats))
        for found in chain(
            app, _models(models, repeats), _photos(photos, repeats), _training(models, data)
        ):
            note(*found)
    return pd.DataFrame(rows, columns=COLUMNS)


def ratios(table: pd.DataFrame) -> dict[str, float]:
    """Ratios of measurements of the same run. Unlike times, they hold on other machines, too."""
    median = table.set_index("what")["median"]
    found = {"one model over three, one face": median[_one_face(MULTI)] / median[_one_face(SINGLE)]}
    if "training, facemtl" in median:
        found["training, facemtl over fastai's stock pipeline"] = (
            median["training, facemtl"] / median["training, fastai"]
        )
    return found


# ------------------------------------------------------------------------------- measurements

Found = Iterator[tuple[str, str, np.ndarray]]  # what, unit, values


def _start(models: Path) -> Found:
    seconds, memory = [], []
    for _ in range(_STARTS):
        started = time.perf_counter()
        with running_app(models) as (_, process):
            seconds.append(time.perf_counter() - started)
            memory.append(most_memory(process))
    yield "python app.py to a served page", "s", np.array(seconds)
    yield "memory of the app, once started", "MiB", np.array(memory)


def _requests(models: Path, photos: Mapping[float, Path], repeats: int) -> Found:
    with running_app(models) as (address, process), client(address) as http:
        ask, predict = partial(call, http), partial(upload_and_predict, http)

        steps = {
            f"HTTP: a photo of {mp} megapixels to all answers": partial(predict, file)
            for mp, file in photos.items()
        }
        steps["HTTP: a trifle, for comparison"] = partial(ask, "metrics", "all")
        for name, values in milliseconds(steps, repeats).items():
            yield name, "ms", values
        sample = partial(draw_faces, http)
        started = time.perf_counter()
        sample()
        yield (
            "HTTP: 24 random faces that nobody has drawn",
            "ms",
            np.array([1000 * (time.perf_counter() - started)]),
        )
        for name, values in milliseconds({"HTTP: the same faces again": sample}, repeats).items():
            yield name, "ms", values
        yield (
            "memory of the app at most, after these requests",
            "MiB",
            np.array([most_memory(process)]),
        )


def _models(models: Path, repeats: int) -> Found:
    for name, values in milliseconds(
        {"loading all models": partial(Predictor.load, models)}, 3
    ).items():
        yield name, "ms", values
    predictor = Predictor.load(models).require_pairs()
    crops = list(
        np.random.default_rng(0).integers(0, 256, (MANY, CHIP_SIZE, CHIP_SIZE, 3), np.uint8)
    )
    sides = {
        a: [(m, to_batch(crops[:1], m.info.size)) for m in predictor.models if m.approach is a]
        for a in APPROACHES
    }
    a_face = {
        _one_face(a): lambda found=found: [m.logits(images) for m, images in found]
        for a, found in sides.items()
    }
    for name, values in milliseconds(a_face, 2 * repeats).items():
        yield name, "ms", values
    everything = {
        f"{MANY} faces, all models, to the table": partial(predictor.predict_crops, crops)
    }
    for name, values in milliseconds(everything, 3).items():
        yield name, "faces/s", 1000 * len(crops) / values


def _one_face(approach: Approach) -> str:
    return f"one face, {approach.short}"


def _photos(photos: Mapping[float, Path], repeats: int) -> Found:
    for mp, file in photos.items():
        image = open_image(file)
        steps = {
            f"decoding a photo of {mp} megapixels": partial(open_image, file),
            f"finding the faces in a photo of {mp} megapixels": partial(detect, image),
        }
        for name, values in milliseconds(steps, repeats).items():
            yield name, "ms", values


def _training(models: Path, data: Path) -> Found:
    """Training speed, with the backbone and the image size of the models."""
    if not all(map(find_spec, _TRAINING)):
        return
    from .stock import rates

    try:
        images, _ = read_images(data, progress=False)
    except FaceMTLError:
        images, _ = read_images(ASSETS / "faces", progress=False)
    some = images[images["split"] == TRAIN].iloc[:1500]
    if len(some) < 1000:  # repeat few images, so that all measured batches fit into one epoch
        some = pd.concat([some] * -(-1000 // len(some)), ignore_index=True)
    images = pd.concat([some, images[images["split"] != TRAIN]], ignore_index=True)
    info = Predictor.load(models).models[0].info
    for name, values in rates(images, info.backbone, info.size, batch_size=48).items():
        yield f"training, {name}", "images/s", values


# -------------------------------------------------------------------------- photos and the app


def make_photo(file: Path, size: tuple[int, int], number: int = 70) -> Path:
    """Write a photo of that size, and return its path: a composite on a noisy background.

    The face is a third of the photo's height. `number` chooses the composite.
    """
    rng = np.random.default_rng(0)
    wall = rng.normal((118, 128, 138), 8, (size[1], size[0], 3)).clip(0, 255).astype(np.uint8)
    photo, side = Image.fromarray(wall), round(0.45 * size[1])
    with Image.open(sorted((ASSETS / "faces").glob("*.jpg"))[number]) as face:
        photo.paste(face.resize((side, side)), (size[0] // 3, size[1] // 4))
    photo.save(file, quality=92)
    return file


@contextmanager
def running_app(
    models: Path = ASSETS / "models",
    log: Path | None = None,
    tree: Path = ROOT,
    python: str = sys.executable,
) -> Iterator[tuple[str, subprocess.Popen]]:
    """Run the app in a process of its own, without a dataset. Yields its address and process.

    The page is served by then. `log` is the file for what the app prints. `tree` is the checkout
    whose app is run by `python`. Raises FaceMTLError if the app does not start.
    """
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        log = log or Path(folder, "log.txt")
        command = [
            python,
            "-m",
            "facemtl",
            "app",
            "--port",
            str(port),
            "--models",
            str(models.absolute()),
        ]
        environment = {
            **os.environ,
            "FACEMTL_DATA": str(Path(folder, "no-dataset")),
            "TMPDIR": folder,
        }
        # Start in the folder that holds the package, which may not be installed.
        with log.open("w") as said:
            process = subprocess.Popen(
                command, cwd=tree, env=environment, stdout=said, stderr=subprocess.STDOUT
            )
        try:
            address, until = f"http://127.0.0.1:{port}", time.monotonic() + _PATIENCE
            while not is_served(address):
                if process.poll() is not None or time.monotonic() > until:
                    raise FaceMTLError(
                        f"The app did not start: {log.read_text(errors='replace')[-500:].strip()}"
                    )
                time.sleep(0.02)
            yield address, process
        finally:
            process.terminate()
            process.wait(30)


def is_served(address: str) -> bool:
    """Whether a page is served at the address."""
    try:
        with urllib.request.urlopen(address, timeout=5) as page:
            return page.status == 200
    except OSError:
        return False


def call(http: httpx.Client, name: str, *values: object) -> None:
    """Call an endpoint as clients may and as a page does: in one session for each client."""
    asked = {"data": values, "session_hash": f"bench-{id(http)}"}
    event = _told(http, "POST", f"/call/{name}", json=asked).json()["event_id"]
    answer = _told(http, "GET", f"/call/{name}/{event}").text
    if "event: complete" not in answer:
        raise FaceMTLError(f"The app did not answer /{name}: {answer[:200]}")


def draw_faces(http: httpx.Client) -> None:
    """Draw 24 random faces, always the same."""
    call(http, "sample", 24, 1, AGE.low, AGE.high, "any", "any", "chance")


def upload_and_predict(http: httpx.Client, photo: Path) -> None:
    """Upload a photo, and wait for all its answers."""
    with photo.open("rb") as file:
        (path,) = _told(http, "POST", "/upload", files={"files": file}).json()
    call(http, "predict", {"path": path, "meta": {"_type": "gradio.FileData"}})


def _told(http: httpx.Client, method: str, path: str, **request: object) -> httpx.Response:
    try:
        return http.request(method, path, **request).raise_for_status()
    except httpx.HTTPError as error:
        raise FaceMTLError(f"The app did not answer {path}: {error}") from error


def client(address: str) -> httpx.Client:
    return httpx.Client(base_url=f"{address}/gradio_api", timeout=_PATIENCE)


def most_memory(process: subprocess.Popen) -> float:
    """The peak memory of a process in MiB; NaN if the system does not tell it."""
    try:
        status = io.StringIO(Path(f"/proc/{process.pid}/status").read_text())
    except OSError:
        return float("nan")
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how long things take on this machine.")
    parser.add_argument("--models", type=Path, default=ASSETS / "models")
    parser.add_argument("--data", type=Path, default=default_folder(), help="UTKFace's images")
    options = parser.parse_args()

    def report(row: dict) -> None:
        quartiles = f"({row['low']:.1f} to {row['high']:.1f})"
        print(f"{row['what']:<54}{row['median']:>9.1f} {row['unit']:<9} {quartiles}", flush=True)

    table = bench(options.models, options.data, report=report)
    for what, ratio in ratios(table).items():
        print(f"{what:<54}{ratio:>9.2f}")


if __name__ == "__main__":
    run_script(main)
