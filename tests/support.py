"""What several test files share: tables, pictures, archives, a web server, child processes."""

import asyncio
import io
import os
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd
from PIL import Image

from facemtl.data.download import HUB_FILE, HUB_REPOSITORY
from facemtl.inference.predictor import MULTI, SINGLE
from facemtl.models.model_file import SUFFIX, ModelInfo, rewrite_info
from facemtl.tasks import TASKS, Task

if TYPE_CHECKING:
    from torch import nn

    from facemtl.models.backbones import Backbone

ROOT = Path(__file__).resolve().parent.parent
COMPOSITES = ROOT / "assets" / "faces"
SMALL = "small"  # the name of `small_backbone`


# ----------------------------------------------------------------------------------------- tables


def made_up_studies() -> pd.DataFrame:
    """A table of the studies with invented numbers."""
    rng, rows = np.random.default_rng(0), []
    seeds = {"seeds": 3, "share-10": 3, "share-30": 3, "modest": 3}
    seeds |= dict.fromkeys(["from-random", "equal-weights", "learned-weights"], 1)
    for study, n in seeds.items():
        for seed in range(n):
            for task in TASKS:
                for model in [*([task.name] if "weights" not in study else []), "multitask"]:
                    value = 6 if task.metric.lower_is_better else 85
                    approach = MULTI if model == "multitask" else SINGLE
                    row = [
                        study,
                        seed,
                        model,
                        approach.name,
                        task.name,
                        task.metric.name,
                        value + rng.normal(),
                    ]
                    rows.append([*row, 1000, 6, 600.0])
    columns = [
        "study",
        "seed",
        "model",
        "approach",
        "task",
        "metric",
        "value",
        "images",
        "epochs",
        "seconds",
    ]
    return pd.DataFrame(rows, columns=columns)


def made_up_seeds(
    results: pd.DataFrame, n: int = 3, gains: Mapping[str, float] = MappingProxyType({})
) -> pd.DataFrame:
    """A table of `n` seeds: the shipped results with invented predictions.

    `gains` says by how much one model is better than three: {task: gain in the metric's unit}. Each
    seed is a tenth of a unit better than the one before.
    """
    parts = []
    for seed in range(n):
        part = results.assign(seed=seed)
        for task in TASKS:
            for approach in (SINGLE, MULTI):
                rows = part.index[(part["task"] == task.name) & (part["approach"] == approach.name)]
                gain = 20 + (gains.get(task.name, 0.0) if approach is MULTI else 0.0) + 0.1 * seed
                if task.metric.lower_is_better:
                    part.loc[rows, "prediction"] = part.loc[rows, "target"] + 30 - gain
                else:
                    right = np.arange(len(rows)) < round(len(rows) * (50 + gain) / 100)
                    part.loc[rows, "prediction"] = np.where(right, part.loc[rows, "target"], -1)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


# --------------------------------------------------------------------------------------- pictures


