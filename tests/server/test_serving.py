"""Serving to others: a login, a path below a proxy, and what the start prints."""

import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from facemtl.cli import main
from facemtl.errors import FaceMTLError
from facemtl.ui.launch import read_visitors
from tests import support

ASKED = {"data": ["all"]}
ANOTHER_HOST = "::1" if support.has_ipv6() else "127.0.0.1"
# Ends the start when gradio is imported, which takes most of the time.
START = """
import sys
class Watch:
    def find_spec(self, name, *rest):
        if name == "gradio":
            print("gradio is imported")
            raise SystemExit
sys.meta_path.insert(0, Watch())
from facemtl.cli import main
main(["app"])
"""


def test_only_visitors_with_a_password_enter(tmp_path):
    (tmp_path / "visitors.txt").write_text("ann:secret:1\n\nbob:x\n", "utf-8")
    options = ("--auth-file", str(tmp_path / "visitors.txt"), "--root-path", "/facemtl")
    settings = {"FACEMTL_DATA": str(tmp_path / "no-dataset")}
    running = {"environment": settings, "host": ANOTHER_HOST, "ended_by": signal.SIGINT}
    with (
        support.running_app(tmp_path / "log.txt", *options, **running) as address,
        httpx.Client(base_url=address, timeout=60) as http,
    ):
        assert http.get("/config").status_code == 401
        assert http.post("/gradio_api/call/metrics", json=ASKED).status_code == 401
        for name, password in (("ann", "secret"), ("bob", "secret:1"), ("", "")):
            refused = http.post("/login", data={"username": name, "password": password})
            assert refused.status_code >= 400
        entered = http.post("/login", data={"username": "ann", "password": "secret:1"})
        assert entered.status_code == 200
        assert http.post("/gradio_api/call/metrics", json=ASKED).status_code == 200
        # Any name is answered, and gradio keeps none of them in what it tells all visitors.
        for name in ("Host", "X-Forwarded-Host", "X-Gradio-Server"):
            assert http.get("/gradio_api/info", headers={name: "evil.example"}).status_code == 200
        assert "evil.example" not in http.get("/gradio_api/info").text
        # The page asks for its files below the path at which the proxy serves it.
        assert http.get("/config").json()["root"].endswith("/facemtl")
        photo = support.composites(3)[1].read_bytes()
        (path,) = http.post("/gradio_api/upload", files={"files": ("a.jpg", photo)}).json()
        assert (
            Path(path).read_bytes() == photo
        )  # `running_app` checks that it is deleted at the end


@pytest.mark.parametrize("text", ["", "ann\n", ":secret\n", "ann:\n"])
def test_a_wrong_file_of_visitors_is_refused_in_words(tmp_path, text):
    file = tmp_path / "visitors.txt"
    file.write_text(text)
    with pytest.raises(FaceMTLError, match="name:password"):
        read_visitors(file)


def test_the_mark_with_which_some_editors_begin_is_no_part_of_a_name(tmp_path):
    (tmp_path / "visitors.txt").write_text("ann:secret\nbob:a:b\n", "utf-8-sig")
    assert read_visitors(tmp_path / "visitors.txt") == [("ann", "secret"), ("bob", "a:b")]


def test_a_missing_file_of_visitors_is_named(tmp_path):
    with pytest.raises(FaceMTLError, match=r"none\.txt"):
        read_visitors(tmp_path / "none.txt")


def test_mcp_is_refused_with_a_login(tmp_path, capsys):
    """Nobody could use it. But gradio would tell everybody what it offers, and keep photos."""
    (tmp_path / "visitors.txt").write_text("ann:secret\n", "utf-8")
    assert main(["app", "--mcp", "--auth-file", str(tmp_path / "visitors.txt")]) == 1
    assert (
        capsys.readouterr().err == "facemtl: --mcp has no login: leave out --mcp or --auth-file.\n"
    )


def test_the_start_says_what_it_loads_before_it_takes_long():
    done = subprocess.run(
        [sys.executable, "-c", START], cwd=support.ROOT, capture_output=True, text=True
    )
    first, second, *_ = done.stdout.splitlines()
    assert first.startswith("Loading the models of ") and second == "gradio is imported"
