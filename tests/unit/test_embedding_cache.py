"""A text seen before costs no call."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from backends.embedding.cache import CachedEmbedder, QueryCache
from backends.embedding.local import LocalEmbedder
from memrelay.errors import Permanent
from memrelay.types import Space, vector_to_bytes


class Recording(LocalEmbedder):
    """The local model; remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[str]] = []

    async def embed(self, texts: Sequence[str]) -> list[bytes]:
        self.calls.append(list(texts))
        return await super().embed(texts)


class Zeroes(Recording):
    async def embed(self, texts: Sequence[str]) -> list[bytes]:
        self.calls.append(list(texts))
        return [vector_to_bytes([0.0] * 256) for _ in texts]


async def test_a_text_seen_before_costs_no_call() -> None:
    model = Recording()
    cached = CachedEmbedder(model, QueryCache(100))
    first = await cached.embed(["a", "b"])
    assert await cached.embed(["b", "a"]) == first[::-1]
    assert model.calls == [["a", "b"]]


async def test_only_the_misses_are_embedded_each_once_and_answered_in_order() -> None:
    model = Recording()
    cached = CachedEmbedder(model, QueryCache(100))
    await cached.embed(["b"])
    vectors = await cached.embed(["c", "b", "a", "c"])
    assert model.calls == [["b"], ["c", "a"]]
    assert vectors == await LocalEmbedder().embed(["c", "b", "a", "c"])


async def test_the_oldest_entry_leaves_a_full_query_cache() -> None:
    model = Recording()
    cached = CachedEmbedder(model, QueryCache(2))
    for text in ("a", "b", "a", "c", "a", "b"):
        await cached.embed([text])
    assert model.calls == [["a"], ["b"], ["c"], ["b"]]


async def test_spaces_do_not_share_vectors() -> None:
    cache = QueryCache(10)
    await cache.put(Space("m", 1), {"a": b"1234"})
    assert await cache.get(Space("m", 2), ["a"]) == [None]
    assert await cache.get(Space("n", 1), ["a"]) == [None]
    assert await cache.get(Space("m", 1), ["a"]) == [b"1234"]


async def test_a_wrong_vector_is_not_kept() -> None:
    model = Zeroes()
    cached = CachedEmbedder(model, QueryCache(10))
    for _ in range(2):
        with pytest.raises(Permanent):
            await cached.embed(["a"])
    assert len(model.calls) == 2
