"""Import: NDJSON in, NDJSON out, both streamed. A line's result comes only after it is journaled."""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from api.answers import ImportSummary, LineRefused, LineTaken
from api.auth import grant_of
from api.commit import Entry
from api.direct import Direct
from api.keyring import Grant
from api.models import MemoryIn
from api.openapi import IDEMPOTENCY_KEY, NDJSON, operation
from api.problems import Problem, invalid, of
from api.reading import LINE_BYTES, Line
from api.state import State, state_of
from backends import tracing
from backends.journal.jobs import IMPORT_PREFIX, add_to_import
from backends.sources import Source
from memrelay.errors import MemrelayError
from memrelay.jobs import JobId, deliver_queue

router = APIRouter(prefix="/v1", route_class=Direct)
MAX_LINE = 2**53
TOTAL_BYTES = 1 << 30
MEDIA_TYPES = (
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/json",
    "application/octet-stream",
    "text/plain",
)
PIECE_BYTES = 64 * 1024
UNREAD_BYTES = 16 << 20
BATCH = 512
BATCH_BYTES = 2**20
"""Lines may be long: without a bound, four batches of the longest would be half a gigabyte."""
IN_FLIGHT = 4
GZIP = 16 + zlib.MAX_WBITS
RATIO = 100
MOST_REFUSED = 10_000
"""Lines of one request, after which it ends."""
LINGER_SECONDS = 10.0


