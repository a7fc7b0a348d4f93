"""An OpenAI-compatible server whose embeddings mean something: WordLlama's, from our own wheel.

For programs that want a language model at an address; chats are answered with one fixed sentence.
"""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from backends.embedding.local import DIMENSIONS, LocalEmbedder
from memrelay.types import vector_from_bytes

__all__ = ["DIMENSIONS", "MERGED", "LanguageModels"]
MERGED = "The user likes flat white coffee."
"""What the chat model says, whatever it is asked: in the tests it is asked to merge memories."""


class LanguageModels:
    """The server, on a loopback port, in a thread. ``texts`` are all that it has embedded."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._embedder = LocalEmbedder()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """The base that a client of OpenAI's API is given."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, path: str, request: dict[str, Any]) -> dict[str, Any]:
        if path.endswith("/embeddings"):
            return self._embeddings(request)
        message = {"role": "assistant", "content": MERGED}
        return {
            "id": "chat-1",
            "object": "chat.completion",
            "created": 0,
            "model": request["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }

    def _embeddings(self, request: dict[str, Any]) -> dict[str, Any]:
        texts = request["input"] if isinstance(request["input"], list) else [request["input"]]
        self.texts += texts
        wants_base64 = request.get("encoding_format") == "base64"
        data = [
            {
                "object": "embedding",
                "index": index,
                "embedding": base64.b64encode(vector).decode()
                if wants_base64
                else vector_from_bytes(vector),
            }
            for index, vector in enumerate(asyncio.run(self._embedder.embed(texts)))
        ]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return {"object": "list", "model": request["model"], "data": data, "usage": usage}


def _handler(models: LanguageModels) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = json.dumps(models.answer(self.path, json.loads(body))).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """A test's output is not the place for it."""

    return Handler
