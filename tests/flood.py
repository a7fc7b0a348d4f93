"""A server that answers everything with more than anybody asked for."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from memrelay.testing.model_server import bomb

FLOOD = 32 << 20
"""Bytes of an answer, as it is read."""
_PIECE = b" " * (1 << 16)


class Flood:
    """On a loopback port, from ``with`` to its end. ``sent``: bytes that it got rid of, as they inflate."""

    def __init__(self, *, status: int = 200, compressed: bool = False) -> None:
        self.sent = 0
        flood = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"] or 0))
                self.send_response(status)
                self.send_header("content-type", "application/json")
                if compressed:
                    self.send_header("content-encoding", "gzip")
                self.end_headers()  # what follows ends with the connection
                try:
                    if compressed:
                        self.wfile.write(bomb(FLOOD))
                        return
                    for _ in range(FLOOD >> 16):
                        self.wfile.write(_PIECE)
                        flood.sent += len(_PIECE)
                except OSError:
                    return  # the client has left

            do_GET = do_DELETE = do_POST

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
