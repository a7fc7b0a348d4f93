"""Which partitions a filter leaves, and the list of those that a scope has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from itertools import batched

from backends.redis.client import Client
from backends.redis.keys import Keys, PartitionKeys, user_partition
from memrelay.errors import Unsupported
from memrelay.filters import And, Compare, Filter, required_values

PAGE = 256


class Partitions:
    """The partitions of one scope."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def named(self, filter: Filter | None) -> list[PartitionKeys] | None:
        """The only partitions that can hold what ``filter`` lets pass; None if it names none."""
        users = required_values(filter, "user_id")
        if users is not None:
            names = [user_partition(user) for user in sorted(users)]
        elif _asks_for_no_user(filter):
            names = self._keys.without_user()
        else:
            return None
        return [self._keys.partition(name) for name in names]

    async def within(self, most: int) -> list[PartitionKeys]:
        """All partitions of the scope; ``Unsupported`` if there are more than ``most``."""
        some = await self._client.run(
            [("SRANDMEMBER", shard.partitions, most + 1) for shard in self._keys.shards]
        )
        names = [name for group in some for name in group]
        if len(names) > most:
            message = f"a search without user_id over more than {most} partitions"
            raise Unsupported(message, code="unscoped_search")
        return [self._keys.partition(name.decode()) for name in names]

    async def pages(self) -> AsyncIterator[Sequence[PartitionKeys]]:
        """All partitions of the scope, a bounded number at a time; one may come twice."""
        for shard in self._keys.shards:
            cursor = 0
            while True:
                scan = ("SSCAN", shard.partitions, cursor, "COUNT", PAGE)
                [(cursor, names)] = await self._client.run([scan])
                for page in batched(names, PAGE):
                    yield [self._keys.partition(name.decode()) for name in page]
                if int(cursor) == 0:
                    break

    async def purge(self) -> None:
        """Remove every partition, and then the directory that names them.

        A name leaves the list after its keys are gone, so a purge that broke off can be repeated.
        """
        for number, shard in enumerate(self._keys.shards):
            while names := (await self._client.run([("SRANDMEMBER", shard.partitions, PAGE)]))[0]:
                keys = [self._keys.partition(name.decode()) for name in names]
                await self._client.run([("UNLINK", *partition.all) for partition in keys])
                await self._client.run([("SREM", shard.partitions, *names)])
            await self._client.run([("UNLINK", *self._keys.shards[number].all)])


def _asks_for_no_user(node: Filter | None) -> bool:
    match node:
        case Compare("user_id", "$exists", False):
            return True
        case And(children):
            return any(_asks_for_no_user(child) for child in children)
    return False
