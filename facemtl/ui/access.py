"""Only the public endpoints can be called by their names.

Gradio hides private events from its list of endpoints, and still answers calls of their names.
"""

import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from starlette.responses import JSONResponse

from .api import ENDPOINTS

_CALL = re.compile(r"/gradio_api/(?:call(?:/v2)?|run)/([^/]*)/?$")
_REFUSED = f"There is no such endpoint. There are {', '.join(ENDPOINTS)}; see /gradio_api/info."


class OnlyEndpoints:
    """ASGI middleware that refuses calls of other names than ENDPOINTS.

    The page itself calls events by their numbers.
    """

    def __init__(self, app: Callable[..., Awaitable[None]]):
        self.app = app

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        called = _CALL.search(scope["path"]) if scope["type"] == "http" else None
        if called and scope["method"] == "POST" and called[1] not in ENDPOINTS:
            refused = JSONResponse({"error": _REFUSED}, HTTPStatus.NOT_FOUND)
            await refused(scope, receive, send)
        else:
            await self.app(scope, receive, send)
