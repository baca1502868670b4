"""Calls with values that do not fit. They are answered with a message."""

import inspect
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import gradio as gr
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from ..errors import FaceMTLError
from ..escapes import printable
from .access import refuse
from .components.photo_input import PhotoInput
from .no_stubs import no_stubs
from .photo_requests import uploaded
from .sessions import MOST_IN_QUEUE

_V2 = "/gradio_api/call/v2/"
DEFAULT_AT_A_TIME = 4  # calls of an event that sets no other limit
_LONGEST = 200  # characters of a message of gradio, which may repeat what was sent


with no_stubs():

    class Page(gr.Blocks):
        """`gr.Blocks` with a limited queue. Values that do not fit are refused in a sentence."""

        def queue(self, *arguments: Any, **named: Any) -> "Page":
            """Set up the queue. Its limits are the app's, unless others are given.

            Gradio calls this when it makes the app. A second call would make all routes again.
            """
            limits = {"max_size": MOST_IN_QUEUE, "default_concurrency_limit": DEFAULT_AT_A_TIME}
            return super().queue(*arguments, **(limits | named))

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
                inputs = [
                    _checked(part, value, is_public)
                    for part, value in zip(block_fn.inputs, inputs, strict=False)
                ]
                return await super().preprocess_data(block_fn, inputs, state, explicit_call)
            except gr.Error as error:
                raise _quiet(error) from error
            except FaceMTLError as error:
                raise _refusal(str(error)) from error
            except Exception as error:
                said = _expected(block_fn) if is_public else "Reload the page, and try again."
                raise _refusal(f"What was sent cannot be understood. {said}") from error

        async def call_function(self, *arguments: Any, **named: Any) -> Any:
            """Call an event's handler. Raises gr.Error if gradio refuses what was sent with it."""
            try:
                return await super().call_function(*arguments, **named)
            except gr.Error as error:
                raise _quiet(error) from error


def _quiet(error: gr.Error) -> gr.Error:
    """The error. If it is gradio's own, it is not logged, and its message is short."""
    if not error.print_exception:
        return error
    return _refusal(printable(error.message[:_LONGEST]))


def _checked(part: Any, value: object, is_public: bool) -> object:
    """A value that was sent for a component. Raises an error if it has the wrong form."""
    if isinstance(part, gr.Dropdown) and not part.multiselect and isinstance(value, list):
        raise ValueError("one choice is expected")  # gradio would pass on a list of choices
    return uploaded(value) if is_public and isinstance(part, PhotoInput) else value


def _refusal(said: str) -> gr.Error:
    return gr.Error(said, print_exception=False)


def _expected(block_fn: Any, n: int | None = None) -> str:
    names: Sequence[str] = list(inspect.signature(block_fn.fn).parameters)
    values = "one value" if len(names) == 1 else f"{len(names)} values"
    found = "" if n is None else f" Found {n}."
    said = f"/{block_fn.api_name} takes {values}: {', '.join(names)}.{found}"
    return f"{said} /gradio_api/info describes them."


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


async def _of_refusal(request: Request, error: HTTPException) -> JSONResponse:
    """The answer to a request that is refused, in the same form from all routes."""
    answer = refuse(error.detail, error.status_code)
    answer.headers.update(error.headers or {})
    return answer


# By the exceptions that they answer, for FastAPI.
HANDLERS = {RequestValidationError: _of_body, TypeError: _of_names, HTTPException: _of_refusal}
