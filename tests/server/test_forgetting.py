"""Nothing of a visitor stays: neither files, nor what the process holds in memory.

Here the real app forgets within seconds. It also tells what it holds.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from research.load import Measured, Person
from tests import support

KEEP = 3  # seconds
# Each container that holds a page with a visitor's photo, or the photo, by its type.
FORGETFUL = f"""
import gc, json, sys, threading, time
from collections import Counter
from pathlib import Path
from facemtl.ui import events, uploads
uploads.KEEP, uploads.EVERY, events.KEEP_STATE = {KEEP}, 0.2, {KEEP}
from facemtl.ui import sessions
from facemtl.ui.photo import PhotoView
sessions.EVERY = 0.2

def is_private(value):
    return isinstance(value, str) and len(value) > 1000 and PhotoView.caption in value

def held():
    found = Counter()
    for each in gc.get_objects():
        if isinstance(each, PhotoView):
            found["PhotoView"] += bool(each.kept)
        elif isinstance(each, (dict, list, tuple)):
            values = each.values() if isinstance(each, dict) else each
            found[type(each).__name__] += any(map(is_private, list(values)))
    return +found

def tell(folder):
    while True:
        time.sleep(0.1)
        if (folder / "ask").exists():
            gc.collect()
            (folder / "held").write_text(json.dumps(held()))
            (folder / "ask").unlink()

threading.Thread(target=tell, args=(Path(sys.argv.pop(1)),), daemon=True).start()
from facemtl.cli import main
sys.exit(main(["app", *sys.argv[1:]]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("forgetful")


@pytest.fixture(scope="module")
def http(folder) -> Iterator[httpx.Client]:
    settings = {"FACEMTL_DATA": str(folder / "no-dataset")}
    program = ("-c", FORGETFUL, str(folder))
    with (
        support.running_app(folder / "log.txt", environment=settings, program=program) as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        yield client


@pytest.fixture
def held(folder) -> Callable[[], dict[str, int]]:
    """What the process holds of visitors' photos: {type of container: number}."""

    def ask() -> dict[str, int]:
        (folder / "ask").touch()
        until(lambda: not (folder / "ask").exists())
        return json.loads((folder / "held").read_text())

    return ask


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def sent(http: httpx.Client) -> Path:
    """The path of a photo that is uploaded."""
    photo = support.composites(3)[1]
    files = {"files": ("anna.jpg", photo.read_bytes(), "image/jpeg")}
    return Path(http.post("/gradio_api/upload", files=files).json()[0])


def test_an_upload_is_deleted_if_nobody_looks_at_it(http):
    file = sent(http)
    assert file.exists()
    until(lambda: not file.exists())


def test_an_upload_is_deleted_once_it_is_read(http):
    file = sent(http)
    photo = {"path": str(file), "meta": {"_type": "gradio.FileData"}}
    asked = http.post("/gradio_api/call/predict", json={"data": [photo]}).json()["event_id"]
    assert "event: complete" in http.get(f"/gradio_api/call/predict/{asked}").text
    assert not file.exists()
    asked = http.post("/gradio_api/call/predict", json={"data": [photo]}).json()["event_id"]
    assert "event: error" in http.get(f"/gradio_api/call/predict/{asked}").text


def test_nothing_of_a_visitor_is_stored_on_the_way(http):
    shown = http.get(f"/gradio_api/file={sent(http)}")
    assert shown.content == support.composites(3)[1].read_bytes()
    assert shown.headers.get_list("Cache-Control") == ["no-store"]
    with http.stream("GET", "/gradio_api/heartbeat/x") as answer:
        assert answer.headers.get_list("Cache-Control") == ["no-store"]


@pytest.mark.parametrize("leaves", ["never", "at once", "before the answer"])
def test_what_is_forgotten_is_forgotten_whole(http, held, leaves):
    """A page that stays open, one that is closed, and a program that never asks for the answer."""
    assert not held()

    async def look() -> None:
        address = str(http.base_url)
        async with httpx.AsyncClient(base_url=address, timeout=60) as visitor:
            person = Person(visitor, http.get("/config").json(), hash(leaves), Measured())
            if leaves == "before the answer":
                data = [f"1 {sent(http)}", False]
                join = {"fn_index": person.number("on_file"), "session_hash": person.session}
                http.post("/gradio_api/queue/join", json={"data": data, **join})
                await asyncio.to_thread(until, held)
                return
            async with visitor.stream("GET", f"/gradio_api/heartbeat/{person.session}"):
                await person.upload()
                assert held()
                if leaves == "never":
                    await asyncio.to_thread(until, lambda: not held())
                    with pytest.raises(AssertionError, match="nothing to save"):
                        await person.save()

    support.finished(look())
    until(lambda: not held())
