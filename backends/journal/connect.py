"""Connections to the journal: one Redis, or whichever of several Sentinels have made the master."""

from __future__ import annotations

from typing import Any

import redis
import redis.asyncio as aioredis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.asyncio.sentinel import SentinelConnectionPool as AsyncPool
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from memrelay.sentinels import Sentinels, sentinels_of, watched

ANSWER_SECONDS = 5
CONNECT_SECONDS = 3
SENTINEL_SECONDS = 1.0
"""That one of the Sentinels may take to name the master, before the next is asked."""

_OPTIONS: dict[str, Any] = {
    "socket_timeout": ANSWER_SECONDS,
    "socket_connect_timeout": CONNECT_SECONDS,
    # With them, redis-py hands out connections that the server has closed: after a restart of the
    # journal the first call on each of them would fail.
    "maint_notifications_config": MaintNotificationsConfig(enabled=False),
}


def connect(url: str) -> aioredis.Redis:
    """A client for one loop: short time-outs, no retries of its own (an append is not repeated blindly)."""
    options = _OPTIONS | {"health_check_interval": 25, "retry": AsyncRetry(NoBackoff(), 0)}
    if not watched(url):
        return aioredis.Redis.from_url(url, **options)
    found = sentinels_of(url)
    sentinel: Any = AsyncSentinel(found.hosts, sentinel_kwargs=_asking(found))  # type: ignore[no-untyped-call]
    master: aioredis.Redis = sentinel.master_for(found.master, **options, **_login(found))
    return master


async def disconnect(client: aioredis.Redis) -> None:
    """Close its connections, those to the Sentinels too."""
    await client.aclose()
    pool = client.connection_pool
    if isinstance(pool, AsyncPool):
        for sentinel in pool.sentinel_manager.sentinels:
            await sentinel.aclose()


def connect_blocking(url: str) -> redis.Redis:
    """The same for a thread without a loop."""
    options = _OPTIONS | {"retry": Retry(NoBackoff(), 0)}
    if not watched(url):
        return redis.Redis.from_url(url, **options)
    found = sentinels_of(url)
    sentinel: Any = Sentinel(found.hosts, sentinel_kwargs=_asking(found))  # type: ignore[no-untyped-call]
    master: redis.Redis = sentinel.master_for(found.master, **options, **_login(found))
    return master


def disconnect_blocking(client: redis.Redis) -> None:
    """The same for a thread without a loop."""
    client.close()
    pool = client.connection_pool
    if isinstance(pool, SentinelConnectionPool):
        for sentinel in pool.sentinel_manager.sentinels:
            sentinel.close()


def _login(found: Sentinels) -> dict[str, Any]:
    return {"db": found.database, "username": found.username, "password": found.password}


def _asking(found: Sentinels) -> dict[str, Any]:
    return {
        "socket_timeout": SENTINEL_SECONDS,
        "socket_connect_timeout": SENTINEL_SECONDS,
        "password": found.sentinel_password,
    }
