"""Make the app from models and saved results, and serve it."""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path

import numpy as np

from ..data.labels_csv import labelled_tasks
from ..errors import FaceMTLError
from ..evaluation.validation import load_metrics, load_validation
from ..inference.predictor import Predictor
from ..paths import ASSETS, MODEL_CARD


def make_app(models: Path, results: Path, data: Path, *, allow_download: bool = False):
    """The app with the models of a folder and faces of `data`.

    Figures whose tables are missing in `results` are left out. With `allow_download`, every visitor
    can start a download of UTKFace if `data` is missing.
    """
    keep_memory_low()
    labelled_tasks(data)  # raises FaceMTLError if a CSV is wrong; images are read in the background
    with ThreadPoolExecutor(1) as pool:  # load the models while gradio is imported
        loading = pool.submit(_ready, models)
        from .app import build_app
    predictor = loading.result()
    try:
        table, metrics = load_validation(results), load_metrics(results)
    except FaceMTLError as error:
        print(f"facemtl: {error}", file=sys.stderr)
        table = metrics = None
    return build_app(
        predictor,
        table,
        metrics,
        models=models,
        measured=results,
        described=ASSETS / "dataset",
        dataset=data,
        composites=ASSETS / "faces",
        model_card=MODEL_CARD,
        allow_download=allow_download,
    )


def is_local(host: str) -> bool:
    """Whether an app that listens on `host` can be reached from this machine only."""
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:  # another name
        return False


def _ready(models: Path) -> Predictor:
    """Load the models of a folder, and run them once.

    The first run is slow. It must not be shown as the cost of the models.
    """
    predictor = Predictor.load(models)
    predictor.predict_crops([np.zeros((8, 8, 3), np.uint8)])
    return predictor


def serve(
    app,
    host: str,
    port: int | None,
    *,
    show: bool = False,
    mcp: bool = False,
    root_path: str = "",
    visitors: list[tuple[str, str]] | None = None,
) -> None:
    """Serve the app until the process is interrupted or terminated.

    With `show`, open the page in a browser if there is a screen. With `mcp`, serve MCP, too.
    `root_path` is the path below which a proxy serves the app. With `visitors`, pairs of name and
    password, only they may enter. Raises FaceMTLError if the address is not available.
    """
    from .app import launch_options

    has_screen = (
        sys.platform in ("win32", "darwin")
        or os.environ.get("DISPLAY")
        or os.environ.get("WAYLAND_DISPLAY")
    )
    settings = launch_options(ASSETS, mcp=mcp)
    with _ended_by_signals() as ended:
        try:
            app.launch(
                server_name=host,
                server_port=port,
                inbrowser=bool(show and has_screen),
                root_path=root_path,
                auth=visitors,
                prevent_thread_lock=True,
                **settings,
            )
            with suppress(KeyboardInterrupt):
                while not ended.wait(1):
                    pass
        except OSError as error:
            raise FaceMTLError(
                f"the page cannot be served ({error}). Choose another --port or --host."
            ) from error
        finally:
            app.close(verbose=False)


@contextmanager
def _ended_by_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGHUP set. By default, they end a process without its cleanup."""
    ended, before = threading.Event(), {}
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number and signal.getsignal(number) is signal.SIG_DFL:  # `nohup` ignores SIGHUP
            before[number] = signal.signal(number, lambda *_: ended.set())
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def read_visitors(file: Path) -> list[tuple[str, str]]:
    """The names and passwords in a file with a line `name:password` for each visitor.

    Raises FaceMTLError if it cannot be read, or if a line is not like that.
    """
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FaceMTLError(f"{file} cannot be read as text: {error}.") from error
    pairs = [line.split(":", 1) for line in map(str.strip, lines) if line]
    if not pairs or not all(len(pair) == 2 and all(pair) for pair in pairs):
        raise FaceMTLError(f"{file}: expected lines like name:password, one for each visitor.")
    return [(name, password) for name, password in pairs]


def keep_memory_low() -> None:
    """Make glibc return freed memory blocks of 128 KiB or more to the system at once.

    A process starts with this threshold. By default, glibc raises it up to 32 MiB, and keeps memory
    that was freed after loading models and reading photos: a sixth of the app's memory at the
    start.
    """
    m_trim_threshold, m_mmap_threshold = -1, -3  # constants of malloc.h
    with suppress(OSError, AttributeError):
        set_option = ctypes.CDLL(None).mallopt
        set_option(m_mmap_threshold, 128 * 2**10)
        set_option(m_trim_threshold, 32 * 2**20)
