"""Records: what is held, as the ops that would write it again, in this scope or in another."""

from __future__ import annotations

from typing import Any

from memrelay.driver import Driver
from memrelay.testing.conformance.harness import (
    AXIS,
    Conformance,
    apply_all,
    assert_holds,
    assert_records,
    fresh_scope,
    scanned,
)
from memrelay.testing.samples import NOW, upsert, upserts
from memrelay.types import Delete, Op, Scope

ODDITIES: dict[str, Any] = {"topic": "ä\u2028", "score": 1.0, "done": None, "": [[], {"a": 2**53}]}


class RecordConformance(Conformance):
    """``records``: what repairs are made of."""

    async def test_records_are_the_ops_that_were_applied(
        self, driver: Driver, scope: Scope
    ) -> None:
        ops: list[Op] = [*upserts(40, users=("ann", "bob", None)), Delete("gone", 50)]
        ops += [
            upsert("odd", version=51, session_id="s", tags=("", "x", "x"), metadata=ODDITIES),
            upsert("expired", version=52, expires_at=NOW - 1),
            upsert("empty", version=53, text="", user_id=None),
            upsert("symbols", version=54, text="... \u200b ?!"),
        ]
        model = await apply_all(driver, scope, ops)
        await assert_records(driver, scope, model)

    async def test_records_of_what_is_not_held_are_left_out(
        self, driver: Driver, scope: Scope
    ) -> None:
        assert await driver.records(scope, []) == {}
        assert await driver.records(scope, ["a", "missing"]) == {}
        await apply_all(driver, scope, [upsert("a"), Delete("b", 2)])
        assert await driver.records(scope, []) == {}
        assert set(await driver.records(scope, ["b", "missing", "a", "A"])) == {"a", "b"}

    async def test_records_of_512_ids_answer_all(self, driver: Driver, scope: Scope) -> None:
        ops: list[Op] = [*upserts(500, users=("ann", "bob", None))]
        ops += [Delete(f"gone{n}", 1000 + n) for n in range(12)]
        model = await apply_all(driver, scope, ops)
        await assert_records(driver, scope, model)

    async def test_records_are_of_the_latest_version(self, driver: Driver, scope: Scope) -> None:
        await apply_all(driver, scope, upserts(12, users=("ann", "bob", None)))
        changes: list[Op] = [
            upsert("m00001", version=20, vector=AXIS, text="changed"),
            upsert("m00002", version=21, user_id="cyd", expires_at=NOW),
            upsert("m00003", version=22, user_id=None),
            Delete("m00004", 23),
            Delete("m00005", 24),
        ]
        await apply_all(driver, scope, changes)
        model = await apply_all(driver, scope, [upsert("m00005", version=25, user_id="bob")])
        model.apply([*upserts(12, users=("ann", "bob", None)), *changes])
        await assert_records(driver, scope, model)

    async def test_records_applied_again_change_nothing(self, driver: Driver, scope: Scope) -> None:
        ops: list[Op] = [*upserts(30, users=("ann", "bob", None)), Delete("gone", 50)]
        model = await apply_all(driver, scope, ops)
        records = await driver.records(scope, [op.id for op in ops])
        await apply_all(driver, scope, list(records.values()))
        await assert_holds(driver, scope, model)

    async def test_records_applied_to_another_scope_are_the_same_scan(
        self, driver: Driver, scope: Scope
    ) -> None:
        ops: list[Op] = [*upserts(100, users=("ann", "bob", None))]
        ops += [upsert("odd", version=101, metadata=ODDITIES, expires_at=NOW), Delete("gone", 102)]
        model = await apply_all(driver, scope, ops)
        replica = fresh_scope()
        await driver.ensure(replica)
        records = await driver.records(scope, [entry.id for entry in await scanned(driver, scope)])
        await apply_all(driver, replica, list(records.values()))
        assert await scanned(driver, replica) == await scanned(driver, scope)
        await assert_holds(driver, replica, model)
        await driver.purge(replica)
        await assert_records(driver, scope, model)
