"""A deep pass finds what was damaged behind the drivers' backs, and mends it where anybody can."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import apsw
import pytest

from backends.reconcile import Divergence, Plan, reconcile
from backends.sqlite.schema import texts_of
from memrelay.driver import Driver
from memrelay.errors import Permanent
from memrelay.testing.conformance.harness import fresh_scope, scanned
from memrelay.testing.samples import upsert, upserts, vector
from memrelay.types import Delete, Scope, memory_to_json
from tests.replicas import assert_one, peers_of, put, sqlite_replicas

DEEP = Plan(deep=True)
HURT = "m00003"
MEMORIES = upserts(20)
OTHER = memory_to_json(upsert(HURT, text="another text").memory)
DAMAGES: dict[str, tuple[str, tuple[bytes | str | None, ...]]] = {
    "no vector": ("UPDATE memories SET vector = NULL WHERE id = ?", ()),
    "a short vector": ("UPDATE memories SET vector = substr(vector, 5) WHERE id = ?", ()),
    "an altered record": ("UPDATE memories SET record = ? WHERE id = ?", (OTHER,)),
    "no JSON": ("UPDATE memories SET record = ? WHERE id = ?", (b"{",)),
    "no record": ("UPDATE memories SET record = NULL WHERE id = ?", ()),
    "an altered digest": ("UPDATE memories SET digest = ? WHERE id = ?", ("0" * 32,)),
    "an altered column": ("UPDATE memories SET user_id = 'bob' WHERE id = ?", ()),
    "no text to search": (
        f"DELETE FROM {texts_of(1)} WHERE rowid = (SELECT row FROM memories WHERE id = ?)",
        (),
    ),
}


@pytest.fixture
def scope() -> Scope:
    return fresh_scope()


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return [tmp_path / f"{number}.db" for number in range(2)]


@pytest.fixture
async def drivers(scope: Scope, paths: list[Path]) -> AsyncIterator[list[Driver]]:
    """Two replicas with the same memories."""
    async with sqlite_replicas(scope, *paths) as drivers:
        for driver in drivers:
            await put(driver, scope, *MEMORIES, Delete("gone", 99))
        yield drivers


def hurt(path: Path, sql: str, *values: bytes | str | None, id: str = HURT) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(sql, (*values, id))
    assert connection.changes() == 1
    connection.close()


async def deep(scope: Scope, drivers: Sequence[Driver], plan: Plan = DEEP) -> Divergence:
    return (await reconcile(scope, peers_of(*drivers), plan)).divergence


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("victim", [0, 1])
async def test_one_damaged_record_is_found_and_mended_from_the_other_replica(
    damage: str, victim: int, scope: Scope, drivers: list[Driver], paths: list[Path]
) -> None:
    sql, values = DAMAGES[damage]
    hurt(paths[victim], sql, *values)
    found = await deep(scope, drivers)
    assert found.compared == 21
    assert found.peers[f"r{1 - victim}"].total == 0
    drift = found.peers[f"r{victim}"]
    assert (drift.damaged, drift.total, drift.repaired, drift.unrepaired) == (1, 1, 1, 0)
    assert drift.examples == {"damaged": (HURT,), "repaired": (HURT,)}
    await assert_one(scope, drivers, [*MEMORIES, Delete("gone", 99)])
    assert (await deep(scope, drivers)).sound


async def test_a_shallow_pass_reads_the_records_of_a_peer_that_is_doubted(
    scope: Scope, drivers: list[Driver], paths: list[Path]
) -> None:
    hurt(paths[1], "UPDATE memories SET vector = NULL WHERE id = ?")
    assert (await deep(scope, drivers, Plan())).sound, "a scan does not show it"
    found = await deep(scope, drivers, Plan(doubted=frozenset({"r1"})))
    assert found.peers["r0"].total == 0
    assert (found.peers["r1"].damaged, found.peers["r1"].repaired) == (1, 1)
    assert HURT in await drivers[1].records(scope, [HURT])
    assert (await deep(scope, drivers)).sound


async def test_a_deleted_row_is_missing_and_a_foreign_one_spreads(
    scope: Scope, drivers: list[Driver], paths: list[Path]
) -> None:
    hurt(paths[0], "DELETE FROM memories WHERE id = ?")
    stranger = upsert("stranger", version=50)
    await put(drivers[1], scope, stranger)
    found = await deep(scope, drivers)
    assert (found.peers["r0"].missing, found.peers["r0"].repaired) == (2, 2)
    assert found.peers["r1"].total == 0
    await assert_one(scope, drivers, [*MEMORIES, stranger, Delete("gone", 99)])


async def test_the_vector_of_another_memory_is_different_and_the_primary_has_the_right_one(
    scope: Scope, drivers: list[Driver], paths: list[Path]
) -> None:
    hurt(paths[1], "UPDATE memories SET vector = ? WHERE id = ?", vector("of another"))
    found = await deep(scope, drivers)
    assert (found.peers["r1"].different, found.peers["r1"].repaired) == (1, 1)
    held = await drivers[1].records(scope, [HURT])
    assert held[HURT] == MEMORIES[3]


async def test_a_shallow_pass_that_has_to_copy_a_damaged_record_takes_the_next_holders(
    scope: Scope, drivers: list[Driver], paths: list[Path], tmp_path: Path
) -> None:
    hurt(paths[0], "UPDATE memories SET vector = NULL WHERE id = ?")
    async with sqlite_replicas(scope, tmp_path / "new.db") as [new]:
        new.name = "new"
        found = await deep(scope, [*drivers, new], Plan())
        assert (found.peers["r0"].damaged, found.peers["r0"].repaired) == (1, 1)
        assert (found.peers["new"].missing, found.peers["new"].repaired) == (21, 21)
        await assert_one(scope, [*drivers, new], [*MEMORIES, Delete("gone", 99)])


class Model:
    """Embeds a text as the vector that its memory had; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._vectors = {op.memory.text: op.vector for op in MEMORIES}

    async def embed(self, texts: Sequence[str]) -> Sequence[bytes]:
        self.asked += texts
        return [self._vectors[text] for text in texts]


