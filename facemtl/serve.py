"""The app as a server: the shipped models and what was measured of them, at an address."""

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

from .errors import FaceMTLError
from .evaluation import load_metrics, load_validation
from .own_faces import labelled_tasks
from .places import ASSETS, MODEL_CARD
from .prediction import Predictor
from .ui import build_app, launch_options


def serve(app, host: str, port: int | None, *, show: bool = False, mcp: bool = False) -> None:
    """Serve until interrupted. With `show`, open the page in a browser, where there is a screen; with `mcp`, speak that too."""
    _share_memory()
    has_screen = sys.platform in ("win32", "darwin") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    settings = launch_options(ASSETS / "style.css", mcp=mcp)
    try:
        app.launch(server_name=host, server_port=port, inbrowser=bool(show and has_screen), **settings)
    except OSError as error:
        raise FaceMTLError(f"the page cannot be served ({error}). Choose another --port or --host.") from error


def make_app(models: Path, results: Path, data: Path):
    """The app with the models of a folder and faces of `data`; without the figures whose tables are not in `results`."""
    labelled_tasks(data)  # says what is wrong with a CSV of one's own; the faces themselves are read in the background
    predictor = Predictor.load(models)
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
    )


def _share_memory() -> None:
    """Let all threads allocate from the same memory.

    The C library would give each of the server's threads, dozens under load, memory of its own, which keeps what the largest
    batch needed that ever ran there. The models run one at a time, so none of it is needed twice.
    """
    if sys.platform == "linux":
        m_arena_max = -8  # as malloc.h calls it; only glibc knows it
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).mallopt(m_arena_max, 2)
