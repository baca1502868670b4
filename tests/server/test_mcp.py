"""MCP: what a language model may ask, and what it is told.

The fixture `app` sees to it that the log of the server has no traceback.
"""

import asyncio
import base64
import json
from collections.abc import Iterator
from http import HTTPStatus

import httpx
import pytest

from facemtl.ui import uploads
from facemtl.ui.mcp_requests import MCP, MOST_CALLS, CheckedMCP
from tests import support
from tests.odd_files import scene

JSON = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
DATA = "data:image/jpeg;base64,"


@pytest.fixture(scope="module")
def http(app) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=app, timeout=60) as client:
        yield client


def asked(method: str, params: object = None, **more: object) -> bytes:
    """The body of a request over MCP."""
    given = {} if params is None else {"params": params}
    return json.dumps({"jsonrpc": "2.0", "id": 7, "method": method} | given | more).encode()


def predicting(photo: object) -> bytes:
    return asked("tools/call", {"name": "ask_predict", "arguments": {"photo": photo}})


def url_of(photo: bytes) -> str:
    return DATA + base64.b64encode(photo).decode()


def said(answer: httpx.Response) -> dict:
    """The message in an answer, which may be a stream with one event."""
    assert answer.status_code == HTTPStatus.OK, answer.text
    return json.loads(answer.text.partition("data: ")[2] or answer.text)


def told(answer: httpx.Response) -> tuple[bool, str]:
    """Whether a tool has failed, and what the language model reads."""
    result = said(answer)["result"]
    return result["isError"], result["content"][0]["text"]


def test_many_calls_at_once_leave_the_app_to_others(app):
    """Each call is answered, or refused in a sentence. The other requests are all answered."""
    photo = support.composites(3)[1].read_bytes()

    async def ask() -> tuple[list[httpx.Response], list[httpx.Response]]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=app, timeout=60, limits=limits) as http:
            body = predicting(url_of(photo))
            calls = [http.post(MCP, content=body, headers=JSON) for _ in range(60)]
            others = [http.post("/gradio_api/upload", files={"files": ("a.jpg", photo)})]
            others += [http.get("/theme.css"), http.get("/config")]
            answers = await asyncio.gather(*calls, *others)
            return answers[: len(calls)], answers[len(calls) :]

    calls, others = support.finished(ask())
    assert {other.status_code for other in others} == {HTTPStatus.OK}
    answers = [text for has_failed, text in map(told, calls) if not has_failed]
    refused = [text for has_failed, text in map(told, calls) if has_failed]
    assert len(answers) >= MOST_CALLS and all("'box': " in text for text in answers)
    assert refused and all("Too many calls at once" in text for text in refused)


def test_a_photo_may_be_as_large_as_an_upload(http, tmp_path):
    scene((640, 480), (180, 90, 280)).save(tmp_path / "photo.jpg")
    photo = (tmp_path / "photo.jpg").read_bytes()
    padded = photo + bytes(29 * 2**20 - len(photo))
    has_failed, text = told(http.post(MCP, content=predicting(url_of(padded)), headers=JSON))
    assert not has_failed and "'box': " in text
    too_large = photo + bytes(31 * 2**20 - len(photo))
    has_failed, text = told(http.post(MCP, content=predicting(url_of(too_large)), headers=JSON))
    assert has_failed and "Send one of at most" in text


