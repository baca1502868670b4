"""The host names that requests may use.

A foreign website can let its own name point to 127.0.0.1 (DNS rebinding). If somebody on this
machine visits it, the browser takes the app for that website, whose scripts can then read the app.
"""

import re
from collections.abc import Awaitable, Callable, Collection
from http import HTTPStatus
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse

# Gradio keeps these answers for all visitors, and writes the host of the first request into them.
_KEPT = re.compile(r"/gradio_api/(info/?|call/v2/.*)$")
_BELIEVED = ("x-forwarded-host", "x-forwarded-proto", "x-gradio-server")
REFUSED = (
    "This app only answers on the machine where it runs, as 127.0.0.1 or localhost. To serve it"
    " through a proxy, start it with --root-path: see docs/serving.md.\n"
)


def is_local(host: str) -> bool:
    """Whether a host name or an address always means the machine itself."""
    try:
        return re.fullmatch(r"(.+\.)?localhost", host) is not None or ip_address(host).is_loopback
    except ValueError:  # another name
        return False


def names(host: str, root_path: str) -> Collection[str] | None:
    """The names that are allowed besides the local ones. None if any name is allowed.

    `host` is the address at which the app listens. `root_path` is the path or the URL at which a
    proxy serves the app. With a path, the proxy's name is not known.
    """
    if not is_local(host.strip("[]")):
        return None
    public = urlsplit(root_path).hostname
    return None if root_path and not public else {public} - {None}


class KnownHosts:
    """ASGI middleware that refuses requests under other names, if `allowed` is not None."""

    def __init__(
        self, app: Callable[..., Awaitable[None]], *, allowed: Collection[str] | None = None
    ):
        self.app, self.allowed = app, allowed

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        if scope["type"] == "http":
            hosts = [value for name, value in scope["headers"] if name == b"host"]
            if not all(self._is_allowed(host.decode("latin-1")) for host in hosts):
                refused = PlainTextResponse(REFUSED, HTTPStatus.MISDIRECTED_REQUEST)
                return await refused(scope, receive, send)
            if _KEPT.search(scope["path"]):
                scope = _without_host(scope)
        return await self.app(scope, receive, send)

    def _is_allowed(self, host: str) -> bool:
        if self.allowed is None:
            return True
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return is_local(name) or name in self.allowed


def _without_host(scope: dict) -> dict:
    """The request as if it had named the address at which the server listens."""
    scope = {**scope, "headers": list(scope["headers"])}
    headers, (address, port) = MutableHeaders(scope=scope), scope["server"]
    for name in _BELIEVED:
        del headers[name]
    headers["host"] = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return scope
