"""The offer to download UTKFace, where it is not installed, with the download's progress."""

from collections.abc import Callable
from pathlib import Path

import gradio as gr

from ...data.background import FAILED, INSTALLED, READING, STOPPING, BackgroundDownload, Status
from ...data.download import DOWNLOADING, HUB_MB, HUB_REPOSITORY, is_missing
from .. import events
from .markup import HTML, html, with_code

MB = 10**6
EVERY, EVERY_IDLE = 1.0, 4.0  # seconds between two looks at the download
SOURCE = f"https://huggingface.co/datasets/{HUB_REPOSITORY}"
AUTHORS = "https://susanqq.github.io/UTKFace/"
ABSENT = html(
    '<p class="note">UTKFace is not installed here, so the faces are composites, '
    "averages of eight people each. Whoever runs this app can get it with <code>python "
    "-m facemtl download</code>, and then start the app again.</p>"
)
TERMS = html(
    "<b>For non-commercial research only.</b> You may not pass the images on. They "
    'belong to their owners, and were collected by <a href="{}" target="_blank" '
    'rel="noopener">Zhang, Song and Qi</a>. They come from the Hugging Face dataset <a '
    'href="{}" target="_blank" rel="noopener">{}</a>, and are saved in '
    "<code>{{folder}}</code> on the machine that runs this app. By downloading them, "
    "you accept these terms.",
    AUTHORS,
    SOURCE,
    HUB_REPOSITORY,
)


def card(status: Status, folder: Path) -> str:
    """What the offer says, without its buttons."""
    terms = html('<p class="note">{}</p>', TERMS.format(folder=str(folder)))
    if status.is_active:
        share = html(' value="{:.3f}"', status.done / status.total) if status.total else ""
        return html(
            "<h2>Getting UTKFace</h2><p>{progress}</p><progress{share} "
            'aria-label="{status.step}"></progress>{terms}',
            progress=_progress(status),
            share=share,
            status=status,
            terms=terms,
        )
    if status.state == INSTALLED:
        return html(
            '<div role="status"><h2>UTKFace is installed</h2><p>From now on, the faces are '
            "real ones: validation images, which no model was trained on.</p></div>"
        )
    if status.state == FAILED:
        title, text = "UTKFace is not here yet", with_code(status.error)
    else:
        title = "Real faces instead of composites"
        text = "UTKFace is not installed, so the faces here are averages of eight people each."
    return html('<div role="status"><h2>{}</h2><p>{}</p></div>{}', title, text, terms)


def _progress(status: Status) -> str:
    if status.state == STOPPING:
        return "Stopping. What has arrived is kept."
    if status.step == READING:
        return "Reading the images."
    if not status.total:
        return "Connecting."
    percent = f"{100 * status.done / status.total:.0f} %"
    if status.step == DOWNLOADING:
        return f"Downloading: {status.done / MB:.0f} of {status.total / MB:.0f} MB ({percent})."
    return f"{status.step}: {percent}."


def button_label(status: Status) -> str:
    """What the button says that starts the download."""
    if status.state == FAILED:
        return "Try again"
    if status.done >= MB:
        return f"Continue ({status.done / MB:.0f} MB are here)"
    return f"Get UTKFace ({HUB_MB} MB, research only)"


class Offer:
    """The offer in all tabs of one app. Nothing is shown if `data` has faces or is a CSV file.

    `when_installed` is called after a download. If the download is not `allowed`, the page has only
    a sentence about it, and no event that could start it.
    """

    def __init__(self, data: Path, when_installed: Callable[[], None], *, allowed: bool):
        self.job = (
            BackgroundDownload(data, when_installed, allowed=allowed) if is_missing(data) else None
        )
        self._places: list[tuple[gr.Column, HTML, gr.Button, gr.Button]] = []

    def place(self) -> None:
        """Lay out the offer. Call it once in each tab that has it."""
        if self.job is None:
            return
        if not self.job.allowed:
            HTML(ABSENT)
            return
        status = self.job.status
        with gr.Column(elem_classes=["card", "offer"]) as column:
            text = HTML(card(status, self.job.folder))
            with gr.Row(elem_classes="toolbar"):
                get = gr.Button(button_label(status), variant="primary", scale=0)
                cancel = gr.Button("Cancel", visible=False, scale=0)
        self._places.append((column, text, get, cancel))

    def connect(
        self, demo: gr.Blocks, redraw: Callable, inputs: list, outputs: list, work: dict
    ) -> None:
        """Connect the events, inside `demo`. A page with composites calls `redraw` afterwards.

        `inputs`, `outputs` and `work` are those of `redraw`, and its event's options.
        """
        if self.job is None or not self.job.allowed:
            return
        job = self.job
        shown = gr.State(job.status)  # what the page shows
        # Set when a download ends while the page is open. The browser sees its change at once. It
        # would see the change of a gr.State only after events that wait in a queue.
        arrived = gr.Textbox(visible="hidden")
        timer = gr.Timer(EVERY_IDLE)
        everything = [*(part for place in self._places for part in place), shown, arrived, timer]

        def on_look(before: Status) -> tuple:
            """Show how far the download is. What has not changed is left alone."""
            status = job.status
            if status == before:
                return (gr.skip(),) * len(everything)
            place = (
                gr.skip(), card(status, job.folder),
                gr.Button(button_label(status), visible=status.can_start),
                gr.Button(visible=status.can_stop),
            )  # fmt: skip
            is_done = status.state == INSTALLED
            again = gr.Timer(EVERY if status.is_active else EVERY_IDLE, active=not is_done)
            return *place * len(self._places), status, INSTALLED if is_done else "", again

        def on_load(before: Status) -> tuple:
            """As `on_look`, but a page that is opened after the download shows no offer."""
            *looks, again = on_look(before)
            if job.status.state != INSTALLED:
                return *looks, again
            place = gr.Column(visible=False), gr.skip(), gr.skip(), gr.skip()
            return *place * len(self._places), job.status, gr.skip(), again

        def on_start(before: Status) -> tuple:
            job.start()
            return on_look(before)

        def on_cancel(before: Status) -> tuple:
            job.cancel()
            return on_look(before)

        quick = events.AT_ONCE
        timer.tick(on_look, shown, everything, **quick)
        demo.load(on_load, shown, everything, **quick)
        for _, _, get, cancel in self._places:
            for button, handler in ((get, on_start), (cancel, on_cancel)):
                clicked = button.click(events.handle_errors(handler), shown, everything, **quick)
                clicked.then(None, None, None, js="facemtl.toOffer")
        arrived.change(redraw, inputs, outputs, **work)
