"""The driver contract on PostgreSQL with pgvector."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from backends.pgvector import reads, scans, writes
from backends.pgvector.conditions import Sql
from backends.pgvector.connections import Connections
from backends.pgvector.errors import LayoutLost
from backends.pgvector.indexes import Builder
from backends.pgvector.layout import Layout
from backends.pgvector.search import Search
from backends.pgvector.settings import Settings
from backends.pgvector.table import Table
from memrelay.driver import Capabilities, Query
from memrelay.errors import Unavailable
from memrelay.filters import Filter
from memrelay.options import parse_options
from memrelay.types import Delete, Hit, Memory, Op, Outcome, Page, Scope


def create(name: str, settings: Mapping[str, Any]) -> PgvectorDriver:
    """The driver under ``drivers.<name>``, not opened; ``ConfigError`` names a wrong setting."""
    return PgvectorDriver(name, parse_options(Settings, f"drivers.{name}", settings))


@dataclass(frozen=True, slots=True)
class _Parts:
    """What an opened driver is made of."""

    connections: Connections
    layout: Layout
    builder: Builder
    search: Search


class PgvectorDriver:
    """Highest version wins inside the database; a commit survives a kill.

    Searches are exact for a user, and in scopes of up to ``exact_rows`` memories; see search.py for others.
    """

    capabilities = Capabilities(keyword=True)

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self._settings = settings
        self._opened: _Parts | None = None
        self._prepared = False
        self._preparing = asyncio.Lock()

    async def open(self) -> None:
        """Make the schema, or move it forward; ``ConfigError`` says what the server lacks."""
        if self._opened is not None:
            return
        connections = Connections(self.name, self._settings)
        builder = Builder(connections, self._settings.index)
        search = Search(self._settings, builder)
        self._opened = _Parts(connections, Layout(connections, self._settings), builder, search)
        try:
            async with self._ready():
                pass
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        parts, self._opened, self._prepared = self._opened, None, False
        if parts is not None:
            await parts.builder.close()
            await parts.connections.close()

    async def ping(self) -> None:
        async with self._ready() as parts:
            await parts.connections.run(Sql("SELECT count(*) FROM scopes"))

    async def ensure(self, scope: Scope) -> None:
        async with self._ready() as parts:
            await parts.layout.ensure(scope)

    async def apply(self, scope: Scope, ops: Sequence[Op]) -> Mapping[str, Outcome]:
        async with self._ready() as parts:
            place = await parts.layout.ensure(scope)
            table = Table(parts.connections, place, scope)
            return await writes.apply(table, ops, parts.layout.vector_oid)

    async def get(self, scope: Scope, ids: Sequence[str]) -> Mapping[str, Memory]:
        async with self._table(scope) as table:
            return {} if table is None else await reads.get(table, ids)

    async def search(self, scope: Scope, query: Query) -> Sequence[Hit]:
        async with self._ready() as parts:
            place = await parts.layout.find(scope)
            if place is None:
                return []
            return await parts.search.run(Table(parts.connections, place, scope), query)

    async def scan(
        self, scope: Scope, *, since: int = 0, cursor: str | None = None, limit: int = 1000
    ) -> Page:
        async with self._table(scope) as table:
            if table is None:
                return Page([], None)
            return await scans.scan(table, since, cursor, limit)

    async def records(self, scope: Scope, ids: Sequence[str]) -> Mapping[str, Op]:
        async with self._table(scope) as table:
            return {} if table is None else await scans.records(table, ids)

    async def find(
        self, scope: Scope, filter: Filter | None, *, after: str | None = None, limit: int = 512
    ) -> Sequence[Memory]:
        async with self._table(scope) as table:
            return [] if table is None else await reads.find(table, filter, after, limit)

    async def expired(self, scope: Scope, *, now: int, limit: int = 512) -> Sequence[Delete]:
        async with self._table(scope) as table:
            return [] if table is None else await scans.expired(table, now, limit)

    async def collect(self, scope: Scope, *, before: int, limit: int = 512) -> int:
        async with self._table(scope) as table:
            return 0 if table is None else await writes.collect(table, before, limit)

    async def count(self, scope: Scope, filter: Filter | None, *, now: int) -> int:
        async with self._table(scope) as table:
            return 0 if table is None else await reads.count(table, filter, now)

    async def purge(self, scope: Scope) -> None:
        async with self._table(scope) as table:
            if table is not None:
                await writes.purge(table)

    @asynccontextmanager
    async def _table(self, scope: Scope) -> AsyncIterator[Table | None]:
        """None if nothing was ever stored for ``scope``."""
        async with self._ready() as parts:
            place = await parts.layout.find(scope)
            yield None if place is None else Table(parts.connections, place, scope)

    @asynccontextmanager
    async def _ready(self) -> AsyncIterator[_Parts]:
        """What was opened. Where the schema was lost, the next call makes it again."""
        parts = self._opened
        if parts is None:
            raise Unavailable(f"{self.name} is not open", code="closed")
        if not self._prepared:
            async with self._preparing:
                if not self._prepared:
                    await parts.layout.prepare()
                    self._prepared = True
        try:
            yield parts
        except LayoutLost:
            self._prepared = False
            raise
