"""The running app refuses hostile requests, and its refusals reveal nothing of the server."""

import json
import re
import stat
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import gradio as gr
import httpx
import pytest
from gradio.routes import App
from gradio_client import Client

from facemtl.ui.access import LONGEST_PHOTO, LONGEST_REQUEST
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
    settings = {"FACEMTL_DATA": str(folder / "no-dataset")}
    log, options = folder / "log.txt", ["--no-allow-download"]
    with support.running_app(log, *options, environment=settings) as address:
        with httpx.Client(
            base_url=address, timeout=60, limits=httpx.Limits(max_keepalive_connections=0)
        ) as client:
            yield client
        (private,) = (folder / "temporary").iterdir()  # all temporary files are in one folder
        assert stat.S_IMODE(private.stat().st_mode) == 0o700


def call(http: httpx.Client, name: str, data: list) -> str:
    """The full response of an endpoint to `data`, also if it is an error."""
    asked = http.post(f"/gradio_api/call/{name}", json={"data": data})
    if asked.status_code != HTTPStatus.OK:
        return asked.text
    return http.get(f"/gradio_api/call/{name}/{asked.json()['event_id']}").text


def uploaded(http: httpx.Client) -> set[Path]:
    """The files in the upload folder of the app."""
    answer = http.post("/gradio_api/upload", files={"files": ("a.jpg", b"1")})
    (path,) = map(Path, answer.json())
    path.unlink()
    return {file for file in path.parents[1].rglob("*") if file.is_file()}


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


# The server itself under many names, others of its network, and the network outside.
HOSTS = [
    "127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0.0.0.0", "127.0.0.2",
    "[::1]", "[::]", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1", "192.168.0.1",
    "172.17.0.1", "[fd00::1]", "huggingface.co", "example.com", "user@127.0.0.1",
]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_the_server_fetches_no_urls(http, loopback, host):
    """Neither for an endpoint, nor as a proxy, nor as the value of another component."""
    (loopback.folder / "photo.jpg").write_bytes(support.composites(3)[1].read_bytes())
    url = f"http://{host}:{urlsplit(loopback.url).port}/photo.jpg"
    file = {"path": url, "meta": {"_type": "gradio.FileData"}}
    said = call(http, "predict", [file])
    assert said.startswith("event: error") and "URLs are not fetched" in said
    for photo in ({"path": "x", "url": url}, url):
        said = call(http, "predict", [photo])
        assert "complete" not in said.split("\n")[0] and not tells_secrets(said)
    person = Person(http, http.get("/config").json(), 0, Measured())
    join = {"fn_index": person.number("on_file"), "session_hash": person.session}
    http.post("/gradio_api/queue/join", json={"data": ["", file], **join})
    said = http.get("/gradio_api/queue/data", params={"session_hash": person.session}).text
    assert "URLs are not fetched" in said
    for way in ("proxy=", "file=", "file/"):
        assert http.get(f"/gradio_api/{way}{url}").status_code == HTTPStatus.NOT_FOUND
    assert not loopback.requests


# What the page and programs ask for. `{}` is anything.
USED = {
    "GET /", "HEAD /", "GET /config", "GET /config/", "GET /theme.css", "GET /favicon.ico",
    "GET /static/{}", "GET /assets/{}", "POST /login", "POST /login/", "GET /gradio_api/info",
    "GET /gradio_api/info/", "GET /gradio_api/app_id", "GET /gradio_api/app_id/",
    "GET /gradio_api/startup-events", "GET /gradio_api/heartbeat/{}", "POST /gradio_api/queue/join",
    "GET /gradio_api/queue/data", "POST /gradio_api/upload", "GET /gradio_api/upload_progress",
    "GET /gradio_api/file={}", "HEAD /gradio_api/file={}",
    "POST /gradio_api/call/{}", "POST /gradio_api/call/{}/", "GET /gradio_api/call/{}/{}",
    "POST /gradio_api/call/v2/{}", "POST /gradio_api/call/v2/{}/", "GET /gradio_api/call/v2/{}/{}",
}  # fmt: skip


def test_all_other_routes_of_gradio_are_refused(http):
    """Those of `process_recording`, which kept a copy of every file, and of all that may come."""
    routes = {
        f"{method} {re.sub('{.*?}', '{}', path)}"
        for path, methods in routes_of(App.create_app(gr.Blocks(), mcp_server=True))
        for method in methods
    }
    assert len(routes) > 80 and "POST /gradio_api/process_recording" in routes
    before = uploaded(http)
    for route in routes - USED:
        method, path = route.split(" ")
        files = {"video": ("a.mp4", b"1")} if method == "POST" else None
        answer = http.request(method, path.replace("{}", "predict"), files=files)
        assert answer.status_code == HTTPStatus.NOT_FOUND, route
        assert method == "HEAD" or "There is no such page" in answer.json()["detail"], route
    assert uploaded(http) == before


