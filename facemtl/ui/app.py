"""The Gradio app: `build_app`, and `launch_options` to start it. Each tab has its own module."""

from . import no_stubs  # noqa: F401 - before anything imports gradio

# isort: split

import threading
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

import gradio as gr
import pandas as pd
from starlette.middleware import Middleware

from .. import plots
from ..errors import FaceMTLError
from ..escapes import say_error
from ..evaluation import composites as composites_
from ..evaluation.track_record import TrackRecords
from ..faces import prepare
from ..inference.predictor import Predictor
from ..regular import read_text
from ..tasks import AGE
from . import api, events, uploads
from .access import OnlyAllowed
from .calls import HANDLERS, Page
from .components import cards, error_gallery
from .components.get_utkface import Offer
from .components.headline import headline
from .components.markup import HTML, html
from .faces import CurrentPool, FaceFilter, FacePool, wait
from .headers import WithHeaders
from .hosts import KnownHosts
from .measured import FINDINGS_FILE, findings
from .photo import PhotoView
from .photo_requests import LARGEST_PHOTO
from .prediction_cache import PredictionCache
from .sessions import Sessions
from .tabs import about, compare, guess, random_faces, training, validation
from .tabs import dataset as dataset_

TITLE = "facemtl"
QUESTION = "Is one multi-task model as accurate as three single-task models?"
HIDE = "Hide gender and race"
MISSING = (
    "Make them with `python -m facemtl evaluate --output FOLDER`, then start the app with"
    " `--results FOLDER`."
)
DRAW_AHEAD = 2.0  # seconds after the first page load
KEEP_VISITORS = 1000  # open pages whose state the server keeps, at most some MB each


