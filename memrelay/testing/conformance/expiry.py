"""Expiry: memories that are over become tombstones at their own versions, and stay so."""

from __future__ import annotations

from memrelay.driver import Driver
from memrelay.testing.conformance.harness import (
    Conformance,
    Model,
    apply_all,
    assert_holds,
    found_ids,
    statuses,
)
from memrelay.testing.samples import NOW, SECOND, upsert, upserts
from memrelay.types import Delete, Op, Scope

USERS = ("ann", "bob", None)


class ExpiryConformance(Conformance):
    """``expired``, and what comes of applying it."""

    async def test_expired_memories_come_as_deletes_of_their_own_versions(
        self, driver: Driver, scope: Scope
    ) -> None:
        times = {"past": NOW - SECOND, "just": NOW - 1, "now": NOW, "next": NOW + 1, "never": None}
        await apply_all(
            driver,
            scope,
            [
                upsert(id, version=n + 1, expires_at=time, user_id=USERS[n % 3])
                for n, (id, time) in enumerate(times.items())
            ],
        )
        past, just, now, following = (
            Delete(id, n + 1) for n, id in enumerate(("past", "just", "now", "next"))
        )
        for time, expected in (
            (NOW - SECOND - 1, set()),
            (NOW - SECOND, {past}),
            (NOW - 1, {past, just}),
            (NOW, {past, just, now}),
            (NOW + 1, {past, just, now, following}),
        ):
            deletes = await driver.expired(scope, now=time)
            assert len(deletes) == len(expected)
            assert set(deletes) == expected

    async def test_nothing_expired_is_an_empty_answer(self, driver: Driver, scope: Scope) -> None:
        assert list(await driver.expired(scope, now=NOW)) == []
        await apply_all(driver, scope, [*upserts(10, users=USERS), Delete("gone", 50)])
        assert list(await driver.expired(scope, now=NOW)) == []

    async def test_expiry_is_that_of_the_latest_version(self, driver: Driver, scope: Scope) -> None:
        ids = ("kept", "longer", "moved", "deleted", "shorter")
        await apply_all(driver, scope, [upsert(id, expires_at=NOW - 1) for id in ids[:4]])
        await apply_all(
            driver,
            scope,
            [
                upsert("kept", version=2),
                upsert("longer", version=2, expires_at=NOW + 1),
                upsert("moved", version=2, expires_at=NOW - 1, user_id="bob"),
                upsert("shorter", version=1),
                Delete("deleted", 2),
            ],
        )
        await apply_all(driver, scope, [upsert("shorter", version=3, expires_at=NOW)])
        deletes = await driver.expired(scope, now=NOW)
        assert sorted(deletes, key=lambda op: op.id) == [Delete("moved", 2), Delete("shorter", 3)]

    async def test_applied_expiry_leaves_tombstones(self, driver: Driver, scope: Scope) -> None:
        over = [
            upsert(f"e{n}", version=n + 1, expires_at=NOW - n, user_id=USERS[n % 3])
            for n in range(9)
        ]
        ops: list[Op] = [*over, upsert("next", version=50, expires_at=NOW + 1), Delete("gone", 51)]
        model = await apply_all(driver, scope, [*ops, *upserts(9, first_version=60, users=USERS)])
        deletes = await driver.expired(scope, now=NOW)
        assert await statuses(driver, scope, deletes) == {op.id: "applied" for op in over}
        model.apply(Delete(op.id, op.version) for op in over)
        await assert_holds(driver, scope, model)
        assert list(await driver.expired(scope, now=NOW)) == []

    async def test_a_late_upsert_of_an_expired_version_stays_invisible(
        self, driver: Driver, scope: Scope
    ) -> None:
        late = upsert("a", version=5, expires_at=NOW)
        await apply_all(driver, scope, [late])
        await driver.apply(scope, await driver.expired(scope, now=NOW))
        assert await statuses(driver, scope, [late]) == {"a": "stale"}
        assert await statuses(driver, scope, [upsert("a", version=5)]) == {"a": "stale"}
        model = Model()
        model.apply([Delete("a", 5)])
        await assert_holds(driver, scope, model)
        assert await found_ids(driver, scope, {"user_id": "ann"}) == set()
        assert list(await driver.find(scope, None)) == []
        newer = upsert("a", version=6, expires_at=NOW + 1)
        assert await statuses(driver, scope, [newer]) == {"a": "applied"}
        model.apply([newer])
        await assert_holds(driver, scope, model)

    async def test_a_memory_rewritten_before_its_expiry_is_applied_stays(
        self, driver: Driver, scope: Scope
    ) -> None:
        await apply_all(driver, scope, [upsert("a", version=5, expires_at=NOW)])
        deletes = await driver.expired(scope, now=NOW)
        model = await apply_all(driver, scope, [upsert("a", version=6, user_id="bob")])
        assert await statuses(driver, scope, deletes) == {"a": "stale"}
        await assert_holds(driver, scope, model)

    async def test_expired_memories_come_in_portions(self, driver: Driver, scope: Scope) -> None:
        over = [
            upsert(f"e{n:02d}", version=n + 1, expires_at=NOW - n % 7, user_id=USERS[n % 3])
            for n in range(30)
        ]
        live = upserts(20, first_version=100, users=USERS)
        model = await apply_all(driver, scope, [*over, *live])
        portions = []
        while deletes := await driver.expired(scope, now=NOW, limit=8):
            assert len(deletes) <= 8
            assert set((await statuses(driver, scope, deletes)).values()) == {"applied"}
            portions += [op.id for op in deletes]
            assert len(portions) <= 30
        assert sorted(portions) == [op.id for op in over]
        model.apply(Delete(op.id, op.version) for op in over)
        await assert_holds(driver, scope, model)