@pytest.mark.parametrize("path", ["/config", "/theme.css", "/gradio_api/info", "/favicon.ico"])
def test_what_gradio_answers_to_get_only_is_refused_to_head(http, path):
    assert http.get(path).status_code == HTTPStatus.OK
    assert http.head(path).status_code == HTTPStatus.NOT_FOUND


@pytest.mark.parametrize("ranges", ["bytes=0-1,3-4,6-7", "bytes=0-1", "x=1", "bytes="])
def test_a_photo_is_sent_whole(http, ranges):
    """Gradio fails with some ranges, and its answer then lacks the headers."""
    (path,) = http.post("/gradio_api/upload", files={"files": ("a.jpg", b"not a face")}).json()
    answer = http.get(f"/gradio_api/file={path}", headers={"Range": ranges})
    assert answer.status_code == HTTPStatus.OK and answer.content == b"not a face"
    assert answer.headers["Cache-Control"] == "no-store"


def routes_of(app) -> Iterator[tuple[str, set[str]]]:
    for route in app.routes:
        if path := getattr(route, "path", ""):
            yield path, getattr(route, "methods", None) or {"GET", "POST"}
        else:  # an included router
            yield from routes_of(route.original_router)


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
    """It has a random name there, which tells nothing of the visitor's file or of its content."""
    answers = [
        http.post("/gradio_api/upload", files={"files": (name, b"not a face", "image/jpeg")})
        for _ in range(2)
    ]
    assert all(answer.status_code == HTTPStatus.OK for answer in answers)
    paths = [Path(path) for answer in answers for path in answer.json()]
    assert len({path.name for path in paths}) == 2
    for path in paths:
        assert path == path.resolve() and path.parents[1].name == "files"
        assert re.fullmatch(r"photo-[0-9a-f]{32}", path.name)
        assert path.read_bytes() == b"not a face"


PART = b'--b\r\nContent-Disposition: form-data; name="files"%s\r\n\r\nnot a face\r\n'
NAMED, END = PART % b'; filename="a.jpg"', b"--b--\r\n"


@pytest.mark.parametrize(
    "body",
    [
        b"", END, PART % b'; filename=""' + END, NAMED, NAMED.replace(b"files", b"video") + END,
        2 * NAMED + END, PART % b"" + END,
    ],
    ids=["empty", "no part", "empty name", "cut off", "other field", "two files", "no name"],
)  # fmt: skip
@pytest.mark.parametrize("query", ["", "?upload_id=1"])
def test_an_upload_that_is_not_one_named_file_is_refused(http, body, query):
    before = uploaded(http)
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = http.post(f"/gradio_api/upload{query}", content=body, headers=headers)
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert "one photo at a time, as a file with a name" in answer.text
    assert uploaded(http) == before


@pytest.mark.parametrize("boundary", ["", "; boundary=", f"; boundary={'b' * 1000}"])
def test_an_upload_without_a_valid_boundary_is_refused(http, boundary):
    headers = {"Content-Type": f"multipart/form-data{boundary}"}
    answer = http.post("/gradio_api/upload", content=b"--b--", headers=headers)
    assert answer.status_code == HTTPStatus.BAD_REQUEST and "one photo at a time" in answer.text


def test_an_upload_may_have_30_mb(http):
    before = uploaded(http)
    for size, status in ((30 * 2**20, 200), (30 * 2**20 + 1, 413)):
        answer = http.post("/gradio_api/upload", files={"files": ("a.jpg", bytes(size))})
        assert answer.status_code == status, answer.text[:200]
    assert "maximum allowed size" in answer.text and len(uploaded(http)) == len(before) + 1


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("queue/join", LONGEST_REQUEST),
        ("call/metrics", LONGEST_REQUEST),
        ("call/v2/metrics", LONGEST_REQUEST),
        ("call/v2/predict", LONGEST_PHOTO),  # a photo may be a data URL
    ],
)
def test_a_long_request_is_refused(http, path, most):
    asked = {"data": ["x" * most], "session_hash": "s", "fn_index": 0}
    answer = http.post(f"/gradio_api/{path}", json=asked)
    assert answer.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    assert "maximum allowed size" in answer.json()["detail"]


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
