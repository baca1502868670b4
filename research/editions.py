"""Measure two editions of the app side by side, in one run on this machine.

    git worktree add ../first 5fe4146
    python -m research.editions ../first --json assets/validation/editions.json

Both editions are installed into a temporary folder, as `make run` does, and measured there. They
take turns, so what else the machine does meets both alike. It takes about half an hour. The
validation images are left out if `--data` has none.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from playwright.sync_api import Page, sync_playwright

from facemtl.errors import FaceMTLError
from facemtl.evaluation.cost import machine, milliseconds
from facemtl.files import write_whole
from facemtl.paths import default_folder

from . import run_script
from .bench import (
    MEGAPIXELS,
    ROOT,
    call,
    client,
    draw_faces,
    make_photo,
    most_memory,
    running_app,
    upload_and_predict,
)
from .page import opened, photo_waits

STARTS, REPEATS = 5, 15
LARGE = (6000, 4000)
CLICKS = 600  # of fifty visitors together


@dataclass(frozen=True)
class Edition:
    """A checkout of the app.

    `stamp` is the target of its Makefile that installs what the app needs. `visitors` are the
    arguments with which its Python plays fifty visitors.
    """

    name: str
    tree: Path
    stamp: str
    visitors: tuple[str, ...]

    @property
    def python(self) -> str:
        return str(self.tree / ".venv" / "bin" / "python")

    def run(self, *arguments: str) -> None:
        """Run this edition's Python in its checkout. Raises FaceMTLError if it fails."""
        _run([self.python, *arguments], cwd=self.tree)


EDITIONS = (
    ("before", ".venv/requirements.stamp", ("benchmarks/load.py",)),
    ("now", ".venv/requirements-app.stamp", ("-m", "research.load")),
)


