"""Collecting: old tombstones go for good, and nothing else does."""

from __future__ import annotations

from memrelay.driver import Driver
from memrelay.testing.conformance.harness import (
    Conformance,
    Model,
    apply_all,
    assert_holds,
    scanned,
    statuses,
)
from memrelay.testing.samples import NOW, upsert, upserts
from memrelay.types import Delete, Entry, Op, Scope

USERS = ("ann", "bob", None)


class CollectConformance(Conformance):
    """``collect``."""

    async def test_tombstones_below_the_version_go_for_good(
        self, driver: Driver, scope: Scope
    ) -> None:
        await apply_all(driver, scope, upserts(6, users=USERS))
        ids = [f"m{n:05d}" for n in range(6)]
        await apply_all(driver, scope, [Delete(id, 10 + n) for n, id in enumerate(ids)])
        await apply_all(driver, scope, [Delete("never held", 9)])
        assert await driver.collect(scope, before=9) == 0
        assert await driver.collect(scope, before=13) == 4
        left = [Entry(id, 10 + n, None) for n, id in enumerate(ids) if n >= 3]
        assert await scanned(driver, scope) == left
        assert await driver.records(scope, [*ids, "never held"]) == {
            entry.id: Delete(entry.id, entry.version) for entry in left
        }
        assert await driver.collect(scope, before=13) == 0
        assert await driver.collect(scope, before=2**53 - 1) == 3
        assert await scanned(driver, scope) == []

    async def test_collect_leaves_memories_alone(self, driver: Driver, scope: Scope) -> None:
        ops: list[Op] = [*upserts(30, users=USERS), upsert("over", version=40, expires_at=NOW - 1)]
        ops += [Delete("gone", 2), Delete("later", 50)]
        model = Model()
        model.apply(op for op in ops if op.id != "gone")
        await apply_all(driver, scope, ops)
        assert await driver.collect(scope, before=45) == 1
        await assert_holds(driver, scope, model)

    async def test_a_memory_written_over_its_tombstone_is_not_collected(
        self, driver: Driver, scope: Scope
    ) -> None:
        await apply_all(driver, scope, [Delete("a", 5), Delete("b", 6)])
        model = await apply_all(driver, scope, [upsert("a", version=7), Delete("b", 20)])
        assert await driver.collect(scope, before=10) == 0
        await assert_holds(driver, scope, model)

    async def test_collect_takes_at_most_its_limit(self, driver: Driver, scope: Scope) -> None:
        dead: list[Op] = [Delete(f"dead{n}", n + 1) for n in range(20)]
        await apply_all(driver, scope, [*dead, *upserts(20, first_version=5, users=USERS)])
        for left, expected in ((13, 7), (6, 7), (0, 6), (0, 0)):
            assert await driver.collect(scope, before=100, limit=7) == expected
            tombstones = [e for e in await scanned(driver, scope) if e.digest is None]
            assert len(tombstones) == left
        assert await driver.count(scope, None, now=NOW) == 20

    async def test_what_was_collected_is_forgotten(self, driver: Driver, scope: Scope) -> None:
        await apply_all(driver, scope, [upsert("a", version=3), Delete("b", 9)])
        await apply_all(driver, scope, [Delete("a", 9)])
        assert await driver.collect(scope, before=10) == 2
        older = [upsert("a", version=1, user_id="bob"), upsert("b", version=2)]
        model = await apply_all(driver, scope, older)
        await assert_holds(driver, scope, model)
        assert await statuses(driver, scope, [Delete("a", 1)]) == {"a": "applied"}

    async def test_collect_of_nothing_is_zero(self, driver: Driver, scope: Scope) -> None:
        assert await driver.collect(scope, before=2**53 - 1) == 0
