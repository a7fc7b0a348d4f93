"""Recall of the indexes that may miss something: pgvector's HNSW, and the graph of a partition in Redis.

Weaviate's index is flat, and SQLite has none: they compare every vector. Memories are runs of words from
real texts, no two of them equal; questions are such runs from texts of which nothing is stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol, Self

import psycopg
import redis

from backends.pgvector.indexes import IS_VALID, index_name
from backends.pgvector.layout import place_of
from backends.registry import create_driver
from benchmarks import recall
from benchmarks.recall import TOP, embedded, fill
from benchmarks.stack import Stack
from memrelay.driver import Driver, Query
from memrelay.filters import Compare, Filter
from memrelay.types import Memory, Scope, Space

RUN, STEP = 12, 3
"""Words of one memory, and how many after its first word the next one of the same text begins."""
QUESTIONS, FILTERED = 150, 50
"""Without a filter, and of these with one: such searches take long, and read most of the store after all."""
QUICK_QUESTIONS, QUICK_MEMORIES = 50, 22_000
"""Up to 20,000 memories of a partition are searched exactly by Redis."""
BESIDE = 9
"""One of so many is in a second namespace too, which so has a tenth of the table and of its index."""
EXACT_ROWS = 2_000
"""Fewer than pgvector's driver has as it comes, so that the second namespace is searched by the index."""
PARTS = (10, 20, 100, 1000)
FILTERS: dict[str, Filter | None] = {
    "of_all": None,
    "one_in_10_passes": Compare("tags", "$contains", "in_10"),
    "one_in_20_passes": Compare("tags", "$contains", "in_20"),
    "one_in_100_passes": Compare("tags", "$contains", "in_100"),
    "one_in_1000_passes": Compare("tags", "$contains", "in_1000"),
}
BUILD_SECONDS = 1_200

type Told = dict[str, float]
"""Recall by what was asked for."""


def measure(stack: Stack, texts: Sequence[str], *, quick: bool) -> dict[str, Any]:
    """By driver and filter."""
    questions, stored = _divided(texts)
    if quick:
        questions, stored = questions[:QUICK_QUESTIONS], stored[:QUICK_MEMORIES]
    with stack.redis, stack.postgres:
        drivers = asyncio.run(_told(stack, questions, stored))
    return {
        "memories": len(stored),
        "questions": len(questions),
        "questions_with_a_filter": min(FILTERED, len(questions)),
        "recall": drivers,
        "least_recall": min(value for of in drivers.values() for value in of.values()),
    }


