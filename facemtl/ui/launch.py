"""The app as a server: the shipped models and what was measured of them, at an address."""

import ctypes
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np

from ..data.labels_csv import labelled_tasks
from ..errors import FaceMTLError
from ..evaluation.validation import load_metrics, load_validation
from ..inference.predictor import Predictor
from ..paths import ASSETS, MODEL_CARD


def make_app(models: Path, results: Path, data: Path):
    """The app with the models of a folder and faces of `data`.

    Figures whose tables are not in `results` are left out.
    """
    keep_memory_low()
    labelled_tasks(data)  # raises what is wrong with an own CSV; images are read in the background
    with ThreadPoolExecutor(1) as pool:  # ONNX Runtime loads models while Python imports gradio
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
    )


def _ready(models: Path) -> Predictor:
    """The models of a folder, once run: the first run is slow, and would be taken for their
    cost.
    """
    predictor = Predictor.load(models)
    predictor.predict_crops([np.zeros((8, 8, 3), np.uint8)])
    return predictor


def serve(app, host: str, port: int | None, *, show: bool = False, mcp: bool = False) -> None:
    """Serve until interrupted.

    With `show`, open the page in a browser, where there is a screen; with `mcp`, serve MCP too.
    """
    from .app import launch_options

    has_screen = (
        sys.platform in ("win32", "darwin")
        or os.environ.get("DISPLAY")
        or os.environ.get("WAYLAND_DISPLAY")
    )
    settings = launch_options(ASSETS / "style.css", mcp=mcp)
    try:
        app.launch(
            server_name=host, server_port=port, inbrowser=bool(show and has_screen), **settings
        )
    except OSError as error:
        raise FaceMTLError(
            f"the page cannot be served ({error}). Choose another --port or --host."
        ) from error


def keep_memory_low() -> None:
    """Return blocks of memory from 128 KiB on to the system as soon as they are free, with glibc.

    This is how a process begins. By itself, glibc raises the size up to 32 MiB, and keeps what
    loading models and looking at photos leave free: a sixth of the app's memory at the start.
    """
    m_trim_threshold, m_mmap_threshold = -1, -3  # as malloc.h calls them
    with suppress(OSError, AttributeError):
        set_option = ctypes.CDLL(None).mallopt
        set_option(m_mmap_threshold, 128 * 2**10)
        set_option(m_trim_threshold, 32 * 2**20)