async def test_a_memory_whose_vector_nobody_has_is_embedded_anew(
    scope: Scope, drivers: list[Driver], paths: list[Path]
) -> None:
    for path in paths:
        hurt(path, "UPDATE memories SET vector = NULL WHERE id = ?")
    without = await deep(scope, drivers)
    assert not without.settled
    assert [(d.damaged, d.unrepaired) for d in without.peers.values()] == [(1, 1), (1, 1)]
    model = Model()
    found = await deep(scope, drivers, Plan(deep=True, embed=model.embed))
    assert model.asked == [MEMORIES[3].memory.text]
    assert [(d.damaged, d.repaired) for d in found.peers.values()] == [(1, 1), (1, 1)]
    await assert_one(scope, drivers, [*MEMORIES, Delete("gone", 99)])


async def test_the_missing_replica_is_not_filled_with_what_nobody_has_sound(
    scope: Scope, drivers: list[Driver], paths: list[Path]
) -> None:
    hurt(paths[0], "UPDATE memories SET vector = NULL WHERE id = ?")
    hurt(paths[1], "DELETE FROM memories WHERE id = ?")
    found = await deep(scope, drivers)
    assert (found.peers["r0"].damaged, found.peers["r0"].unrepaired) == (1, 1)
    assert (found.peers["r1"].missing, found.peers["r1"].unrepaired) == (1, 1)
    assert HURT not in {entry.id for entry in await scanned(drivers[1], scope)}


async def test_an_altered_text_is_not_embedded_anew_as_if_it_were_the_memory(
    scope: Scope, drivers: list[Driver], paths: list[Path]
) -> None:
    for path in paths:
        hurt(path, "UPDATE memories SET record = ? WHERE id = ?", OTHER)
    model = Model()
    found = await deep(scope, drivers, Plan(deep=True, embed=model.embed))
    assert model.asked == []
    assert [(d.damaged, d.unrepaired) for d in found.peers.values()] == [(1, 1), (1, 1)]


async def test_a_model_that_refuses_leaves_it_unrepaired(
    scope: Scope, drivers: list[Driver], paths: list[Path]
) -> None:
    async def refuse(texts: Sequence[str]) -> Sequence[bytes]:
        raise Permanent("too long")

    for path in paths:
        hurt(path, "UPDATE memories SET vector = NULL WHERE id = ?")
    found = await deep(scope, drivers, Plan(deep=True, embed=refuse))
    assert [(d.damaged, d.unrepaired) for d in found.peers.values()] == [(1, 1), (1, 1)]


async def test_a_readable_memory_that_is_covered_is_deleted_and_not_embedded(
    scope: Scope, drivers: list[Driver], paths: list[Path]
) -> None:
    for path in paths:
        hurt(path, "UPDATE memories SET vector = NULL WHERE id = ?")
    model = Model()
    plan = Plan(
        deep=True, embed=model.embed, covered=lambda memory: 200 if memory.id == HURT else None
    )
    found = await deep(scope, drivers, plan)
    assert model.asked == []
    assert [(d.covered, d.repaired) for d in found.peers.values()] == [(1, 1), (1, 1)]
    held = {entry.id: entry for entry in await scanned(drivers[0], scope)}
    assert (held[HURT].version, held[HURT].digest) == (4, None)
