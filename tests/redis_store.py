"""The Redis driver for tests that look under it, or break it off."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from backends.redis import create
from backends.redis.client import Client, Command
from backends.redis.driver import RedisDriver
from backends.redis.keys import Keys, PartitionKeys, ShardKeys, keys_of
from backends.redis.settings import Settings
from memrelay.errors import Unavailable
from memrelay.testing.samples import SPACE
from memrelay.types import Memory, Scope


@dataclass
class Store:
    """A driver and what lies under it."""

    driver: RedisDriver
    scope: Scope
    redis: Any
    keys: Keys
    url: str

    def shard(self, id: str) -> ShardKeys:
        return self.keys.shards[self.keys.shard_of(id.encode())]

    def home(self, memory: Memory) -> PartitionKeys:
        return self.keys.partition(self.keys.home(memory))

    async def kinds(self) -> set[str]:
        """How the names of the scope's keys end, after the hash tag, with the tag's first letter."""
        pattern = self.keys.shards[0].entries.split(b":d0}")[0] + b":*"
        names = [key.decode().split(":") async for key in self.redis.scan_iter(pattern)]
        return {f"{name[-2][0]}:{name[-1]}" for name in names}


@asynccontextmanager
async def opened_store(url: str) -> AsyncIterator[Store]:
    """A store under a prefix of its own, purged in the end."""
    settings: dict[str, Any] = {"url": url, "prefix": f"t-{uuid.uuid4().hex}", "partitions": 2}
    scope = Scope(namespace="tenant", source="default", space=SPACE, fields={"score": "number"})
    driver = create("redis", settings)
    await driver.open()
    async with Redis.from_url(url) as client:
        yield Store(driver, scope, client, keys_of(Settings(**settings), scope), url)
    await driver.purge(scope)
    await driver.close()


class Interrupted(Client):
    """A client on which something happens just before its n-th round trip."""

    def __init__(self, url: str, before: int, happens: Callable[[], Awaitable[None]]) -> None:
        super().__init__(url)
        self._left = before
        self._happens = happens

    @property
    def happened(self) -> bool:
        return self._left <= 0

    async def attempt(self, commands: Sequence[Command]) -> list[Any]:
        if commands:
            self._left -= 1
            if self._left == 0:
                await self._happens()
        return await super().attempt(commands)


async def crash() -> None:
    raise Unavailable("the process died here")
