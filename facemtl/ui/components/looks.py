"""The panel "A closer look": tabs whose panes are made on demand, and stay until the face changes.

The browser shows and hides panes (`closerLook` in app.js). It asks the server only for a pane that
is still empty.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import gradio as gr

from ...errors import FaceMTLError
from ...inference.predictor import Predictor
from ...inference.what_if import CHANGES
from ...tasks import Task
from ..events import (
    AT_ONCE,
    KEEP_STATE,
    MODEL_WORK,
    REPORT_CHOICES,
    handle_errors,
    sent,
    waiting_at,
)
from ..photo import PhotoView
from . import cards, cover, panes, pins, saved, what_if
from .markup import HTML, html, joined

FORGOTTEN = cards.message(
    "This face is forgotten",
    f"A face is kept for {KEEP_STATE // 60} minutes only. Show it again, or draw another one.",
)
HIDDEN = cards.message(
    "Nothing to show", "All tasks are hidden. To see them, untick “Hide gender and race”."
)


@dataclass(frozen=True)
class Look:
    """One tab: its name in the page, its title, and the generator that makes its pane."""

    name: str
    title: str
    make: Callable[[Predictor, PhotoView, Sequence[Task]], Iterator[str]]
    doing: str

    @property
    def pane(self) -> str:
        """The id of its pane."""
        return f"look-{self.name}"


WHERE = Look("where", "Where", panes.where_card, panes.COVERING)
STEADY = Look(
    "steady",
    "How steady",
    panes.steadiness_card,
    "Shifting and mirroring the crop, and asking all models each time.",
)
COVER = Look("cover", "Cover", cover.painter, cover.DOING)
EVERYBODY = Look("everybody", "All faces", panes.faces_card, "Asking all models about every face.")
SAVE = Look("save", "Save", saved.save_card, "Drawing the result.")
# The second row of tabs, below "What if".
WHAT_IF = (
    *(Look(c.name, c.title, partial(what_if.change_card, c), what_if.CHANGING) for c in CHANGES),
    COVER,
)
LOOKS = (WHERE, STEADY, *WHAT_IF, EVERYBODY, SAVE)


def bar(view: PhotoView) -> str:
    """The tabs for a face, none of them chosen. Empty without a face.

    No two bars are equal. Otherwise the page would keep the choice that was made for another face.
    """
    if view.face is None:
        return ""
    several = [EVERYBODY] if len(view.faces) > 1 else []
    tabs = [(look.name, look.title, look.pane) for look in (WHERE, STEADY, *several, SAVE)]
    tabs.insert(2, ("what-if", "What if", "what-if-changes"))
    changes = [(look.name, look.title, look.pane) for look in WHAT_IF]
    return html(
        '<div class="looks" data-of="{}"><h2>A closer look</h2><div class="look-tabs" '
        'role="tablist" aria-label="A closer look">{}</div><div class="changes" '
        'role="tablist" id="what-if-changes" aria-label="What if" hidden>{}</div></div>',
        time.monotonic_ns(),
        _tabs(tabs),
        _tabs(changes, chosen=True),
    )


def _tabs(tabs: Sequence[tuple[str, str, str]], chosen: bool = False) -> str:
    """Buttons of a tablist. With `chosen`, the first one is selected."""
    return joined(
        html(
            '<button type="button" role="tab" id="tab-{name}" data-choice="{name}" '
            'aria-controls="{controls}" aria-selected="{}" tabindex="{}">{title}</button>',
            str(chosen and i == 0).lower(),
            -1 if i else 0,
            name=name,
            controls=controls,
            title=title,
        )
        for i, (name, title, controls) in enumerate(tabs)
    )


def build_pins(state: gr.State, predictor: Predictor, hide: gr.Checkbox) -> Callable:
    """Lay out the pinned faces. Returns a function that connects the button "Pin this face"."""
    kept = gr.State((), time_to_live=KEEP_STATE)
    shown = HTML("", elem_id="pins", js_on_load=f"{REPORT_CHOICES}; element.ariaLive = 'polite'")

    def drawn(found: pins.Pins, hidden: bool) -> str:
        return pins.pins_html(found, cards.shown(predictor.tasks, hidden))

    def on_pin(found: pins.Pins, view: PhotoView, hidden: bool) -> tuple:
        if view.face is None:
            raise FaceMTLError("This face is forgotten. Show it again, then pin it.")
        found = pins.with_face(found, predictor, view)
        return found, drawn(found, hidden)

    def on_unpin(found: pins.Pins, hidden: bool, event: gr.EventData) -> tuple:
        found = pins.without(found, sent(event, "choice"))
        return found, drawn(found, hidden)

    shown.click(on_unpin, [kept, hide], [kept, shown], **AT_ONCE).then(
        None, None, None, js="facemtl.toPin"
    )
    hide.change(drawn, [kept, hide], shown, **AT_ONCE)

    def connect(button: gr.Button) -> None:
        work = {**MODEL_WORK, "show_progress": "hidden"}
        button.click(handle_errors(on_pin), [kept, state, hide], [kept, shown], **work)

    return connect


def build(
    predictor: Predictor, state: gr.State, hide: gr.Checkbox
) -> tuple[gr.Button, list, Callable]:
    """Lay out the panel, and connect its events.

    Returns the button "Pin this face", the panel's outputs, and a function that fills them for a
    new view.
    """
    with gr.Column(elem_id="closer", elem_classes="card"):
        tabs = HTML("", elem_id="looks", js_on_load="facemtl.closerLook(element, trigger)")
        pin = gr.Button("Pin this face", size="sm", elem_id="pin", min_width=80)
        panes = {}
        for look in LOOKS:
            if look is COVER:
                with gr.Column(elem_id=look.pane):
                    paint = f"{REPORT_CHOICES}; facemtl.paint(element, trigger)"
                    panes[look.name] = HTML("", js_on_load=paint)
                    covered = HTML("", js_on_load="element.ariaLive = 'polite'")
            else:
                panes[look.name] = HTML("", elem_id=look.pane, js_on_load=REPORT_CHOICES)

    # By session: a token for the visitor's pane in progress. Removing it stops the work.
    running: dict[str, object] = {}
    by_name = {look.name: look for look in LOOKS}

    def pages(look: Look, view: PhotoView, hidden: bool) -> Iterator[str]:
        tasks = cards.shown(predictor.tasks, hidden)
        if view.face is None or not tasks:
            yield HIDDEN if view.face else FORGOTTEN
            return
        yield cards.working(look.doing)
        try:
            yield from look.make(predictor, view, tasks)
        except FaceMTLError as error:
            yield cards.message("Cannot be shown", str(error))

    def on_look(
        view: PhotoView, hidden: bool, event: gr.EventData, request: gr.Request
    ) -> Iterator[list]:
        """Fill the pane of the tab that was chosen, with its progress first."""
        name = sent(event, "choice")

        def at_pane(page: str) -> list:
            return [page if other == name else gr.skip() for other in panes]

        if not isinstance(name, str) or name not in by_name:
            yield at_pane("")
            return
        session, mine = request.session_hash, object()
        running[session] = mine
        try:
            for page in pages(by_name[name], view, hidden):
                if running.get(session) is not mine:
                    yield at_pane("")
                    return
                yield at_pane(page)
        finally:
            if running.get(session) is mine:
                del running[session]

    def on_stop(request: gr.Request) -> str:
        """Stop the visitor's pane in progress.

        Gradio's `cancels` is not used, because it fails before the server has named the event.
        """
        running.pop(request.session_hash, None)
        return ""

    def on_cover(view: PhotoView, hidden: bool, event: gr.EventData) -> str:
        if view.face is None:
            return FORGOTTEN
        mask = cover.mask_of(sent(event, "mask"))
        return cover.covered_card(predictor, view, cards.shown(predictor.tasks, hidden), mask)

    # Every click counts, one after another: a visitor may stop a pane and ask for it again at once.
    work = {**MODEL_WORK, "show_progress": "hidden", "trigger_mode": "multiple"}
    made = tabs.click(on_look, [state, hide], list(panes.values()), **work)
    made.then(None, None, None, js="facemtl.showCloser")
    for pane in panes.values():
        pane.click(on_stop, None, pane, **AT_ONCE)  # only the button "Stop" is reported as a click
    panes[COVER.name].input(
        handle_errors(on_cover), [state, hide], covered,
        **MODEL_WORK, **waiting_at(covered), trigger_mode="always_last",
    )  # fmt: skip
    outputs = [tabs, *panes.values(), covered]
    return pin, outputs, lambda view: (bar(view), *[""] * (len(outputs) - 1))
