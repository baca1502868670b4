"""Requests with a photo: an upload of one file without its owner's name for it, or a data URL."""

import asyncio
import base64
import binascii
import json
import re
import secrets
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO, TypeVar

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect

from ..errors import FaceMTLError
from . import uploads
from .photo import one_photo

T = TypeVar("T")
LARGEST_PHOTO = 30 * 2**20  # bytes, of an upload or in a data URL

_LONGEST_BOUNDARY = 200  # bytes; RFC 2046 allows 70
_CHECK_EVERY = 2**20  # bytes of a file, until the space for files is checked again
_BASE64 = "A data URL of a photo starts with data:image/jpeg;base64, and base64 follows."
_ONLY_DATA = f"The photo must be a data URL. Paths and other URLs are not read. {_BASE64}"
# A URL with the name of a file in the upload folder: a text that gradio passes on as it is.
_KEPT = "http://kept.invalid/"
ONE = "Upload one photo at a time, as a file with a name, in the field `files`."


class WithoutName:
    """The body of a multipart request, as an ASGI `receive`, whose file has a random name.

    So nothing keeps a visitor's file name. The path of an upload cannot be guessed, and two
    visitors with the same photo have two files. Raises MultiPartException unless there is exactly
    one file. Gradio answers with its message, and deletes what has arrived.
    """

    def __init__(self, scope: dict, receive: Callable[[], Awaitable[dict]]):
        self.receive = receive
        _, options = parse_options_header(Headers(scope=scope).get("content-type", ""))
        self.boundary = options.get(b"boundary", b"")
        if not 0 < len(self.boundary) <= _LONGEST_BOUNDARY:
            raise MultiPartException(ONE)
        self._parser = MultipartParser(
            self.boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_field,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._start_file,
                "on_part_data": self._data,
                "on_part_end": self._end,
            },
        )
        self._out, self._n_parts, self._n_bytes, self._ended = bytearray(), 0, 0, False
        self._field = self._value = self._disposition = b""

    async def __call__(self) -> dict:
        message = await self.receive()
        if message["type"] != "http.request":  # the visitor has left
            return message
        try:
            self._parser.write(message.get("body", b""))
        except MultipartParseError as error:
            raise MultiPartException(ONE) from error
        if not message.get("more_body", False) and not self._ended:
            raise MultiPartException(ONE)
        body = bytes(self._out)
        self._out.clear()
        return {**message, "body": body}

    def _begin(self) -> None:
        self._n_parts += 1
        if self._n_parts > 1:
            raise MultiPartException(ONE)

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def _start_file(self) -> None:
        _, options = parse_options_header(self._disposition)
        if options.get(b"name") != b"files" or not options.get(b"filename"):
            raise MultiPartException(ONE)
        name = f'form-data; name="files"; filename="photo-{secrets.token_hex(16)}"'
        self._out += b"--" + self.boundary + b"\r\nContent-Disposition: " + name.encode()
        self._out += b"\r\n\r\n"

    def _data(self, data: bytes, start: int, end: int) -> None:
        before, self._n_bytes = self._n_bytes, self._n_bytes + end - start
        if _has_no_space(before, self._n_bytes):
            raise MultiPartException(uploads.FULL)
        self._out += data[start:end]

    def _end(self) -> None:
        self._ended = True
        self._out += b"\r\n--" + self.boundary + b"--\r\n"


def _has_no_space(before: int, now: int) -> bool:
    """Whether the folder is full. It is looked at each time that _CHECK_EVERY bytes have arrived.

    `before` and `now` are numbers of bytes.
    """
    return before // _CHECK_EVERY < now // _CHECK_EVERY and uploads.is_full()


async def arrived(receive: Callable[[], Awaitable[dict]], read: Callable[[BinaryIO], T]) -> T:
    """What `read` makes of a file with the body of a request.

    A body has up to 45 MB, and many calls may wait. So their photos wait as files, and one large
    body at a time is in memory. Raises FaceMTLError if there is no space for it.
    """
    arriving = uploads.folder() / secrets.token_hex(16)
    try:
        with open(arriving, "w+b") as file:
            n_bytes, is_whole = 0, False
            while not is_whole:
                message = await receive()
                if message["type"] != "http.request":
                    raise ClientDisconnect
                before, n_bytes = n_bytes, n_bytes + file.write(message.get("body", b""))
                if _has_no_space(before, n_bytes):
                    raise FaceMTLError(uploads.FULL)
                is_whole = not message.get("more_body", False)
            file.seek(0)
            return await asyncio.to_thread(_read_alone, file, n_bytes > _CHECK_EVERY, read)
    finally:
        arriving.unlink(missing_ok=True)


def _read_alone(file: BinaryIO, is_large: bool, read: Callable[[BinaryIO], T]) -> T:
    with one_photo if is_large else nullcontext():
        return read(file)


async def with_photo_as_file(receive: Callable[[], Awaitable[dict]]) -> bytes:
    """The JSON body of a call. In place of data URLs, it has files in the upload folder.

    Raises FaceMTLError if a photo in it cannot be taken, or if there is no space for it.
    """
    return await arrived(receive, _with_files)


def _with_files(file: BinaryIO) -> bytes:
    body = file.read()
    if b"data:" not in body.lower():
        return body
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        return body  # gradio says so
    del body
    if isinstance(asked, dict):
        if isinstance(asked.get("data"), list):
            asked["data"] = [uploaded(value) for value in asked["data"]]
        else:  # names and values
            asked = {name: uploaded(value) for name, value in asked.items()}
    return json.dumps(asked).encode()


def kept(photo: object) -> str:
    """A URL that stands for a photo in a data URL, for `uploaded`.

    Raises FaceMTLError if the photo is not a valid data URL, or if there is no space for it.
    """
    if not isinstance(photo, str) or (file := uploaded(photo)) is photo:
        raise FaceMTLError(_ONLY_DATA)
    return _KEPT + Path(file["path"]).name


def file_of(url: object) -> Path | None:
    """The file that a URL stands for, if it does."""
    name = url.removeprefix(_KEPT) if isinstance(url, str) else ""
    return uploads.folder() / name if name != url and re.fullmatch("[0-9a-f]{32}", name) else None


def uploaded(value: object) -> object:
    """The value. In place of a data URL, it is a file in the upload folder with its content.

    The same is in place of a URL from `kept`. Raises FaceMTLError if a data URL is not valid, or if
    there is no space for its content.
    """
    url = value.get("url") or value.get("path") if isinstance(value, dict) else value
    if file := file_of(url):
        return {"path": str(file)}
    if not (isinstance(url, str) and url[:5].lower() == "data:"):
        return value
    head, _, content = url.partition(",")
    if not head.lower().endswith(";base64"):
        raise FaceMTLError(_BASE64)
    try:
        photo = base64.b64decode("".join(content.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise FaceMTLError(_BASE64) from error
    if len(photo) > LARGEST_PHOTO:
        raise FaceMTLError(
            f"This photo has {len(photo):,} bytes. Send one of at most {LARGEST_PHOTO:,} bytes."
        )
    if uploads.is_full():
        raise FaceMTLError(uploads.FULL)
    file = uploads.folder() / secrets.token_hex(16)
    file.write_bytes(photo)
    return {"path": str(file)}
