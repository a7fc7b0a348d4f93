"""The driver: every blocking call runs in the one thread that owns the connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate

import apsw

from backends.sqlite import reads, scans, schema, writes
from backends.sqlite.errors import translated
from memrelay.driver import Capabilities, Query
from memrelay.errors import Permanent
from memrelay.filters import Filter
from memrelay.types import Delete, Hit, Memory, Op, Outcome, Page, Scope


class SqliteDriver:
    """Memories in one file. Exact: searches compare with every vector that the filter leaves."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.capabilities = Capabilities(keyword=True, local_only=True)
        self._path = path
        self._thread: ThreadPoolExecutor | None = None
        self._connection: apsw.Connection | None = None

    async def open(self) -> None:
        """Open the file, or make it; ``Unavailable`` if it or its folder cannot be used."""
        if self._thread is not None:
            return
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"memrelay-{self.name}")
        try:
            self._connection = await self._in_thread(schema.connect, self._path)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        thread, connection = self._thread, self._connection
        self._thread = self._connection = None
        if thread is not None:
            if connection is not None:
                await asyncio.get_running_loop().run_in_executor(thread, connection.close)
            thread.shutdown(wait=False)

    async def ping(self) -> None:
        await self._call(lambda connection: connection.execute("SELECT count(*) FROM scopes").get)

    async def ensure(self, scope: Scope) -> None:
        await self._call(writes.ensure, scope)

    async def apply(self, scope: Scope, ops: Sequence[Op]) -> Mapping[str, Outcome]:
        return await self._call(writes.apply, scope, ops)

    async def get(self, scope: Scope, ids: Sequence[str]) -> Mapping[str, Memory]:
        return await self._call(reads.get, scope, ids)

    async def search(self, scope: Scope, query: Query) -> Sequence[Hit]:
        return await self._call(reads.search, scope, query)

    async def scan(
        self, scope: Scope, *, since: int = 0, cursor: str | None = None, limit: int = 1000
    ) -> Page:
        return await self._call(scans.scan, scope, since, cursor, limit)

    async def records(self, scope: Scope, ids: Sequence[str]) -> Mapping[str, Op]:
        return await self._call(scans.records, scope, ids)

    async def find(
        self, scope: Scope, filter: Filter | None, *, after: str | None = None, limit: int = 512
    ) -> Sequence[Memory]:
        return await self._call(reads.find, scope, filter, after, limit)

    async def expired(self, scope: Scope, *, now: int, limit: int = 512) -> Sequence[Delete]:
        return await self._call(scans.expired, scope, now, limit)

    async def collect(self, scope: Scope, *, before: int, limit: int = 512) -> int:
        return await self._call(writes.collect, scope, before, limit)

    async def count(self, scope: Scope, filter: Filter | None, *, now: int) -> int:
        return await self._call(reads.count, scope, filter, now)

    async def purge(self, scope: Scope) -> None:
        await self._call(writes.purge, scope)

    async def _call[**P, T](
        self, work: Callable[Concatenate[apsw.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        connection = self._connection
        if connection is None:
            raise Permanent(f"{self.name} is not open")
        return await self._in_thread(lambda: work(connection, *args, **kwargs))

    async def _in_thread[**P, T](
        self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        loop = asyncio.get_running_loop()
        # Where the file is: for who starts it. What fails later is told to tenants.
        what = self.name if self._connection is not None else f"{self.name} ({self._path})"
        with translated(what):
            return await loop.run_in_executor(self._thread, lambda: work(*args, **kwargs))
