"""URLs in requests: gradio asks one transport for them, and the app's transport refuses."""

import gradio as gr
import httpx
import pytest
from gradio import processing_utils

from facemtl.ui import no_urls
from tests import support

SENT = {"path": "http://93.184.216.34/photo.jpg", "meta": {"_type": "gradio.FileData"}}


class Asked(httpx.AsyncBaseTransport):
    """Answers each request, and keeps its URL."""

    def __init__(self):
        self.urls: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.urls.append(request.headers["host"] + request.url.path)
        return httpx.Response(404, request=request)


def preprocess(value: object) -> list:
    """What gradio makes of a value that is sent for a file."""
    with gr.Blocks() as demo:
        file, button = gr.File(), gr.Button()
        button.click(lambda sent: sent, file, None)
    (event,) = demo.fns.values()
    return support.finished(demo.preprocess_data(event, [value], None))


def test_gradio_fetches_urls_through_its_transport(monkeypatch):
    """If this fails, gradio no longer uses the transport: find what it uses, or delete the module
    facemtl/ui/no_urls.py and this file if it fetches no URLs.
    """
    asked = Asked()
    monkeypatch.setattr(processing_utils, "async_transport", asked)
    with pytest.raises(Exception):  # noqa: B017 - it does not like the answer
        preprocess(SENT)
    assert asked.urls == ["93.184.216.34/photo.jpg"]


def test_the_transport_of_the_app_refuses():
    assert isinstance(processing_utils.async_transport, no_urls._NoUrls)
    with pytest.raises(gr.Error, match="URLs are not fetched"):
        preprocess(SENT)
