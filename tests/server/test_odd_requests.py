"""Requests that no page sends. Each gets a sentence, and the log of the server stays clean.

The fixture `app` sees to it that the log has no traceback.
"""

import base64
import json
import secrets
import socket
from collections.abc import Iterator
from http import HTTPStatus
from urllib.parse import urlsplit

import httpx
import pytest

from facemtl.ui import uploads
from tests import support

JSON = {"Content-Type": "application/json"}
FILE = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}
ODD_CLICKS = ({"choice": FILE}, [FILE, "\ud800"])


@pytest.fixture
def http(app) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{app}/gradio_api", timeout=60) as client:
        yield client


def events(http: httpx.Client) -> tuple[list[dict], dict[int, dict]]:
    """The page's events that ask the server, and the components by their number."""
    config = http.get("../config").json()
    asking = [event for event in config["dependencies"] if event["backend_fn"]]
    return asking, {part["id"]: part for part in config["components"]}


def said(http: httpx.Client, number: int, values: list, about: object = None) -> str:
    """What an event of the page says to these values: an error, or nothing."""
    session = secrets.token_hex(4)
    asked = {"fn_index": number, "data": values, "session_hash": session, "event_data": about}
    joined = http.post("/queue/join", content=json.dumps(asked), headers=JSON)
    assert joined.status_code == HTTPStatus.OK, joined.text
    with http.stream("GET", "/queue/data", params={"session_hash": session}) as lines:
        for line in lines.iter_lines():
            message = json.loads(line.removeprefix("data: ") or "{}") if line else {}
            assert message.get("msg") != "unexpected_error", message
            if message.get("msg") == "process_completed":
                told = "" if message["success"] else message["output"]["error"]
    return told


def test_a_choice_of_the_wrong_form_is_refused(http):
    """A list for one choice, and texts that are no choice, cannot be written, or are very long."""
    asking, parts = events(http)
    n = 0
    for event in asking:
        kinds = [parts[i]["type"] for i in event["inputs"]]
        if "dropdown" not in kinds or event["api_visibility"] == "public":
            continue
        values = [parts[i]["props"].get("value") for i in event["inputs"]]
        place = kinds.index("dropdown")
        one = values[place]
        for wrong in ([one], [], [one, one], "\ud800", "\x1b[2J", "x" * 20_000, {"a": 1}):
            told = said(http, event["id"], [*values[:place], wrong, *values[place + 1 :]])
            assert told and len(told) < 300 and told.isprintable(), (event["api_name"], told)
            n += 1
    assert n > 30


def test_what_is_said_about_a_click_may_be_anything(http):
    asking, parts = events(http)
    clicked = [e for e in asking if e["targets"] and e["targets"][0][1] == "click"]
    for event in clicked:
        values = [parts[i]["props"].get("value") for i in event["inputs"]]
        # what is said does not reach an event that collects nothing
        for about in ODD_CLICKS if event["collects_event_data"] else ODD_CLICKS[:1]:
            told = said(http, event["id"], values, about)
            assert told is not None and "Traceback" not in told


@pytest.mark.parametrize("stream", ["call/predict/unknown", "queue/data?session_hash=unknown"])
def test_a_stream_without_answers_is_refused(http, stream):
    answer = http.get(f"/{stream}")
    assert answer.status_code == HTTPStatus.NOT_FOUND
    assert "no answers to read here" in answer.json()["error"]


def test_answers_are_read_once(http):
    event = http.post("/call/metrics", json={"data": ["all"]}).json()["event_id"]
    assert http.get(f"/call/metrics/{event}").text.startswith("event: complete")
    assert http.get(f"/call/metrics/{event}").status_code == HTTPStatus.NOT_FOUND


@pytest.mark.parametrize("path", ["call/metrics", "call/predict", "queue/join", "upload"])
def test_a_visitor_may_leave_in_the_middle_of_a_request(app, path):
    address = urlsplit(app)
    kind = "multipart/form-data; boundary=b" if path == "upload" else "application/json"
    head = f"POST /gradio_api/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n"
    body = '--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nx'
    with socket.create_connection((address.hostname, address.port), 10) as left:
        left.sendall(f"{head}Content-Length: 1000\r\n\r\n{body}".encode())
    assert httpx.get(f"{app}/config").status_code == HTTPStatus.OK


def test_json_that_is_too_deep_is_refused_in_a_sentence(http):
    for path in ("call/metrics", "call/predict", "queue/join"):
        answer = http.post(f"/{path}", content='{"data":' + "[" * 10**5, headers=JSON)
        assert HTTPStatus.BAD_REQUEST <= answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR
        assert isinstance(answer.json()["error"], str)


def test_a_data_url_is_a_photo_only_where_a_photo_is_expected(http):
    photo = support.composites(3)[1].read_bytes()
    url = f"data:image/jpeg;base64,{base64.b64encode(photo).decode()}"
    for name, values in (("metrics", [url]), ("sample", [1, 1, 0, 116, "any", "any", url])):
        event = http.post(f"/call/{name}", json={"data": values}).json()["event_id"]
        told = http.get(f"/call/{name}/{event}").text
        assert told.startswith("event: error") and str(uploads.folder().parent.parent) not in told
        assert "path" not in told
