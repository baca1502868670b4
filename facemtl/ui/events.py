"""What the events of all tabs share: who waits for whom, and how errors are shown."""

from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path

import gradio as gr

from ..errors import FaceMTLError
from . import uploads

LONGEST_PATH = 4096  # of an uploaded file
KEEP_STATE = 600  # seconds that the server remembers what an idle visitor looks at
# For every event that runs a model for a visitor's own face, in any tab: one at a time, and no
# public endpoint.
MODEL_WORK = {"api_visibility": "private", "concurrency_id": "models", "concurrency_limit": 1}
# For every event that shows faces of the dataset: mostly their answers are known, so they do not
# wait behind photos.
SHOW_FACES = {**MODEL_WORK, "concurrency_id": "faces"}
# where the face stands that another tab has opened
TO_TOP = "() => { window.scrollTo({top: 0}); return []; }"


def waiting_at(component: gr.components.Component) -> dict[str, object]:
    """For an event: while it works, the component that will show the result fades, once it has
    taken a while.
    """
    return {"show_progress": "minimal", "show_progress_on": component}


def uploaded(path: str) -> str:
    """The path itself; gr.Error where it is not of an upload: a client can name any file of the
    server.
    """
    with suppress(ValueError, OSError):  # what cannot be a path
        if len(path) <= LONGEST_PATH and Path(path).resolve().is_relative_to(
            uploads.folder().resolve()
        ):
            return path
    raise gr.Error("This file was not uploaded. Send it once more.", print_exception=False)


def handle_errors(handler: Callable) -> Callable:
    """The handler, whose FaceMTLError becomes a message on the page."""

    @wraps(handler)
    def wrapped(*arguments):
        try:
            return handler(*arguments)
        except FaceMTLError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return wrapped
