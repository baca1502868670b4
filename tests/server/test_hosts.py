"""The names under which the app answers."""

from collections.abc import Iterator
from http import HTTPStatus
from types import SimpleNamespace

import httpx
import pytest

from facemtl.errors import FaceMTLError
from facemtl.ui import uploads
from facemtl.ui.headers import HEADERS
from facemtl.ui.hosts import names
from facemtl.ui.launch import serve
from tests import support


@pytest.fixture(scope="module")
def behind_proxy(tmp_path_factory) -> Iterator[str]:
    """The address of an app that a proxy serves under another name."""
    folder = tmp_path_factory.mktemp("proxied")
    log, settings = folder / "log.txt", {"FACEMTL_DATA": str(folder / "no-dataset")}
    path = ("--root-path", "https://faces.example.org/facemtl")
    with support.running_app(log, *path, environment=settings) as address:
        yield address
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:7860", "127.0.0.1.evil.example", "localhost.evil.example",
        "127.0.0.1@evil.example", "192.168.0.1", "0x7f.1", "[::2]:80", "[", "",
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/", "/config", "/gradio_api/call/metrics"])
def test_another_name_is_refused_on_this_machine(app, host, path):
    for method in ("GET", "POST"):
        answer = httpx.request(method, app + path, headers={"Host": host}, json={"data": ["all"]})
        assert answer.status_code == HTTPStatus.MISDIRECTED_REQUEST
        assert "--root-path" in answer.text and not (host and host in answer.text)
        assert {*map(str.lower, HEADERS)} <= {*answer.headers}


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:80", "127.0.0.1:7", "127.1.2.3", "[::1]:7860", "a.localhost"]
)
def test_the_names_of_this_machine_are_accepted(app, host):
    assert httpx.get(f"{app}/config", headers={"Host": host}).status_code == HTTPStatus.OK


def test_behind_a_proxy_the_page_has_the_name_of_the_proxy(behind_proxy):
    for host in ("faces.example.org", "127.0.0.1"):
        config = httpx.get(f"{behind_proxy}/config", headers={"Host": host}).json()
        assert config["root"] == "https://faces.example.org/facemtl"
    answer = httpx.get(behind_proxy, headers={"Host": "evil.example"})
    assert answer.status_code == HTTPStatus.MISDIRECTED_REQUEST


@pytest.mark.parametrize(
    ("host", "root_path", "allowed"),
    [
        ("127.0.0.1", "", set()),
        ("localhost", "", set()),
        ("[::1]", "", set()),
        ("127.0.0.1", "https://faces.example.org/facemtl", {"faces.example.org"}),
        ("127.0.0.1", "/facemtl", None),
        ("0.0.0.0", "", None),
        ("::", "", None),
        ("192.168.0.7", "", None),
        ("0.0.0.0", "https://faces.example.org", None),
    ],
)
def test_names_are_limited_where_only_this_machine_is_reached(host, root_path, allowed):
    assert names(host, root_path) == allowed


def test_a_root_path_that_is_no_url_is_refused_in_words(monkeypatch):
    monkeypatch.setattr(uploads, "sweep", lambda *_: None)  # other tests use the folder
    monkeypatch.setattr(uploads, "delete", lambda: None)
    app = SimpleNamespace(launch=lambda **_: None, close=lambda **_: None)
    with pytest.raises(FaceMTLError, match="--root-path"):
        serve(app, "127.0.0.1", None, root_path="http://[faces")
