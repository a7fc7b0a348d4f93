"""The cache of remote models' vectors, on a real Redis."""

from __future__ import annotations

import logging
import uuid
from collections.abc import AsyncIterator, Callable

import pytest
from redis.asyncio import Redis

from backends.embedding import create
from backends.embedding.cache import CachedEmbedder, EmbeddingCache
from deploy.native.redis import RedisServer
from memrelay.testing.model_server import Behaviour, ModelServer, vector_of
from memrelay.types import Space

pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")

SPACE = Space("openai/test-model", 64)


@pytest.fixture
async def redis(journal_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(journal_url) as client:
        yield client


@pytest.fixture
def prefix() -> str:
    return f"mre-{uuid.uuid4().hex}"


def some(first: int, count: int) -> dict[str, bytes]:
    return {f"text {n}": vector_of(f"text {n}", 64) for n in range(first, first + count)}


async def test_a_remote_text_seen_before_costs_no_call_in_any_process(
    redis: Redis, prefix: str
) -> None:
    texts = [f"text {number}" for number in range(600)]
    async with ModelServer(Behaviour(dimensions=64)) as server:
        options = {"api_base": server.url, "api_key": "k", "dimensions": 64}
        for _ in range(2):  # two caches over one Redis, as two processes have
            cache = EmbeddingCache(redis, max_bytes=1 << 20, prefix=prefix)
            cached = CachedEmbedder(create("openai/test-model", options), cache)
            await cached.open()
            assert await cached.embed(texts) == [vector_of(text, 64) for text in texts]
        assert (server.stats.calls, server.stats.inputs) == (1, 600)
        await cached.embed([*texts, "new"])
        assert (server.stats.calls, server.stats.inputs) == (2, 601)
        await cached.close()


async def test_the_cache_stays_within_its_bytes_and_keeps_the_latest(
    redis: Redis, prefix: str
) -> None:
    bound = 200_000
    cache = EmbeddingCache(redis, max_bytes=bound, prefix=prefix)
    for first in range(0, 5000, 50):
        await cache.put(SPACE, some(first, 50))
        used = 0
        for key in (f"{{{prefix}}}:0", f"{{{prefix}}}:1"):
            used += await redis.memory_usage(key, samples=0) or 0
        assert used <= bound
    latest = some(4900, 100)
    assert await cache.get(SPACE, list(latest)) == list(latest.values())
    assert await cache.get(SPACE, ["text 0"]) == [None]


async def test_an_entry_is_gone_when_its_time_is_over(redis: Redis, prefix: str) -> None:
    cache = EmbeddingCache(redis, max_bytes=1 << 20, ttl=100, prefix=prefix)
    segment = f"{{{prefix}}}:0"
    await cache.put(SPACE, some(0, 1))
    assert 95 <= await redis.ttl(segment) <= 100
    await redis.expire(segment, 50)  # as if half its time were over
    await cache.put(SPACE, some(1, 1))
    assert await redis.ttl(segment) <= 50, "a later write must not prolong an earlier one"
    await redis.hset(f"{{{prefix}}}:turn", "since", 1)  # as if it had begun long ago
    await cache.put(SPACE, some(2, 1))
    assert await redis.hlen(f"{{{prefix}}}:1") == 1
    assert await redis.ttl(segment) <= 100


async def test_more_than_the_cache_holds_is_not_kept(redis: Redis, prefix: str) -> None:
    cache = EmbeddingCache(redis, max_bytes=1000, prefix=prefix)
    await cache.put(SPACE, some(0, 100))
    assert await redis.exists(f"{{{prefix}}}:0", f"{{{prefix}}}:1") == 0
    assert await cache.get(SPACE, ["text 1"]) == [None]


async def test_a_vector_of_another_length_is_a_miss(redis: Redis, prefix: str) -> None:
    cache = EmbeddingCache(redis, max_bytes=1 << 20, prefix=prefix)
    await cache.put(SPACE, {"a": b"short"})
    assert await cache.get(SPACE, ["a"]) == [None]


async def test_a_cache_that_fails_is_said_once_left_alone_and_found_again(
    redis_server_factory: Callable[..., RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    now = [0.0]
    server = redis_server_factory()
    async with Redis.from_url(f"{server.url}/0") as client:
        cache = EmbeddingCache(client, max_bytes=1 << 20, clock=lambda: now[0])
        await cache.put(SPACE, some(0, 1))
        server.freeze()
        for _ in range(5):
            assert await cache.get(SPACE, ["text 0"]) == [None]
            await cache.put(SPACE, some(1, 1))
        assert len(caplog.records) == 1
        server.thaw()
        now[0] = 60.0
        assert await cache.get(SPACE, ["text 0"]) == [vector_of("text 0", 64)]
