"""What somebody who means no good asks the running app for, and does not get."""

import json
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest

from facemtl.ui.headers import HEADERS
from research.load import Measured, Person
from tests import support

SECRETS = [
    "app.py", "README.md", "pyproject.toml", "facemtl/cli.py", "assets/models/age.onnx",
    "assets/pretrained/centerface.onnx",
    "assets/validation/predictions.csv.gz", "assets/app.css",
]  # fmt: skip
WAYS = [
    "/gradio_api/file={}", "/file={}", "/gradio_api/file/{}", "/file/{}", "/static/{}",
    "/static/../../{}", "/assets/{}",
    "/assets/..%2f..%2f{}", "/theme.css/../{}", "/gradio_api/stream/{}",
    "/gradio_api/proxy=file://{}", "/custom_component/{}",
    "/gradio_api/file=%2e%2e%2f{}",
]  # fmt: skip


@pytest.fixture(scope="module")
def http(tmp_path_factory):
    """A client of an app of its own: what is tried here leaves its traces in the server's log,
    which nobody else sees.
    """
    folder = tmp_path_factory.mktemp("outside")
    settings = {"FACEMTL_DATA": str(folder / "no-dataset"), "TMPDIR": str(folder)}
    with support.running_app(folder / "log.txt", environment=settings) as address:
        with httpx.Client(
            base_url=address, timeout=60, limits=httpx.Limits(max_keepalive_connections=0)
        ) as client:
            yield client
        files = [file for file in folder.rglob("*") if file.is_file() and file.name != "log.txt"]
        assert all(file.name == "escaped.jpg" or "uploads" in str(file) for file in files), files


def call(http: httpx.Client, name: str, data: list) -> str:
    """All that an endpoint says to `data`, whatever it is."""
    asked = http.post(f"/gradio_api/call/{name}", json={"data": data})
    if asked.status_code != HTTPStatus.OK:
        return asked.text
    return http.get(f"/gradio_api/call/{name}/{asked.json()['event_id']}").text


def tells_secrets(text: str) -> bool:
    return "Traceback" in text or str(support.ROOT) in text or "site-packages" in text


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [*SECRETS, "/etc/passwd"])
def test_no_file_of_the_server_can_be_fetched(http, way, name):
    for path in (name, str(support.ROOT / name)):
        answer = http.get(way.format(path), follow_redirects=True)
        file = support.ROOT / name
        assert answer.status_code >= 400 or answer.content != file.read_bytes(), answer.url
        assert not tells_secrets(answer.text.replace(path, ""))  # the question may be repeated
        assert b"root:" not in answer.content


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", str(support.ROOT / "README.md"), str(support.composites(3)[1]), "../README.md"],
)
def test_a_path_that_was_not_uploaded_is_not_read(http, path):
    for photo in (
        {"path": path, "meta": {"_type": "gradio.FileData"}},
        {"path": path, "url": f"file://{path}"},
        path,
    ):
        said = call(http, "predict", [photo])
        assert "complete" not in said.split("\n")[0], said
        assert "root:" not in said and not tells_secrets(said.replace(path, ""))


@pytest.mark.parametrize(
    "path", ["/etc/passwd", str(support.composites(3)[1]), "../README.md", "", "\0", "a/" * 9999]
)
def test_a_page_cannot_show_a_file_that_was_not_uploaded(http, path):
    person = Person(http, http.get("/config").json(), 0, Measured())
    arrived = f"1 {path}" if path else None
    asked = {
        "data": [arrived, False],
        "fn_index": person.number("on_file"),
        "session_hash": person.session,
    }
    assert http.post("/gradio_api/queue/join", json=asked).status_code == HTTPStatus.OK
    said = http.get("/gradio_api/queue/data", params={"session_hash": person.session}).text
    assert "This file was not uploaded" in said and "What it cost" not in said
    assert not tells_secrets(said.replace(path, "") if path else said)


def test_the_server_fetches_nothing_from_its_own_network(http, loopback):
    (loopback.folder / "photo.jpg").write_bytes(support.composites(3)[1].read_bytes())
    url = f"{loopback.url}/photo.jpg"
    for photo in (
        {"path": url, "meta": {"_type": "gradio.FileData"}},
        {"path": "x", "url": url},
        url,
    ):
        said = call(http, "predict", [photo])
        assert "complete" not in said.split("\n")[0] and not tells_secrets(said)
    assert http.get(f"/gradio_api/proxy={url}").status_code >= 400
    assert not loopback.requests


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/config",
        "/gradio_api/info",
        "/gradio_api/file=/etc/passwd",
        "/nothing",
        "/gradio_api/call/metrics",
    ],
)
def test_every_answer_has_the_headers(http, path):
    answer = http.get(path)
    for name, value in HEADERS.items():
        assert answer.headers.get_list(name) == [value]


def test_nobody_is_counted_or_remembered(http):
    config = http.get("/config").json()
    assert config["analytics_enabled"] is False
    for path in (
        "/monitoring",
        "/monitoring/summary",
        "/gradio_api/monitoring",
        "/gradio_api/monitoring/summary",
    ):
        answer = http.get(path)
        assert answer.status_code >= 400 or "not enabled" in answer.text, path
    assert not config.get("run_history")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "null",
        '{"data": 1}',
        '{"data": [1, 2, 3, 4]}',
        '{"data": [{"path": 1}]}',
        '{"data": [' + "[" * 5000,
    ],
)
@pytest.mark.parametrize(
    "path", ["call/predict", "call/sample", "run/predict", "queue/join", "run/nothing", "upload"]
)
def test_a_request_that_makes_no_sense_is_refused_without_secrets(http, path, body):
    answer = http.post(
        f"/gradio_api/{path}", content=body, headers={"Content-Type": "application/json"}
    )
    said = answer.text
    if answer.status_code == HTTPStatus.OK and "event_id" in said and path.startswith("call/"):
        said += http.get(f"/gradio_api/{path}/{json.loads(said)['event_id']}").text
    assert not tells_secrets(said)


@pytest.mark.parametrize(
    "name",
    [
        "../../escaped.jpg",
        "/tmp/escaped.jpg",
        "..\\..\\escaped.jpg",
        "a/../../../escaped.jpg",
        "x" * 3000,
        "",
    ],
)
def test_an_upload_stays_in_its_folder_whatever_it_is_called(http, name):
    answer = http.post("/gradio_api/upload", files={"files": (name, b"not a face", "image/jpeg")})
    assert not tells_secrets(answer.text)
    if answer.status_code == HTTPStatus.OK:
        (path,) = map(Path, answer.json())
        assert path.resolve().parents[1].name.endswith("-uploads")


def test_events_of_the_page_are_no_endpoints(http):
    named = http.get("/gradio_api/info").json()
    assert (
        set(named["named_endpoints"]) == {"/predict", "/sample", "/metrics"}
        and not named["unnamed_endpoints"]
    )
    for name in ("on_file", "on_random", "lambda", "on_load", "on_choice"):
        assert call(http, name, []).find("complete") < 0
