"""The faces behind the figures of Validation. They appear below the figure that was clicked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import gradio as gr
import pandas as pd

from .. import events
from ..faces import CurrentPool, ready
from ..prediction_cache import PredictionCache
from ..tabs.random_faces import N_FACES, face_opener, grid
from . import cards
from .face_kinds import AGES, KINDS, OTHERS, Kind, of_click
from .figures import QuestionCard, faces_place
from .markup import HTML, html

ABSENT = cards.message(
    "UTKFace is not installed here",
    "These faces are images of UTKFace, which may not be passed on. If there is a button “Get"
    " UTKFace” in Random faces, press it. Otherwise run `python -m facemtl download`, then start"
    " the app again. For your own faces, start it with `--data`.",
)
NOBODY = cards.message(
    "No such face",
    "None of the chosen images match. Choose other images above, or other faces here.",
)
NONE_HERE = cards.message(
    "These faces are not here",
    "These predictions were made for images that are not in the app's data folder. If they are your"
    " own images, start the app with `--data`. If they are UTKFace's, move or empty the data"
    " folder, run `python -m facemtl download`, then start the app again.",
)


@dataclass(frozen=True)
class Drawn:
    """The images that were found, the page of them on display, and the place of display."""

    images: tuple[str, ...] = ()
    said: str = ""
    sensitive: bool = False
    sheet: int = 0
    place: int = 0

    @property
    def on_sheet(self) -> tuple[str, ...]:
        return self.images[self.sheet * N_FACES : (self.sheet + 1) * N_FACES]

    @property
    def n_sheets(self) -> int:
        return -(-len(self.images) // N_FACES)


def build(
    cache: PredictionCache,
    pool: CurrentPool,
    chosen: Callable[[bool, tuple], pd.DataFrame],
    choice: gr.State,
    answered: Sequence[QuestionCard],
    tabs: gr.Tabs,
    shared: dict,
    hide: gr.Checkbox,
) -> None:
    """Connect the figures with their faces, and lay out a card to choose faces without a figure.

    `chosen(hidden, choice)` returns the predictions for the images that the figures show. `shared`
    is the result of `compare.build`.
    """
    drawn = gr.State(Drawn(), time_to_live=events.KEEP_STATE)
    with gr.Column(elem_classes="card", elem_id="hard-faces"):
        HTML(
            html(
                '<h3 class="figure-title">Which faces are hard?</h3><p class="note">Click on a '
                "mark of a figure above to see its faces. Or choose faces here, among the same "
                "images:</p>"
            )
        )
        offered = []
        for kinds, label, text, css in (
            (AGES, "Predicted age", "Show faces by age", []),
            (OTHERS, "Predicted other than labelled", "Show faces by answer", ["sensitive"]),
        ):
            choices = [
                (kind.option, KINDS.index(kind))
                for kind in kinds
                if kind.task in cache.predictor.tasks
            ]
            if not choices:
                continue
            with gr.Row(elem_classes=["toolbar", *css]):
                which = gr.Dropdown(
                    choices, value=choices[0][1], label=label, scale=0, min_width=340
                )
                offered.append((which, gr.Button(text, scale=0, min_width=260)))
        places = [faces_place([]), *(card.faces for card in answered)]

    def on_show(number: int | None, hidden: bool, values: tuple) -> tuple:
        return nobody() if number is None else show(KINDS[number], hidden, values, place=0)

    def picker(place: int) -> Callable[..., tuple]:
        """The handler of clicks on the figure whose faces appear at `places[place]`."""

        def on_pick(hidden: bool, values: tuple, event: gr.EventData) -> tuple:
            names = ("by", "task", "approach", "x", "y", "group")
            kind = of_click({name: events.sent(event, name) for name in names})
            if kind is None or (hidden and kind.sensitive):
                return (gr.skip(),) * len(outputs)
            return show(kind, hidden, values, place)

        return on_pick

    def show(kind: Kind, hidden: bool, values: tuple, place: int) -> tuple:
        source = ready(pool)
        if source.are_composites:
            return nobody(ABSENT, place)
        table = chosen(hidden, values)
        wanted = kind.find(table)
        if not wanted:
            return nobody(NOBODY, place)
        here = tuple(source.known(wanted))
        said = (
            f"{len(wanted):,} of the chosen images {'is' if len(wanted) == 1 else 'are'}"
            f" {kind.title}."
        )
        # Faces are sensitive, too, if images were chosen by a sensitive label, such as gender.
        sensitive = kind.sensitive or len(table) < len(chosen(True, values))
        if not here:
            return nobody(NONE_HERE, place)
        return draw(Drawn(here, said, sensitive, place=place), hidden)

    def nobody(why: str = "", place: int = 0) -> tuple:
        """All outputs, with the message `why` in place of faces."""
        return Drawn(), *at(place, _framed(why) if why else "")

    def at(place: int, shown: str) -> list[str]:
        """The HTML of all places: what is shown at one of them, and nothing at the others."""
        return [shown if i == place else "" for i in range(len(places))]

    def draw(found: Drawn, hidden: bool) -> tuple:
        """All outputs, with the faces of the page on display."""
        some, n = ready(pool).of_images(found.on_sheet, N_FACES), found.n_sheets
        page = f" Page {found.sheet + 1} of {n}." if n > 1 else ""
        faces = grid(cache, some, found.said + page, hidden, by_chance=False) if some else NONE_HERE
        return found, *at(found.place, _framed(faces, has_more=n > 1))

    def on_more(found: Drawn, hidden: bool) -> tuple:
        if not found.images:  # the server has dropped the state
            return nobody()
        return draw(replace(found, sheet=(found.sheet + 1) % found.n_sheets), hidden)

    def on_hide(found: Drawn, hidden: bool) -> tuple:
        """Show the same faces again, or none if they were found by a label that is now hidden."""
        # Without images, the state may have been dropped: the faces on the page may be sensitive.
        if hidden and (found.sensitive or not found.images):
            return nobody()
        return draw(found, hidden) if found.images else (gr.skip(),) * len(outputs)

    outputs = [drawn, *places]
    shown = []
    for which, button in offered:
        waiting = {**events.SHOW_FACES, **events.waiting_at(places[0])}
        shown.append(
            button.click(events.handle_errors(on_show), [which, hide, choice], outputs, **waiting)
        )
    for place, card in enumerate(answered, start=1):
        waiting = {**events.SHOW_FACES, **events.waiting_at(card.plot)}
        pick = events.handle_errors(picker(place))
        shown.append(card.clicked.click(pick, [hide, choice], outputs, **waiting))
    waiting = {**events.SHOW_FACES, **events.waiting_at(places)}
    more = [place.submit for place in places]
    shown.append(gr.on(more, events.handle_errors(on_more), [drawn, hide], outputs, **waiting))
    for event in shown:
        event.then(None, None, None, js="facemtl.toFaces")
    hide.input(events.handle_errors(on_hide), [drawn, hide], outputs, **waiting)
    # Faces of an earlier choice would mislead: the figures now show other images.
    choice.change(nobody, None, outputs, **events.SHOW_FACES, show_progress="hidden")
    opened = gr.on(
        [place.click for place in places],
        face_opener(pool, shared),
        hide,
        [tabs, *shared["outputs"]],
        **events.MODEL_WORK,
        **events.waiting_at(places),
    )
    opened.then(None, None, None, js="facemtl.toTop")


def _framed(faces: str, has_more: bool = False) -> str:
    """Faces, or a message in their place, with a button to close them and one for more."""
    more = html('<button type="button" class="more">More of these</button>') if has_more else ""
    return html(
        '<section aria-label="Faces"><div class="faces-head"><h3>Faces</h3>{}<button '
        'type="button" class="close">Close</button></div>{}</section>',
        more,
        faces,
    )
