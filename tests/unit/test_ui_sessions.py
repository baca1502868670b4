"""How many requests a session may have. A small queue stands in for gradio's."""

import asyncio
import json
from http import HTTPStatus

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from facemtl.ui.app import KEEP_VISITORS
from facemtl.ui.sessions import MOST_ALONE, MOST_IN_QUEUE, MOST_PAGES, Sessions
from tests import support

COMPLETED = 'data: {"msg":"process_completed","event_id":"0"}\n\n'


class NothingHeld(set):
    session_data, time_last_used = {}, {}


class Queue:
    """Accepts all requests. A stream of answers gives `answered` of them, and stays open."""

    def __init__(self, answered: int = 0):
        self.answered, self.closed, self.waiting = answered, asyncio.Event(), 0
        self.app = Starlette(
            routes=[
                Route("/gradio_api/queue/join", self.join, methods=["POST"]),
                Route("/gradio_api/queue/data", self.answers),
                Route("/gradio_api/queue/status", self.status),
                Route("/gradio_api/heartbeat/{session}", self.answers),
                Route("/", self.status),
            ]
        )
        self.app.state_holder = NothingHeld()
        self.sessions = Sessions(self.app)
        transport = httpx.ASGITransport(self.with_sessions)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://x")

    async def with_sessions(self, scope, receive, send) -> None:
        await self.sessions({**scope, "app": self.app}, receive, send)

    async def join(self, request: Request) -> JSONResponse:
        self.waiting += 1
        return JSONResponse({"event_id": "0"})

    async def status(self, request: Request) -> JSONResponse:
        return JSONResponse({"queue_size": self.waiting})

    async def answers(self, request: Request) -> StreamingResponse:
        async def sent():
            self.waiting -= self.answered
            yield COMPLETED * self.answered
            await self.closed.wait()

        return StreamingResponse(sent(), media_type="text/event-stream")


async def accepted(queue: Queue, session: str, n: int) -> int:
    """How many of `n` requests of a session are accepted. The others are told why not."""
    content = json.dumps({"session_hash": session})
    answers = [await queue.client.post("/gradio_api/queue/join", content=content) for _ in range(n)]
    refused = [each for each in answers if each.status_code != HTTPStatus.OK]
    assert all(each.status_code == HTTPStatus.TOO_MANY_REQUESTS for each in refused)
    assert all("too many requests at once" in each.json()["detail"] for each in refused)
    return n - len(refused)


def test_a_session_takes_at_most_half_of_the_free_places():
    async def places() -> list[int]:
        queue = Queue()
        queue.sessions.open.update(f"page{i}" for i in range(10))
        return [await accepted(queue, f"page{i}", MOST_IN_QUEUE) for i in range(10)]

    found = support.finished(places())
    free = MOST_IN_QUEUE
    for n in found:
        assert 1 <= n <= max(1, (free + 1) // 2)
        free -= n
    assert found[0] == MOST_IN_QUEUE // 2


def test_answered_requests_no_longer_count():
    """A page that always waits for something may still ask more often than the queue is long."""

    async def ask() -> int:
        queue = Queue(answered=20)
        queue.sessions.open["page"] = 1  # the page's own stream
        n = await accepted(queue, "page", MOST_IN_QUEUE)
        url = "/gradio_api/queue/data?session_hash=page"
        reading = asyncio.create_task(queue.client.get(url))
        while queue.sessions.asked["page"] == n:
            await asyncio.sleep(0)
        n += await accepted(queue, "page", MOST_IN_QUEUE)
        queue.closed.set()
        await reading
        return n

    assert support.finished(ask()) == MOST_IN_QUEUE // 2 + 20


def test_only_so_many_pages_are_open_that_gradio_keeps_the_state_of_all():
    """Another page is refused in a sentence, until one is closed."""
    assert MOST_PAGES + 2 * MOST_ALONE < KEEP_VISITORS  # with programs, and all that are not open

    async def opened() -> list[httpx.Response]:
        queue = Queue()
        queue.closed.set()
        queue.sessions.open.update(f"page{i}" for i in range(MOST_PAGES))
        paths = ("/gradio_api/heartbeat/another", "/gradio_api/heartbeat/page0")
        answers = [await queue.client.get(path) for path in paths]
        del queue.sessions.open["page0"]
        return [*answers, await queue.client.get(paths[0])]

    refused, open_page, another = support.finished(opened())
    assert refused.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert "Too many pages are open" in refused.json()["error"]
    assert open_page.status_code == another.status_code == HTTPStatus.OK


def test_one_address_cannot_open_all_pages():
    """The first one opens half of them, and the next one half of the rest."""

    async def opened() -> list[int]:
        queue, streams, found = Queue(), [], []
        for address in ("192.0.2.1", "192.0.2.2"):
            transport = httpx.ASGITransport(queue.with_sessions, client=(address, 1))
            client = httpx.AsyncClient(transport=transport, base_url="http://x")
            asked = [client.get(f"/gradio_api/heartbeat/{address}-{i}") for i in range(MOST_PAGES)]
            streams += map(asyncio.create_task, asked)
            while sum(stream.done() for stream in streams) + len(queue.sessions.open) < len(
                streams
            ):
                await asyncio.sleep(0)
            found.append(len(queue.sessions.open))
        queue.closed.set()
        await asyncio.gather(*streams)
        return [*found, len(queue.sessions.open), len(queue.sessions.pages)]

    half = MOST_PAGES // 2
    assert support.finished(opened()) == [half, half + half // 2, 0, 0]
