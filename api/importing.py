"""Import: NDJSON in, NDJSON out, both streamed. A line's result comes only after it is journaled."""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID, uuid5

import msgspec
from fastapi import APIRouter, Request, Response
from starlette.types import Receive, Scope, Send

from api.accept import to_put
from api.body import parse_json, validate
from api.commit import Entry
from api.direct import Direct
from api.models import MemoryIn
from api.openapi import ndjson_of
from api.problems import Problem, of
from api.state import State, namespace_of, state_of
from backends.journal import encode_write
from backends.journal.jobs import IMPORT_PREFIX, add_to_import
from backends.sources import Source
from memrelay.errors import MemrelayError
from memrelay.jobs import JobId, deliver_queue
from memrelay.times import now_us

router = APIRouter(prefix="/v1", route_class=Direct)
LINE_BYTES = 256 * 1024
TOTAL_BYTES = 1 << 30
BATCH = 512
IN_FLIGHT = 4
GZIP = 16 + zlib.MAX_WBITS
RATIO = 100
NAMESPACE_UUID = UUID("6f2b2a4e-1f0b-4d3c-9b1e-0d6d8b7a5c11")
Line = tuple[int, bytes]


@router.post("/memories/import", openapi_extra=ndjson_of(MemoryIn))
async def import_memories(
    request: Request, source: str = "default", first_line: int = 1, from_line: int = 1
) -> Response:
    """Take in NDJSON, one memory a line, gzip allowed. Needs an ``Idempotency-Key``.

    A missing id is derived from the key and the line's number: sending the file again, whole or
    ``from_line`` on, or in parts that say the number of their ``first_line``, repeats nothing.
    Answers a line for each line, then a summary with the job.
    """
    state = state_of(request)
    key = request.headers.get("idempotency-key", "")
    if not 1 <= len(key) <= 256:
        raise Problem(
            422, "invalid", "An import needs an Idempotency-Key header of 1 to 256 characters."
        )
    if min(from_line, first_line) < 1:
        raise Problem(
            422, "invalid", "The query parameters from_line and first_line are 1 or more."
        )
    run = Import(state, state.source(source), namespace_of(request), key)
    lines = numbered(decoded(request), first=first_line)
    return Ndjson(run.results(lines, from_line))


