"""The driver contract on Redis 8: see keys.py for what lies where, write.py for why it is safe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import batched
from typing import Any

from backends.redis.client import Client
from backends.redis.collect import Collect
from backends.redis.directory import Directory
from backends.redis.expired import expired
from backends.redis.find import Find
from backends.redis.held import Held
from backends.redis.keys import Keys, PartitionKeys, keys_of
from backends.redis.partitions import Partitions
from backends.redis.records import decode, necessary
from backends.redis.search import PARTITIONS_PER_TRIP, Search
from backends.redis.settings import Settings
from backends.redis.write import Writer
from memrelay.driver import Capabilities, Query
from memrelay.errors import ConfigError, Permanent, Unavailable, Unsupported
from memrelay.filters import Filter, matches, normalized
from memrelay.options import parse_options
from memrelay.types import Delete, Hit, Memory, Op, Outcome, Page, Scope

RECORDS_PER_PAGE = 256
FIXED = ("partitions", "directory_shards")
FORMAT = 2
"""Of the keys; 1 had no order of ids, and no list of tombstones."""


def create(name: str, settings: Mapping[str, Any]) -> RedisDriver:
    """The driver under ``drivers.<name>``, not opened; ``ConfigError`` names a wrong setting."""
    return RedisDriver(name, parse_options(Settings, f"drivers.{name}", settings))


class RedisDriver:
    """Exact search inside a user's partition, highest version wins inside Redis.

    Vectors come back as they were given up to float32 rounding. A search that names no user is served over
    at most ``scatter`` partitions, hence ``unscoped_search=False``.
    """

    capabilities = Capabilities(unscoped_search=False, filtered_find=False)

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self._settings = settings
        self._opened: Client | None = None

    async def open(self) -> None:
        if self._opened is not None:
            return
        client = Client(self._settings.url)
        try:
            await self._check_server(client)
            await self._check_layout(client)
        except BaseException:
            await client.close()
            raise
        self._opened = client

    async def close(self) -> None:
        client, self._opened = self._opened, None
        if client is not None:
            await client.close()

    async def ping(self) -> None:
        await self._client.run([("PING",)])

    async def ensure(self, scope: Scope) -> None:
        """Keys come into being with their first memory, so there is nothing to create."""
        await self.ping()

    async def apply(self, scope: Scope, ops: Sequence[Op]) -> Mapping[str, Outcome]:
        return await Writer(self._client, self._keys(scope), scope).apply(ops)

    async def get(self, scope: Scope, ids: Sequence[str]) -> Mapping[str, Memory]:
        return await self._directory(scope).get(ids)

    async def search(self, scope: Scope, query: Query) -> Sequence[Hit]:
        if query.mode != "semantic":
            raise Unsupported(f"{self.name}: no {query.mode} search", code="keyword")
        size = len(query.vector or b"")
        if size != 4 * scope.space.dimensions:
            raise Permanent(f"a query vector of {size} bytes", code="dimension")
        partitions = self._partitions(scope)
        named = partitions.named(query.filter)
        if named is None:
            named = await partitions.within(self._settings.scatter)
        return await Search(self._client, scope, query).run(named)

    async def scan(
        self, scope: Scope, *, since: int = 0, cursor: str | None = None, limit: int = 1000
    ) -> Page:
        return await self._directory(scope).scan(since, cursor, limit)

    async def records(self, scope: Scope, ids: Sequence[str]) -> Mapping[str, Op]:
        """Vectors are those that were given up to float32 rounding. Also left out is what is under way."""
        return await Held(self._client, self._keys(scope), scope).records(ids)

    async def find(
        self, scope: Scope, filter: Filter | None, *, after: str | None = None, limit: int = 512
    ) -> Sequence[Memory]:
        """See find.py for what a page costs."""
        return await Find(self._client, self._keys(scope), scope, filter).page(after, limit)

    async def expired(self, scope: Scope, *, now: int, limit: int = 512) -> Sequence[Delete]:
        keys, directory = self._keys(scope), self._directory(scope)
        return await expired(self._client, keys, directory, now=now, limit=limit)

    async def collect(self, scope: Scope, *, before: int, limit: int = 512) -> int:
        """No op of a version below ``before`` may be under way or come again: see collect.py."""
        return await Collect(self._client, self._keys(scope), scope).run(before, limit)

    async def count(self, scope: Scope, filter: Filter | None, *, now: int) -> int:
        """Without a filter from the directory's own numbers; with one, by reading what it leaves."""
        if filter is None:
            return await self._directory(scope).count(now)
        partitions = self._partitions(scope)
        tally = _Tally(self._client, scope, filter, now)
        named = partitions.named(filter)
        if named is None:
            async for page in partitions.pages():
                await tally.add(page)
        else:
            await tally.add(named)
        return len(tally.ids)

    async def purge(self, scope: Scope) -> None:
        await self._partitions(scope).purge()

    @property
    def _client(self) -> Client:
        if self._opened is None:
            raise Unavailable(f"{self.name} is not open", code="closed")
        return self._opened

    def _keys(self, scope: Scope) -> Keys:
        return keys_of(self._settings, scope)

    def _partitions(self, scope: Scope) -> Partitions:
        return Partitions(self._client, self._keys(scope))

    def _directory(self, scope: Scope) -> Directory:
        return Directory(self._client, self._keys(scope), scope.source)

    async def _check_server(self, client: Client) -> None:
        """``ConfigError`` unless the server has vector sets, as Redis has them from 8 on."""
        try:
            await client.run([("VCARD", f"{self._settings.prefix}:probe")])
        except Permanent as error:
            raise ConfigError(
                f"drivers.{self.name}.url: needs Redis 8 or later, with vector sets ({error})"
            ) from error

    async def _check_layout(self, client: Client) -> None:
        """``ConfigError`` if the store was filled under other numbers than these settings have."""
        key = f"{self._settings.prefix}:layout"
        [[filled, form]] = await client.run([("HMGET", key, FIXED[0], "format")])
        if int(form or (1 if filled else FORMAT)) != FORMAT:
            raise ConfigError(
                f"drivers.{self.name}: this store was filled by another version of memrelay: "
                "empty it, or give another prefix, and sync it from its replicas"
            )
        await client.run([("HSETNX", key, "format", FORMAT)])
        ours = {name: getattr(self._settings, name) for name in FIXED}
        await client.run([("HSETNX", key, name, value) for name, value in ours.items()])
        [stored] = await client.run([("HMGET", key, *FIXED)])
        for name, value in zip(FIXED, stored, strict=True):
            if int(value) != ours[name]:
                raise ConfigError(
                    f"drivers.{self.name}.{name}: {ours[name]}, but this store was filled with "
                    f"{int(value)}: give that, or another prefix"
                )


class _Tally:
    """The ids that pass a filter, counted partition by partition."""

    def __init__(self, client: Client, scope: Scope, filter: Filter, now: int) -> None:
        self._client = client
        self._source = scope.source
        self._filter = filter
        self._possible = necessary(normalized(filter))
        self._now = now
        self.ids: set[str] = set()

    async def add(self, partitions: Sequence[PartitionKeys]) -> None:
        for trip in batched(partitions, PARTITIONS_PER_TRIP):
            cursors = {keys.records: 0 for keys in trip}
            while cursors:
                replies = await self._client.run(
                    [
                        ("HSCAN", key, cursor, "COUNT", RECORDS_PER_PAGE)
                        for key, cursor in cursors.items()
                    ]
                )
                for _, records in replies:
                    self._judge(records)
                after = zip(cursors, replies, strict=True)
                cursors = {key: int(cursor) for key, (cursor, _) in after if int(cursor)}

    def _judge(self, records: Mapping[bytes, bytes]) -> None:
        for record in records.values():
            if self._possible(record):
                memory = decode(record, self._source)
                if memory is None or memory.expired(self._now):
                    continue
                if matches(self._filter, memory):
                    self.ids.add(memory.id)