@router.post(
    "/memories/import",
    openapi_extra=operation(
        LineTaken,
        LineRefused,
        ImportSummary,
        body=MemoryIn,
        optional=True,
        media=NDJSON,
        takes=[IDEMPOTENCY_KEY],
        example={"Idempotency-Key": "conversation-of-ana"},
    ),
)
async def import_memories(
    request: Request, source: str = "default", first_line: int = 1, from_line: int = 1
) -> Response:
    """Take in NDJSON, one memory a line, gzip allowed. Needs an ``Idempotency-Key``.

    A missing id is derived from the key and the line's number: sending the file again, whole or
    ``from_line`` on, or in parts that say the number of their ``first_line``, repeats nothing.
    Answers a line for each line, then a summary with the job. When it ended early, the summary has the
    ``error``, and the line to go on from as ``from_line``.
    """
    state = state_of(request)
    key = request.headers.get("idempotency-key", "")
    if not 1 <= len(key) <= 256:
        raise Problem(
            422, "invalid", "An import needs an Idempotency-Key header of 1 to 256 characters."
        )
    for name, line in (("from_line", from_line), ("first_line", first_line)):
        if not 1 <= line <= MAX_LINE:
            raise invalid([(f"/{name}", f"1 to {MAX_LINE}")])
    check_kind(request)
    run = Import(state, state.source(source), grant_of(request), key)
    batches = batched(decoded(request), first=first_line, from_line=from_line)
    return Ndjson(run.results(batches, from_line, partial(drop_the_rest, request)))


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
    """One import. Reading goes on while results wait to be read, up to ``UNREAD_BYTES`` of them."""

    def __init__(self, state: State, source: Source, grant: Grant, key: str) -> None:
        self._state = state
        self._source = source
        self._grant = grant
        self._namespace = namespace = grant.namespace
        self._key = key
        digest = hashlib.blake2b(f"{namespace}\0{source.name}\0{key}".encode(), digest_size=12)
        self.job_id = IMPORT_PREFIX + digest.hexdigest()
        self._results: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self._accepted = 0
        self._refused = 0
        self._told = 0
        self._unread = 0

    async def results(
        self,
        batches: AsyncIterator[list[Line]],
        from_line: int,
        drop: Callable[[], Awaitable[None]],
    ) -> AsyncIterator[bytes]:
        """The result of each line in order, then the summary. ``drop`` reads what is left of the body."""
        self._told = from_line - 1
        reader = asyncio.create_task(self._read(batches, drop))
        try:
            while (result := await self._results.get()) is not None:
                self._unread -= len(result)
                yield result
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _read(
        self, batches: AsyncIterator[list[Line]], drop: Callable[[], Awaitable[None]]
    ) -> None:
        ended: dict[str, Any] = {}
        told = asyncio.Event()
        told.set()
        try:
            async with asyncio.TaskGroup() as group:
                async for batch in batches:
                    if self._unread > UNREAD_BYTES:
                        ended = _unread(batch[0][0])
                        break  # what is under way is told still
                    if self._refused >= MOST_REFUSED:
                        ended = _refused(batch[0][0])
                        break
                    await self._slots.acquire()
                    before, told = told, asyncio.Event()
                    group.create_task(self._enter(batch, before, told))
        except* (MemrelayError, Problem) as errors:
            problem = of(errors.exceptions[0])
            ended = _ending(problem)
        finally:
            self._summarize(ended)
            try:
                if ended:
                    await drop()
            finally:
                self._results.put_nowait(None)

    def _summarize(self, ended: dict[str, Any]) -> None:
        job = {"id": self.job_id, "status": "accepted"} if self._accepted else None
        counts = {"accepted": self._accepted, "refused": self._refused}
        resume = {"from_line": self._told + 1} if ended else {}
        self._put({"summary": {**counts, "job": job, **ended, **resume}})

    async def _enter(
        self, batch: Sequence[Line], before: asyncio.Event, told: asyncio.Event
    ) -> None:
        """Journal a batch, then tell the results of its lines, once those ``before`` it are told."""
        try:
            read = await self._state.aside.lines(batch, self._source.name, self._key)
            results = dict(read.refused)
            first = await self._commit(read.taken) if read.taken else 0
            for offset, (number, id, _) in enumerate(read.taken):
                results[number] = {"line": number, "id": id, "version": first + offset}
            await before.wait()
            self._accepted += len(read.taken)
            self._refused += len(read.refused)
            self._told = batch[-1][0]
            self._put(*(results[number] for number in sorted(results)))
            told.set()
        finally:
            self._slots.release()

    async def _commit(self, taken: Sequence[tuple[int, str, bytes]]) -> int:
        await self._state.keyring.check(self._grant)
        writes = [write for _, _, write in taken]
        entered = await self._state.commit.enter(
            Entry(
                namespace=self._namespace,
                source=self._source.name,
                queue=deliver_queue("bulk"),
                drivers=tuple(self._source.settings.drivers),
                writes=writes,
                trace=tracing.traceparent(),
                noted=[id for _, id, _ in taken],
            )
        )
        part = JobId(entered.first, len(writes))
        await add_to_import(self._state.journal, self._namespace, self.job_id, part)
        return entered.first

    def _put(self, *values: dict[str, Any]) -> None:
        result = b"".join(msgspec.json.encode(value) + b"\n" for value in values)
        self._unread += len(result)
        self._results.put_nowait(result)


def _unread(next_line: int) -> dict[str, Any]:
    """Results wait in memory for a client that sends all before it reads; not without bound."""
    detail = f"Too many results wait to be read; go on with from_line={next_line}."
    return _ending(Problem(413, "results_unread", detail))


def _refused(next_line: int) -> dict[str, Any]:
    """A small gzip may hold millions of lines that are none: everybody's large bodies would wait for them."""
    detail = f"Too many lines are refused; mend them, or go on with from_line={next_line}."
    return _ending(Problem(422, "too_many_refused", detail))


def _ending(problem: Problem) -> dict[str, Any]:
    """What the summary says of an import that ended before its body did."""
    error: dict[str, Any] = {
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
    }
    if problem.retry_after is not None:
        error["retry_after"] = problem.retry_after
    return {"error": error}


async def drop_the_rest(request: Request) -> None:
    """An import may end before its body does, and its client read only when it has sent all. A connection
    that is closed while the client sends is reset, and what the client has not read is lost."""
    with suppress(ClientDisconnect, TimeoutError, RuntimeError):  # the last: there is no rest
        async with asyncio.timeout(LINGER_SECONDS):
            async for _ in request.stream():
                pass