def build_app(
    predictor: Predictor,
    results: pd.DataFrame | None,
    metrics: pd.DataFrame | None,
    *,
    models: Path,
    measured: Path,
    described: Path,
    dataset: Path,
    composites: Path,
    model_card: Path,
    allow_download: bool = False,
) -> gr.Blocks:
    """Build the whole app.

    `models` is the folder that the predictor was loaded from. `results` and `metrics` are saved
    tables of the folder `measured`, which holds other tables, too. `described` holds counts of the
    dataset. `dataset` is read in the background, if it exists. If it does not, visitors can
    download it with `allow_download`. Raises FaceMTLError unless each task has exactly one model of
    each approach.
    """
    predictor.require_pairs()
    uploads.keep_clear()
    open_pool = partial(FacePool.open, dataset, composites)
    pool = CurrentPool(ThreadPoolExecutor(1, "faces").submit(open_pool))
    offer = Offer(dataset, lambda: pool.replace(open_pool()), allowed=allow_download)
    records = None if results is None else TrackRecords(results)
    averages = FacePool.of_composites(composites)
    predictions = PredictionCache(predictor, results, _answers_of_composites(measured, predictor))
    ahead: list[Callable[[], object]] = [prepare]
    with Page(title=TITLE, analytics_enabled=False) as demo:
        with gr.Row(elem_classes="header"):
            HTML(html('<header class="top"><h1>{}</h1><p>{}</p></header>', TITLE, QUESTION))
            hide = gr.Checkbox(label=HIDE, container=False, scale=0, min_width=190, elem_id="hide")
        answer = HTML(_headline(measured), js_on_load=events.REPORT_CHOICES, elem_id="headline")
        # The secret is public. It is fixed so that the value stays readable after a restart.
        kept = gr.BrowserState(False, storage_key="facemtl-hide", secret="facemtl")
        address = HTML(
            "",
            js_on_load="facemtl.followAddress(element, trigger); facemtl.takePasted();"
            " facemtl.closeNumbers(); facemtl.printLight()",
            visible="hidden",
        )
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Compare", id="compare") as compare_tab:
                shared = compare.build(predictor, records, pool, averages, hide)
            with gr.Tab("Faces", id="faces") as faces_tab, gr.Tabs() as of_faces:
                with gr.Tab("Random faces", id="random") as random_tab:
                    drawn = random_faces.build(predictions, pool, tabs, shared, hide, offer)
                with gr.Tab("Guess", id="guess", visible=AGE in predictor.tasks) as game_tab:
                    game = guess.build(predictor, pool)
            with gr.Tab("Validation", id="validation") as validation_tab:
                if results is None:
                    HTML(cards.message("No results yet", MISSING))
                else:
                    faces_of = partial(
                        error_gallery.build, predictions, pool, tabs=tabs, shared=shared, hide=hide
                    )
                    ahead.append(
                        validation.build(
                            results, metrics, measured, hide, faces_of, validation_tab, address
                        )
                    )
            with gr.Tab("Training", id="training") as training_tab, gr.Tabs() as of_training:
                with gr.Tab("Results", id="results") as results_tab:
                    if results is None:
                        HTML(cards.message("No results yet", MISSING))
                    else:
                        ahead.append(
                            training.build(predictor, models, metrics, measured, training_tab)
                        )
                with gr.Tab("Dataset", id="dataset") as dataset_tab:
                    ahead.append(dataset_.build(described, averages, dataset_tab, offer))
            with gr.Tab("About", id="about") as about_tab:
                about.build(model_card)

        answer.click(None, None, [tabs, of_training], js="facemtl.toTraining")
        api.build(predictions, metrics, pool)
        unseen = gr.Plot(plots.blank(), visible=False)
        quiet, faces_quiet = (
            {**work, "show_progress": "hidden"} for work in (events.MODEL_WORK, events.SHOW_FACES)
        )

        @cache
        def draw_ahead() -> None:
            """Soon after the first page load, do what the first visitor would wait for later."""
            timer = threading.Timer(DRAW_AHEAD, lambda: [draw() for draw in ahead])
            timer.daemon = True
            timer.start()

        def on_load(hidden: bool, request: gr.Request) -> tuple:
            """Show the face of the page's address, or a random one as an example."""
            draw_ahead()
            asked = request.query_params.get("face")
            return shared["on_link"](asked, PhotoView(), bool(hidden))

        def on_back(view: PhotoView, hidden: bool, event: gr.EventData) -> tuple:
            """Show the face that the address asks for, unless it is on display."""
            asked = events.asked_by(event).get("face", view.image)
            if asked == view.image:
                return (gr.skip(),) * len(shared["outputs"])
            return shared["on_link"](asked, view, hidden)

        def on_back_to_faces(wanted: FaceFilter | None, hidden: bool, event: gr.EventData) -> tuple:
            """Show the faces that the address asks for, unless they are on display."""
            asked = events.asked_by(event)
            if "seed" not in asked or (wanted and FaceFilter.read(asked) == wanted):
                return (gr.skip(),) * len(drawn["outputs"])
            return drawn["draw"](asked, hidden)

        async def on_wait() -> None:
            await wait(pool)

        def on_first_sight(wanted: FaceFilter | None, hidden: bool, request: gr.Request) -> tuple:
            """Show the faces that a link asks for, or random ones, unless faces are on display."""
            if wanted:
                return (gr.skip(),) * len(drawn["outputs"])
            asked = dict(request.query_params)
            return drawn["draw"](asked if "seed" in asked else {}, hidden)

        def on_first_game(played: guess.Game | None) -> tuple:
            return (gr.skip(),) * len(game["outputs"]) if played else game["start"]()

        def on_hide(hidden: bool, view: PhotoView) -> tuple:
            """Show the same face with or without sensitive tasks."""
            return bool(hidden), *shared["show"](view, hidden)

        def on_hide_grid(hidden: bool, wanted: FaceFilter | None) -> tuple:
            return drawn["show"](wanted, hidden) if wanted else (gr.skip(),) * len(drawn["outputs"])

        waiting = {
            "api_visibility": "private",
            "show_progress": "hidden",
            "concurrency_limit": None,
        }
        # This runs in the browser only. A slow answer of the server could undo a visitor's click.
        demo.load(None, kept, hide, js="(hidden) => Boolean(hidden)")
        rows = [tabs, of_faces, of_training]
        demo.load(None, None, rows, js="facemtl.chooseTabs")
        address.click(None, None, rows, js="facemtl.chooseTabs")
        address.click(
            events.handle_errors(on_back), [shared["state"], hide], shared["outputs"], **quiet
        )
        address.click(
            events.handle_errors(on_back_to_faces),
            [drawn["drawn"], hide],
            drawn["outputs"],
            **faces_quiet,
        )
        for tab, name in (
            (random_tab, "faces"),
            (game_tab, "guess"),
            (results_tab, "training"),
            (dataset_tab, "dataset"),
        ):
            tab.select(None, None, None, js=f"() => facemtl.seeTab('{name}')")
        for tab in (compare_tab, faces_tab, validation_tab, training_tab, about_tab):
            tab.select(None, None, None, js=f"() => facemtl.seeOuterTab('{tab.id}')")
        greeted = demo.load(events.handle_errors(on_load), kept, shared["outputs"], **quiet)
        # After the first answer, show an invisible figure, so that the browser loads the plotting
        # library before a tab needs it.
        greeted.then(None, None, unseen, js="() => ({__type__: 'update', visible: 'hidden'})")
        hide.input(
            events.handle_errors(on_hide),
            [hide, shared["state"]],
            [kept, *shared["outputs"]],
            **quiet,
        )
        hide.input(
            events.handle_errors(on_hide_grid),
            [hide, drawn["drawn"]],
            drawn["outputs"],
            **faces_quiet,
        )
        hide.change(None, hide, None, js="facemtl.hideSensitive")
        redraw = events.handle_errors(on_hide_grid)
        offer.connect(demo, redraw, [hide, drawn["drawn"]], drawn["outputs"], faces_quiet)
        for tab, handler, inputs, outputs in (
            (faces_tab, on_first_sight, [drawn["drawn"], hide], drawn["outputs"]),
            (game_tab, on_first_game, [game["game"]], game["outputs"]),
        ):
            seen = tab.select(on_wait, None, None, **waiting)
            seen.then(events.handle_errors(handler), inputs, outputs, **faces_quiet)
    return demo


