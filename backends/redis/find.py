"""Live memories by filter, in the order of their ids.

The directory's live ids lie in order, so a page costs the memories that it passes over. Of users whom
the filter names, only the partitions' ids are gone through; those lie in no order, so each page walks
all ids of these users (about 1 µs each in the server, no records) and keeps the smallest. Little more
than twice ``WINDOW`` ids are held. What an id stands for is read through the directory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import batched

from backends.redis.client import IDS, Client
from backends.redis.directory import Directory
from backends.redis.keys import Keys, PartitionKeys
from backends.redis.partitions import Partitions
from backends.redis.search import PARTITIONS_PER_TRIP
from memrelay.filters import Filter, matches, required_values
from memrelay.types import Memory, Scope

WINDOW = 8192
IDS_PER_TRIP = 512
IDS_PER_CALL = 1024


class Find:
    """One page of ``find``."""

    def __init__(self, client: Client, keys: Keys, scope: Scope, filter: Filter | None) -> None:
        self._client = client
        self._filter = filter
        self._directory = Directory(client, keys, scope.source)
        self._of_users = Partitions(client, keys).of_users(filter)

    async def page(self, after: str | None, limit: int) -> list[Memory]:
        """The first ``limit`` memories above ``after``; fewer only if there are no more."""
        passed: list[Memory] = []
        above, most = (after or "").encode(), limit
        while len(passed) < limit:
            ids, ended = await self._ids(above, most)
            for part in batched(ids, most):
                if len(passed) < limit:
                    passed += await self._passing(part)
            if ended:
                break
            # All may pass, as of a user's memories; where they do not, more are read at a time.
            above, most = ids[-1], max(limit, IDS_PER_TRIP)
        return passed[:limit]

    async def _ids(self, above: bytes, most: int) -> tuple[Sequence[bytes], bool]:
        """Some of the ids above ``above``, the smallest, in order; and whether these are all."""
        named = required_values(self._filter, "id")
        if named is not None:
            return sorted(id for id in map(str.encode, named) if id > above), True
        if self._of_users is not None:
            smallest = await self._smallest(self._of_users, above)
            return smallest, len(smallest) < WINDOW
        ids = await self._directory.live_ids(above, most)
        return ids, len(ids) < most

    async def _passing(self, ids: Sequence[bytes]) -> list[Memory]:
        found = await self._directory.get(id.decode() for id in ids)
        memories = (found.get(id.decode()) for id in ids)
        return [one for one in memories if one is not None and self._matches(one)]

    def _matches(self, memory: Memory) -> bool:
        return self._filter is None or matches(self._filter, memory)

    async def _smallest(self, partitions: Sequence[PartitionKeys], above: bytes) -> list[bytes]:
        kept: set[bytes] = set()
        for trip in batched(partitions, PARTITIONS_PER_TRIP):
            cursors = {keys.records: 0 for keys in trip}
            while cursors:
                calls = [IDS.call((key,), (at, IDS_PER_CALL)) for key, at in cursors.items()]
                replies = await self._client.run(calls)
                for _, ids in replies:
                    kept.update(id for id in ids if id > above)
                if len(kept) >= 2 * WINDOW:
                    kept = set(_first(kept))
                after = zip(cursors, replies, strict=True)
                cursors = {key: int(cursor) for key, (cursor, _) in after if int(cursor)}
        return _first(kept)


def _first(ids: Iterable[bytes]) -> list[bytes]:
    return sorted(ids)[:WINDOW]
