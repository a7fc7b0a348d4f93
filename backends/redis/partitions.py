"""Which partitions a filter leaves, and the list of those that a scope has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from backends.redis.client import Client
from backends.redis.keys import Keys, PartitionKeys, user_partition
from memrelay.errors import Unsupported
from memrelay.filters import And, Compare, Filter, required_values

PAGE = 16
WORTH_A_LOOK = 8
"""For each partition that a search may touch, so many are looked at for emptied ones."""


class Partitions:
    """The partitions of one scope."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def of_users(self, filter: Filter | None) -> list[PartitionKeys] | None:
        """The partitions of the users that ``filter`` names; None if it names none."""
        users = required_values(filter, "user_id")
        if users is None:
            return None
        return [self._keys.partition(user_partition(user)) for user in sorted(users)]

    def named(self, filter: Filter | None) -> list[PartitionKeys] | None:
        """The only partitions that can hold what ``filter`` lets pass; None if it names none."""
        partitions = self.of_users(filter)
        if partitions is not None:
            return partitions
        if _asks_for_no_user(filter):
            return [self._keys.partition(name) for name in self._keys.without_user()]
        return None

    async def within(self, most: int) -> list[PartitionKeys]:
        """All partitions of the scope; ``Unsupported`` if there are more than ``most``.

        Emptied ones do not count, unless there are so many that to look would cost too much.
        """
        some = await self._client.run(
            [("SRANDMEMBER", shard.partitions, most + 1) for shard in self._keys.shards]
        )
        partitions = [self._keys.partition(name.decode()) for group in some for name in group]
        if most < len(partitions) <= WORTH_A_LOOK * most:
            filled = await self._client.run([("EXISTS", keys.records) for keys in partitions])
            partitions = [keys for keys, any in zip(partitions, filled, strict=True) if any]
        if len(partitions) > most:
            message = f"a search without user_id over more than {most} partitions"
            raise Unsupported(message, code="unscoped_search")
        return partitions

    async def pages(self) -> AsyncIterator[Sequence[PartitionKeys]]:
        """All partitions of the scope, a bounded number at a time; one may come twice."""
        cursors = {shard.partitions: 0 for shard in self._keys.shards}
        while cursors:
            replies = await self._client.run(
                [("SSCAN", key, cursor, "COUNT", PAGE) for key, cursor in cursors.items()]
            )
            yield [self._keys.partition(name.decode()) for _, names in replies for name in names]
            after = zip(cursors, replies, strict=True)
            cursors = {key: int(cursor) for key, (cursor, _) in after if int(cursor)}

    async def purge(self) -> None:
        """Remove every partition, a bounded number at a time, and then the directory.

        A name leaves the list after its keys are gone, so a purge that broke off can be repeated. Of
        ops that are applied meanwhile, anything may be left.
        """
        lists = [shard.partitions for shard in self._keys.shards]
        while True:
            replies = await self._client.run([("SRANDMEMBER", key, PAGE) for key in lists])
            named = {key: names for key, names in zip(lists, replies, strict=True) if names}
            if not named:
                break
            partitions = [self._keys.partition(name.decode()) for g in named.values() for name in g]
            await self._client.run([("UNLINK", *partition.all) for partition in partitions])
            await self._client.run([("SREM", key, *names) for key, names in named.items()])
        await self._client.run([("UNLINK", *shard.all) for shard in self._keys.shards])


def _asks_for_no_user(node: Filter | None) -> bool:
    match node:
        case Compare("user_id", "$exists", False):
            return True
        case And(children):
            return any(_asks_for_no_user(child) for child in children)
    return False
