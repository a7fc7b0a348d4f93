"""Damage to the SQLite driver's file: left out of records, harmless to the others, mended by the same op."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from backends.sqlite import create
from memrelay.driver import Driver, Query
from memrelay.errors import Permanent
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
ROW = "WHERE id = 'hurt'"
IN_TEXTS = "(SELECT row FROM memories WHERE id = 'hurt')"
DAMAGES = {
    "record altered": (
        "UPDATE memories SET "
        f"record = CAST(replace(CAST(record AS TEXT), 'platypus', 'wombat') AS BLOB) {ROW}"
    ),
    "record not JSON": f"UPDATE memories SET record = x'7b22' {ROW}",
    "record not UTF-8": f"UPDATE memories SET record = x'ff' {ROW}",
    "record of another shape": f"UPDATE memories SET record = CAST('[1]' AS BLOB) {ROW}",
    "record lost": f"UPDATE memories SET record = NULL {ROW}",
    "record of another memory": (
        "UPDATE memories SET (record, digest) = "
        f"(SELECT record, digest FROM memories WHERE id = 'm00000') {ROW}"
    ),
    "digest altered": f"UPDATE memories SET digest = '{'0' * 32}' {ROW}",
    "digest lost": f"UPDATE memories SET digest = NULL {ROW}",
    "vector lost": f"UPDATE memories SET vector = NULL {ROW}",
    "vector empty": f"UPDATE memories SET vector = x'' {ROW}",
    "vector of another dimension": f"UPDATE memories SET vector = zeroblob(60) {ROW}",
    "user altered": f"UPDATE memories SET user_id = 'bob' {ROW}",
    "session lost": f"UPDATE memories SET session_id = NULL {ROW}",
    "time altered": f"UPDATE memories SET created_at = created_at + 1 {ROW}",
    "time lost": f"UPDATE memories SET created_at = NULL {ROW}",
    "expiry altered": f"UPDATE memories SET expires_at = 1 {ROW}",
    "expiry lost": f"UPDATE memories SET expires_at = NULL {ROW}",
    "text not indexed": f"DELETE FROM texts_1 WHERE rowid = {IN_TEXTS}",
    "text lost from a side table": f"DELETE FROM texts_1_docsize WHERE id = {IN_TEXTS}",
}
UNREADABLE = ("record not JSON", "record not UTF-8", "record of another shape", "record lost")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "memories.db"


@pytest.fixture
async def driver(path: Path) -> AsyncIterator[Driver]:
    driver = create("replica", {"path": path})
    await driver.open()
    yield driver
    await driver.close()


async def _damaged(driver: Driver, path: Path, name: str) -> Model:
    """What the driver should hold, and no longer does."""
    model = await apply_all(driver, SCOPE, [*OTHERS, HURT])
    file = apsw.Connection(str(path))
    file.execute(DAMAGES[name])
    assert file.changes() == 1
    file.close()
    return model


async def _words(driver: Driver, text: str) -> set[str]:
    hits = await driver.search(SCOPE, Query(mode="keyword", text=text, top_k=50, now=NOW))
    return {hit.memory.id for hit in hits}


@pytest.mark.parametrize("name", DAMAGES)
async def test_damage_is_left_out_of_records_and_mended_by_the_same_op(
    path: Path, driver: Driver, name: str
) -> None:
    model = await _damaged(driver, path, name)
    ids = [op.id for op in [*OTHERS, HURT]]
    records = await driver.records(SCOPE, ids)
    assert records.keys() == set(ids) - {"hurt"}
    assert await statuses(driver, SCOPE, [HURT]) == {"hurt": "applied"}
    await assert_holds(driver, SCOPE, model)
    assert await _words(driver, "platypus") == {"hurt"}
    assert await _words(driver, "wombat") == set()
    file = apsw.Connection(str(path))
    file.execute("INSERT INTO texts_1 (texts_1) VALUES ('integrity-check')")
    file.close()


@pytest.mark.parametrize("name", DAMAGES)
async def test_a_damaged_memory_is_no_tombstone(path: Path, driver: Driver, name: str) -> None:
    await _damaged(driver, path, name)
    (entry,) = [entry for entry in await scanned(driver, SCOPE) if entry.id == "hurt"]
    assert entry.version == 7
    assert entry.digest is not None
    assert await driver.collect(SCOPE, before=100) == 1
    assert await driver.expired(SCOPE, now=NOW) == []
    assert await statuses(driver, SCOPE, [Delete("hurt", 7)]) == {"hurt": "applied"}
    assert await driver.records(SCOPE, ["hurt"]) == {"hurt": Delete("hurt", 7)}
    assert await statuses(driver, SCOPE, [HURT]) == {"hurt": "stale"}


@pytest.mark.parametrize("name", DAMAGES)
async def test_reads_of_the_others_go_on(path: Path, driver: Driver, name: str) -> None:
    await _damaged(driver, path, name)
    others = {op.id for op in OTHERS if isinstance(op, Upsert)}
    all_ids = [*others, "hurt"]
    hits = await driver.search(SCOPE, Query(mode="semantic", vector=AXIS, top_k=50, now=NOW))
    text = " ".join(op.memory.text for op in OTHERS if isinstance(op, Upsert))
    seen = [
        set(await driver.get(SCOPE, all_ids)),
        {memory.id for memory in await driver.find(SCOPE, None)},
        {hit.memory.id for hit in hits},
    ]
    if name == "text lost from a side table":
        with pytest.raises(Permanent, match="malformed"):
            await _words(driver, "platypus")
    else:
        seen.append(await _words(driver, f"{text} platypus"))
    for ids in seen:
        assert ids >= others - ({"m00000"} if name == "record of another memory" else set())
        if name in UNREADABLE:
            assert ids == others


async def test_unreadable_memories_do_not_take_the_places_of_others(
    path: Path, driver: Driver
) -> None:
    near = [upsert(f"near{n}", version=n + 1, vector=AXIS) for n in range(30)]
    far = [upsert(f"p{n}", version=50 + n, vector=vector(n), expires_at=NOW) for n in range(10)]
    await apply_all(driver, SCOPE, [*near, *far])
    file = apsw.Connection(str(path))
    file.execute("UPDATE memories SET record = x'7b' WHERE id LIKE 'near%' OR id = 'p0'")
    file.close()
    query = Query(mode="semantic", vector=AXIS, top_k=5, now=NOW - 1)
    assert len(await driver.search(SCOPE, query)) == 5
    found = await driver.find(SCOPE, None, limit=5)
    assert [memory.id for memory in found] == [f"p{n}" for n in range(1, 6)]
    assert len(await driver.expired(SCOPE, now=NOW, limit=9)) == 9