def _headline(measured: Path) -> str:
    """The headline, or nothing if there are no findings."""
    try:
        return headline(findings(measured))
    except FaceMTLError as error:
        if (measured / FINDINGS_FILE).exists():
            say_error(error)
        return ""


def _answers_of_composites(measured: Path, predictor: Predictor) -> pd.DataFrame | None:
    """Saved predictions of the composites, or None if they cannot be loaded.

    Without them, composites are predicted when they are drawn.
    """
    try:
        return composites_.load(measured, predictor)
    except FaceMTLError as error:
        say_error(error)
        return None


def launch_options(
    assets: Path, *, mcp: bool = False, hosts: Collection[str] | None = None
) -> dict:
    """Options for `demo.launch`: theme, style, scripts, security, and no tracking of visitors.

    `assets` is the folder of app.css and app.js. `hosts` is the result of `hosts.names`. With
    `mcp`, the app is also an MCP server. Raises FaceMTLError if this needs a missing package.
    """
    if mcp and not find_spec("mcp"):
        raise FaceMTLError(
            "--mcp needs a package that is not installed. Run `pip install 'gradio[mcp]'`."
        )
    fonts = ["system-ui", "Segoe UI", "Roboto", "sans-serif"]  # a web font would need another host
    theme = gr.themes.Base(font=fonts, font_mono=["ui-monospace", "monospace"], radius_size="lg")
    return {
        "theme": theme,
        "css_paths": assets / "app.css",
        "head": f"<script>{read_text(assets / 'app.js')}</script>",
        "footer_links": [],
        "run_history": False,
        "enable_monitoring": False,
        "max_file_size": LARGEST_PHOTO,
        "state_session_capacity": KEEP_VISITORS,
        "share": False,
        "ssr_mode": False,
        "mcp_server": mcp,
        "app_kwargs": {
            "middleware": [
                Middleware(WithHeaders),
                Middleware(KnownHosts, allowed=hosts),
                Middleware(OnlyAllowed, mcp=mcp),
                Middleware(Sessions),
            ],
            "exception_handlers": HANDLERS,
        },
    }