def _divided(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """One run of each of the first texts, and in no order all those of the others."""
    chance = Random(3)
    questions = [chance.choice(list(_runs(text))) for text in texts[:QUESTIONS]]
    runs = dict.fromkeys(run for text in texts[QUESTIONS:] for run in _runs(text))
    stored = [run for run in runs if run not in questions]
    chance.shuffle(stored)
    return questions, stored


def _runs(text: str) -> Iterator[str]:
    words = text.split()
    for start in range(0, max(1, len(words) - RUN + 1), STEP):
        yield " ".join(words[start : start + RUN])


def _memory(number: int, text: str) -> Memory:
    tags = tuple(f"in_{part}" for part in PARTS if number % part == 0)
    return Memory(id=f"m{number}", text=text, tags=tags, created_at=number, version=number + 1)


class _Index(Protocol):
    def driver(self) -> Driver:
        """A new one, not opened."""
        ...

    async def built(self, driver: Driver, vector: bytes) -> None:
        """Returns once the index is there."""
        ...

    def asked(self) -> int:
        """How often it was asked, once or twice by a search. No driver is open."""
        ...


class _Graph:
    """Of one partition that all memories without a user are in; it is there with the first of them."""

    def __init__(self, stack: Stack) -> None:
        self._url = stack.redis.url
        self._settings = stack.driver_settings("redis") | {"prefix": "graph", "partitions": 1}

    def driver(self) -> Driver:
        return create_driver("redis", self._settings)

    async def built(self, driver: Driver, vector: bytes) -> None:
        """From here on, every command is noted."""
        with redis.Redis.from_url(self._url) as client:
            client.config_set("slowlog-max-len", 100_000)
            client.config_set("slowlog-log-slower-than", 0)

    def asked(self) -> int:
        """A search of all vectors says TRUTH instead."""
        with redis.Redis.from_url(self._url) as client:
            commands = [entry["command"].split() for entry in client.slowlog_get(-1)]
        return sum(words[0] == b"VSIM" and b"EF" in words for words in commands)


class _Hnsw:
    """Built beside the driver that first searched the large scope; other drivers ask it from then on."""

    def __init__(self, stack: Stack, scope: Scope) -> None:
        self._url = stack.postgres.url
        self._settings = stack.driver_settings("pgvector") | {
            "schema": "indexes",
            "exact_rows": EXACT_ROWS,
            "timeout": 60,  # recall is told, no time: other work of the machine does not end the run
        }
        self._scope = scope
        self._name = f"indexes.{index_name(place_of(scope), 'hnsw')}"

    def driver(self) -> Driver:
        return create_driver("pgvector", self._settings)

    async def built(self, driver: Driver, vector: bytes) -> None:
        # PostgreSQL's own 64 MB are too few for 100,000 vectors: what does not fit is built on disk, slowly.
        self._first("ALTER ROLE CURRENT_USER SET maintenance_work_mem = '512MB'")
        await driver.search(
            self._scope, Query(mode="semantic", top_k=TOP, now=recall.NOW, vector=vector)
        )
        async with asyncio.timeout(BUILD_SECONDS):
            while not self._first(IS_VALID.format(name=self._name)):  # noqa: ASYNC110 in the server
                await asyncio.sleep(1)

    def asked(self) -> int:
        """Connections leave their counts when they end."""
        while self._first(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'memrelay'"
        ):
            pass
        return int(
            self._first(
                "SELECT idx_scan FROM pg_stat_user_indexes "
                f"WHERE indexrelid = '{self._name}'::regclass"
            )
        )

    def _first(self, statement: str) -> Any:
        with closing(psycopg.connect(self._url, autocommit=True)) as connection:
            cursor = connection.execute(statement.encode())
            row = cursor.fetchone() if cursor.description else None
            return row and row[0]


@dataclass(frozen=True, slots=True)
class _Held:
    """One namespace; memory ``m7`` is that of row 7."""

    scope: Scope
    memories: Sequence[Memory]
    vectors: Any

    @classmethod
    def of(cls, namespace: str, space: Space, texts: Sequence[str], vectors: Any) -> Self:
        scope = Scope(namespace=namespace, source="default", space=space)
        return cls(scope, [_memory(number, text) for number, text in enumerate(texts)], vectors)


async def _told(stack: Stack, questions: Sequence[str], stored: Sequence[str]) -> dict[str, Told]:
    space, vectors = await embedded(stored)
    _, asked = await embedded(questions)
    held = _Held.of("indexes", space, stored, vectors)
    beside = _Held.of("beside", space, stored[::BESIDE], vectors[::BESIDE])
    graph, hnsw = _Graph(stack), _Hnsw(stack, held.scope)
    await asyncio.gather(
        _fill(graph, [held], asked[0]),
        _fill(hnsw, [held, beside], asked[0]),
    )
    told: dict[str, Told] = {"redis": {}, "pgvector": {}}
    for name, chosen in FILTERS.items():
        some = asked if chosen is None else asked[:FILTERED]
        exact = recall.exact(held.memories, held.vectors, chosen, some)
        told["redis"][name], told["pgvector"][name] = await asyncio.gather(
            _asked(graph, held.scope, exact, chosen), _asked(hnsw, held.scope, exact, chosen)
        )
    exact = recall.exact(beside.memories, beside.vectors, None, asked)
    told["pgvector"]["of_all_in_a_tenth_of_the_table"] = await _asked(
        hnsw, beside.scope, exact, None
    )
    return told


async def _fill(index: _Index, namespaces: Sequence[_Held], vector: Any) -> None:
    driver = index.driver()
    await driver.open()
    for one in namespaces:
        await fill(driver, one.scope, one.memories, one.vectors)
    await index.built(driver, vector.tobytes())
    await driver.close()


async def _asked(index: _Index, scope: Scope, exact: recall.Exact, chosen: Filter | None) -> float:
    """The recall of searches that have all asked the index."""
    before, driver = index.asked(), index.driver()
    await driver.open()
    found = await recall.recall(driver, scope, exact, chosen)
    await driver.close()
    by_index = index.asked() - before
    assert by_index >= len(exact), f"{len(exact)} searches asked the index {by_index} times"
    return found