def check_kind(request: Request) -> None:
    """415 for what is no list of lines, such as a form with a file in it, and for other encodings."""
    kind = request.headers.get("content-type", MEDIA_TYPES[0]).partition(";")[0].strip()
    if kind.lower() not in MEDIA_TYPES:
        raise Problem(415, "unsupported_media_type", f"Send Content-Type: {MEDIA_TYPES[0]}.")
    if _encoding(request) not in ("identity", "gzip"):
        raise Problem(415, "unsupported_media_type", "Content-Encoding can be gzip or identity.")


def _encoding(request: Request) -> str:
    return request.headers.get("content-encoding", "identity").lower()


async def decoded(request: Request) -> AsyncIterator[bytes]:
    """The body in pieces, inflated if it is gzip; 400 if it is not whole, 413 for a bomb.

    Between two pieces everybody else has a turn: a piece may hold thousands of lines.
    """
    inflater = Inflater() if _encoding(request) == "gzip" else None
    packed = unpacked = 0
    async for chunk in request.stream():
        packed += len(chunk)
        for piece in [chunk] if inflater is None else inflater.pieces(chunk):
            unpacked += len(piece)
            if unpacked > TOTAL_BYTES or unpacked > RATIO * packed + LINE_BYTES:
                raise Problem(413, "too_large", "The body inflates to more than is allowed.")
            yield piece
            await asyncio.sleep(0)
    if inflater is not None and not inflater.complete:
        raise Problem(400, "not_gzip", "The gzip stream ends too early; lines may be missing.")


class Inflater:
    """Gzip, of any number of members one after the other, in pieces of at most ``PIECE_BYTES``."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(GZIP)
        self._begun = False

    @property
    def complete(self) -> bool:
        """Whether the stream may end here."""
        return self._member.eof or not self._begun

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        while chunk:
            if self._member.eof:
                self._member = zlib.decompressobj(GZIP)
            self._begun = True
            try:
                yield self._member.decompress(chunk, PIECE_BYTES)
            except zlib.error:
                raise Problem(400, "not_gzip", "The body is not gzip.") from None
            chunk = self._member.unused_data if self._member.eof else self._member.unconsumed_tail


class Splitter:
    """Pieces to lines with their numbers, blank ones counted and left out; the last needs no newline.

    Of a line that is too long only the beginning is kept, one byte more than ``LINE_BYTES``.
    """

    def __init__(self, first: int) -> None:
        self._number = first
        self._begun = bytearray()

    def lines(self, piece: bytes) -> Iterator[Line]:
        """The lines that ``piece`` ends. A blank one costs little: a small gzip may hold millions."""
        *ends, rest = piece.split(b"\n")
        if ends and self._begun:
            ends[0] = bytes(self._begun) + ends[0]
            self._begun.clear()
        first, self._number = self._number, self._number + len(ends)
        self._begun += rest
        del self._begun[LINE_BYTES + 1 :]
        for number, end in enumerate(ends, first):
            if end and not end.isspace():
                yield number, end

    def last(self) -> Iterator[Line]:
        """What no newline has ended."""
        if self._begun.strip():
            yield self._number, bytes(self._begun)


async def batched(
    pieces: AsyncIterator[bytes], *, first: int, from_line: int
) -> AsyncIterator[list[Line]]:
    """The lines of a body whose first has the number ``first``, from ``from_line`` on.

    ``BATCH`` at a time, or fewer that have ``BATCH_BYTES``.
    """
    splitter, batch, size = Splitter(first), list[Line](), 0
    async for piece in pieces:
        for number, raw in splitter.lines(piece):
            if number >= from_line:
                batch.append((number, raw))
                size += len(raw)
            if len(batch) == BATCH or size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
    batch += (line for line in splitter.last() if line[0] >= from_line)
    if batch:
        yield batch
