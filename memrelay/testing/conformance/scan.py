"""Scans: everything that stood still, once, by version and id, in pages."""

from __future__ import annotations

from memrelay.driver import Driver
from memrelay.testing.conformance.harness import (
    Conformance,
    apply_all,
    assert_holds,
    scanned,
    statuses,
)
from memrelay.testing.samples import upsert, upserts
from memrelay.types import Delete, Op, Scope


class ScanConformance(Conformance):
    """``scan`` and ``purge``: what reconcile, migrate and export stand on."""

    async def test_scan_of_nothing_is_one_empty_page(self, driver: Driver, scope: Scope) -> None:
        page = await driver.scan(scope)
        assert list(page.entries) == []
        assert page.cursor is None

    async def test_scan_yields_versions_in_order_with_digests(
        self, driver: Driver, scope: Scope
    ) -> None:
        ops: list[Op] = [*upserts(60, first_version=10, users=("ann", "bob", None))]
        ops += [Delete(f"dead{n}", 5 + 10 * n) for n in range(8)]
        model = await apply_all(driver, scope, ops)
        assert await scanned(driver, scope) == model.entries()

    async def test_pages_of_seven_are_the_same_scan(self, driver: Driver, scope: Scope) -> None:
        ops: list[Op] = [*upserts(50, users=("ann", "bob")), Delete("dead", 25)]
        model = await apply_all(driver, scope, ops)
        assert await scanned(driver, scope, limit=7) == model.entries()
        assert await scanned(driver, scope, limit=1) == model.entries()

    async def test_equal_versions_are_ordered_by_id_across_pages(
        self, driver: Driver, scope: Scope
    ) -> None:
        ids = ["b", "a", "Z", "ä", "😀", "a b", "10", "9", "é", "~"]
        ops: list[Op] = [upsert(id, version=3) for id in ids]
        ops += [upsert("first", version=2), upsert("last", version=4), Delete("mid", 3)]
        model = await apply_all(driver, scope, ops)
        assert await scanned(driver, scope, limit=3) == model.entries()

    async def test_versions_order_as_numbers_up_to_2_to_the_53(
        self, driver: Driver, scope: Scope
    ) -> None:
        versions = [9, 10, 99, 100, 2**31, 2**32 + 1, 2**53 - 2, 2**53 - 1]
        ops: list[Op] = [upsert(f"v{n}", version=n) for n in versions]
        model = await apply_all(driver, scope, ops)
        assert await scanned(driver, scope, limit=2) == model.entries()
        assert await statuses(driver, scope, [Delete(f"v{2**53 - 1}", 2**53 - 2)]) == {
            f"v{2**53 - 1}": "stale"
        }

    async def test_writes_during_a_scan_hide_nothing_that_stood_still(
        self, driver: Driver, scope: Scope
    ) -> None:
        ops = upserts(30)
        await apply_all(driver, scope, ops)
        page = await driver.scan(scope, limit=10)
        seen = [entry.id for entry in page.entries]
        moving = [ops[5].id, ops[20].id]
        await apply_all(driver, scope, [upsert(id, version=100 + n) for n, id in enumerate(moving)])
        while page.cursor is not None:
            page = await driver.scan(scope, cursor=page.cursor, limit=10)
            seen += [entry.id for entry in page.entries]
        still = [op.id for op in ops if op.id not in moving]
        assert [id for id in seen if id not in moving] == still
        assert set(moving) <= set(seen)

    async def test_purge_forgets_memories_and_tombstones(
        self, driver: Driver, scope: Scope
    ) -> None:
        ops: list[Op] = [
            *upserts(30, first_version=100, users=("ann", "bob", None)),
            Delete("d", 50),
        ]
        await apply_all(driver, scope, ops)
        await driver.purge(scope)
        assert await scanned(driver, scope) == []
        assert await driver.get(scope, [op.id for op in ops]) == {}
        await driver.purge(scope)
        await driver.ensure(scope)
        older: list[Op] = [upsert("d", version=1), upsert(ops[0].id, version=2)]
        model = await apply_all(driver, scope, older)
        await assert_holds(driver, scope, model)
