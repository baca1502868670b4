"""Visitors' sessions: how many requests each may have, and when the server forgets them.

A session is a name that a browser or a program invents. It counts as open while one of its streams
is open. A page keeps one stream open all the time, and reads its answers from another.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from http import HTTPStatus
from urllib.parse import urlencode

from starlette.requests import Request

from .access import refuse, route_of
from .events import KEEP_STATE

MOST_IN_QUEUE = 100  # events of all visitors that wait; further ones are refused with a message
MOST_PAGES = 800  # open pages; gradio keeps the state of 1000 sessions, and drops the oldest one
MOST_ALONE = 50  # requests of all sessions together that are not open
EVERY = 10  # seconds between two looks for what is to be forgotten
_JOIN = re.compile(r"/gradio_api/(?:queue/join|call/(?:v2/)?[^/]+/?)")
_HEARTBEAT, _LISTEN, _CALL = "/gradio_api/heartbeat/", "/gradio_api/queue/data", "/gradio_api/call/"
_STATUS = "/gradio_api/queue/status"
# In a stream of answers: the end of an answer, and the end of the stream. In a call's stream, they
# are the same.
_CALL_OVER = rb"event: (?:complete|error)\n"
_ANSWERED = re.compile(rb'"msg":"process_completed"|' + _CALL_OVER)
_OVER = re.compile(rb'"msg":"close_stream"|' + _CALL_OVER)
_TOO_MANY = "You have sent too many requests at once. Wait for their answers, then try again."
_FULL = "Too many pages are open at the moment. Try again in a few minutes."
_NO_ANSWERS = "There are no answers to read here: nothing was asked, or they have been read."
_A_MOMENT = 50  # turns of the event loop; a few are enough to start listening


class Sessions:
    """ASGI middleware that limits the requests of sessions, and forgets sessions.

    A session may not have more unanswered requests than there are free places in the queue. So a
    session takes at most half of the places, and the next one at most half of the rest.

    An invented session costs its inventor nothing. So all sessions that are not open share
    MOST_ALONE requests. If there are more, the oldest of these sessions is forgotten. An open
    session is not forgotten for another one. So at most MOST_PAGES pages are open, and MOST_ALONE
    other sessions. One address opens at most half of the pages, and the next one at most half of
    the rest. Further pages work as sessions that are not open.
    """

    def __init__(self, app: Callable[..., Awaitable[None]]):
        self.app = app
        self.open: Counter[str] = Counter()  # streams by session
        self.pages: Counter[str] = Counter()  # streams of pages by the address of the visitor
        self.asked: Counter[str] = Counter()  # unanswered requests by session
        self.joining = asyncio.Lock()
        self.calls: dict[str, str] = {}  # session by the call's id, for calls that name one
        # The last request of each session that is not open, the oldest first.
        self.alone: dict[str, dict] = {}

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        if scope["type"] == "lifespan":
            forgetting = asyncio.create_task(self._keep_forgetting(scope["app"]))
            try:
                await self.app(scope, receive, send)
            finally:
                forgetting.cancel()
        elif scope["method"] == "POST" and _JOIN.fullmatch(route_of(scope)):
            await self._join(scope, receive, send)
        elif scope["method"] == "GET" and (session := _stream_of(scope)):
            await self._stream(session, scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _join(self, scope: dict, receive: Callable, send: Callable) -> None:
        """A request that joins the queue."""
        body = await Request(scope, receive).body()
        session = _value(body, "session_hash")
        async with self.joining:  # one after another, so that each finds what the last one left
            unanswered = self.asked[session] if session else 0
            if unanswered and unanswered >= max(1, MOST_IN_QUEUE - await self._waiting(scope)):
                refused = refuse(_TOO_MANY, HTTPStatus.TOO_MANY_REQUESTS)
                return await refused(scope, receive, send)
            if session not in self.open:
                await self._forget_oldest(MOST_ALONE - 1)  # now, so that a flood has to wait
            request = dict(scope)
            answer = await _answer(self.app, scope, body)
            if event := _value(b"".join(m.get("body", b"") for m in answer), "event_id"):
                if session and route_of(request).startswith(_CALL):
                    self.calls[event] = session
                session = session or event
                self.asked[session] += 1
                self._note(session, request)
        for message in answer:
            await send(message)
        return None

    async def _waiting(self, scope: dict) -> int:
        """How many requests of all sessions wait in the queue. Gradio tells it to everybody."""
        status = {**scope, "method": "GET", "path": _STATUS, "query_string": b""}
        said = await _answer(self.app, status, b"")
        return json.loads(b"".join(m.get("body", b"") for m in said))["queue_size"]

    async def _stream(self, session: str, scope: dict, receive: Callable, send: Callable) -> None:
        """A stream of a session, until it closes."""
        request, route = dict(scope), route_of(scope)
        is_page, is_call, is_over = route.startswith(_HEARTBEAT), route.startswith(_CALL), False
        address = (scope["client"] or ("",))[0]
        free = MOST_PAGES - len(self.open)
        is_full = free <= self.pages[address] if is_page else free <= -MOST_ALONE
        if is_full and self.calls.get(session, session) not in self.open:
            refused = refuse(_FULL, HTTPStatus.SERVICE_UNAVAILABLE)
            return await refused(scope, receive, send)
        is_known, session = session in self.calls, self.calls.pop(session, session)
        is_known = is_known or is_page or self.asked[session] > 0
        if not is_known and (is_call or session not in self.open):
            refused = refuse(_NO_ANSWERS, HTTPStatus.NOT_FOUND)
            return await refused(scope, receive, send)
        self.open[session] += 1
        self.pages[address] += is_page
        self.alone.pop(session, None)

        async def answer(message: dict) -> None:
            nonlocal is_over
            body = message.get("body", b"")
            self._answered(session, len(_ANSWERED.findall(body)))
            is_over = is_over or _OVER.search(body) is not None
            await send(message)

        try:
            await self.app(scope, receive, answer)
        finally:
            self.open[session] -= 1
            self.pages[address] -= is_page
            self.open, self.pages = +self.open, +self.pages  # without zeros
            if not is_page and not is_over:  # gradio drops the requests of who stops listening
                self._answered(session, 1 if is_call else self.asked[session])
            if is_page and session not in self.open:
                await self._forget(session, request)
            elif session in request["app"].state_holder:  # the server holds something of it
                self._note(session, request)
        return None

    def _answered(self, session: str, n: int) -> None:
        """Count `n` requests of a session as answered."""
        self.asked[session] = max(0, self.asked[session] - n)
        if not self.asked[session]:
            del self.asked[session]

    def _note(self, session: str, request: dict) -> None:
        """Note that a session was used, if it is not open."""
        self.alone.pop(session, None)
        if session not in self.open:
            self.alone[session] = request

    async def _forget_oldest(self, most: int) -> None:
        """Forget the oldest sessions that are not open, until they have `most` requests."""
        while sum(max(1, self.asked[session]) for session in self.alone) > most:
            await self._forget(*next(iter(self.alone.items())))

    async def _forget(self, session: str, request: dict) -> None:
        """Drop all that the server holds of a session: its state, its requests, its answers.

        Gradio drops requests and answers when a page stops listening. So this method starts to
        listen, and stops.
        """
        self.alone.pop(session, None)
        self.asked.pop(session, None)
        self.calls = {call: of for call, of in self.calls.items() if of != session}
        holder = request["app"].state_holder
        holder.session_data.pop(session, None)
        holder.time_last_used.pop(session, None)
        query = urlencode({"session_hash": session}).encode()
        listening = {**request, "method": "GET", "path": _LISTEN, "query_string": query}

        async def leave() -> dict:
            for _ in range(_A_MOMENT):
                await asyncio.sleep(0)
            return {"type": "http.disconnect"}

        async def ignore(message: dict) -> None:
            pass

        with suppress(Exception):  # nothing waits for the session
            await self.app(listening, leave, ignore)

    async def _keep_forgetting(self, app) -> None:
        while True:
            await asyncio.sleep(EVERY)
            await self._forget_idle(app)

    async def _forget_idle(self, app) -> None:
        """Forget what nobody has used for KEEP_STATE seconds.

        Gradio itself forgets values of `gr.State`. But it keeps copies of what visitors sent and
        saw, for links to their pages, and the paths of their files. This app needs neither.
        """
        holder = app.state_holder
        for state in list(holder.session_data.values()):
            state.config_values.clear()
        app.get_blocks().upload_file_set.clear()
        now = datetime.now()
        for session, used in list(holder.time_last_used.items()):
            if session not in self.open and (now - used).total_seconds() > KEEP_STATE:
                await self._forget(session, self.alone.get(session, {"app": app}))


async def _answer(app: Callable[..., Awaitable[None]], scope: dict, body: bytes) -> list[dict]:
    """The messages with which an app answers a request with this body."""
    said = []

    async def receive() -> dict:
        return {"type": "http.request", "body": body, "more_body": False}

    async def hear(message: dict) -> None:
        said.append(message)

    await app(scope, receive, hear)
    return said


def _stream_of(scope: dict) -> str | None:
    """The session whose stream a request opens, if it opens one."""
    path = route_of(scope)
    if path == _LISTEN:
        return Request(scope).query_params.get("session_hash")
    return path.rpartition("/")[2] if path.startswith((_HEARTBEAT, _CALL)) else None


def _value(body: bytes, key: str) -> str | None:
    """A text in a JSON object that somebody sent, or None."""
    try:
        found = json.loads(body)
        return found[key] if isinstance(found[key], str) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
