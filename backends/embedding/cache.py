"""A text seen before costs no call: caches of vectors, and the embedder that asks them first."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError

from backends.embedding.check import check_vectors
from memrelay.breaker import Breaker
from memrelay.embedder import Embedder
from memrelay.types import Space

log = logging.getLogger(__name__)

ENTRY_OVERHEAD = 100  # bytes that Redis needs for an entry beside key and vector, measured below it
WRITES_A_CALL = 512
TIMEOUT = 1.0  # seconds; a cache that is slower than this is no help

# KEYS: turn, segment 0, segment 1. ARGV: bytes a segment may hold, seconds an entry may live,
# overhead of an entry, then field and value by turns.
_PUT = """
local turn = redis.call('HMGET', KEYS[1], 'segment', 'used', 'since')
local segment, used, since = tonumber(turn[1] or 1), tonumber(turn[2] or 0), tonumber(turn[3] or 0)
local room, ttl, bytes = tonumber(ARGV[1]), tonumber(ARGV[2]), (#ARGV - 3) / 2 * tonumber(ARGV[3])
for index = 4, #ARGV do bytes = bytes + #ARGV[index] end
if bytes > room then return 0 end
local now = tonumber(redis.call('TIME')[1])
if since == 0 or used + bytes > room or now - since > ttl / 2 then
  segment, used, since = 1 - segment, 0, now
  redis.call('UNLINK', KEYS[2 + segment])
end
redis.call('HSET', KEYS[2 + segment], unpack(ARGV, 4))
redis.call('EXPIRE', KEYS[2 + segment], ttl, 'NX')
redis.call('HSET', KEYS[1], 'segment', segment, 'used', used + bytes, 'since', since)
return 1
"""


class VectorCache(Protocol):
    """Never raises: what cannot be looked up is a miss, what cannot be kept is forgotten."""

    async def get(self, space: Space, texts: Sequence[str]) -> list[bytes | None]:
        """The vector of each text, or None."""
        ...

    async def put(self, space: Space, vectors: Mapping[str, bytes]) -> None:
        """Keep the vectors of these texts for a while."""
        ...


def cache_key(space: Space, text: str) -> bytes:
    """32 bytes; the text cannot be had back from it."""
    return hashlib.sha256(f"{space.slug}\0{text}".encode()).digest()


class EmbeddingCache:
    """Vectors in Redis, shared by all processes, at most ``max_bytes`` and ``ttl`` seconds old.

    Two hashes take turns: one is written until it holds half the bytes or is half the time old,
    then the other is dropped and written. So the bounds hold in a Redis that evicts nothing (the
    journal's), with no key for each vector. ``redis`` must answer in bytes, not in str. Vectors are
    shared by all namespaces: how fast an answer comes can tell that a text has been embedded before.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        max_bytes: int,
        ttl: int = 86_400,
        prefix: str = "mre",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = redis
        self._room = max_bytes // 2
        self._ttl = ttl
        self._segments = (f"{{{prefix}}}:0", f"{{{prefix}}}:1")
        self._turn = f"{{{prefix}}}:turn"
        self._put = redis.register_script(_PUT)
        self._breaker = Breaker(clock, failures=1)

    async def get(self, space: Space, texts: Sequence[str]) -> list[bytes | None]:
        keys = [cache_key(space, text) for text in texts]
        found = await self._guarded(partial(self._read, keys)) if keys else None
        size = 4 * space.dimensions
        return [
            vector if vector is not None and len(vector) == size else None
            for vector in found or [None] * len(keys)
        ]

    async def put(self, space: Space, vectors: Mapping[str, bytes]) -> None:
        entries = [(cache_key(space, text), vector) for text, vector in vectors.items()]
        for start in range(0, len(entries), WRITES_A_CALL):
            part = entries[start : start + WRITES_A_CALL]
            await self._guarded(partial(self._write, part))

    async def _read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for segment in self._segments:
                pipeline.hmget(segment, list(keys))
            first, second = await pipeline.execute()
        return [a if a is not None else b for a, b in zip(first, second, strict=True)]

    async def _write(self, entries: Sequence[tuple[bytes, bytes]]) -> None:
        flat = [part for entry in entries for part in entry]
        await self._put(
            keys=[self._turn, *self._segments],
            args=[self._room, self._ttl, ENTRY_OVERHEAD, *flat],
        )

    async def _guarded[T](self, work: Callable[[], Awaitable[T]]) -> T | None:
        """None if Redis failed, or did lately: then it is left alone for a while."""
        if not self._breaker.allows():
            return None
        try:
            async with asyncio.timeout(TIMEOUT):
                result = await work()
        except (RedisError, OSError, TimeoutError) as error:
            if self._breaker.state == "closed":
                log.warning("the embedding cache is left out until it answers again: %s", error)
            self._breaker.failed()
            return None
        self._breaker.succeeded()
        return result


class QueryCache:
    """The vectors of the latest ``max_entries`` queries, in this process."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._vectors: OrderedDict[bytes, bytes] = OrderedDict()

    async def get(self, space: Space, texts: Sequence[str]) -> list[bytes | None]:
        keys = [cache_key(space, text) for text in texts]
        for key in keys:
            if key in self._vectors:
                self._vectors.move_to_end(key)
        return [self._vectors.get(key) for key in keys]

    async def put(self, space: Space, vectors: Mapping[str, bytes]) -> None:
        for text, vector in vectors.items():
            key = cache_key(space, text)
            self._vectors[key] = vector
            self._vectors.move_to_end(key)
        while len(self._vectors) > self._max_entries:
            self._vectors.popitem(last=False)


class CachedEmbedder:
    """An embedder that embeds each text of a call once, and only what the cache does not know.

    The cache belongs to the caller; ``close`` closes the embedder alone. What it embeds is checked
    before it is kept: a wrong vector must not outlive its mistake by a day. ``counts`` is told of hits
    and misses.
    """

    def __init__(
        self, embedder: Embedder, cache: VectorCache, counts: Counter[str] | None = None
    ) -> None:
        self._embedder = embedder
        self._cache = cache
        self._counts = Counter() if counts is None else counts
        self.space = embedder.space
        self.max_inputs = embedder.max_inputs

    async def open(self) -> None:
        await self._embedder.open()
        self.space = self._embedder.space

    async def close(self) -> None:
        await self._embedder.close()

    async def embed(self, texts: Sequence[str]) -> list[bytes]:
        distinct = list(dict.fromkeys(texts))
        found = await self._cache.get(self.space, distinct)
        known = {text: vector for text, vector in zip(distinct, found, strict=True) if vector}
        missing = [text for text in distinct if text not in known]
        self._counts["cache|hits"] += len(known)
        self._counts["cache|misses"] += len(missing)
        if missing:
            vectors = await self._embedder.embed(missing)
            check_vectors(vectors, count=len(missing), dimensions=self.space.dimensions)
            fresh = dict(zip(missing, vectors, strict=True))
            await self._cache.put(self.space, fresh)
            known |= fresh
        return [known[text] for text in texts]
