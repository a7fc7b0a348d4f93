"""Damage to the pgvector driver's tables: left out of records, harmless to others, mended by the same op."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import psycopg
import pytest

from backends.pgvector import create
from backends.pgvector.layout import place_of
from memrelay.driver import Driver, Query
from memrelay.testing.conformance.harness import (
    AXIS,
    Model,
    apply_all,
    assert_holds,
    scanned,
    statuses,
)
from memrelay.testing.samples import NOW, SPACE, upsert, upserts, vector
from memrelay.types import Delete, Op, Scope, Upsert

SCOPE = Scope(namespace="tests", source="default", space=SPACE)
HURT = upsert("hurt", version=7, text="a platypus", session_id="s", tags=("x",), expires_at=NOW + 9)
OTHERS: list[Op] = [*upserts(5, users=("ann", "bob", None)), Delete("gone", 6)]
MEMORIES, WORDS = f"memories_{SPACE.slug}", f"words_{SPACE.slug}"
ROW = "WHERE id = 'hurt'"
ITS_WORDS = f"WHERE row = (SELECT row FROM {MEMORIES} {ROW})"
DAMAGES = {
    "record altered": (
        f"UPDATE {MEMORIES} SET record = "
        f"convert_to(replace(convert_from(record, 'UTF8'), 'platypus', 'wombat'), 'UTF8') {ROW}"
    ),
    "record not JSON": f"UPDATE {MEMORIES} SET record = '\\x7b22' {ROW}",
    "record not UTF-8": f"UPDATE {MEMORIES} SET record = '\\xff' {ROW}",
    "record of another shape": f"UPDATE {MEMORIES} SET record = '[1]' {ROW}",
    "record lost": f"UPDATE {MEMORIES} SET record = NULL {ROW}",
    "record of another memory": (
        f"UPDATE {MEMORIES} SET (record, digest) = "
        f"(SELECT record, digest FROM {MEMORIES} WHERE id = 'm00000') {ROW}"
    ),
    "digest altered": f"UPDATE {MEMORIES} SET digest = '{'0' * 32}' {ROW}",
    "digest lost": f"UPDATE {MEMORIES} SET digest = NULL {ROW}",
    "vector lost": f"UPDATE {MEMORIES} SET vector = NULL {ROW}",
    "user altered": f"UPDATE {MEMORIES} SET user_id = 'bob' {ROW}",
    "session lost": f"UPDATE {MEMORIES} SET session_id = NULL {ROW}",
    "time altered": f"UPDATE {MEMORIES} SET created_at = created_at + 1 {ROW}",
    "time lost": f"UPDATE {MEMORIES} SET created_at = NULL {ROW}",
    "expiry altered": f"UPDATE {MEMORIES} SET expires_at = 1 {ROW}",
    "expiry lost": f"UPDATE {MEMORIES} SET expires_at = NULL {ROW}",
    "words altered": f"UPDATE {WORDS} SET words = 'wombat:1' {ITS_WORDS}",
    "words of another scope": f"UPDATE {WORDS} SET scope = scope + 1 {ITS_WORDS}",
    "words lost": f"DELETE FROM {WORDS} {ITS_WORDS}",
}
UNREADABLE = ("record not JSON", "record not UTF-8", "record of another shape", "record lost")


class Hand:
    """Somebody who writes to the tables past the driver."""

    def __init__(self, url: str, schema: str) -> None:
        self._url = url
        self.schema = schema

    async def execute(self, statement: str) -> int:
        """How many rows it changed; it names the scope of the tests."""
        async with await psycopg.AsyncConnection.connect(self._url) as connection:
            await connection.execute(f"SET search_path = {self.schema}, public".encode())
            await connection.execute(f"SET memrelay.scope = '{place_of(SCOPE).scope}'".encode())
            return (await connection.execute(statement.encode())).rowcount


@pytest.fixture
async def hand(postgres_url: str) -> AsyncIterator[Hand]:
    """With a schema of the test's own, gone afterwards."""
    hand = Hand(postgres_url, f"damage_{uuid4().hex}")
    yield hand
    await hand.execute(f"DROP SCHEMA {hand.schema} CASCADE")


@pytest.fixture
async def driver(postgres_url: str, hand: Hand) -> AsyncIterator[Driver]:
    driver = create("replica", {"url": postgres_url, "schema": hand.schema})
    await driver.open()
    yield driver
    await driver.close()


