"""Gradio fetches no URLs.

If a request names a URL as the value of a component, gradio downloads it, of any size, before the
app sees the value. No setting turns this off. But gradio has one transport for all such downloads
(`async_transport` in gradio/processing_utils.py), and this module replaces it.
tests/unit/test_no_urls.py fails when gradio no longer uses this transport.
"""

import gradio as gr
import httpx
from gradio import processing_utils


class _NoUrls(httpx.AsyncBaseTransport):
    """Refuses to fetch a URL."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        message = "URLs are not fetched. Download the photo, and upload the file."
        raise gr.Error(message, print_exception=False)


processing_utils.async_transport = _NoUrls()
