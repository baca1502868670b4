"""Make the app from models and saved results, and serve it."""

import ctypes
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from ..data.labels_csv import labelled_tasks
from ..errors import FaceMTLError, first_line
from ..escapes import say_error
from ..inference.predictor import Predictor
from ..paths import ASSETS, MODEL_CARD
from ..regular import read_text

MAX_PORT = 65_535


def make_app(models: Path, results: Path, data: Path, *, allow_download: bool = False):
    """The app with the models of a folder and faces of `data`.

    Figures whose tables are missing in `results` are left out or replaced by messages. With
    `allow_download`, every visitor can start a download of UTKFace if `data` is missing.
    """
    keep_memory_low()
    labelled_tasks(data)  # raises FaceMTLError if a CSV is wrong; images are read in the background
    with ThreadPoolExecutor(1) as pool:  # load the models while gradio is imported
        loading = pool.submit(_ready, models)
        from .app import build_app
        from .measured import results as load_results
    predictor = loading.result()
    try:
        table, metrics = load_results(results)
    except FaceMTLError as error:
        say_error(error)
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


def checked_host(host: str, port: int | None) -> str:
    """The host as gradio takes it: an IPv6 address gets brackets.

    Raises FaceMTLError if this machine cannot listen there. Call this before the models are loaded,
    which takes seconds.
    """
    host = host.strip("[]")
    # gradio reads the variables if no port is given, and would fail with a traceback.
    given = str(port) if port is not None else os.environ.get("GRADIO_SERVER_PORT")
    source = "--port" if port is not None else "GRADIO_SERVER_PORT"
    if given is not None and not (given.isdecimal() and 1 <= int(given) <= MAX_PORT):
        raise FaceMTLError(f"{source} must be a number from 1 to {MAX_PORT}; found {given}.")
    tries = os.environ.get("GRADIO_NUM_PORTS", "1")
    if not (tries.isdecimal() and int(tries)):
        raise FaceMTLError(f"GRADIO_NUM_PORTS must be a number of ports; found {tries}. Unset it.")
    try:
        # The port 0 means any free one.
        kind, *_, address = socket.getaddrinfo(host, port or 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(kind, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as uvicorn does
            trial.bind(address)
    except (OSError, UnicodeError) as error:  # UnicodeError: not a possible name
        where = f"{host!r}, port {port}" if port else repr(host)
        raise FaceMTLError(
            f"The page cannot be served at {where}: {first_line(error)}. Choose another --port or"
            " --host."
        ) from error
    return f"[{host}]" if kind == socket.AF_INET6 and ":" in host else host


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
    `root_path` is the path or the URL at which a proxy serves the app. With `visitors`, pairs of
    name and password, only they may enter. Raises FaceMTLError if the address is not available.
    """
    from . import uploads
    from .app import launch_options
    from .hosts import names

    has_screen = (
        sys.platform in ("win32", "darwin")
        or os.environ.get("DISPLAY")
        or os.environ.get("WAYLAND_DISPLAY")
    )
    with _ended_by_signals() as ended:
        try:
            app.launch(
                server_name=host,
                server_port=port,
                inbrowser=bool(show and has_screen),
                root_path=root_path,
                auth=visitors,
                prevent_thread_lock=True,
                **launch_options(ASSETS, mcp=mcp, hosts=names(host, root_path)),
            )
            while not ended.wait(1):
                pass
        except (OSError, ValueError) as error:  # ValueError: the page cannot be reached from here
            raise FaceMTLError(
                f"The page cannot be served ({first_line(error)}). Choose another --port, --host or"
                " --root-path."
            ) from error
        finally:
            uploads.sweep(uploads.folder(), 0)  # requests that are not over can take seconds to end
            app.close(verbose=False)
            uploads.delete()


@contextmanager
def _ended_by_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGHUP set, so that the app ends as it does after Ctrl-C."""
    ended, before = threading.Event(), {}
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number and signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` ignores SIGHUP
            before[number] = signal.signal(number, lambda *_: ended.set())
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def read_visitors(file: Path) -> list[tuple[str, str]]:
    """The names and passwords in a file with a line `name:password` for each visitor.

    Raises FaceMTLError if the file cannot be read, or if a line has another form.
    """
    try:
        lines = read_text(file).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FaceMTLError(
            f"{file} cannot be read as text: {first_line(error)}. Give --auth-file a text file in"
            " UTF-8."
        ) from error
    pairs = [line.split(":", 1) for line in map(str.strip, lines) if line]
    if not pairs or not all(len(pair) == 2 and all(pair) for pair in pairs):
        raise FaceMTLError(f"{file}: expected lines like name:password, one for each visitor.")
    return [(name, password) for name, password in pairs]


def keep_memory_low() -> None:
    """Make glibc return freed memory blocks of 128 KiB or more to the system at once.

    A process starts with this threshold. By default, glibc raises it up to 32 MiB, and then keeps
    memory that was freed after loading models and reading photos. That would be a sixth of the
    app's memory at the start.
    """
    m_trim_threshold, m_mmap_threshold = -1, -3  # constants of malloc.h
    with suppress(OSError, AttributeError):
        set_option = ctypes.CDLL(None).mallopt
        set_option(m_mmap_threshold, 128 * 2**10)
        set_option(m_trim_threshold, 32 * 2**20)
