"""Requests that upload a photo: one file at a time, and without the name that its owner gave it."""

import secrets
from collections.abc import Awaitable, Callable

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException

from . import uploads

_LONGEST_BOUNDARY = 200  # bytes; RFC 2046 allows 70
_CHECK_EVERY = 2**20  # bytes of a file, until the space for files is checked again
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
        if before // _CHECK_EVERY < self._n_bytes // _CHECK_EVERY and uploads.is_full():
            raise MultiPartException(uploads.FULL)
        self._out += data[start:end]

    def _end(self) -> None:
        self._ended = True
        self._out += b"\r\n--" + self.boundary + b"--\r\n"
