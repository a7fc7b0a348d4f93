"""The digests of two replicas: equal when they hold the same, whatever is written meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backends.reconcile.digest import Bound, Pair, digests
from backends.reconcile.peer import Peer
from memrelay.driver import Driver
from memrelay.testing.samples import SPACE, upsert
from memrelay.types import Delete, Op, Scope
from tests.replicas import between, peers_of, put, sqlite_replicas

SCOPE = Scope(namespace="ns", source="default", space=SPACE)
BOUND = 1000


@pytest.fixture
async def drivers(tmp_path: Path) -> AsyncIterator[list[Driver]]:
    async with sqlite_replicas(SCOPE, tmp_path / "a.db", tmp_path / "b.db") as drivers:
        yield drivers


async def compared(left: Peer, right: Peer, *, forgotten: int = 0) -> Pair:
    async def known() -> int:
        return forgotten

    bound = Bound(until=BOUND, forgotten=known)
    return await digests(SCOPE, (left, right), bound, lambda read: None, pause=0.0)


def ops(count: int = 30) -> list[Op]:
    puts: list[Op] = [upsert(f"m{n}", version=n + 1) for n in range(count)]
    return [*puts, Delete("gone", 500)]


async def test_replicas_that_hold_the_same_have_one_digest_in_whatever_order_it_came(
    drivers: list[Driver],
) -> None:
    await put(drivers[0], SCOPE, *ops())
    await put(drivers[1], SCOPE, *reversed(ops()))
    pair = await compared(*peers_of(*drivers))
    assert pair.equal
    assert (pair.left.live, pair.left.tombstones, pair.again) == (30, 1, 0)
    assert pair.left.sum > 0


@pytest.mark.parametrize(
    "change",
    [
        upsert("m3", version=600),
        upsert("m3", version=4, text="another text at the same version"),
        Delete("m3", 600),
        upsert("more", version=600),
        Delete("more", 600),
    ],
)
async def test_one_that_holds_something_else_has_another(drivers: list[Driver], change: Op) -> None:
    await put(drivers[0], SCOPE, *ops())
    await put(drivers[1], SCOPE, *ops())
    if change.version == 4:
        await drivers[1].purge(SCOPE)
        await put(drivers[1], SCOPE, *[op for op in ops() if op.id != change.id])
    await put(drivers[1], SCOPE, change)
    pair = await compared(*peers_of(*drivers))
    assert not pair.equal
    assert (pair.left.sum != pair.right.sum, pair.differing) == (True, (change.id,))


async def test_what_is_above_the_bound_does_not_count(drivers: list[Driver]) -> None:
    await put(drivers[0], SCOPE, *ops(), upsert("new", version=BOUND))
    await put(drivers[1], SCOPE, *ops(), upsert("m3", version=BOUND + 1))
    await put(drivers[0], SCOPE, upsert("m3", version=BOUND + 1))
    pair = await compared(*peers_of(*drivers))
    assert (pair.equal, pair.left.live) == (True, 29)


async def test_tombstones_that_one_has_collected_do_not_count(drivers: list[Driver]) -> None:
    await put(drivers[0], SCOPE, *ops())
    await put(drivers[1], SCOPE, *ops()[:-1])
    assert (await compared(*peers_of(*drivers), forgotten=501)).equal
    assert not (await compared(*peers_of(*drivers), forgotten=500)).equal


async def test_ids_that_are_written_while_they_are_read_are_read_again_alone(
    drivers: list[Driver],
) -> None:
    """One replica has the new version before it is scanned, the other one after; one expires first."""
    await put(drivers[0], SCOPE, *ops())
    await put(drivers[1], SCOPE, *ops())
    changes: list[Op] = [upsert("m3", version=BOUND + 5), Delete("m7", 8), Delete("m9", BOUND + 6)]
    await put(drivers[0], SCOPE, *changes)
    left, right = peers_of(*drivers)
    calls = 0

    async def later() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            await put(drivers[1], SCOPE, *changes)

    pair = await compared(left, between(right, later))
    assert calls >= 3, "the change came before everything was read"
    assert (pair.equal, pair.again, pair.differing) == (True, 3, ())
    assert (pair.left.live, pair.left.tombstones) == (27, 2)
