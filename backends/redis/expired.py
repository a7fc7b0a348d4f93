"""Memories that are over, from the directory's ``expiry``."""

from __future__ import annotations

from backends.redis.client import Client
from backends.redis.directory import Directory
from backends.redis.keys import Keys
from memrelay.types import Delete

SPARE = 8


async def expired(
    client: Client, keys: Keys, directory: Directory, *, now: int, limit: int
) -> list[Delete]:
    """The deletes of memories whose own records say that they are expired at ``now``.

    What only the index calls expired is passed over, so that damage to it deletes nothing.
    """
    deletes: list[Delete] = []
    chunk = limit // len(keys.shards) + SPARE
    offsets = {shard.expiry: 0 for shard in keys.shards}
    while offsets and len(deletes) < limit:
        replies = await client.run(
            [
                ("ZRANGE", key, "-inf", now, "BYSCORE", "LIMIT", offset, chunk)
                for key, offset in offsets.items()
            ]
        )
        found = await directory.get(id.decode() for reply in replies for id in reply)
        deletes += [Delete(one.id, one.version) for one in found.values() if one.expired(now)]
        offsets = {
            key: offset + chunk
            for (key, offset), reply in zip(offsets.items(), replies, strict=True)
            if len(reply) == chunk
        }
    return deletes[:limit]
