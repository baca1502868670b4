"""What the server answers: only the routes that the page and programs use, and short requests.

Gradio has many more routes. Some keep files, some fetch URLs, some run models outside the queue.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from ..errors import FaceMTLError
from .api import ENDPOINTS
from .mcp_requests import MCP, CheckedMCP
from .photo_requests import WithoutName, with_photo_as_file

LONGEST_REQUEST = 10**6  # bytes of a request without a photo
LONGEST_PHOTO = 45 * 10**6  # bytes of a request with a photo; in base64, 30 MB are 40 MB
STALLED = 30  # seconds without a byte, until the rest of a request is no longer awaited
_UPLOAD = "/gradio_api/upload"
_NAMES = "|".join(ENDPOINTS)
_PREDICT = r"/gradio_api/call/(?:v2/)?predict/?"  # a photo may be a data URL
_PHOTO = rf"{_UPLOAD}|{MCP}|{_PREDICT}"
_FILE = r"file=(?![A-Za-z][\w+.-]*://).+"  # gradio would fetch a URL
_ALLOWED = {
    "GET": (
        r"/|/config/?|/theme\.css|/favicon\.ico|/(?:assets|static)/.+"
        r"|/gradio_api/(?:info/?|app_id/?|startup-events|upload_progress|queue/data"
        rf"|heartbeat/[^/]+|call/(?:v2/)?(?:{_NAMES})/[^/]+"
        rf"|{_FILE})"
    ),
    "HEAD": rf"/|/gradio_api/{_FILE}",  # of other routes, gradio answers GET only
    "POST": rf"/login/?|{_UPLOAD}|/gradio_api/(?:queue/join|call/(?:v2/)?(?:{_NAMES})/?)",
}
_NOT_HERE = f"There is no such page or endpoint. The endpoints are {', '.join(ENDPOINTS)}; see"
_NOT_HERE += " /gradio_api/info."
_ONLY_POST = "Programs that speak MCP send POST requests to this address."
_TOO_SLOW = f"Nothing more of this request has arrived for {STALLED} seconds. Send it again."
_TOO_LONG = "This request is longer than the maximum allowed size of {:,} bytes."


class OnlyAllowed:
    """ASGI middleware that refuses long and stalled requests, and all routes that are not needed.

    Browsers and proxies do not store responses that may hold a visitor's data. With `mcp`,
    language models are answered, too.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], *, mcp: bool = False):
        self.app, self.mcp = app, CheckedMCP(app) if mcp else None

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        path = route_of(scope)
        if scope["type"] != "http":
            return await send({"type": "websocket.close"})
        is_mcp = self.mcp is not None and path == MCP
        if is_mcp and scope["method"] != "POST":
            refused = refuse(_ONLY_POST, HTTPStatus.METHOD_NOT_ALLOWED)
            return await refused(scope, receive, send)
        if not is_mcp and not re.fullmatch(_ALLOWED.get(scope["method"], "(?!)"), path):
            return await refuse(_NOT_HERE, HTTPStatus.NOT_FOUND)(scope, receive, send)
        # With some ranges, gradio fails.
        scope = {**scope, "headers": [each for each in scope["headers"] if each[0] != b"range"]}
        most = LONGEST_PHOTO if re.fullmatch(_PHOTO, path) else LONGEST_REQUEST
        received = _limited(receive, most)
        answer = _unstored(send) if path.startswith("/gradio_api/") else send
        if path == _UPLOAD and scope["method"] == "POST":
            try:
                received = WithoutName(scope, received)
            except MultiPartException as error:
                refused = refuse(error.message, HTTPStatus.BAD_REQUEST)
                return await refused(scope, receive, answer)
        try:
            if scope["method"] == "POST" and re.fullmatch(_PREDICT, path):
                body = await with_photo_as_file(received)
                if len(body) > LONGEST_REQUEST:
                    too_long = _TOO_LONG.format(LONGEST_REQUEST)
                    raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, too_long)
                received = _of(body, received)
            return await (self.mcp if is_mcp else self.app)(scope, received, answer)
        except FaceMTLError as error:
            return await refuse(str(error), HTTPStatus.BAD_REQUEST)(scope, receive, answer)
        except HTTPException as error:  # raised by `_limited` inside another middleware
            return await refuse(error.detail, error.status_code)(scope, receive, answer)
        except ClientDisconnect:  # nobody waits for an answer
            return None


def route_of(scope: dict) -> str:
    """The path of a request as the routes see it: without the path below which a proxy serves."""
    path, root = scope["path"], scope.get("root_path", "").rstrip("/")
    return path.removeprefix(root) if path.startswith(f"{root}/") else path


def refuse(why: str, status: int) -> JSONResponse:
    """A response that says why a request is not answered."""
    return JSONResponse({"error": why, "detail": why}, status)


def _limited(receive: Callable, most: int) -> Callable:
    """A `receive` that refuses a body when more than `most` bytes have arrived, or if it stalls."""
    n_bytes, is_whole = 0, False

    async def limited() -> dict:
        nonlocal n_bytes, is_whole
        try:
            # After the body, gradio waits until the visitor leaves.
            message = await asyncio.wait_for(receive(), None if is_whole else STALLED)
        except TimeoutError as error:
            raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, _TOO_SLOW) from error
        n_bytes, is_whole = n_bytes + len(message.get("body", b"")), not message.get("more_body")
        if n_bytes > most:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LONG.format(most))
        return message

    return limited


def _of(body: bytes, receive: Callable) -> Callable:
    """A `receive` of this body. What comes after it is from `receive`."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def received() -> dict:
        return left.pop() if left else await receive()

    return received


def _unstored(send: Callable) -> Callable:
    """A `send` that forbids browsers and proxies to store the response."""

    async def unstored(message: dict) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["cache-control"] = "no-store"
        await send(message)

    return unstored