async def _damaged(driver: Driver, hand: Hand, name: str) -> Model:
    """What the driver should hold, and no longer does."""
    model = await apply_all(driver, SCOPE, [*OTHERS, HURT])
    assert await hand.execute(DAMAGES[name]) == 1
    return model


async def _words(driver: Driver, text: str) -> set[str]:
    hits = await driver.search(SCOPE, Query(mode="keyword", text=text, top_k=50, now=NOW))
    return {hit.memory.id for hit in hits}


@pytest.mark.parametrize("name", DAMAGES)
async def test_damage_is_left_out_of_records_and_mended_by_the_same_op(
    hand: Hand, driver: Driver, name: str
) -> None:
    model = await _damaged(driver, hand, name)
    ids = [op.id for op in [*OTHERS, HURT]]
    records = await driver.records(SCOPE, ids)
    assert records.keys() == set(ids) - {"hurt"}
    assert await statuses(driver, SCOPE, [HURT]) == {"hurt": "applied"}
    await assert_holds(driver, SCOPE, model)
    assert await _words(driver, "platypus") == {"hurt"}
    assert await _words(driver, "wombat") == set()


@pytest.mark.parametrize("name", DAMAGES)
async def test_a_damaged_memory_is_no_tombstone(hand: Hand, driver: Driver, name: str) -> None:
    await _damaged(driver, hand, name)
    (entry,) = [entry for entry in await scanned(driver, SCOPE) if entry.id == "hurt"]
    assert entry.version == 7
    assert entry.digest is not None
    assert await driver.collect(SCOPE, before=100) == 1
    assert await driver.expired(SCOPE, now=NOW) == []
    assert await statuses(driver, SCOPE, [Delete("hurt", 7)]) == {"hurt": "applied"}
    assert await driver.records(SCOPE, ["hurt"]) == {"hurt": Delete("hurt", 7)}
    assert await statuses(driver, SCOPE, [HURT]) == {"hurt": "stale"}


@pytest.mark.parametrize("name", DAMAGES)
async def test_reads_of_the_others_go_on(hand: Hand, driver: Driver, name: str) -> None:
    await _damaged(driver, hand, name)
    others = {op.id for op in OTHERS if isinstance(op, Upsert)}
    all_ids = [*others, "hurt"]
    hits = await driver.search(SCOPE, Query(mode="semantic", vector=AXIS, top_k=50, now=NOW))
    text = " ".join(op.memory.text for op in OTHERS if isinstance(op, Upsert))
    seen = [
        set(await driver.get(SCOPE, all_ids)),
        {memory.id for memory in await driver.find(SCOPE, None)},
        {hit.memory.id for hit in hits},
        await _words(driver, f"{text} platypus"),
    ]
    for ids in seen:
        assert ids >= others - ({"m00000"} if name == "record of another memory" else set())
        if name in UNREADABLE:
            assert ids == others


async def test_a_vector_of_another_dimension_is_refused_by_its_column(
    hand: Hand, driver: Driver
) -> None:
    await apply_all(driver, SCOPE, [HURT])
    with pytest.raises(psycopg.errors.DataException, match="expected 16 dimensions"):
        await hand.execute(f"UPDATE {MEMORIES} SET vector = '[1,2]' {ROW}")


async def test_unreadable_memories_do_not_take_the_places_of_others(
    hand: Hand, driver: Driver
) -> None:
    near = [upsert(f"near{n}", version=n + 1, vector=AXIS) for n in range(30)]
    far = [upsert(f"p{n}", version=50 + n, vector=vector(n), expires_at=NOW) for n in range(10)]
    await apply_all(driver, SCOPE, [*near, *far])
    some = "id ~ '^near' OR id = 'p0'"
    assert await hand.execute(f"UPDATE {MEMORIES} SET record = '\\x7b' WHERE {some}") == 31
    query = Query(mode="semantic", vector=AXIS, top_k=5, now=NOW - 1)
    assert len(await driver.search(SCOPE, query)) == 5
    found = await driver.find(SCOPE, None, limit=5)
    assert [memory.id for memory in found] == [f"p{n}" for n in range(1, 6)]
    assert len(await driver.expired(SCOPE, now=NOW, limit=9)) == 9
