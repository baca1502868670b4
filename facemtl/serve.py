"""The app as a server: the shipped models and what was measured of them, at an address."""

import ctypes
import gc
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from . import uncollected
from .errors import FaceMTLError
from .evaluation import load_metrics, load_validation
from .own_faces import labelled_tasks
from .places import ASSETS, MODEL_CARD
from .prediction import Predictor


def serve(app, host: str, port: int | None, *, show: bool = False, mcp: bool = False) -> None:
    """Serve until interrupted. With `show`, open the page in a browser, where there is a screen; with `mcp`, speak that too."""
    from .ui import launch_options

    keep_memory_low()
    has_screen = sys.platform in ("win32", "darwin") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    settings = launch_options(ASSETS / "style.css", mcp=mcp)
    try:
        app.launch(server_name=host, server_port=port, inbrowser=bool(show and has_screen), **settings)
    except OSError as error:
        raise FaceMTLError(f"the page cannot be served ({error}). Choose another --port or --host.") from error


@contextmanager
def _as_if_missing(module: str) -> Iterator[None]:
    """Importing the module fails meanwhile, unless it was imported before."""
    sys.modules.setdefault(module, None)
    try:
        yield
    finally:
        if sys.modules[module] is None:
            del sys.modules[module]


@uncollected()  # a start makes a million objects that stay: looking through them takes a seventh of it
def make_app(models: Path, results: Path, data: Path, *, mcp: bool = False):
    """The app with the models of a folder and faces of `data`; without the figures whose tables are not in `results`.

    What speaks MCP is left out of the process, where nothing else has imported it, unless `serve` is to be given `mcp`, too.
    """
    labelled_tasks(data)  # says what is wrong with a CSV of one's own; the faces themselves are read in the background
    predictor = Predictor.load(models)
    # Not before: it takes the memory that loading the models has left. MCP takes 0.3 s of its imports.
    with nullcontext() if mcp else _as_if_missing("mcp"):
        from .ui import build_app

    try:
        table, metrics = load_validation(results), load_metrics(results)
    except FaceMTLError as error:
        print(f"facemtl: {error}", file=sys.stderr)
        table = metrics = None
    app = build_app(
        predictor,
        table,
        metrics,
        models=models,
        measured=results,
        described=ASSETS / "dataset",
        dataset=data,
        composites=ASSETS / "faces",
        model_card=MODEL_CARD,
    )
    gc.freeze()  # nor is what stays looked through later, while visitors wait
    return app


def keep_memory_low(every: float = 5.0) -> threading.Thread | None:
    """Give memory that nobody uses any more back to the system, again and again, where the C library is glibc.

    By itself, it would keep what models freed, hundreds of megabytes under load, wherever something that is still used lies
    above it; and it would give each of the server's threads, dozens under load, memory of its own to do so.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        trim, set_option = library.malloc_trim, library.mallopt
        m_arena_max = -8  # as malloc.h calls it
        set_option(m_arena_max, 2)

        def run() -> None:
            while True:
                trim(0)
                time.sleep(every)

        thread = threading.Thread(target=run, name="memory", daemon=True)
        thread.start()
        return thread
    return None
