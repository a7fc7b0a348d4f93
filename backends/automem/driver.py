"""The driver contract on AutoMem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from backends.automem import reads
from backends.automem.connection import Connection
from backends.automem.search import search
from backends.automem.settings import Settings
from backends.automem.writes import Writer
from memrelay.driver import Capabilities, Query
from memrelay.filters import Filter
from memrelay.types import Delete, Hit, Memory, Op, Outcome, Page, Scope


class AutomemDriver:
    """Memories replicated into an AutoMem, where its own clients recall them too.

    Exact, and slow where it is large: AutoMem lists by tags and no more, so a search without a user, a scan
    and a count read the whole scope, 2,000 memories in 3 s. Whether its database survives a kill is for
    whoever runs it to set, and not for us to know.
    """

    capabilities = Capabilities(atomic_versions=False, survives_kill=False)

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self._connection = Connection(name, settings)
        self._writer = Writer(self._connection)

    async def open(self) -> None:
        await self._connection.open()

    async def close(self) -> None:
        await self._connection.close()

    async def ping(self) -> None:
        await self._connection.ping()

    async def ensure(self, scope: Scope) -> None:
        """Tags need no preparation."""

    async def apply(self, scope: Scope, ops: Sequence[Op]) -> Mapping[str, Outcome]:
        return await self._writer.apply(scope, ops)

    async def get(self, scope: Scope, ids: Sequence[str]) -> Mapping[str, Memory]:
        return await reads.get(self._connection, scope, ids)

    async def search(self, scope: Scope, query: Query) -> Sequence[Hit]:
        return await search(self._connection, scope, query)

    async def scan(
        self, scope: Scope, *, since: int = 0, cursor: str | None = None, limit: int = 1000
    ) -> Page:
        return await reads.scan(self._connection, scope, since, cursor, limit)

    async def records(self, scope: Scope, ids: Sequence[str]) -> Mapping[str, Op]:
        return await reads.records(self._connection, scope, ids)

    async def find(
        self, scope: Scope, filter: Filter | None, *, after: str | None = None, limit: int = 512
    ) -> Sequence[Memory]:
        return await reads.find(self._connection, scope, filter, after, limit)

    async def expired(self, scope: Scope, *, now: int, limit: int = 512) -> Sequence[Delete]:
        return await reads.expired(self._connection, scope, now, limit)

    async def collect(self, scope: Scope, *, before: int, limit: int = 512) -> int:
        return await self._writer.collect(scope, before, limit)

    async def count(self, scope: Scope, filter: Filter | None, *, now: int) -> int:
        return await reads.count(self._connection, scope, filter, now=now)

    async def purge(self, scope: Scope) -> None:
        await self._writer.purge(scope)
