"""The graph of a large partition, which may miss a near memory: how few, and that nothing else is inexact."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest

from backends.redis import create, search
from backends.redis.driver import RedisDriver
from backends.redis.search import GRAPH_FROM
from memrelay.driver import Query
from memrelay.filters import parse_filter
from memrelay.testing.samples import NOW
from memrelay.types import Hit, Memory, Scope, Space, Upsert, vector_to_bytes

COUNT, DIMENSIONS, TOP_K = GRAPH_FROM + 500, 40, 10
SCOPE = Scope(
    namespace="large", source="s", space=Space("tests/graph", DIMENSIONS), fields={"n": "number"}
)

log = logging.getLogger(__name__)


def _directions(count: int, seed: int) -> list[bytes]:
    """They lie in no direction, which is harder for a graph than what embeddings are like."""
    rng = random.Random(seed)
    return [vector_to_bytes(rng.gauss(0, 1) for _ in range(DIMENSIONS)) for _ in range(count)]


@pytest.fixture(scope="module")
def settings(redis_url: str) -> Iterator[dict[str, Any]]:
    """Of a store with one partition, full of memories without a user: for tests that only read."""
    settings = {"url": redis_url, "prefix": f"t-{uuid.uuid4().hex}", "partitions": 1}
    asyncio.run(_filled(settings))
    yield settings
    asyncio.run(_purged(settings))


async def _filled(settings: dict[str, Any]) -> None:
    driver = create("redis", settings)
    await driver.open()
    ops = [
        Upsert(
            Memory(id=f"m{n}", text="t", metadata={"n": n}, created_at=NOW, version=n + 1), vector
        )
        for n, vector in enumerate(_directions(COUNT, seed=1))
    ]
    for start in range(0, COUNT, 500):
        await driver.apply(SCOPE, ops[start : start + 500])
    await driver.close()


async def _purged(settings: dict[str, Any]) -> None:
    driver = create("redis", settings)
    await driver.open()
    await driver.purge(SCOPE)
    await driver.close()


@pytest.fixture
async def driver(settings: dict[str, Any]) -> AsyncIterator[RedisDriver]:
    driver = create("redis", settings)
    await driver.open()
    yield driver
    await driver.close()


async def _search(
    driver: RedisDriver, vector: bytes, raw: object = None, **query: Any
) -> Sequence[Hit]:
    node = None if raw is None else parse_filter(raw, SCOPE.fields)
    query = {"top_k": TOP_K} | query
    return await driver.search(
        SCOPE, Query(mode="semantic", vector=vector, now=NOW, filter=node, **query)
    )


async def test_a_graph_misses_little(driver: RedisDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    questions = _directions(100, seed=2)
    with monkeypatch.context() as changed:
        changed.setattr(search, "GRAPH_FROM", COUNT)
        wanted = [await _search(driver, question) for question in questions]

    async def recall() -> float:
        found = [await _search(driver, question) for question in questions]
        pairs = zip(found, wanted, strict=True)
        shared = sum(len({h.memory.id for h in a} & {h.memory.id for h in b}) for a, b in pairs)
        return shared / (TOP_K * len(questions))

    measured = await recall()
    monkeypatch.setattr(search, "LEAST_CANDIDATES", 0)
    with_fewer = await recall()
    log.info("recall@%d %.3f, with fewer candidates %.3f", TOP_K, measured, with_fewer)
    assert measured >= 0.99
    assert with_fewer < 0.99  # else the questions would be too easy to tell anything


async def test_beside_a_graph_filters_are_exact(driver: RedisDriver) -> None:
    [question] = _directions(1, seed=3)
    few = {"metadata.n": {"$gte": COUNT - 20}}
    hits = await _search(driver, question, few, top_k=50)
    assert {hit.memory.id for hit in hits} == {f"m{n}" for n in range(COUNT - 20, COUNT)}
    assert await _search(driver, question, few, top_k=5) == hits[:5]
    assert hits[0].score > 0 > hits[-1].score
    await _assert_parted_by_min_score(driver, question, hits, few, top_k=50)


async def test_beside_a_graph_min_score_leaves_exactly_what_reaches_it(driver: RedisDriver) -> None:
    for question in _directions(3, seed=4):
        hits = await _search(driver, question)
        await _assert_parted_by_min_score(driver, question, hits)


async def _assert_parted_by_min_score(
    driver: RedisDriver, question: bytes, hits: Sequence[Hit], raw: object = None, **query: Any
) -> None:
    """``hits`` are those without it."""
    for cut in (0, len(hits) // 2, len(hits) - 1):
        least = hits[cut].score
        above = math.nextafter(least, 2)
        kept = await _search(driver, question, raw, min_score=least, **query)
        assert kept == hits[: cut + 1]
        assert await _search(driver, question, raw, min_score=above, **query) == hits[:cut]