@pytest.mark.parametrize(
    "photo",
    [
        "photo.jpg", "/etc/passwd", "https://example.com/a.jpg", "http://kept.invalid/x", "", None,
        3, [DATA], {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, {"url": DATA},
        "data:", "data:text/plain,hello", f"{DATA}@", "x" * 10**6,
    ],
)  # fmt: skip
def test_a_photo_of_another_form_is_refused_with_a_way_that_works(http, photo):
    has_failed, text = told(http.post(MCP, content=predicting(photo), headers=JSON))
    assert has_failed and "starts with data:image/jpeg;base64," in text


def test_the_description_of_a_photo_names_the_form_that_is_taken(http):
    tools = said(http.post(MCP, content=asked("tools/list"), headers=JSON))["result"]["tools"]
    (tool,) = [tool for tool in tools if tool["name"] == "ask_predict"]
    assert "data:image/jpeg;base64," in tool["inputSchema"]["properties"]["photo"]["description"]


METRICS = {"name": "ask_metrics", "arguments": {}}
NESTED: list = []
for _ in range(400):
    NESTED = [NESTED]
MALFORMED = [
    b"", b"{", b"[]", b"null", b"\xff", b"[" * 10**5, b'{"a":' * 10**5, asked("ping")[:-1] + b",",
    *(asked("ping", id=number) for number in (None, 1.5, True, [], "x" * 10**5, "\ud800")),
    *(asked("ping", jsonrpc=version) for version in ("1.0", None)), asked("ping", [1]),
    *(asked(method) for method in ("", 3, None, "nothing", "tasks/list")),
    asked("prompts/get", {"name": "x"}), asked("resources/read", {"uri": "file:///etc/passwd"}),
    asked("initialize"), asked("initialize", {}), asked("tools/list", {"cursor": 3}),
    *(asked("tools/call", each) for each in (None, {}, {"name": 3}, METRICS | {"name": "\x1b"})),
    *(
        asked("tools/call", METRICS | {"arguments": arguments})
        for arguments in ([], "x", {"by": NESTED}, {"by": "x" * 10**5}, {"by": "\ud800"})
    ),
]  # fmt: skip


@pytest.mark.parametrize("body", MALFORMED, ids=range(len(MALFORMED)))
def test_a_request_that_is_not_needed_is_refused_in_a_sentence(http, body):
    error = said(http.post(MCP, content=body, headers=JSON))["error"]
    assert error["message"].endswith(".") and len(error["message"]) < 100
    assert error["code"] in (-32600, -32601, -32602)


def test_lists_that_gradio_promises_are_empty(http):
    for of, name in (
        ("prompts", "prompts"),
        ("resources", "resources"),
        ("resources/templates", "resourceTemplates"),
    ):
        answer = said(http.post(MCP, content=asked(f"{of}/list"), headers=JSON))
        assert answer["result"] == {name: []} and answer["id"] == 7


def test_a_call_may_ask_for_progress_or_name_only_some_tools(http):
    for more in ({"_meta": {"progressToken": "t"}}, {"task": {"ttl": 1}}):
        body = asked("tools/call", METRICS | more)
        has_failed, text = told(http.post(f"{MCP}?tools=x", content=body, headers=JSON))
        assert not has_failed and "'metric': 'accuracy'" in text


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "HEAD"])
@pytest.mark.parametrize(
    "below", ["", "http/", "schema", "sse", "messages/", "%3Cscript%3E/gradio_api/mcp"]
)
def test_nothing_but_the_protocol_is_answered(http, method, below):
    """Gradio's page for browsers would have run a script in the address."""
    for accept in ("text/html", "text/event-stream"):
        answer = http.request(method, MCP + below, headers={"Accept": accept})
        status = HTTPStatus.NOT_FOUND if below else HTTPStatus.METHOD_NOT_ALLOWED
        assert answer.status_code == status and "<" not in answer.text


class Tool:
    """An ASGI app that answers a request once `over` is set."""

    def __init__(self):
        self.over, self.photos = asyncio.Event(), []

    async def __call__(self, scope, receive, send) -> None:
        arguments = json.loads((await receive())["body"])["params"]["arguments"]
        self.photos.append(set(uploads.folder().iterdir()) if "photo" in arguments else None)
        await self.over.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})


def sending(checked: CheckedMCP, body: bytes, sent: list[dict]) -> asyncio.Task:
    """A request whose sender leaves once the body has arrived."""
    left = [{"type": "http.request", "body": body}]

    async def receive() -> dict:
        return left.pop() if left else {"type": "http.disconnect"}

    async def send(message: dict) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": MCP, "headers": []}
    return asyncio.create_task(checked(scope, receive, send))


def test_a_call_counts_until_it_is_answered_even_if_nobody_waits_for_it():
    async def call() -> None:
        tool = Tool()
        checked, body = CheckedMCP(tool), asked("tools/call", METRICS)
        calls = [sending(checked, body, []) for _ in range(MOST_CALLS)]
        while len(tool.photos) < MOST_CALLS:
            await asyncio.sleep(0)
        for _ in range(2):
            refused: list[dict] = []
            await sending(checked, body, refused)
            assert b"Too many calls at once" in refused[-1]["body"]
        tool.over.set()
        await asyncio.gather(*calls)
        answered: list[dict] = []
        await sending(checked, body, answered)
        assert answered[-1]["body"] == b"{}"

    support.finished(call())


def test_a_photo_is_one_file_and_deleted_after_the_call():
    async def call() -> None:
        tool, before = Tool(), set(uploads.folder().iterdir())
        tool.over.set()
        await sending(CheckedMCP(tool), predicting(url_of(b"x" * 2**21)), [])
        assert len(tool.photos[0] - before) == 1
        assert set(uploads.folder().iterdir()) == before

    support.finished(call())


@pytest.mark.parametrize(
    "arguments",
    [
        {"photo": {"url": url_of(b"x")}}, {"photo": {"path": url_of(b"x")}},
        {"photo": url_of(b"x"), "by": "x" * 10**5}, {"photo": url_of(b"x"), "by": "\ud800"},
    ],
)  # fmt: skip
def test_a_refused_call_leaves_no_photo(arguments):
    async def call() -> None:
        tool, before, sent = Tool(), set(uploads.folder().iterdir()), []
        body = asked("tools/call", {"name": "ask_predict", "arguments": arguments})
        await sending(CheckedMCP(tool), body, sent)
        assert sent and not tool.photos
        assert set(uploads.folder().iterdir()) == before

    support.finished(call())


def test_a_call_is_refused_while_the_folder_is_full(monkeypatch):
    async def call() -> list[dict]:
        sent: list[dict] = []
        await sending(CheckedMCP(Tool()), predicting(url_of(b"x")), sent)
        return sent

    monkeypatch.setattr(uploads, "MOST_BYTES", 1)
    assert b"Too many photos arrive" in support.finished(call())[-1]["body"]
