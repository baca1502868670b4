"""Requests that arrive slowly, and photos in them."""

import asyncio
import base64
import json
from collections.abc import Callable
from http import HTTPStatus

import pytest

from facemtl.errors import FaceMTLError
from facemtl.ui import access, uploads
from facemtl.ui.access import OnlyAllowed
from facemtl.ui.photo_requests import with_photo_as_file
from tests import support

PREDICT = "/gradio_api/call/predict"


def arriving(parts: list[bytes], is_whole: bool = True) -> Callable:
    """An ASGI `receive` of these parts. If they are not the whole body, nothing more comes."""
    left = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    left[-1]["more_body"] = not is_whole

    async def receive() -> dict:
        if not left:
            await asyncio.sleep(3600)
        return left.pop(0)

    return receive


def answer(path: str, receive: Callable) -> tuple[int, dict]:
    """The status and content with which a request is refused."""
    sent = []

    async def read(scope, receive, send) -> None:
        while (await receive())["more_body"]:
            pass

    async def send(message: dict) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "headers": []}
    support.finished(OnlyAllowed(read)(scope, receive, send))
    return sent[0]["status"], json.loads(sent[1]["body"])


@pytest.mark.parametrize("path", ["/gradio_api/queue/join", PREDICT])
def test_a_request_that_stalls_is_refused(monkeypatch, path):
    monkeypatch.setattr(access, "STALLED", 0.1)
    status, said = answer(path, arriving([b'{"data": ['], is_whole=False))
    assert status == HTTPStatus.REQUEST_TIMEOUT and "Send it again" in said["error"]


def test_photos_of_calls_wait_as_files():
    photo = support.composites(3)[1].read_bytes()
    url = f"data:image/jpeg;base64,{base64.b64encode(photo).decode()}"
    before = set(uploads.folder().iterdir())
    for body in ({"data": [url]}, {"data": [{"url": url}]}, {"photo": url}):
        sent = json.dumps(body).encode()
        parts = [sent[i : i + 1000] for i in range(0, len(sent), 1000)]
        read = support.finished(with_photo_as_file(arriving(parts)))
        (file,) = set(uploads.folder().iterdir()) - before
        assert str(file) in read.decode() and len(read) < 300
        assert file.read_bytes() == photo
        file.unlink()


def test_a_call_without_a_photo_is_passed_on():
    for body in (b'{"data": ["x"]}', b"data: no JSON", b"", b"[" * 10**5 + b"data:"):
        assert support.finished(with_photo_as_file(arriving([body]))) == body


def test_calls_are_refused_while_the_folder_is_full(monkeypatch):
    """The body itself is a file, too, while it arrives."""
    before = set(uploads.folder().iterdir())
    monkeypatch.setattr(uploads, "MOST_BYTES", 2**20)
    with pytest.raises(FaceMTLError, match="Too many photos"):
        support.finished(with_photo_as_file(arriving([bytes(2**20)] * 3)))
    assert set(uploads.folder().iterdir()) == before
    status, said = answer(PREDICT, arriving([bytes(2**20)] * 3))
    assert status == HTTPStatus.BAD_REQUEST and "Too many photos" in said["error"]


def test_a_long_call_without_a_photo_is_refused():
    status, said = answer(
        PREDICT, arriving([b'{"data": ["', b"x" * access.LONGEST_REQUEST, b'"]}'])
    )
    assert status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and "longer than" in said["error"]


def test_a_websocket_is_closed():
    """Otherwise, the server would log an error."""
    sent = []

    async def send(message: dict) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/gradio_api/queue/data", "headers": []}
    support.finished(OnlyAllowed(None)(scope, None, send))
    assert sent == [{"type": "websocket.close"}]