def picture(
    age: int, gender: int, race: int, rng: np.random.Generator, size: int = 48
) -> Image.Image:
    """A picture, not of a face, whose labels can be learned.

    Its brightness tells the age, its colour the race, its shape the gender.
    """
    tints = np.array(
        [(1.0, 1.0, 1.0), (1.0, 0.5, 0.5), (0.5, 1.0, 0.5), (0.5, 0.5, 1.0), (1.0, 1.0, 0.3)]
    )
    y, x = np.mgrid[:size, :size] / size - 0.5
    inside = (x**2 + y**2 < 0.1) if gender else (abs(x) < 0.3) & (abs(y) < 0.12)
    gray = np.where(inside, 1.0, 0.15 + 0.6 * age / 116)
    pixels = 255 * gray[:, :, None] * tints[race] + rng.normal(0, 6, (size, size, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def jpeg(image: Image.Image, **options) -> bytes:
    content = io.BytesIO()
    image.save(content, "JPEG", **{"quality": 90, **options})
    return content.getvalue()


def write_pictures(folder: Path, n: int, seed: int = 0) -> list[Path]:
    """Write `n` different pictures with mixed labels, named as UTKFace names its files."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    files = []
    for i in range(n):
        age, gender, race = int(rng.integers(1, 100)), int(rng.integers(2)), int(rng.integers(5))
        files.append(folder / f"{age}_{gender}_{race}_{20990101000000000 + i}.jpg.chip.jpg")
        files[-1].write_bytes(jpeg(picture(age, gender, race, rng)))
    return files


def composites(n: int | None = None) -> list[Path]:
    """Up to `n` composites of `assets/faces`, evenly spread over their names."""
    files = sorted(COMPOSITES.glob("*.jpg"))
    assert files, f"there are no composites in {COMPOSITES}"
    return files if n is None else files[:: max(1, len(files) // n)][:n]


# --------------------------------------------------------------------------------------- archives


def pack(archive: Path, members: Mapping[str, bytes | tarfile.TarInfo]) -> Path:
    """Write a .tar.gz archive, and return its path.

    `members` maps names to the bytes of files, or to a TarInfo for anything else. The name of the
    TarInfo is set here.
    """
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                tar.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return archive


def utkface_of_composites(archive: Path, padding: int = 0) -> Path:
    """An archive of the composites, named as in UTKFace, after `padding` bytes of noise."""
    members = {"padding.bin": np.random.default_rng(0).bytes(padding)}
    for i, file in enumerate(composites()):
        labels = "_".join(file.name.split("_")[:3])
        members[f"UTKFace/{labels}_{20990101000000000 + i}.jpg.chip.jpg"] = file.read_bytes()
    return pack(archive, members)


def put_on_hub(server: "FileServer", archive: Path) -> None:
    """Serve an archive at the address of UTKFace's, as the Hugging Face hub does."""
    served = server.folder / "datasets" / HUB_REPOSITORY / "resolve" / "main" / HUB_FILE
    served.parent.mkdir(parents=True, exist_ok=True)
    archive.replace(served)


def link(kind: bytes, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


def contents(folder: Path) -> dict[str, bytes]:
    """The contents of all files below a folder, also hidden ones, by relative name."""
    return {
        str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()
    }


# ------------------------------------------------------------------------------------- web server


class FileServer(ThreadingHTTPServer):
    """An HTTP server on 127.0.0.1 that serves a folder and can break off its answers.

    It supports ranges and entity tags, and sends the header of the Hugging Face hub. `requests`
    keeps the requests as (method, path, Range header). While `cuts` is above zero, only half of a
    body is sent; then the connection breaks, and `cuts` falls by one. While `stalls` is set, half
    of a body is sent; then the connection hangs until `let_go` is set, or for a minute. It breaks
    after that. `headers` replaces headers, or leaves them out if they are None. `page` is sent in
    place of every file, and at most `most` bytes of an answer. While `restarts` is set, a file is
    sent from its first byte even if only its end is wanted.
    """

    daemon_threads = True

    def __init__(self, folder: Path):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.requests, self.cuts, self.stalls = folder, [], 0, False
        self.let_go = threading.Event()
        self.headers: dict[str, str | None] = {}
        self.page, self.restarts, self.most = b"", False, sys.maxsize

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        pass  # some tests break off transfers on purpose

    def asked(self, method: str, name: str) -> list[str | None]:
        """The Range headers of the requests for a file."""
        return [
            range_ for m, path, range_ in self.requests if m == method and path.endswith(f"/{name}")
        ]


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_HEAD(self):
        self._answer(with_body=False)

    def do_GET(self):
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append((self.command, path, self.headers["Range"]))
        file = self.server.folder / path.lstrip("/")
        if not file.is_file():
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        content = file.read_bytes()
        headers, status = {"ETag": f'"{sha256(content).hexdigest()}"'}, HTTPStatus.OK
        if with_body and self.server.page:
            content = self.server.page
        elif self.headers["Range"]:
            start, size = int(self.headers["Range"][len("bytes=") : -1]), len(content)
            start = 0 if self.server.restarts else start
            content, status = content[start:], HTTPStatus.PARTIAL_CONTENT
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        headers |= {"Content-Length": str(len(content)), "X-Repo-Commit": "0" * 40}
        self.send_response(status)
        for name, value in (headers | self.server.headers).items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        if not with_body:
            return
        if not (self.server.cuts or self.server.stalls):
            self.wfile.write(content[: self.server.most])
            self.close_connection |= len(content) > self.server.most
            return
        self.wfile.write(content[: len(content) // 2])
        self.wfile.flush()
        if self.server.cuts:
            self.server.cuts -= 1
        else:
            self.server.let_go.wait(60)
        self.close_connection = True

    def log_message(self, *_):
        pass


@contextmanager
def serve(folder: Path):
    with FileServer(folder) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield server
        finally:
            server.let_go.set()
            server.shutdown()


def has_ipv6() -> bool:
    """Whether this machine can be reached by its IPv6 address."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def closed_port() -> int:
    """A port on 127.0.0.1 on which nothing listens."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# ------------------------------------------------------------------------------------------ models


def write_model(
    folder: Path, tasks: Sequence[Task], name: str = "", *, size: int = 32, **fields
) -> Path:
    """Write a model file that answers by the mean colour of an image. Quick, and without torch."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["colour"]),
        helper.make_node("Flatten", ["colour"], ["features"]),  # (N, 3)
    ]
    weights, outputs = [], []
    for task in tasks:
        weight = f"heads.{task.name}.weight"
        weights.append(
            numpy_helper.from_array(
                rng.normal(0, 4, (3, task.n_outputs)).astype(np.float32), weight
            )
        )
        nodes.append(helper.make_node("MatMul", ["features", weight], [task.name]))
        outputs.append(
            helper.make_tensor_value_info(task.name, TensorProto.FLOAT, ["n", task.n_outputs])
        )
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, size, size])
    graph = helper.make_graph(nodes, "mean colour", [images], outputs, weights)
    name = name or "+".join(task.name for task in tasks)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}{SUFFIX}"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), file
    )
    rewrite_info(file, ModelInfo(name, tuple(tasks), "mean colour", size, **fields))
    return file


def small_backbone(
    pretrained: bool = False, norm: "Callable[[int], nn.Module] | None" = None
) -> "Backbone":
    """A small backbone with convolutions and normalisation, a hundred times as fast as others."""
    from torch import nn

    from facemtl.models.backbones import IMAGENET_MEAN, IMAGENET_STD, Backbone

    norm = norm or nn.BatchNorm2d
    layers = [
        nn.Conv2d(3, 16, 5, stride=2),
        norm(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2),
        norm(32),
        nn.ReLU(),
    ]
    return Backbone(
        nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten()),
        128,
        IMAGENET_MEAN,
        IMAGENET_STD,
    )


# -------------------------------------------------------------------------------- child processes


def inherited() -> dict[str, str]:
    """The environment without variables that would affect the tests."""
    return {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("HF_", "FACEMTL_")) and not k.lower().endswith("_proxy")
    }


def facemtl(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.Popen:
    """Start `python -m facemtl ...` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "facemtl", *map(str, arguments)],
        cwd=cwd,
        env={**inherited(), "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen, timeout: float = 120) -> tuple[int, str, str]:
    """Wait for a process to end. Returns exit status, standard output and standard error."""
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        process.kill()  # has no effect if it has ended by itself
    return process.returncode, out, err


def kill_once(
    process: subprocess.Popen,
    condition: Callable[[], bool],
    patience: float = 0,
    timeout: float = 300,
) -> None:
    """Kill a process `patience` seconds after `condition` holds, so that it cannot clean up.

    Raises AssertionError if the process ends before, or if `condition` does not hold within
    `timeout` seconds.
    """
    until = time.monotonic() + timeout
    while not condition():
        if process.poll() is not None or time.monotonic() > until:
            raise AssertionError(
                f"the process ended before it could be interrupted: {finish(process)}"
            )
        time.sleep(0.002)
    time.sleep(patience)
    process.kill()
    process.communicate(timeout=60)


# ------------------------------------------------------------------------------------ asynchronous


def finished(work: Coroutine):
    """The result of a coroutine, run in a thread with its own event loop.

    Playwright keeps an event loop running in the main thread.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


# ---------------------------------------------------------------------------------------- browser


# Tabs that are inside another tab.
INSIDE = {"Random faces": "Faces", "Guess": "Faces", "Results": "Training", "Dataset": "Training"}


def choose_tab(page, name: str) -> None:
    """Click a tab of the app, after the tab that it is in."""
    if outer := INSIDE.get(name):
        choose_tab(page, outer)
    page.get_by_role("tab", name=name, exact=True).filter(visible=True).click()


def listen(page, selector: str) -> None:
    """Record every text that an element shows from now on, however briefly, for `wait_to_hear`."""
    page.evaluate(
        """(selector) => {
            const element = document.querySelector(selector);
            window.said = [];
            new MutationObserver(() => window.said.push(element.textContent))
                .observe(element, {childList: true, subtree: true, characterData: true});
        }""",
        selector,
    )


def wait_to_hear(page, words: str) -> None:
    page.wait_for_function("(words) => window.said.some((text) => text.includes(words))", arg=words)


def reopened(page, address: str):
    """Close the page, and open the address in a new page of the same browser context.

    Navigating would not do: Gradio may keep a stream of answers open when none is due, and reports
    an error when the page navigates away from it.
    """
    another = page.context.new_page()
    page.close()
    another.goto(address)
    return another


@contextmanager
def running_app(
    log: Path,
    *arguments: str,
    environment: Mapping[str, str] = MappingProxyType({}),
    cwd: Path = ROOT,
    program: tuple[str, ...] = ("app.py",),
    host: str = "127.0.0.1",
    ended_by: signal.Signals = signal.SIGTERM,
) -> Iterator[str]:
    """Run `python app.py` in a process of its own. Yields its address once it answers.

    The output of the process is written to `log`. Temporary files lie in a folder `temporary`
    beside it, unless `environment` names another one. None may be left at the end.
    """
    from research.bench import is_served

    port, temporary = closed_port(), log.absolute().with_name("temporary")
    temporary.mkdir(exist_ok=True)
    with log.open("w") as output:
        command = [sys.executable, *program, "--host", host, "--port", str(port), *arguments]
        environment = {"PYTHONUNBUFFERED": "1", "TMPDIR": str(temporary), **environment}
        environment = {**os.environ, **environment}
        process = subprocess.Popen(
            command, cwd=cwd, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    try:
        until = time.monotonic() + 300
        while not is_served(address):
            assert process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.2)
        yield address
    finally:
        process.send_signal(ended_by)
        process.wait(30)
    left = [path for path in temporary.rglob("*") if path.suffix != ".lock"]
    expected = 130 if ended_by == signal.SIGINT else 0
    assert process.returncode == expected and not left, (left, log.read_text())
