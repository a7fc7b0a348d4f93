"""The connections of one event loop: made when needed, given up when the server does not answer.

psycopg's own pool is not used: while a server is away it lets callers wait for its background work, and
a call that was broken off waits for the answer of a server that may be frozen.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import PipelineStatus, TransactionStatus

from backends.pgvector.binary import BinaryArray, BinaryArrayDumper
from backends.pgvector.conditions import Sql
from backends.pgvector.errors import translated
from backends.pgvector.settings import Settings
from memrelay.errors import Unavailable

CONNECT_SECONDS = 3
SCOPE_SETTING = "memrelay.scope"
"""What the row policies compare with."""

# It warns of what went wrong while it cleaned up after an error, which we have in our hands.
logging.getLogger("psycopg").setLevel(logging.ERROR)

type Connection = AsyncConnection[tuple[Any, ...]]
type Rows = list[tuple[Any, ...]]

_DEFAULTS: dict[str, Any] = {
    "application_name": "memrelay",
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}


class Connections:
    """At most ``settings.connections``; whoever comes then waits. All that it raises is ours."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.what = f"{name} ({settings.place})"
        self.always = {
            "search_path": settings.schema_,
            "statement_timeout": f"{settings.timeout:g}s",
        }
        """Settings of the server that every transaction has; they end with it, so that a pooler between us
        does no harm."""
        self._settings = settings
        self._options = _DEFAULTS | conninfo_to_dict(settings.url)
        self._room = asyncio.Semaphore(settings.connections)
        self._free: list[Connection] = []
        self._closed = False

    async def close(self) -> None:
        self._closed = True
        free, self._free = self._free, []
        for connection in free:
            await connection.close()

    async def run(
        self, *statements: Sql, scope: int | None = None, settings: Mapping[str, str] | None = None
    ) -> list[Rows]:
        """The rows of each statement. All are one transaction, and one round trip: a client that freezes
        leaves no lock behind. ``settings`` are of the server, for this transaction."""
        prepare = self._prepare(scope, settings or {})
        with translated(self.what):
            async with asyncio.timeout(self._settings.timeout), self._lent() as connection:
                work = _exchange(connection, (prepare, *statements))
                return (await _unless_broken_off(connection, work))[1:]

    async def transaction(self, *statements: Sql, lock: str) -> list[Rows]:
        """The same, under a lock of this name that all processes share."""
        taken = Sql("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (lock,))
        return (await self.run(taken, *statements))[1:]

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Callable[[Sql], Awaitable[Rows]]]:
        """A connection of its own for long work: each statement is a transaction, and none has a deadline."""
        with translated(self.what):
            connection = await self._connect()
            try:

                async def ask(statement: Sql) -> Rows:
                    work = _exchange(connection, (statement,))
                    [rows] = await _unless_broken_off(connection, work)
                    return rows

                path = Sql(
                    "SELECT set_config('search_path', %s, false)", (self.always["search_path"],)
                )
                await ask(path)
                yield ask
            finally:
                await connection.close()

    def _prepare(self, scope: int | None, settings: Mapping[str, str]) -> Sql:
        """The statement that makes its settings."""
        named = {SCOPE_SETTING: "" if scope is None else str(scope)}
        wanted = self.always | named | dict(settings)
        calls = ", ".join(["set_config(%s, %s, true)"] * len(wanted))
        return Sql(f"SELECT {calls}", tuple(text for pair in wanted.items() for text in pair))

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[Connection]:
        async with self._room:
            connection = await self._idle() or await self._connect()
            try:
                yield connection
            finally:
                if _at_rest(connection) and not self._closed:
                    self._free.append(connection)
                else:
                    await connection.close()

    async def _idle(self) -> Connection | None:
        """One that the server has not closed meanwhile."""
        while self._free:
            connection = self._free.pop()
            if _at_rest(connection) and not _has_news(connection):
                return connection
            await connection.close()
        return None

    async def _connect(self) -> Connection:
        if self._closed:
            raise Unavailable(f"{self.what} is not open", code="closed")
        connection = await AsyncConnection.connect(
            **self._options, autocommit=True, prepare_threshold=None
        )
        connection.adapters.register_dumper(BinaryArray, BinaryArrayDumper)
        return connection


async def _exchange(connection: Connection, statements: tuple[Sql, ...]) -> list[Rows]:
    async with connection.pipeline():
        cursors = []
        for statement in statements:
            cursor = connection.cursor(binary=True)
            cursors.append(await cursor.execute(statement.text.encode(), statement.values or None))
    return [await cursor.fetchall() if cursor.description else [] for cursor in cursors]


async def _unless_broken_off[T](connection: Connection, work: Coroutine[Any, Any, T]) -> T:
    """What ``work`` gives. Broken off, it hangs up: psycopg would wait for the server's answer to that."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        _hang_up(connection)
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()
        raise


def _hang_up(connection: Connection) -> None:
    """libpq sees the end of the connection, and whoever waits for it goes on."""
    with suppress(OSError, psycopg.Error):
        ours = socket.socket(fileno=os.dup(connection.fileno()))
        ours.shutdown(socket.SHUT_RDWR)
        ours.close()


def _at_rest(connection: Connection) -> bool:
    pgconn = connection.pgconn
    return (
        not connection.closed
        and pgconn.transaction_status == TransactionStatus.IDLE
        and pgconn.pipeline_status == PipelineStatus.OFF
    )


def _has_news(connection: Connection) -> bool:
    """A server that says something unasked says good-bye, or died."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
