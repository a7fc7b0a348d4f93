"""What quotes memories in its errors, as others' software does: a driver and an embedding model."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

QUOTED = "quote me"
"""What has it in its text is not taken, and quoted."""
POISON = "give me up"
"""What has it in its text is refused for good."""
DRIVER = f'''
"""A stranger's driver: SQLite, with a bug."""

from backends.sqlite import create as create_sqlite
from memrelay.errors import Permanent


class Loud:
    def __init__(self, driver):
        self._driver = driver

    def __getattr__(self, name):
        return getattr(self._driver, name)

    async def apply(self, scope, ops):
        for op in ops:
            if "{QUOTED}" in getattr(getattr(op, "memory", None), "text", ""):
                raise RuntimeError("no room for " + op.memory.text)
            if "{POISON}" in getattr(getattr(op, "memory", None), "text", ""):
                raise Permanent("no room for " + op.memory.text)
        return await self._driver.apply(scope, ops)


def create(name, settings):
    return Loud(create_sqlite(name, settings))
'''


def install_driver(directory: Path) -> None:
    """The driver type ``loud``, for whoever has ``directory`` on its path."""
    info = directory / "loud-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: loud\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[memrelay.drivers]\nloud = loud_driver:create\n")
    (directory / "loud_driver.py").write_text(DRIVER)


class LoudModel:
    """An OpenAI-compatible model of 8 dimensions, from ``with`` to its end. ``status`` is how it refuses."""

    def __init__(self) -> None:
        self.status = 500
        self.refused = 0
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                texts = json.loads(body)["input"]
                loud = any(QUOTED in text for text in texts)
                model.refused += loud
                key = self.headers["authorization"]
                error = {"error": {"message": f"{key} may not send {texts}", "type": "loud"}}
                vector = [1.0] * 8
                items = [{"index": i, "embedding": vector} for i in range(len(texts))]
                self._answer(model.status if loud else 200, error if loud else {"data": items})

            def _answer(self, status: int, body: dict[str, Any]) -> None:
                raw = json.dumps({"object": "list", "model": "loud", **body}).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