class Measured:
    """Values by measurement and edition. Each one is printed as soon as it is known."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def note(self, what: str, edition: str, values: float | Iterable[float]) -> None:
        values = np.atleast_1d(values).tolist()
        self.values[what][edition] += values
        print(f"{what:<64}{edition:<8}{np.median(values):>9.1f}", flush=True)

    def rows(self) -> list[dict[str, Any]]:
        return [
            {"what": what, **{e: round(float(np.median(v)), 2) for e, v in by.items()}}
            for what, by in self.values.items()
        ]


def compare(other: Path, data: Path) -> list[dict[str, Any]]:
    """The medians of all measurements: {"what": name and unit, "before": ..., "now": ...}."""
    found = Measured()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trees = {"before": other.absolute(), "now": ROOT}
        editions = []
        for edition, stamp, visitors in EDITIONS:
            _copy(trees[edition], folder / edition)
            editions.append(Edition(edition, folder / edition, stamp, visitors))
        photos = {
            megapixels: [make_photo(folder / f"{megapixels}-{n}.jpg", size, n) for n in (20, 70)]
            for megapixels, size in MEGAPIXELS.items()
        }
        large = make_photo(folder / "large.jpg", LARGE)
        large_photos = partial(_large_photos, large)
        for measure in (_installation, *[_start] * STARTS, large_photos, _visitors):
            for edition in editions:
                measure(edition, found)
        if any(data.glob("*.jpg")):
            for edition in editions:
                _validation(edition, data, found)
        with ExitStack() as stack:
            apps = {e.name: stack.enter_context(_app(e)) for e in editions}
            _over_http({name: address for name, (address, _) in apps.items()}, photos, found)
            for name, (_, process) in apps.items():
                found.note("memory after these requests, MiB", name, most_memory(process))
            _in_browser({name: address for name, (address, _) in apps.items()}, photos, found)
    return found.rows()


def _copy(tree: Path, to: Path) -> None:
    """Copy the last commit of a checkout into a new folder."""
    to.mkdir()
    archive = to / "tree.tar"
    _run(["git", "-C", str(tree), "archive", "--output", str(archive), "HEAD"])
    _run(["tar", "-xf", str(archive), "-C", str(to)])
    archive.unlink()


def _installation(edition: Edition, found: Measured) -> None:
    started = time.perf_counter()
    _run(["make", edition.stamp], cwd=edition.tree, env={**os.environ, "PIP_NO_CACHE_DIR": "1"})
    found.note("installation, s", edition.name, time.perf_counter() - started)
    files = (f for f in (edition.tree / ".venv").rglob("*") if f.is_file() and not f.is_symlink())
    found.note(
        "size of the environment, MB", edition.name, sum(f.stat().st_size for f in files) / 1e6
    )


def _app(edition: Edition):
    return running_app(edition.tree / "assets" / "models", tree=edition.tree, python=edition.python)


def _start(edition: Edition, found: Measured) -> None:
    started = time.perf_counter()
    with _app(edition) as (address, process), client(address) as http:
        found.note("start to a served page, s", edition.name, time.perf_counter() - started)
        found.note("memory once started, MiB", edition.name, most_memory(process))
        started = time.perf_counter()
        draw_faces(http)
        took = 1000 * (time.perf_counter() - started)
        found.note("24 random faces that nobody has drawn, over HTTP, ms", edition.name, took)


def _large_photos(photo: Path, edition: Edition, found: Measured) -> None:
    def ask(address: str) -> None:
        with client(address) as http:
            upload_and_predict(http, photo)

    with _app(edition) as (address, process), ThreadPoolExecutor(10) as pool:
        list(pool.map(ask, [address] * 10))
        what = "memory after ten photos of 24 megapixels at once, MiB"
        found.note(what, edition.name, most_memory(process))


def _visitors(edition: Edition, found: Measured) -> None:
    file = edition.tree / "load.json"
    edition.run(*edition.visitors, "--clicks", str(CLICKS), "--json", str(file))
    figures = json.loads(file.read_text())
    for click, title in (
        ("upload", "an upload"),
        ("draw", "twelve random faces"),
        ("choose", "a choice of images"),
    ):
        wait = figures["median_s"][click]
        found.note(f"fifty visitors at once: median wait for {title}, s", edition.name, wait)
    took = figures["seconds"] / figures["clicks"]
    found.note("fifty visitors at once: clicks answered per second, /s", edition.name, 1 / took)
    most = figures["memory_mib"]["most"]
    found.note("memory with fifty visitors, MiB", edition.name, most)


def _validation(edition: Edition, data: Path, found: Measured) -> None:
    started = time.perf_counter()
    output = edition.tree / "measured"
    edition.run("-m", "facemtl", "evaluate", "--data", str(data), "--output", str(output))
    found.note(
        "evaluation of all validation images, s", edition.name, time.perf_counter() - started
    )


def _over_http(addresses: dict[str, str], photos: dict[float, list[Path]], found: Measured) -> None:
    with ExitStack() as stack:
        to = {name: stack.enter_context(client(address)) for name, address in addresses.items()}

        def in_turns(what: str, step: Callable[[httpx.Client], None]) -> None:
            steps = {name: partial(step, http) for name, http in to.items()}
            for name, values in milliseconds(steps, REPEATS).items():
                found.note(f"{what} over HTTP, ms", name, values)

        for megapixels, (photo, _) in photos.items():
            in_turns(
                f"a photo of {megapixels} megapixels",
                lambda http, photo=photo: upload_and_predict(http, photo),
            )
        in_turns("the same 24 random faces again", draw_faces)
        in_turns("an answer without a model", lambda http: call(http, "metrics", "all"))


def _in_browser(
    addresses: dict[str, str], photos: dict[float, list[Path]], found: Measured
) -> None:
    with sync_playwright() as playwright:
        pages: dict[str, Page] = {}
        for name, address in addresses.items():
            pages[name], took = opened(playwright, address)
            found.note("opening the page, to the first answer, ms", name, took)
        for i, (megapixels, pair) in enumerate(photos.items()):
            # Not first the face that was shown last: the same answer would not be noticed.
            ordered = pair[::-1] if i % 2 else pair
            for name, page in pages.items():
                what = f"a photo of {megapixels} megapixels in the browser, ms"
                found.note(what, name, photo_waits(page, ordered))


def _run(command: list[str], **options: Any) -> None:
    """Raises FaceMTLError, with the end of what the command printed, if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode:
        raise FaceMTLError(f"{' '.join(command)} failed: {(done.stdout + done.stderr)[-500:]}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure two editions of the app side by side.")
    parser.add_argument("other", type=Path, help="a checkout of the other edition")
    parser.add_argument("--data", type=Path, default=default_folder(), help="UTKFace's images")
    parser.add_argument("--json", type=Path, metavar="OUT", help="a file for the figures")
    options = parser.parse_args()
    rows = compare(options.other, options.data.absolute())
    for row in rows:
        ratio = row["now"] / row["before"]
        print(f"{row['what']:<64}{row['before']:>9.2f}{row['now']:>9.2f}   x {ratio:.2f}")
    if options.json:
        found = {"machine": machine(), "measured": rows}
        write_whole(options.json, (json.dumps(found, indent=2) + "\n").encode())


if __name__ == "__main__":
    run_script(main)
