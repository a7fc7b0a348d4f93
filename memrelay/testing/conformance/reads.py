"""Reads by id, counts, and the life of a driver."""

from __future__ import annotations

import asyncio

from memrelay.driver import Driver
from memrelay.filters import parse_filter
from memrelay.testing.conformance.harness import (
    FIELDS,
    Conformance,
    apply_all,
    fresh_scope,
    identity,
)
from memrelay.testing.samples import NOW, upsert, upserts
from memrelay.types import Delete, Scope


class ReadConformance(Conformance):
    """``get``, ``count``, ``ping``, ``ensure`` and ``close``."""

    async def test_get_leaves_out_what_is_missing(self, driver: Driver, scope: Scope) -> None:
        await apply_all(driver, scope, [upsert("a"), upsert("b")])
        assert set(await driver.get(scope, ["a", "missing", "b"])) == {"a", "b"}
        assert await driver.get(scope, []) == {}
        assert await driver.get(scope, ["missing"]) == {}

    async def test_get_of_1000_ids_answers_all(self, driver: Driver, scope: Scope) -> None:
        ops = upserts(1000, users=("ann", "bob", None))
        await apply_all(driver, scope, ops)
        got = await driver.get(scope, [op.id for op in reversed(ops)])
        assert {id: identity(memory) for id, memory in got.items()} == {
            op.id: identity(op.memory) for op in ops
        }

    async def test_get_shows_expired_memories_but_no_tombstones(
        self, driver: Driver, scope: Scope
    ) -> None:
        expired = upsert("expired", expires_at=NOW - 1)
        await apply_all(driver, scope, [expired, upsert("dead", version=1)])
        await apply_all(driver, scope, [Delete("dead", 2)])
        got = await driver.get(scope, ["expired", "dead"])
        assert {id: identity(memory) for id, memory in got.items()} == {
            "expired": identity(expired.memory)
        }

    async def test_count_is_exact_with_filter_expiry_and_tombstones(
        self, driver: Driver, scope: Scope
    ) -> None:
        ops = upserts(90, users=("ann", "bob", None))
        await apply_all(driver, scope, ops)
        await apply_all(driver, scope, [Delete(op.id, 1000) for op in ops[:9]])
        await apply_all(
            driver, scope, [upsert(op.id, version=1000, expires_at=NOW) for op in ops[9:15]]
        )
        assert await driver.count(scope, None, now=NOW - 1) == 81
        assert await driver.count(scope, None, now=NOW) == 75
        for raw, expected in (
            ({"user_id": "bob"}, 25),
            ({"user_id": {"$exists": False}}, 25),
            ({"tags": "tag0"}, 15),
            ({"metadata.score": {"$gte": 80}, "user_id": "ann"}, 3),
            ({"user_id": "nobody"}, 0),
        ):
            assert (raw, await driver.count(scope, parse_filter(raw, FIELDS), now=NOW)) == (
                raw,
                expected,
            )

    async def test_count_of_nothing_is_zero(self, driver: Driver, scope: Scope) -> None:
        assert await driver.count(scope, None, now=NOW) == 0

    async def test_ping_returns(self, driver: Driver) -> None:
        await driver.ping()

    async def test_ensure_is_idempotent_and_keeps_what_is_there(
        self, driver: Driver, scope: Scope
    ) -> None:
        await apply_all(driver, scope, [upsert("a")])
        await driver.ensure(scope)
        assert set(await driver.get(scope, ["a"])) == {"a"}

    async def test_many_ensure_at_once(self, driver: Driver) -> None:
        scope = fresh_scope()
        await asyncio.gather(*(driver.ensure(scope) for _ in range(8)))
        await apply_all(driver, scope, [upsert("a")])
        await driver.purge(scope)

    async def test_a_closed_driver_can_be_closed_again(self, driver: Driver) -> None:
        await driver.close()
        await driver.close()
