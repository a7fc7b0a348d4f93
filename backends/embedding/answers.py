"""How much of a provider's answer is read: what was asked for takes less by far.

Bytes are counted as they come. So answers must not be compressed: a few bytes may be any number of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import cast

import httpx

FLOOR = 1 << 20
"""Bytes, whatever was asked for; errors and what providers add have room in it."""
NUMBER = 48
"""Bytes of a number in JSON, with an indentation."""
ITEM = 1024
"""Bytes beside the numbers of a vector."""
ECHO = 6
"""Bytes for each of a text that is sent back, every character escaped."""
MOST_DIMENSIONS = 4096


def room_for(texts: Sequence[str], dimensions: int) -> int:
    """Bytes that an answer to ``texts`` may have; ``dimensions`` is 0 where it is not known yet."""
    echo = ECHO * sum(len(text.encode(errors="replace")) for text in texts)
    return FLOOR + echo + len(texts) * (NUMBER * (dimensions or MOST_DIMENSIONS) + ITEM)


@dataclass(slots=True)
class Allowance:
    """``refused`` says why no more was read; it is empty until then."""

    room: int
    refused: str = ""


_ALLOWANCE: ContextVar[Allowance] = ContextVar("allowance")


@contextmanager
def allowed(room: int) -> Iterator[Allowance]:
    """Answers to what is asked inside, in threads and tasks of it too, have ``room`` bytes each."""
    allowance = Allowance(room)
    token = _ALLOWANCE.set(allowance)
    try:
        yield allowance
    finally:
        _ALLOWANCE.reset(token)


class RefusedAnswerError(httpx.RequestError):
    """Raised below LiteLLM, which makes an error of its own of it."""


def bound_answers(client: httpx.Client | httpx.AsyncClient) -> None:
    """Its requests ask for answers that are not compressed, and read none past its allowance."""
    asynchronous = isinstance(client, httpx.AsyncClient)
    hooks = client.event_hooks
    for kind, hook in (
        ("request", _ask_plain_later if asynchronous else _ask_plain),
        ("response", _bound_later if asynchronous else _bound),
    ):
        if hook not in hooks[kind]:
            hooks[kind] = [*hooks[kind], hook]
    client.event_hooks = hooks


def _ask_plain(request: httpx.Request) -> None:
    request.headers["accept-encoding"] = "identity"


def _bound(response: httpx.Response) -> None:
    """Before anything of the body is read."""
    allowance = _ALLOWANCE.get(Allowance(FLOOR))
    encoding = response.headers.get("content-encoding", "identity")
    if encoding != "identity":
        why = f"the answer is compressed ({encoding[:20]!r}), against our wish"
        raise _refused(allowance, why, response.request)
    response.stream = _BoundedStream(response.stream, allowance, response.request)


async def _ask_plain_later(request: httpx.Request) -> None:
    _ask_plain(request)


async def _bound_later(response: httpx.Response) -> None:
    _bound(response)


def _refused(allowance: Allowance, why: str, request: httpx.Request) -> RefusedAnswerError:
    allowance.refused = why
    return RefusedAnswerError(why, request=request)


class _BoundedStream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """``stream``, of whichever kind, until it is longer than allowed."""

    def __init__(
        self,
        stream: httpx.SyncByteStream | httpx.AsyncByteStream,
        allowance: Allowance,
        request: httpx.Request,
    ) -> None:
        self._stream = stream
        self._allowance = allowance
        self._request = request
        self._read = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in cast("httpx.SyncByteStream", self._stream):
            yield self._counted(chunk)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in cast("httpx.AsyncByteStream", self._stream):
            yield self._counted(chunk)

    def close(self) -> None:
        cast("httpx.SyncByteStream", self._stream).close()

    async def aclose(self) -> None:
        await cast("httpx.AsyncByteStream", self._stream).aclose()

    def _counted(self, chunk: bytes) -> bytes:
        self._read += len(chunk)
        if self._read > self._allowance.room:
            why = f"the answer is larger than {self._allowance.room:,} bytes"
            raise _refused(self._allowance, why, self._request)
        return chunk
