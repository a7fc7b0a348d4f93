"""Whatever the order and however many write at once, the highest version stays."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from memrelay.driver import Driver
from memrelay.testing.conformance.harness import (
    AXIS,
    Conformance,
    Model,
    apply_all,
    assert_holds,
    found_ids,
    statuses,
)
from memrelay.testing.samples import NOW, upsert
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

    async def test_a_delete_beats_an_upsert_of_its_version_in_both_orders(
        self, driver: Driver, scope: Scope
    ) -> None:
        early, late = upsert("early", version=5), upsert("late", version=5)
        assert await statuses(driver, scope, [Delete("early", 5), late]) == {
            "early": "applied",
            "late": "applied",
        }
        assert await statuses(driver, scope, [early, Delete("late", 5)]) == {
            "early": "stale",
            "late": "applied",
        }
        assert await statuses(driver, scope, [early, late]) == {"early": "stale", "late": "stale"}
        model = Model()
        model.apply([Delete("early", 5), Delete("late", 5)])
        await assert_holds(driver, scope, model)

    async def test_a_newer_upsert_follows_a_delete_that_beat_one(
        self, driver: Driver, scope: Scope
    ) -> None:
        await statuses(driver, scope, [upsert("a", version=5)])
        await statuses(driver, scope, [Delete("a", 5)])
        op = upsert("a", version=6)
        assert await statuses(driver, scope, [op]) == {"a": "applied"}
        model = Model()
        model.apply([op])
        await assert_holds(driver, scope, model)

    async def test_concurrent_writes_of_equal_versions_end_in_deletes(
        self, driver: Driver, scope: Scope
    ) -> None:
        rng = random.Random(5)
        ops: list[Op] = []
        for version in range(1, 61):
            id = IDS[version % len(IDS)]
            ops.append(upsert(id, version=version, user_id=rng.choice(USERS)))
            if version % 3:
                ops.append(Delete(id, version))
        rng.shuffle(ops)
        await self._apply_at_once(driver, scope, _batches(ops, rng))
        model = Model()
        model.apply(ops)
        assert 0 < len(model.live()) < len(IDS)
        if not driver.capabilities.atomic_versions:
            await driver.apply(scope, model.winners)
        await assert_holds(driver, scope, model)

    async def test_an_equal_version_is_redone(self, driver: Driver, scope: Scope) -> None:
        old = upsert("a", version=5, text="old", tags=("x",), metadata={"topic": "t"})
        new = upsert("a", version=5, text="new", session_id="s", expires_at=NOW, vector=AXIS)
        model = await apply_all(driver, scope, [old, upsert("b", version=5)])
        assert await statuses(driver, scope, [new]) == {"a": "applied"}
        model.apply([new])
        await assert_holds(driver, scope, model)
        assert await statuses(driver, scope, [new]) == {"a": "applied"}
        await assert_holds(driver, scope, model)

    async def test_an_equal_version_of_another_user_takes_its_place(
        self, driver: Driver, scope: Scope
    ) -> None:
        for user in ("ann", "bob", None, "ann"):
            model = await apply_all(driver, scope, [upsert("a", version=5, user_id=user)])
            await assert_holds(driver, scope, model)
            for other in ("ann", "bob"):
                expected = {"a"} if other == user else set()
                assert await found_ids(driver, scope, {"user_id": other}) == expected

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