class Ndjson(Response):
    """Streams lines while the request is still being read.

    Starlette's own StreamingResponse listens for a disconnect and would swallow pieces of the body.
    """

    media_type = "application/x-ndjson"

    def __init__(self, lines: AsyncIterator[bytes]) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for line in self._lines:
            await send({"type": "http.response.body", "body": line, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class Import:
    """One import. Reading goes on while results wait to be read: a slow reader cannot stall it."""

    def __init__(self, state: State, source: Source, namespace: str, key: str) -> None:
        self._state = state
        self._source = source
        self._namespace = namespace
        self._key = key
        digest = hashlib.blake2b(f"{namespace}\0{source.name}\0{key}".encode(), digest_size=12)
        self.job_id = IMPORT_PREFIX + digest.hexdigest()
        self._results: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self._accepted = 0
        self._refused = 0

    async def results(self, lines: AsyncIterator[Line], from_line: int) -> AsyncIterator[bytes]:
        reader = asyncio.create_task(self._read(lines, from_line))
        try:
            while (result := await self._results.get()) is not None:
                yield result
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _read(self, lines: AsyncIterator[Line], from_line: int) -> None:
        ended: dict[str, Any] = {}
        try:
            async with asyncio.TaskGroup() as group:
                batch: list[Line] = []
                async for line in lines:
                    if line[0] < from_line or not line[1].strip():
                        continue
                    batch.append(line)
                    if len(batch) == BATCH:
                        await self._slots.acquire()
                        group.create_task(self._enter(batch))
                        batch = []
                if batch:
                    await self._slots.acquire()
                    group.create_task(self._enter(batch))
        except* (MemrelayError, Problem) as errors:
            problem = of(errors.exceptions[0])
            ended = {
                "error": {
                    "status": problem.status,
                    "code": problem.code,
                    "detail": problem.detail,
                }
            }
        finally:
            self._summarize(ended)

    def _summarize(self, ended: dict[str, Any]) -> None:
        job = {"id": self.job_id, "status": "accepted"} if self._accepted else None
        counts = {"accepted": self._accepted, "refused": self._refused}
        self._put({"summary": {**counts, "job": job, **ended}})
        self._results.put_nowait(None)

    async def _enter(self, batch: Sequence[Line]) -> None:
        """Journal a batch, then tell the results of its lines in order."""
        try:
            accepted: list[tuple[int, str, bytes]] = []
            refused: list[tuple[int, dict[str, Any]]] = []
            now = now_us()
            for number, raw in batch:
                try:
                    accepted.append((number, *self._write(number, raw, now)))
                except Problem as problem:
                    refused.append((number, _error(problem)))
            first = await self._commit([write for _, _, write in accepted]) if accepted else 0
            results: dict[int, dict[str, Any]] = {
                number: {"line": number, "id": id, "version": first + offset}
                for offset, (number, id, _) in enumerate(accepted)
            }
            results |= {number: {"line": number, "error": error} for number, error in refused}
            self._accepted += len(accepted)
            self._refused += len(refused)
            for number in sorted(results):
                self._put(results[number])
        finally:
            self._slots.release()

    def _write(self, number: int, raw: bytes, now: int) -> tuple[str, bytes]:
        memory = validate(MemoryIn, parse_json(raw))
        if memory.id is None:
            memory.id = str(uuid5(NAMESPACE_UUID, f"{self._key}\0{number}"))
        put = to_put(memory, self._source, now, "")
        return put.id, encode_write(put)

    async def _commit(self, writes: Sequence[bytes]) -> int:
        entered = await self._state.commit.enter(
            Entry(
                namespace=self._namespace,
                source=self._source.name,
                queue=deliver_queue("bulk"),
                drivers=tuple(self._source.settings.drivers),
                writes=writes,
            )
        )
        part = JobId(entered.first, len(writes))
        await add_to_import(self._state.journal, self._namespace, self.job_id, part)
        return entered.first

    def _put(self, value: dict[str, Any]) -> None:
        self._results.put_nowait(msgspec.json.encode(value) + b"\n")


def _error(problem: Problem) -> dict[str, Any]:
    error: dict[str, Any] = {"code": problem.code, "detail": problem.detail}
    if problem.errors:
        error["errors"] = [{"pointer": p, "detail": detail} for p, detail in problem.errors]
    return error


async def decoded(request: Request) -> AsyncIterator[bytes]:
    """The body in pieces, inflated if it is gzip; 413 for a bomb, 415 for another encoding."""
    encoding = request.headers.get("content-encoding", "identity")
    if encoding not in ("identity", "gzip"):
        raise Problem(415, "unsupported_media_type", "Content-Encoding can be gzip or identity.")
    inflate = zlib.decompressobj(GZIP) if encoding == "gzip" else None
    packed = unpacked = 0
    async for chunk in request.stream():
        packed += len(chunk)
        pieces = [chunk] if inflate is None else _inflated(inflate, chunk)
        for piece in pieces:
            unpacked += len(piece)
            if unpacked > TOTAL_BYTES or unpacked > RATIO * packed + LINE_BYTES:
                raise Problem(413, "too_large", "The body inflates to more than is allowed.")
            yield piece


def _inflated(inflate: Any, chunk: bytes) -> list[bytes]:
    pieces = []
    try:
        while chunk:
            pieces.append(inflate.decompress(chunk, 1 << 20))
            chunk = inflate.unconsumed_tail
    except zlib.error:
        raise Problem(400, "not_gzip", "The body is not gzip.") from None
    return pieces


async def numbered(pieces: AsyncIterator[bytes], *, first: int) -> AsyncIterator[Line]:
    """Lines with their numbers; the last one needs no newline. 413 for a line that is too long."""
    number, rest = first, b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield number, line
            number += 1
        if len(rest) > LINE_BYTES:
            raise Problem(413, "too_large", f"Line {number} is longer than {LINE_BYTES} bytes.")
    if rest:
        yield number, rest
