"""The running app refuses hostile requests, and its refusals reveal nothing of the server."""

import json
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest
from gradio_client import Client

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
    """A client of a separate app: these requests put tracebacks into the log of the server."""
    folder = tmp_path_factory.mktemp("outside")
    settings = {"FACEMTL_DATA": str(folder / "no-dataset"), "TMPDIR": str(folder)}
    log, options = folder / "log.txt", ["--no-allow-download"]
    with support.running_app(log, *options, environment=settings) as address:
        with httpx.Client(
            base_url=address, timeout=60, limits=httpx.Limits(max_keepalive_connections=0)
        ) as client:
            yield client
        files = [file for file in folder.rglob("*") if file.is_file() and file.name != "log.txt"]
        outside = [file for file in files if "-uploads" not in file.relative_to(folder).parts[0]]
        assert files and not outside


def call(http: httpx.Client, name: str, data: list) -> str:
    """The full response of an endpoint to `data`, also if it is an error."""
    asked = http.post(f"/gradio_api/call/{name}", json={"data": data})
    if asked.status_code != HTTPStatus.OK:
        return asked.text
    return http.get(f"/gradio_api/call/{name}/{asked.json()['event_id']}").text


def tells_secrets(text: str) -> bool:
    return "Traceback" in text or str(support.ROOT) in text or "site-packages" in text


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [*SECRETS, "/etc/passwd"])
def test_files_of_the_server_cannot_be_downloaded(http, way, name):
    for path in (name, str(support.ROOT / name)):
        answer = http.get(way.format(path), follow_redirects=True)
        file = support.ROOT / name
        assert answer.status_code >= 400 or answer.content != file.read_bytes(), answer.url
        assert not tells_secrets(answer.text.replace(path, ""))  # a response may repeat the request
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
def test_the_page_does_not_show_a_file_that_was_not_uploaded(http, path):
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


def test_the_server_fetches_no_internal_urls(http, loopback):
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
def test_every_response_has_the_security_headers(http, path):
    answer = http.get(path)
    for name, value in HEADERS.items():
        assert answer.headers.get_list(name) == [value]


def test_analytics_and_monitoring_are_disabled(http):
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
def test_malformed_requests_are_refused_without_secrets(http, path, body):
    answer = http.post(
        f"/gradio_api/{path}", content=body, headers={"Content-Type": "application/json"}
    )
    said = answer.text
    if path.startswith("call/") and answer.status_code == HTTPStatus.OK:
        said = http.get(f"/gradio_api/{path}/{json.loads(said)['event_id']}").text
        assert said.startswith('event: error\ndata: {"error": "')  # and not null
    else:
        assert answer.status_code >= 400
    assert not tells_secrets(said)


@pytest.mark.parametrize(
    "name",
    [
        "../../escaped.jpg",
        "/tmp/escaped.jpg",
        "..\\..\\escaped.jpg",
        "a/../../../escaped.jpg",
        "x" * 3000,
    ],
)
def test_an_upload_stays_in_the_upload_folder(http, name):
    answer = http.post("/gradio_api/upload", files={"files": (name, b"not a face", "image/jpeg")})
    assert answer.status_code == HTTPStatus.OK
    (path,) = map(Path, answer.json())
    assert path == path.resolve() and path.parents[1].name.endswith("-uploads")
    assert path.read_bytes() == b"not a face"


def test_an_upload_without_a_name_is_refused(http):
    answer = http.post("/gradio_api/upload", files={"files": ("", b"not a face", "image/jpeg")})
    assert answer.status_code >= 400 and not tells_secrets(answer.text)


def test_where_it_is_not_allowed_no_event_starts_a_download(http):
    names = {event["api_name"] for event in http.get("/config").json()["dependencies"]}
    assert "on_random" in names and not {"on_start", "on_cancel"} & names


def test_events_of_the_page_are_not_public_endpoints(http):
    """Neither Gradio's client nor plain HTTP can call them by their names."""
    listed = http.get("/gradio_api/info").json()
    public = {"/predict", "/sample", "/metrics"}
    assert set(listed["named_endpoints"]) == public and not listed["unnamed_endpoints"]
    config = http.get("/config").json()
    values = {c["id"]: c["props"].get("value") for c in config["components"]}
    inputs = {
        event["api_name"]: [values.get(i) for i in event["inputs"]]
        for event in config["dependencies"]
        if f"/{event['api_name']}" not in public
    }
    assert {"on_file", "on_random", "on_load", "on_choice", "lambda"} <= inputs.keys()
    assert not {"on_start", "on_cancel"} & inputs.keys(), "nobody outside starts a download"
    client = Client(str(http.base_url), verbose=False)
    for name, data in inputs.items():
        with pytest.raises(ValueError, match="Cannot find a function"):
            client.predict(*data, api_name=f"/{name}")
        for way in ("call", "call/v2", "run"):
            said = http.post(f"/gradio_api/{way}/{name}", json={"data": data})
            assert said.status_code == HTTPStatus.NOT_FOUND, name
            assert "predict, sample, metrics" in said.json()["error"]
