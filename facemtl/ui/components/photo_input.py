"""The input for a photo."""

import gradio as gr
from gradio.data_classes import ImageData

from .. import events
from ..no_stubs import no_stubs

with no_stubs():

    class PhotoInput(gr.Image):
        """`gr.Image` that passes on the path of an uploaded file.

        So only `faces.open_image` reads it, or says why it cannot. Gradio would raise an error
        without a message.
        """

        is_template = True  # for the browser, it is a gr.Image

        def preprocess(self, payload: ImageData | None) -> str | None:
            return events.uploaded(payload.path) if payload and payload.path else None
