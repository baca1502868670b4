"""The app: python app.py, then open the printed address."""

import argparse
import os
import sys
from pathlib import Path

from facemtl.data import default_folder
from facemtl.errors import FaceMTLError
from facemtl.evaluation import load_metrics, load_validation
from facemtl.own_faces import labelled_tasks
from facemtl.prediction import Predictor
from facemtl.ui import build_app, launch_options

ASSETS = Path(__file__).resolve().parent / "assets"


def make_app(models: Path = ASSETS / "models", results: Path = ASSETS / "validation", data: Path | None = None):
    """The app with the shipped models, or others; `data` are the faces to draw from."""
    data = data or default_folder()
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
        model_card=ASSETS.parent / "MODEL_CARD.md",
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare three single-task models with one multi-task model, in the browser.")
    parser.add_argument("--models", type=Path, default=ASSETS / "models", help="the folder of trained models")
    parser.add_argument("--results", type=Path, default=ASSETS / "validation", help="the folder that `evaluate` wrote")
    parser.add_argument("--data", type=Path, default=default_folder(), help="the faces to draw from, as for `train`")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on; 0.0.0.0 for all")
    parser.add_argument("--port", type=int, default=None, help="7860 if left out, or the next free one")
    parser.add_argument("--open", action="store_true", help="open the page in a browser, where there is a screen")
    parser.add_argument("--mcp", action="store_true", help="let language models ask, too, by MCP: needs gradio[mcp]")
    options = parser.parse_args()
    has_screen = sys.platform in ("win32", "darwin") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    try:
        settings = launch_options(ASSETS / "style.css", mcp=options.mcp)
        demo = make_app(options.models, options.results, options.data)
    except FaceMTLError as error:
        print(f"facemtl: {error}", file=sys.stderr)
        return 1
    try:
        demo.launch(
            server_name=options.host,
            server_port=options.port,
            inbrowser=bool(options.open and has_screen),
            **settings,
        )
    except OSError as error:
        print(f"facemtl: the page cannot be served ({error}). Choose another --port or --host.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
