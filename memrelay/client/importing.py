"""Importing NDJSON: read in parts that neither side must hold whole, each confirmed before the next."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import httpx

from memrelay.client.http import BACKOFF, Http, api_error
from memrelay.errors import ApiError, InvalidInput, RateLimited, ServiceUnavailable, Transient

PART_LINES = 5000
PART_BYTES = 4 << 20
PIECE_BYTES = 1 << 20
MOST_REFUSALS = 100
GZIP_MAGIC = b"\x1f\x8b"
_random = Random()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A line that was not taken in, and why."""

    line: int
    code: str
    detail: str


@dataclass(slots=True)
class Imported:
    """How far an import is: every line up to ``line`` has been accepted or refused for good.

    ``read`` counts bytes of the input up to there, compressed ones where it is. ``refusals`` are the first
    ones; ``refused`` counts all. ``job`` is the id of its job, None until a line was accepted.
    """

    line: int = 0
    read: int = 0
    accepted: int = 0
    refused: int = 0
    refusals: list[Refusal] = field(default_factory=list)
    job: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """Some lines of an input, whole ones, and the number of the first; ``end``: how far that is in bytes."""

    first: int
    count: int
    body: bytes
    end: int


def key_of_file(path: Path) -> str:
    """An idempotency key that follows from the file's content: importing it again repeats nothing.

    The same for a file and for what gzip makes of it. ``InvalidInput`` if that is damaged.
    """
    digest = hashlib.sha256()
    with _opened(path) as (lines, _):
        while piece := lines.read(PIECE_BYTES):
            digest.update(piece)
    return f"sha256-{digest.hexdigest()}"


async def import_lines(
    http: Http,
    parts: Iterator[Part],
    *,
    source: str,
    key: str,
    from_line: int,
    progress: Callable[[Imported], None] | None,
) -> Imported:
    """Send the parts in order, from ``from_line`` on; ``progress`` is told after each."""
    done = Imported(line=from_line - 1)
    while (part := await asyncio.to_thread(next, parts, None)) is not None:
        if part.first + part.count > from_line:
            await _send(http, part, done, source=source, key=key)
            done.line = part.first + part.count - 1
        done.read = part.end
        if progress is not None:
            progress(done)
    return done


async def _send(http: Http, part: Part, done: Imported, *, source: str, key: str) -> None:
    """Send the lines of a part that come after ``done.line``.

    When the service takes some of them only, because it is full or loses its journal, it is sent the
    rest later: ``patience`` begins anew with each line that is taken.
    """
    attempt, deadline = 1, time.monotonic() + http.patience
    while True:
        response = await http.request(
            "POST",
            "/v1/memories/import",
            params={"source": source, "first_line": part.first, "from_line": done.line + 1},
            content=part.body,
            headers={"Idempotency-Key": key, "Content-Type": "application/x-ndjson"},
            check=_check_whole,
        )
        error = _error(response)
        if error is None:
            _add(done, response)
            return
        reached = _reached(response)
        if reached > done.line:
            _add(done, response)
            done.line = reached
            attempt, deadline = 1, time.monotonic() + http.patience
        if not isinstance(error, RateLimited | ServiceUnavailable):
            raise error
        asked = Transient(str(error), retry_after=error.retry_after)
        delay = BACKOFF.delay(attempt, asked, _random)
        if time.monotonic() + delay > deadline:
            raise error
        attempt += 1
        await asyncio.sleep(delay)


def parts_of(lines: Path | Iterable[str | bytes]) -> Iterator[Part]:
    """The lines, or those of a file, gzip or not, in parts of ``PART_LINES`` and ``PART_BYTES`` at most."""
    if isinstance(lines, Path):
        with _opened(lines) as (inside, raw):
            yield from _parts(inside, raw.tell)
    else:
        yield from _parts((_line(line) for line in lines), None)


def _parts(lines: Iterable[bytes], tell: Callable[[], int] | None) -> Iterator[Part]:
    """``tell`` says how far the input is read; where it is None its bytes are counted."""
    first, size, read, held = 1, 0, 0, list[bytes]()
    for line in lines:
        held.append(line)
        size += len(line)
        if len(held) == PART_LINES or size >= PART_BYTES:
            read += size
            yield Part(first, len(held), b"".join(held), tell() if tell else read)
            first, size, held = first + len(held), 0, []
    if held:
        yield Part(first, len(held), b"".join(held), tell() if tell else read + size)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[io.BufferedIOBase, io.BufferedReader]]:
    """What a file holds, and the file itself. Raises ``InvalidInput`` for a damaged gzip file."""
    with path.open("rb") as raw:
        if not raw.peek(len(GZIP_MAGIC)).startswith(GZIP_MAGIC):
            yield raw, raw
            return
        try:
            with gzip.GzipFile(fileobj=raw) as inside:
                yield inside, raw
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise InvalidInput(f"{path}: a damaged gzip file: {error}") from None


def _line(line: str | bytes) -> bytes:
    raw = line.encode() if isinstance(line, str) else line
    text = raw.removesuffix(b"\n")
    if b"\n" in text:
        raise InvalidInput("a line holds a line break: give one JSON object for each item")
    return text + b"\n"


def _check_whole(response: httpx.Response) -> None:
    if _summary(response) is None:
        raise ServiceUnavailable(503, {"code": "cut_short", "detail": "The answer was cut short."})


def _error(response: httpx.Response) -> ApiError | None:
    """An import that ended early is an error like any other, although its status was 200."""
    error = (_summary(response) or {}).get("error")
    if not error:
        return None
    status = int(error.get("status", 500))
    return api_error(status, dict(error), retry_after=error.get("retry_after"))


def _summary(response: httpx.Response) -> Mapping[str, Any] | None:
    last = response.content.rstrip(b"\n").rpartition(b"\n")[2]
    try:
        summary = json.loads(last)["summary"]
    except (ValueError, KeyError, TypeError):
        return None
    return summary if isinstance(summary, dict) else None


def _reached(response: httpx.Response) -> int:
    """The last line that an import took or refused before it ended early; 0 if it does not say."""
    return int((_summary(response) or {}).get("from_line", 1)) - 1


def _add(done: Imported, response: httpx.Response) -> None:
    summary = _summary(response) or {}
    done.accepted += int(summary.get("accepted", 0))
    done.refused += int(summary.get("refused", 0))
    job = summary.get("job")
    done.job = str(job["id"]) if job else done.job
    if summary.get("refused") and len(done.refusals) < MOST_REFUSALS:
        found = [_refusal(line) for line in response.content.splitlines() if b'"error"' in line]
        done.refusals += [refusal for refusal in found if refusal is not None]
        del done.refusals[MOST_REFUSALS:]


def _refusal(line: bytes) -> Refusal | None:
    result = json.loads(line)
    error = result.get("error")
    if "line" not in result or not isinstance(error, dict):
        return None
    pointed = [f"{e['pointer']} {e['detail']}".strip() for e in error.get("errors", [])]
    return Refusal(result["line"], str(error["code"]), "; ".join(pointed) or str(error["detail"]))
