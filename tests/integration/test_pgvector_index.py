"""Indexes of the pgvector driver: when they are built and asked, what they miss; filters stay exact."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from backends.pgvector import create
from backends.pgvector.driver import PgvectorDriver
from memrelay.driver import Query
from memrelay.filters import parse_filter
from memrelay.testing.samples import NOW, memory
from memrelay.types import Delete, Hit, Op, Scope, Space, Upsert, vector_to_bytes

COUNT, DIMENSIONS, TOP_K = 3000, 32, 10
SCOPE = Scope(namespace="tests", source="default", space=Space("tests/index", DIMENSIONS))
BESIDE = Scope(namespace="beside", source="default", space=SCOPE.space)
WIDE = Scope(namespace="tests", source="default", space=Space("tests/index", 2100))

ASK_INDEX = "?options=-c%20enable_sort%3Doff%20-c%20jit%3Doff"
"""In so small a table the planner would rather sort: not so."""

log = logging.getLogger(__name__)

type Open = Callable[..., Any]


@pytest.fixture
async def opened(postgres_url: str) -> AsyncIterator[Open]:
    """Opens drivers on one schema, with these settings; those with a bound ask an index if there is one."""
    schema, drivers = f"test_{uuid4().hex}", []

    async def open_one(**settings: Any) -> PgvectorDriver:
        url = f"{postgres_url}{ASK_INDEX}" if "exact_rows" in settings else postgres_url
        driver = create("replica", {"url": url, "schema": schema, **settings})
        await driver.open()
        drivers.append(driver)
        return driver

    open_one.schema = schema  # type: ignore[attr-defined]
    yield open_one
    for driver in drivers:
        await driver.close()
    await _ask(postgres_url, f"DROP SCHEMA {schema} CASCADE")


async def _ask(url: str, statement: str) -> Any:
    """The first value."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        cursor = await connection.execute(statement.encode())
        row = await cursor.fetchone() if cursor.description else None
        return row and row[0]


def _clustered(count: int, dimensions: int, seed: int, *, far: bool = False) -> list[bytes]:
    """Directions as embeddings have them: many around few; ``far``: around others than usual."""
    rng = random.Random(seed if far else dimensions)
    centres = [[rng.gauss(0, 1) for _ in range(dimensions)] for _ in range(40)]
    rng.seed(seed)
    return [
        vector_to_bytes(value + rng.gauss(0, 0.7) for value in rng.choice(centres))
        for _ in range(count)
    ]


async def _fill(driver: PgvectorDriver, scope: Scope, count: int) -> None:
    vectors = _clustered(count, scope.space.dimensions, seed=1)
    ops: list[Op] = [
        Upsert(
            memory(
                f"m{n:04d}",
                version=n + 1,
                user_id=f"user{n % 100}",
                tags=("rare",) if n % 500 == 7 else ("half",) if n % 2 else (),
            ),
            vectors[n],
        )
        for n in range(count)
    ]
    for start in range(0, count, 500):
        await driver.apply(scope, ops[start : start + 500])


async def _search(
    driver: PgvectorDriver, scope: Scope, vector: bytes, raw: object = None, **query: Any
) -> Sequence[Hit]:
    node = None if raw is None else parse_filter(raw, {})
    query = {"top_k": TOP_K} | query
    return await driver.search(
        scope, Query(mode="semantic", vector=vector, now=NOW, filter=node, **query)
    )


async def _built(url: str, opened: Open, scope: Scope, kind: str) -> str:
    """The index's name, once it is there; searches look for it again once a minute, new drivers at once."""
    name = f"{opened.schema}.memories_{scope.space.slug}_{kind}"  # type: ignore[attr-defined]
    valid = f"SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('{name}')"
    async with asyncio.timeout(180):
        while not await _ask(url, valid):  # noqa: ASYNC110 the server builds it
            await asyncio.sleep(0.05)
    return name


