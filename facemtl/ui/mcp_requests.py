"""Requests over MCP, which are checked before gradio answers them.

Gradio has more methods than the app needs, and logs what does not fit. While it calls a tool, it
holds one of the 40 threads that all requests share.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, BinaryIO

from starlette.responses import JSONResponse, Response

from ..errors import FaceMTLError
from .photo_requests import arrived, file_of, kept
from .uploads import read_once

MCP = "/gradio_api/mcp/"
MOST_CALLS = 8  # at once, of all visitors
_CALL = "tools/call"
_METHODS = ("initialize", "ping", "tools/list", _CALL)
# Gradio promises these lists. They are empty here.
_EMPTY = {
    "prompts/list": {"prompts": []},
    "resources/list": {"resources": []},
    "resources/templates/list": {"resourceTemplates": []},
}
_LONGEST = 500  # bytes of an id, and of the name and arguments of a call
_INVALID, _NO_METHOD, _WRONG_PARAMS = -32600, -32601, -32602  # error codes of JSON-RPC
_TOO_MANY = "Too many calls at once. Try again in a few seconds."


class _Answered(Exception):
    """A request that is answered here."""

    def __init__(self, number: str | int | None, **answer: dict):
        self.answer = JSONResponse({"jsonrpc": "2.0", "id": number, **answer})


class _Refused(_Answered):
    """A request that is refused. Only errors without a code reach the language model."""

    def __init__(self, number: str | int | None, said: str, code: int | None = None):
        if code:
            super().__init__(number, error={"code": code, "message": said})
        else:
            for_model = {"content": [{"type": "text", "text": said}], "isError": True}
            super().__init__(number, result=for_model)


class CheckedMCP:
    """ASGI app for POST requests over MCP. It passes on to `app` what gradio should answer."""

    def __init__(self, app: Callable[..., Awaitable[None]]):
        self.app, self.n_calls = app, 0

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        try:
            request = await arrived(receive, _understood)
            if request is None:
                return await Response(status_code=HTTPStatus.ACCEPTED)(scope, receive, send)
            answer = await self._answer(request, scope)
        except _Answered as answered:
            return await answered.answer(scope, receive, send)
        for message in answer:
            await send(message)
        return None

    async def _answer(self, request: dict, scope: dict) -> list[dict]:
        if request["method"] != _CALL:
            return await _answer(self.app, request, scope)
        with read_once(file_of(request["params"]["arguments"].get("photo"))):
            if self.n_calls >= MOST_CALLS:
                raise _Refused(request["id"], _TOO_MANY)
            self.n_calls += 1
            try:
                return await _answer(self.app, request, scope)
            finally:
                self.n_calls -= 1


async def _answer(app: Callable[..., Awaitable[None]], request: dict, scope: dict) -> list[dict]:
    """All messages of an app's answer, even if nobody waits for it any more.

    Gradio holds its thread until then. So the call counts until then, too, and not longer: somebody
    may read the answer slowly.
    """
    left, said = [{"type": "http.request", "body": json.dumps(request).encode()}], []

    async def receive() -> dict:
        return left.pop() if left else await asyncio.Event().wait()

    async def hear(message: dict) -> None:
        said.append(message)

    headers = [(n, value) for n, value in scope["headers"] if n in (b"host", b"content-type")]
    headers += [(b"accept", b"application/json, text/event-stream")]
    await app({**scope, "headers": headers, "query_string": b""}, receive, hear)
    return said


def _understood(file: BinaryIO) -> dict[str, Any] | None:
    """The request in a file, with a kept photo and nothing else. None if it is a notification.

    Raises _Answered if gradio should not answer it.
    """
    from mcp import types  # an optional package

    try:
        asked = json.load(file)
        if isinstance(asked, dict) and "id" not in asked:
            types.JSONRPCNotification.model_validate(asked)
            return None
        number = types.JSONRPCRequest.model_validate(asked).id
        _require_short(number)
    except (ValueError, RecursionError):  # pydantic's error is a ValueError
        raise _Refused(None, "A JSON-RPC request with an id is expected.", _INVALID) from None
    if (method := asked["method"]) in _EMPTY:
        raise _Answered(number, result=_EMPTY[method])
    if method not in _METHODS:
        raise _Refused(number, f"The methods are {', '.join(_METHODS)}.", _NO_METHOD)
    request, given = {"jsonrpc": "2.0", "id": number, "method": method}, {}
    try:
        params = types.ClientRequest.model_validate(asked).root.params
        if method == _CALL:
            given = params.arguments or {}
            if not params.name.isprintable():  # an unknown name is logged
                raise ValueError
            others = {name: value for name, value in given.items() if name != "photo"}
            request["params"] = {"name": params.name, "arguments": others}
        elif method == "initialize":
            nobody = {"capabilities": {}, "clientInfo": {"name": "client", "version": "0"}}
            request["params"] = {"protocolVersion": params.protocolVersion, **nobody}
        _require_short(request.get("params"))
        if "photo" in given:  # the last step, because a file of a refused call would stay
            others["photo"] = kept(given["photo"])
    except FaceMTLError as error:
        raise _Refused(number, str(error)) from None
    except (ValueError, RecursionError):
        raise _Refused(number, f"The params of {method} do not fit.", _WRONG_PARAMS) from None
    return request


def _require_short(value: object) -> None:
    """Raise ValueError if a value is long, and so if it is deep, or if it cannot be encoded."""
    if len(json.dumps(value, ensure_ascii=False).encode()) > _LONGEST:
        raise ValueError
