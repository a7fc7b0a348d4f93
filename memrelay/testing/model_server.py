"""An OpenAI-compatible embeddings server that fails on purpose, for tests and benchmarks.

``POST /v1/embeddings`` answers with vectors that follow from the text alone (``vector_of``).
``POST /control`` takes fields of ``Behaviour`` in JSON and changes them from the next call on;
``GET /stats`` counts. In process: ``async with ModelServer() as server: server.behave(fault="hang")``;
as a process: ``python -m memrelay.testing.model_server --port 9000 --latency-ms 50``, which says
``listening on …`` when it is ready.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from typing import Any, Literal, Self

Fault = Literal[
    "rate_limit",
    "error",
    "unavailable",
    "unauthorized",
    "not_found",
    "too_long",
    "hang",
    "disconnect",
    "short",
    "duplicate",
    "dimension",
    "nan",
    "zero",
    "reversed",
    "garbage",
    "flood",
    "bomb",
]
FLOOD = 128 << 20
"""Bytes of an answer that nobody asked for, as it is sent or as it inflates."""
STATUS: dict[str, tuple[int, str]] = {
    "rate_limit": (429, "Rate limit reached"),
    "error": (500, "The server had an error"),
    "unavailable": (503, "The model is overloaded"),
    "unauthorized": (401, "Incorrect API key provided"),
    "not_found": (404, "The model does not exist"),
    "too_long": (400, "This model's maximum context length is 8192 tokens"),
}
REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found"}

# A component for each byte: exact in float32, short in JSON, and never zero.
_COMPONENTS = [(byte - 127.5) / 128 for byte in range(256)]
_AS_FLOAT32 = [struct.pack("<f", component) for component in _COMPONENTS]
_AS_JSON = [json.dumps(component) for component in _COMPONENTS]


def _digest(text: str, dimensions: int) -> bytes:
    return hashlib.shake_256(text.encode()).digest(dimensions)


def vector_of(text: str, dimensions: int) -> bytes:
    """Float32 bytes of what the server answers for ``text`` when nothing is at fault."""
    return b"".join(map(_AS_FLOAT32.__getitem__, _digest(text, dimensions)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What the server does next. ``fault`` strikes ``times`` calls, or all until changed (None).

    Calls take ``latency`` seconds. A 429 or 503 asks for ``retry_after`` seconds. A call with more
    than ``max_inputs`` texts, or with a text that holds ``poison``, is a 400.
    """

    dimensions: int = 64
    latency: float = 0.0
    fault: Fault | None = None
    times: int | None = None
    retry_after: float | None = 1.0
    poison: str | None = None
    max_inputs: int = 2048


@dataclass(slots=True)
class Stats:
    """Counts since the start. ``most_inputs`` is of one call, ``most_at_once`` of open calls."""

    calls: int = 0
    inputs: int = 0
    failures: int = 0
    most_inputs: int = 0
    most_at_once: int = 0


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    retry_after: float | None = None
    again: int = 0
    """How often the body comes once more."""
    compressed: bool = False

    def encode(self) -> bytes:
        """Head and first body."""
        extra = f"Retry-After: {self.retry_after:g}\r\n" if self.retry_after is not None else ""
        extra += "Content-Encoding: gzip\r\n" if self.compressed else ""
        size = len(self.body) * (1 + self.again)
        head = (
            f"HTTP/1.1 {self.status} {REASONS.get(self.status, 'Error')}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {size}\r\n{extra}\r\n"
        )
        return head.encode() + self.body


class _DropConnectionError(Exception):
    """The client gets no answer, only the end of the connection."""


