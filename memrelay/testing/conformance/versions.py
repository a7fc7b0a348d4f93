"""Whatever the order and however many write at once, the highest version stays."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from memrelay.driver import Driver
from memrelay.testing.conformance.harness import Conformance, Model, assert_holds, statuses
from memrelay.testing.samples import upsert
from memrelay.types import Delete, Op, Scope

IDS = [f"id{number}" for number in range(20)]
USERS = ("ann", "bob", "cyd", None)


class VersionConformance(Conformance):
    """The promise that reconcile, retries and redelivery stand on."""

    async def test_shuffled_writes_end_in_the_highest_versions(
        self, driver: Driver, scope: Scope
    ) -> None:
        rng = random.Random(1)
        model = Model()
        for batch in _batches(_history(rng), rng):
            assert await statuses(driver, scope, batch) == model.apply(batch)
        await assert_holds(driver, scope, model)

    async def test_concurrent_writes_end_in_the_highest_versions(
        self, driver: Driver, scope: Scope
    ) -> None:
        rng = random.Random(2)
        ops = _history(rng)
        await self._apply_at_once(driver, scope, _batches(ops, rng))
        model = Model()
        model.apply(ops)
        if not driver.capabilities.atomic_versions:
            await driver.apply(scope, model.winners)
        await assert_holds(driver, scope, model)

    async def test_writers_of_the_same_ops_at_once_agree(
        self, driver: Driver, scope: Scope
    ) -> None:
        rng = random.Random(3)
        model = Model()
        model.apply(_history(rng))
        results = await asyncio.gather(*(statuses(driver, scope, model.winners) for _ in range(8)))
        assert results == [dict.fromkeys(IDS, "applied")] * 8
        await assert_holds(driver, scope, model)

    async def test_concurrent_moves_of_one_memory_leave_it_in_one_place(
        self, driver: Driver, scope: Scope
    ) -> None:
        ops: list[Op] = [upsert("a", version=n, user_id=USERS[n % 4]) for n in range(1, 41)]
        random.Random(4).shuffle(ops)
        await self._apply_at_once(driver, scope, [[op] for op in ops])
        model = Model()
        model.apply(ops)
        if not driver.capabilities.atomic_versions:
            await driver.apply(scope, model.winners)
        await assert_holds(driver, scope, model)

    async def _apply_at_once(
        self, driver: Driver, scope: Scope, batches: Sequence[Sequence[Op]]
    ) -> None:
        """Eight writers take turns, as a handful of workers would."""
        waiting = list(batches)

        async def write() -> None:
            while waiting:
                found = await statuses(driver, scope, waiting.pop())
                assert set(found.values()) <= {"applied", "stale"}

        await asyncio.gather(*(write() for _ in range(8)))


def _history(rng: random.Random) -> list[Op]:
    """300 upserts and deletes of 20 ids, with versions of their own, in random order."""
    ops: list[Op] = []
    for version in range(1, 301):
        id = IDS[version % len(IDS)]
        if rng.random() < 0.3:
            ops.append(Delete(id, version))
        else:
            ops.append(upsert(id, version=version, user_id=rng.choice(USERS)))
    rng.shuffle(ops)
    return ops


def _batches(ops: Sequence[Op], rng: random.Random) -> list[list[Op]]:
    """Random cuts, with no id twice in a batch."""
    batches: list[list[Op]] = [[]]
    for op in ops:
        full = len(batches[-1]) >= rng.randint(1, 12)
        if full or any(other.id == op.id for other in batches[-1]):
            batches.append([])
        batches[-1].append(op)
    return batches
