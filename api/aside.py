"""Large bodies are read in a process aside: nobody's single write waits for another's import.

Reading 1,000 memories takes 10 ms and more of Python. In a thread they would be taken from the event
loop bit by bit, and the loop waits longer for the interpreter than the work itself takes.
``python -m api.aside BROUGHT`` is that process: orders on its standard input, an answer for each on
its standard output. It ends when its input does.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import struct
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import BinaryIO

import msgspec

from api.problems import Problem, of
from api.reading import Brought, Line, Lines, Read, read_lines, read_memories
from memrelay.embedded.apps import app_command, app_environment
from memrelay.embedded.leash import leashed
from memrelay.errors import Unavailable
from memrelay.pacing import Pace

log = logging.getLogger("memrelay.api")
SMALL_BYTES = 16 * 1024
"""A body of up to so many (under a millisecond of work) is not worth the way to the process and back."""
SINGLE_BYTES = 128 * 1024
"""A body of up to so many may be a single write, with a vector in it."""
NICENESS = 10
READ_SECONDS = 30.0
END_SECONDS = 5.0
_LENGTH = struct.Struct("<I")


class ReadMemories(msgspec.Struct, tag=True):
    """An order: the body of ``POST /v1/memories``."""

    raw: bytes


class ReadLines(msgspec.Struct, tag=True):
    """An order: lines of an import into ``source`` under ``key``."""

    lines: list[Line]
    source: str
    key: str


class Refused(msgspec.Struct, tag=True):
    """The answer for a body that is a problem."""

    status: int
    code: str
    detail: str
    errors: list[tuple[str, str]]


Order = ReadMemories | ReadLines
Answer = Read | Lines | Refused


class Aside:
    """The process. One order at a time is under way; they are done, and answered, as they came.

    If it dies, the order that it had is ``Unavailable``, and the next one finds another process.
    """

    def __init__(self, brought: Brought, pace: Pace) -> None:
        self._brought = brought
        self._pace = pace
        self._lock = asyncio.Lock()
        self._bulk = asyncio.Lock()
        self._process: Process | None = None
        self._under_way: set[asyncio.Task[Answer]] = set()

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """It loads on its own; an order waits for that."""
        command = app_command("api.aside", [json.dumps(dict(self._brought))])
        self._process = await asyncio.create_subprocess_exec(
            *leashed(command), env=app_environment(), stdin=PIPE, stdout=PIPE
        )

    async def close(self) -> None:
        """It ends when it has no more orders to read, or else is killed."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(END_SECONDS):
                await process.wait()
        except TimeoutError:
            await _kill(process)

    async def memories(self, raw: bytes) -> Read:
        """As ``read_memories``; small bodies are read here."""
        if len(raw) <= SMALL_BYTES:
            return read_memories(raw, self._brought)
        answer = await self._ask(ReadMemories(raw))
        assert isinstance(answer, Read)
        return answer

    async def lines(self, lines: Sequence[Line], source: str, key: str) -> Lines:
        """As ``read_lines``; never here, so that lines are entered in their order."""
        answer = await self._ask(ReadLines(list(lines), source, key))
        assert isinstance(answer, Lines)
        return answer

    async def _ask(self, order: Order) -> Answer:
        """To its end even if who asked has gone: the next answer would be taken for this one."""
        task = asyncio.create_task(self._exchange(order))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        answer = await asyncio.shield(task)
        if isinstance(answer, Refused):
            raise Problem(answer.status, answer.code, answer.detail, errors=answer.errors)
        return answer

    @asynccontextmanager
    async def _turn(self, order: Order) -> AsyncIterator[None]:
        """Bulk work waits for a turn, and nobody with a single write for that."""
        if isinstance(order, ReadMemories) and len(order.raw) <= SINGLE_BYTES:
            yield
            return
        async with self._bulk, self._pace.turn():
            yield

    async def _exchange(self, order: Order) -> Answer:
        async with self._turn(order), self._lock:
            try:
                async with asyncio.timeout(READ_SECONDS):
                    if self._process is None:
                        await self.start()
                    assert self._process is not None
                    return await _exchange(self._process, order)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                log.error("the process that reads large bodies is gone or stuck")
                process, self._process = self._process, None
                if process is not None:
                    await _kill(process)
                raise Unavailable("a large body could not be read; send it again") from None


async def _kill(process: Process) -> None:
    with suppress(ProcessLookupError):  # it is gone already, and was waited for
        process.kill()
    await process.wait()


async def _exchange(process: Process, order: Order) -> Answer:
    assert process.stdin is not None
    assert process.stdout is not None
    body = msgspec.msgpack.encode(order)
    process.stdin.writelines((_LENGTH.pack(len(body)), body))
    await process.stdin.drain()
    (length,) = _LENGTH.unpack(await process.stdout.readexactly(_LENGTH.size))
    answer: Answer = msgspec.msgpack.decode(await process.stdout.readexactly(length), type=Answer)
    return answer


def answer(order: Order, brought: Brought) -> Answer:
    """What is read, or what is wrong."""
    try:
        if isinstance(order, ReadMemories):
            return read_memories(order.raw, brought)
        return read_lines(order.lines, brought[order.source], order.key)
    except Exception as error:
        return _refused(error)


def _refused(error: Exception) -> Refused:
    """In a frame of its own: a name for the problem in one that its traceback holds would be a cycle, and
    the body, which takes twenty times its bytes when parsed, would stay until that is collected."""
    problem = of(error)
    return Refused(problem.status, problem.code, problem.detail, problem.errors)


def serve(orders: BinaryIO, answers: BinaryIO, brought: Brought) -> None:
    """Until ``orders`` end."""
    while head := orders.read(_LENGTH.size):
        (length,) = _LENGTH.unpack(head)
        order: Order = msgspec.msgpack.decode(orders.read(length), type=Order)
        body = msgspec.msgpack.encode(answer(order, brought))
        answers.write(_LENGTH.pack(len(body)) + body)
        answers.flush()


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # from a terminal: the API ends first, then we
    os.nice(NICENESS)
    serve(sys.stdin.buffer, sys.stdout.buffer, json.loads(sys.argv[1]))


if __name__ == "__main__":
    main()
