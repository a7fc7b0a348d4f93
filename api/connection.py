"""HTTP on one connection, with a bound on what stands around a body.

The parser keeps a request line, a header or a trailer until it is whole, of any size, and puts its pieces
together again for each that comes: without a bound one connection takes all memory, and the processor.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api.problems import Problem

HEAD_BYTES = 64 * 1024
"""Of the request line and all headers together."""


class _TooLarge(Exception):
    """The head has come whole, and is too large."""


class Connection(HttpToolsProtocol):
    """uvicorn's; a head, a chunk's extension or trailers over ``HEAD_BYTES`` are 431, and its end."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._kept = 0
        self._moved = False

    def data_received(self, data: bytes) -> None:
        self._moved = False
        super().data_received(data)
        self._kept = 0 if self._moved else self._kept + len(data)
        if self._kept > HEAD_BYTES and not self.transport.is_closing():
            self._refuse()

    def on_message_begin(self) -> None:
        self._moved = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._moved = True
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > HEAD_BYTES:
            self._refuse()
            raise _TooLarge
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._moved = True
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        if not self.transport.is_closing():  # else it is answered
            super().send_400_response(msg)

    def _refuse(self) -> None:
        """Whatever was being answered on the connection is cut off with it."""
        detail = f"The request line and the headers are larger than {HEAD_BYTES} bytes."
        answer = Problem(431, "head_too_large", detail).response("")
        lines = [STATUS_LINE[431], b"connection: close\r\n"]
        lines += [name + b": " + value + b"\r\n" for name, value in answer.raw_headers]
        self.transport.write(b"".join([*lines, b"\r\n", bytes(answer.body)]))
        self.transport.close()
