"""Event options and error handling for all tabs."""

from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from urllib.parse import parse_qsl

import gradio as gr

from ..errors import FaceMTLError
from . import uploads

LONGEST_PATH = 4096  # characters; longer paths of uploaded files are refused
KEEP_STATE = 600  # seconds until the server forgets an idle visitor's state
# For events of all tabs that run models on a visitor's own face: one at a time, and no public
# endpoint.
MODEL_WORK = {"api_visibility": "private", "concurrency_id": "models", "concurrency_limit": 1}
# For events that show dataset faces. Most of their predictions are cached, so they have a queue of
# their own and need not wait for photos.
SHOW_FACES = {**MODEL_WORK, "concurrency_id": "faces"}
# For events whose answers take no time. They wait for nobody. Still, they are in a queue: otherwise
# the page would call them by a route that could also run models outside the queues.
AT_ONCE = {
    "api_visibility": "private",
    "show_progress": "hidden",
    "concurrency_id": "at once",
    "concurrency_limit": None,
}
# For `js_on_load`: report which element with a data-choice attribute is clicked.
REPORT_CHOICES = "facemtl.reportChoices(element, trigger)"


def waiting_at(place: object) -> dict[str, object]:
    """Event options: if the event is slow, a component or a list of them fades until its end."""
    return {"show_progress": "minimal", "show_progress_on": place}


def uploaded(path: str) -> str:
    """The path, if it is in the upload folder. Raises gr.Error otherwise.

    This check is needed because a client can name any file of the server.
    """
    with suppress(ValueError, OSError):  # not a valid path
        if len(path) <= LONGEST_PATH and uploads.is_uploaded(path):
            return path
    raise gr.Error("This file was not uploaded. Upload it again.", print_exception=False)


def asked_by(event: gr.EventData) -> dict[str, str]:
    """The parameters of the address that a browser reports, when it goes back or forward."""
    return dict(parse_qsl(str(sent(event, "query") or "").lstrip("?")))


def sent(event: gr.EventData, key: str) -> object:
    """What a browser sent with an event, or None. It can be anything."""
    try:
        return getattr(event, key, None)
    except TypeError:  # it was not sent as an object
        return None


def number_sent(event: gr.EventData) -> int:
    """The number that a click chooses. If it sent none, the result is -1, which chooses nothing."""
    try:
        return int(str(sent(event, "choice")))
    except ValueError:
        return -1


def handle_errors(handler: Callable) -> Callable:
    """Wrap an event handler: its FaceMTLError becomes a message on the page."""

    @wraps(handler)
    def wrapped(*arguments):
        try:
            return handler(*arguments)
        except FaceMTLError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return wrapped
