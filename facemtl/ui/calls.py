"""Calls with values that do not fit. They are answered with a message."""

import base64
import binascii
import inspect
import secrets
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import gradio as gr
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import JSONResponse

from . import uploads
from .no_stubs import no_stubs

LARGEST_PHOTO = 30 * 2**20  # bytes, of an upload or in a data URL
_BASE64 = "A data URL of a photo starts with data:image/jpeg;base64, and base64 follows."
_V2 = "/gradio_api/call/v2/"


with no_stubs():

    class Page(gr.Blocks):
        """`gr.Blocks` that refuses values that do not fit, instead of failing with a traceback."""

        async def preprocess_data(
            self, block_fn: Any, inputs: list, state: Any, explicit_call: bool = False
        ) -> list:
            """The arguments of an event's handler. Raises gr.Error if the inputs do not fit them.

            Public endpoints also take a data URL in place of an uploaded file.
            """
            is_public = block_fn.api_visibility == "public"
            if is_public and len(inputs) != len(block_fn.inputs):
                raise _refusal(_expected(block_fn, len(inputs)))
            try:
                if is_public:
                    inputs = [_uploaded(value) for value in inputs]
                return await super().preprocess_data(block_fn, inputs, state, explicit_call)
            except gr.Error as error:  # gradio would log some of its own with a traceback
                error.print_exception = False
                raise
            except Exception as error:
                said = _expected(block_fn) if is_public else "Reload the page, and try again."
                raise _refusal(f"What was sent cannot be understood. {said}") from error


def _refusal(said: str) -> gr.Error:
    return gr.Error(said, print_exception=False)


def _expected(block_fn: Any, n: int | None = None) -> str:
    names: Sequence[str] = list(inspect.signature(block_fn.fn).parameters)
    values = "one value" if len(names) == 1 else f"{len(names)} values"
    found = "" if n is None else f" Found {n}."
    said = f"/{block_fn.api_name} takes {values}: {', '.join(names)}.{found}"
    return f"{said} /gradio_api/info describes them."


def _uploaded(value: object) -> object:
    """The value. In place of a data URL, it is a file in the upload folder with its content."""
    url = value.get("url") or value.get("path") if isinstance(value, dict) else value
    if not (isinstance(url, str) and url[:5].lower() == "data:"):
        return value
    head, _, content = url.partition(",")
    if not head.lower().endswith(";base64"):
        raise _refusal(_BASE64)
    try:
        photo = base64.b64decode("".join(content.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _refusal(_BASE64) from error
    if len(photo) > LARGEST_PHOTO:
        raise _refusal(
            f"This photo has {len(photo):,} bytes. Send one of at most {LARGEST_PHOTO:,} bytes."
        )
    if uploads.is_full():
        raise _refusal(uploads.FULL)
    file = uploads.folder() / secrets.token_hex(16)
    file.write_bytes(photo)
    return {"path": str(file)}


async def _of_body(request: Request, error: RequestValidationError) -> JSONResponse:
    """The answer to a request whose body does not fit the route."""
    found = error.errors()[0]
    place = ".".join(map(str, found["loc"]))
    said = f"This request cannot be understood. {found['msg']}: {place}."
    return JSONResponse({"error": said}, HTTPStatus.UNPROCESSABLE_ENTITY)


async def _of_names(request: Request, error: TypeError) -> JSONResponse:
    """The answer to a call that names a value wrongly. Any other error is raised again."""
    if not request.url.path.startswith(_V2):
        raise error
    said = str(error).partition(". ")[0]
    return JSONResponse(
        {"error": f"{said}. /gradio_api/info describes all values."}, HTTPStatus.BAD_REQUEST
    )


# By the exceptions that they answer, for FastAPI.
HANDLERS = {RequestValidationError: _of_body, TypeError: _of_names}