async def _until_scanned(url: str, index: str, least: int) -> None:
    """Until it was asked so often by those who have gone: they leave their counts as they end."""
    scans = f"SELECT idx_scan FROM pg_stat_all_indexes WHERE indexrelid = '{index}'::regclass"
    async with asyncio.timeout(60):
        while int(await _ask(url, scans)) < least:  # noqa: ASYNC110 the server counts
            await asyncio.sleep(0.05)


def _recall(found: Sequence[Sequence[Hit]], wanted: Sequence[Sequence[Hit]]) -> float:
    pairs = zip(found, wanted, strict=True)
    shared = sum(len({h.memory.id for h in a} & {h.memory.id for h in b}) for a, b in pairs)
    return shared / sum(len(hits) for hits in wanted)


@pytest.mark.parametrize(
    ("kind", "far", "least"),
    [("hnsw", False, 0.99), ("hnsw", True, 0.97), ("ivfflat", False, 0.99), ("ivfflat", True, 0.9)],
)
async def test_an_index_is_built_for_a_large_scope_and_misses_little(
    postgres_url: str, opened: Open, kind: str, far: bool, least: float
) -> None:
    exact = await opened(index="none")
    await _fill(exact, SCOPE, COUNT)
    queries = _clustered(50, DIMENSIONS, seed=2, far=far)
    wanted = [await _search(exact, SCOPE, query) for query in queries]

    first = await opened(index=kind, exact_rows=1000)
    assert [await _search(first, SCOPE, query) for query in queries] == wanted
    index = await _built(postgres_url, opened, SCOPE, kind)
    driver = await opened(index=kind, exact_rows=1000)
    found = [await _search(driver, SCOPE, query) for query in queries]

    await driver.close()
    await _until_scanned(postgres_url, index, 50)
    recall = _recall(found, wanted)
    log.info("%s, queries %s: recall@%d %.3f", kind, "far" if far else "near", TOP_K, recall)
    assert recall >= least
    for hits in found:
        assert len(hits) == TOP_K
        assert list(hits) == sorted(hits, key=lambda hit: (-hit.score, hit.memory.id))
    for hits, best in zip(found, wanted, strict=True):
        scores = {hit.memory.id: hit.score for hit in best}
        assert all(scores.get(hit.memory.id, hit.score) == hit.score for hit in hits)


@pytest.mark.parametrize("kind", ["hnsw", "ivfflat"])
async def test_with_an_index_answers_are_complete_within_filter_and_min_score(
    postgres_url: str, opened: Open, kind: str
) -> None:
    exact = await opened(index="none")
    await _fill(exact, SCOPE, COUNT)
    await exact.apply(SCOPE, [Delete(f"m{n:04d}", 9000 + n) for n in range(0, COUNT, 3)])
    await _search(await opened(index=kind, exact_rows=1000), SCOPE, _clustered(1, DIMENSIONS, 2)[0])
    await _built(postgres_url, opened, SCOPE, kind)
    driver = await opened(index=kind, exact_rows=1000)
    for query in _clustered(10, DIMENSIONS, seed=3):
        for raw in ({"tags": "rare"}, {"user_id": "user7"}, {"id": {"$in": ["m0001", "m0003"]}}):
            wanted = await _search(exact, SCOPE, query, raw, top_k=50)
            assert await _search(driver, SCOPE, query, raw, top_k=50) == wanted
        half = await _search(driver, SCOPE, query, {"tags": {"$contains": "half"}}, top_k=50)
        assert len(half) == 50
        assert all("half" in hit.memory.tags for hit in half)
        everything = await _search(driver, SCOPE, query, top_k=COUNT)
        assert everything == await _search(exact, SCOPE, query, top_k=COUNT)
        await _assert_parted_by_min_score(driver, query, await _search(driver, SCOPE, query), TOP_K)
    assert everything[-1].score < 0
    await _assert_parted_by_min_score(driver, query, everything, COUNT)


