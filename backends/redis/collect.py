"""Tombstones that no one needs any more: expiry makes them, ``Collect`` removes them for good.

``before`` is the caller's promise: no op of a lower version is under way or will come again.

What a tombstone is for. In a partition it bars a *put* or *drop* of a lower stamp that is late. In
the directory its entry bars lower ops from being entered. Under the promise nothing below ``before``
is left to bar, and what is newer is barred by nothing here: so nobody misses a tombstone of a version
below ``before``, and the steps only have to keep track of what is left and to spare what is newer:

1. The entry is read, as it is: a tombstone, or a memory that has moved. It names every partition in
   which a tombstone of its id may lie (``write.py``). If it names one that is not cleared, the delete
   broke off; it is done again first. (A move that broke off is left to whoever repeats it.)
2. *unbury* it there: remove the tombstone, unless its stamp is above that of the entry.
3. *forget*: only if the entry is still, byte for byte, the one that was read, a tombstone's is removed,
   and a memory's notes that it left nothing elsewhere.

Broken off before 3, the entry still names the partitions, and collecting again repeats the steps: a
partition's tombstone goes before the entry that knows of it. An op B that comes between has changed
the entry, so 3 leaves it alone, and B inherits the names. Whatever B has put or buried bears B's stamp
or, by an op that B overtook, one of ``before`` or above, which 2 spares; had B built on a tombstone
that 2 removed, it would only have built on one that is not missed. Two that collect at once remove
the same things, and 3 counts each tombstone for one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import batched
from typing import Literal

from backends.redis.client import FORGET, UNBURY, Client
from backends.redis.directory import place_of
from backends.redis.keys import Keys
from backends.redis.records import VERSION
from backends.redis.write import Writer
from memrelay.types import Delete, Scope

IDS_PER_CALL = 64
SPARE = 8

# The line of the directory's order, the entry's bytes, or none, and the number of the shard.
type _Seen = tuple[bytes, bytes, int]


class Collect:
    """One ``collect``."""

    def __init__(self, client: Client, keys: Keys, scope: Scope) -> None:
        self._client = client
        self._keys = keys
        self._scope = scope

    async def run(self, before: int, limit: int) -> int:
        """Remove at most ``limit`` tombstones; fewer only if there are no more. How many it were.

        Of the tombstones that moved memories left behind, which no scan gives, as many go besides.
        """
        await self._forget(await self._oldest("moved", before, limit))
        removed = 0
        while removed < limit:
            seen = await self._oldest("buried", before, limit - removed)
            if not seen:
                break
            removed += await self._forget(seen)
        return removed

    async def _oldest(
        self, index: Literal["buried", "moved"], before: int, limit: int
    ) -> list[_Seen]:
        """Some of the entries of an index that are below ``before``, at least one if there are any."""
        chunk = limit // len(self._keys.shards) + SPARE
        replies = await self._client.run(
            [
                ("ZRANGE", getattr(shard, index), "-", _below(before), "BYLEX", "LIMIT", 0, chunk)
                for shard in self._keys.shards
            ]
        )
        lines = sorted((line, number) for number, reply in enumerate(replies) for line in reply)
        groups: dict[int, list[bytes]] = {}
        for line, number in lines[:limit]:
            groups.setdefault(number, []).append(line)
        entries = await self._client.run(
            [
                ("HMGET", self._keys.shards[number].entries, *(line[VERSION:] for line in group))
                for number, group in groups.items()
            ]
        )
        return [
            (line, entry or b"", number)
            for (number, group), found in zip(groups.items(), entries, strict=True)
            for line, entry in zip(group, found, strict=True)
        ]

    async def _forget(self, seen: Sequence[_Seen]) -> int:
        """Steps 2 and 3 for what was read; how many tombstones were removed."""
        broken_off: list[Delete] = []
        ready: list[_Seen] = []
        graves: dict[str, list[bytes]] = {}
        for line, entry, number in seen:
            place = place_of(entry)
            if place is None or place.stamp[:VERSION] != line[:VERSION]:
                ready.append((line, entry, number))  # an op came between, or it is damage
            elif place.left and place.digest is None:
                broken_off.append(Delete(line[VERSION:].decode(), place.version))
            elif not place.left:
                ready.append((line, entry, number))
                for name in place.buried:
                    graves.setdefault(name, []).extend((line[VERSION:], place.stamp))
        await Writer(self._client, self._keys, self._scope).apply(broken_off)
        await self._unbury(graves)
        return await self._forget_entries(ready)

    async def _unbury(self, graves: Mapping[str, Sequence[bytes]]) -> None:
        await self._client.run(
            [
                UNBURY.call((self._keys.partition(name).tombstones,), part)
                for name, stamps in graves.items()
                for part in batched(stamps, 2 * IDS_PER_CALL)
            ]
        )

    async def _forget_entries(self, seen: Iterable[_Seen]) -> int:
        shards: dict[int, list[bytes]] = {}
        for line, entry, number in seen:
            shards.setdefault(number, []).extend((line, entry))
        replies = await self._client.run(
            [
                FORGET.call(self._keys.shards[number].directory, part)
                for number, lines in shards.items()
                for part in batched(lines, 2 * IDS_PER_CALL)
            ]
        )
        return sum(sum(answers) for answers in replies)


def _below(version: int) -> bytes:
    return b"(%019d" % max(version, 0)