class ModelServer:
    """The server on a loopback port of its own choice (``port`` 0), for one event loop."""

    def __init__(self, behaviour: Behaviour | None = None, *, port: int = 0) -> None:
        self.behaviour = behaviour or Behaviour()
        self.stats = Stats()
        self._port = port
        self._open_calls = 0
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """The base that a client of OpenAI's API is given."""
        return f"http://127.0.0.1:{self._port}/v1"

    def behave(self, **changes: Any) -> None:
        """Change fields of ``Behaviour``; ``TypeError`` for a name it does not have."""
        self.behaviour = replace(self.behaviour, **changes)

    async def start(self) -> None:
        self._server = await asyncio.start_server(
            self._connection, "127.0.0.1", self._port, limit=1 << 20
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port and every connection, calls that hang included."""
        if self._server is None:
            return
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                target, body = await _read_request(reader)
                answer = await self._answer(target, body)
                writer.write(answer.encode())
                await writer.drain()
                for _ in range(answer.again):
                    writer.write(answer.body)
                    await writer.drain()
        except (OSError, asyncio.IncompleteReadError, _DropConnectionError):
            return
        finally:
            writer.close()

    async def _answer(self, target: str, body: bytes) -> _Answer:
        if target == "POST /v1/embeddings":
            self._open_calls += 1
            self.stats.most_at_once = max(self.stats.most_at_once, self._open_calls)
            try:
                answer = await self._embeddings(json.loads(body))
            finally:
                self._open_calls -= 1
        elif target == "POST /control":
            answer = self._control(json.loads(body))
        elif target == "GET /stats":
            answer = _Answer(200, json.dumps(asdict(self.stats)).encode())
        else:
            answer = _error(404, f"there is no {target}")
        return answer

    def _control(self, changes: dict[str, Any]) -> _Answer:
        unknown = changes.keys() - {field.name for field in fields(Behaviour)}
        if unknown:
            return _error(400, f"unknown: {', '.join(sorted(unknown))}")
        self.behave(**changes)
        return _Answer(200, json.dumps(asdict(self.behaviour)).encode())

    async def _embeddings(self, request: dict[str, Any]) -> _Answer:
        texts: list[str] = (
            request["input"] if isinstance(request["input"], list) else [request["input"]]
        )
        self._count(texts)
        behaviour, fault = self.behaviour, self._take_fault()
        await asyncio.sleep(behaviour.latency)
        if fault == "disconnect":
            raise _DropConnectionError
        if fault == "hang":
            await asyncio.Event().wait()
        if fault == "garbage":
            return _Answer(200, b"<html>a proxy's login page</html>")
        if fault == "flood":
            return _Answer(200, b" " * (1 << 16), again=(FLOOD >> 16) - 1)
        if fault == "bomb":
            return _Answer(200, bomb(FLOOD), compressed=True)
        if fault in STATUS:
            status, message = STATUS[fault]
            asked = behaviour.retry_after if status in (429, 503) else None
            return _error(status, message, asked)
        refusal = _refusal(texts, behaviour)
        if refusal is not None:
            self.stats.failures += 1
            return _error(400, refusal)
        dimensions = request.get("dimensions") or behaviour.dimensions
        base64_wanted = request.get("encoding_format") == "base64"
        return _Answer(200, _body(texts, dimensions, fault, base64_wanted))

    def _count(self, texts: Sequence[str]) -> None:
        self.stats.calls += 1
        self.stats.inputs += len(texts)
        self.stats.most_inputs = max(self.stats.most_inputs, len(texts))

    def _take_fault(self) -> str:
        behaviour = self.behaviour
        if behaviour.fault is None or behaviour.times == 0:
            return ""
        if behaviour.times is not None:
            self.behave(times=behaviour.times - 1)
        self.stats.failures += 1
        return behaviour.fault


@cache
def bomb(size: int) -> bytes:
    """A gzip that is ``size`` bytes when inflated, and a thousandth of that as it is sent."""
    packer = zlib.compressobj(level=1, wbits=31)
    pieces = [packer.compress(b" " * (1 << 16)) for _ in range(size >> 16)]
    return b"".join(pieces) + packer.flush()


def _refusal(texts: Sequence[str], behaviour: Behaviour) -> str | None:
    if len(texts) > behaviour.max_inputs:
        return f"at most {behaviour.max_inputs} inputs"
    if behaviour.poison is not None and any(behaviour.poison in text for text in texts):
        return "an input was refused"
    return None


def _error(status: int, message: str, retry_after: float | None = None) -> _Answer:
    error = {"message": message, "type": "model_server", "param": None, "code": None}
    return _Answer(status, json.dumps({"error": error}).encode(), retry_after)


def _body(texts: Sequence[str], dimensions: int, fault: str, base64_wanted: bool) -> bytes:
    """The answer of OpenAI's API for ``texts``, put together as text: speed matters in benchmarks."""
    size = dimensions + 1 if fault == "dimension" else dimensions
    vectors = [_embedding(_digest(text, size), base64_wanted) for text in texts]
    if fault in ("nan", "zero"):
        vectors[0] = _constant(float("nan") if fault == "nan" else 0.0, size, base64_wanted)
    items = [
        f'{{"object":"embedding","index":{index},"embedding":{vector}}}'
        for index, vector in enumerate(vectors)
    ]
    if fault == "short":
        items.pop()
    elif fault == "duplicate":
        items[-1] = items[0]
    elif fault == "reversed":
        items.reverse()
    tokens = sum(map(len, texts)) // 4
    return (
        f'{{"object":"list","model":"model-server","data":[{",".join(items)}],'
        f'"usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}}}'
    ).encode()


def _embedding(digest: bytes, base64_wanted: bool) -> str:
    if base64_wanted:
        return f'"{base64.b64encode(b"".join(map(_AS_FLOAT32.__getitem__, digest))).decode()}"'
    return f"[{','.join(map(_AS_JSON.__getitem__, digest))}]"


def _constant(value: float, dimensions: int, base64_wanted: bool) -> str:
    if base64_wanted:
        return f'"{base64.b64encode(struct.pack("<f", value) * dimensions).decode()}"'
    return json.dumps([value] * dimensions)


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """``METHOD /path`` and the body of the next request; headers other than the length are ignored."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (h.partition(":") for h in head)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return f"{method} {path.partition('?')[0]}", body


async def _run(behaviour: Behaviour, port: int) -> None:
    async with ModelServer(behaviour, port=port) as server:
        print(f"listening on {server.url}", flush=True)  # noqa: T201 - whoever started it waits for it
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="An embeddings server that fails on purpose.")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--dimensions", type=int, default=64)
    options = parser.parse_args()
    behaviour = Behaviour(latency=options.latency_ms / 1000, dimensions=options.dimensions)
    try:
        asyncio.run(_run(behaviour, options.port))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