async def _assert_parted_by_min_score(
    driver: PgvectorDriver, query: bytes, hits: Sequence[Hit], top_k: int
) -> None:
    """``hits`` are those without it."""
    for cut in (0, len(hits) // 2, len(hits) - 1):
        least = hits[cut].score
        above = math.nextafter(least, 2)
        asked = {"top_k": top_k, "min_score": least}
        assert await _search(driver, SCOPE, query, **asked) == hits[: cut + 1]
        assert await _search(driver, SCOPE, query, **asked | {"min_score": above}) == hits[:cut]


async def test_few_of_the_index_s_candidates_are_not_taken_for_the_nearest(
    postgres_url: str, opened: Open
) -> None:
    """Few are rare, or in the namespace beside, and these lie far from the question and wide apart."""
    exact = await opened(index="none")
    crowd = [
        Upsert(memory(f"m{n:04d}", version=n + 1), vector)
        for n, vector in enumerate(_alike(1.4, 2400, seed=1))
    ]
    apart = [
        Upsert(memory(f"r{n:04d}", version=n + 1, tags=("rare",)), vector)
        for n, vector in enumerate(_alike(0, 200, seed=2))
    ]
    for start in range(0, 2400, 480):
        await exact.apply(SCOPE, [*crowd[start : start + 480], *apart[start // 24 :][:20]])
    await exact.apply(BESIDE, apart)
    queries = _alike(1.4, 20, seed=3)
    await _search(await opened(exact_rows=100), SCOPE, queries[0])
    index = await _built(postgres_url, opened, SCOPE, "hnsw")
    driver = await opened(exact_rows=100)
    rare = {"tags": {"$contains": "rare"}}
    for query in queries:
        assert await _search(driver, SCOPE, query, rare) == await _search(exact, SCOPE, query, rare)
        assert await _search(driver, BESIDE, query) == await _search(exact, BESIDE, query)
    await driver.close()
    await _until_scanned(postgres_url, index, 2 * len(queries))


def _alike(bias: float, count: int, seed: int) -> list[bytes]:
    """Directions, the more alike the larger ``bias`` is; without any they lie in no direction."""
    rng = random.Random(seed)
    return [
        vector_to_bytes(bias + rng.gauss(0, 1) for _ in range(DIMENSIONS)) for _ in range(count)
    ]


async def test_halves_are_indexed_where_whole_vectors_cannot_be(
    postgres_url: str, opened: Open
) -> None:
    exact = await opened(index="none", timeout=60)
    await _fill(exact, WIDE, 400)
    queries = _clustered(10, 2100, seed=2)
    wanted = [await _search(exact, WIDE, query) for query in queries]
    first = await opened(exact_rows=100)
    await _search(first, WIDE, queries[0])
    await _built(postgres_url, opened, WIDE, "hnsw")
    driver = await opened(exact_rows=100)
    found = [await _search(driver, WIDE, query) for query in queries]
    assert _recall(found, wanted) >= 0.95


async def test_a_small_scope_is_searched_exactly_and_has_no_index(
    postgres_url: str, opened: Open
) -> None:
    driver = await opened()
    await _fill(driver, SCOPE, 500)
    await _search(driver, SCOPE, _clustered(1, DIMENSIONS, 2)[0])
    await asyncio.sleep(0.5)
    name = f"{opened.schema}.memories_{SCOPE.space.slug}_hnsw"  # type: ignore[attr-defined]
    assert await _ask(postgres_url, f"SELECT to_regclass('{name}')::text") is None


async def test_another_kind_of_index_takes_the_place_of_the_first(
    postgres_url: str, opened: Open
) -> None:
    query = _clustered(1, DIMENSIONS, 2)[0]
    for kind, other in (("hnsw", "ivfflat"), ("ivfflat", "hnsw")):
        driver = await opened(index=kind, exact_rows=100)
        await _fill(driver, SCOPE, 500)
        await _search(driver, SCOPE, query)
        index = await _built(postgres_url, opened, SCOPE, kind)
        await driver.close()
        old = index.replace(kind, other)
        async with asyncio.timeout(60):
            while await _ask(postgres_url, f"SELECT to_regclass('{old}')::text"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
