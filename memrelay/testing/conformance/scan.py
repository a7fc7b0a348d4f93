"""Scans: everything that stood still, once, by version and id, in pages."""

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
        ids = ["b", "a", "Z", "ä", "😀", "\uff5e", "a b", "10", "9", "é", "~"]
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

    async def test_since_leaves_out_lower_versions(self, driver: Driver, scope: Scope) -> None:
        ops: list[Op] = [*upserts(30, first_version=10, users=("ann", "bob", None))]
        ops += [Delete(f"dead{n}", 5 + 10 * n) for n in range(5)]
        model = await apply_all(driver, scope, ops)
        for since in (0, 1, 5, 6, 15, 16, 39, 40, 45):
            for limit in (1000, 4, 1):
                found = await scanned(driver, scope, limit, since=since)
                assert (since, limit, found) == (since, limit, model.entries(since))

    async def test_since_above_all_versions_is_one_empty_page(
        self, driver: Driver, scope: Scope
    ) -> None:
        await apply_all(driver, scope, [*upserts(5), Delete("dead", 9)])
        for since in (10, 2**53 - 1):
            page = await driver.scan(scope, since=since)
            assert list(page.entries) == []
            assert page.cursor is None

    async def test_since_begins_with_all_ids_of_its_version(
        self, driver: Driver, scope: Scope
    ) -> None:
        ids = [f"id{n}" for n in range(10)]
        ops: list[Op] = [upsert(id, version=7) for id in ids]
        ops += [Delete("a", 7), Delete("z", 7), upsert("early", version=6), Delete("late", 8)]
        model = await apply_all(driver, scope, ops)
        for limit in (3, 12, 13):
            assert await scanned(driver, scope, limit, since=7) == model.entries(7)
            assert await scanned(driver, scope, limit, since=8) == model.entries(8)

    async def test_since_orders_versions_as_numbers(self, driver: Driver, scope: Scope) -> None:
        versions = [9, 10, 99, 100, 2**31, 2**32 + 1, 2**53 - 2, 2**53 - 1]
        model = await apply_all(driver, scope, [upsert(f"v{n}", version=n) for n in versions])
        for since in versions:
            assert await scanned(driver, scope, 2, since=since) == model.entries(since)

    async def test_a_rewritten_memory_is_seen_at_its_new_version_only(
        self, driver: Driver, scope: Scope
    ) -> None:
        await apply_all(driver, scope, upserts(6))
        rewritten: list[Op] = [
            upsert("m00001", version=20, user_id="bob"),
            Delete("m00003", 21),
            upsert("m00004", version=22),
        ]
        model = await apply_all(driver, scope, rewritten)
        assert await scanned(driver, scope, 2, since=7) == model.entries()
        assert len(await scanned(driver, scope)) == 6

    async def test_writes_between_pages_hide_nothing_of_a_scan_with_since(
        self, driver: Driver, scope: Scope
    ) -> None:
        ops = upserts(30)
        await apply_all(driver, scope, ops)
        page = await driver.scan(scope, since=11, limit=5)
        seen = list(page.entries)
        written: list[Op] = [upsert("m00025", version=100), Delete("m00002", 101)]
        await apply_all(driver, scope, [*written, upsert("low", version=4)])
        while page.cursor is not None:
            page = await driver.scan(scope, since=11, cursor=page.cursor, limit=5)
            seen += page.entries
        model = Model()
        model.apply([*ops, *written])
        assert seen == model.entries(11)

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
