"""Applying: idempotent, highest version wins, a delete is a version too, each id by itself."""

from __future__ import annotations

from typing import Any

from memrelay.driver import Driver
from memrelay.errors import Permanent
from memrelay.testing.conformance.harness import (
    AXIS,
    Conformance,
    Model,
    apply_all,
    assert_holds,
    found_ids,
    identity,
    scanned,
    semantic,
    statuses,
)
from memrelay.testing.samples import upsert, upserts, vector, vector_at
from memrelay.types import Delete, Entry, Op, Scope


class ApplyConformance(Conformance):
    """``apply`` one call after the other."""

    async def test_an_upsert_is_held(self, driver: Driver, scope: Scope) -> None:
        model = await apply_all(driver, scope, [upsert("a"), upsert("b", version=2)])
        await assert_holds(driver, scope, model)

    async def test_nothing_to_apply_is_no_error(self, driver: Driver, scope: Scope) -> None:
        assert await driver.apply(scope, []) == {}

    async def test_the_same_ops_twice_are_applied_twice_and_held_once(
        self, driver: Driver, scope: Scope
    ) -> None:
        ops: list[Op] = [*upserts(10), Delete("gone", 99)]
        await apply_all(driver, scope, ops)
        model = await apply_all(driver, scope, ops)
        await assert_holds(driver, scope, model)

    async def test_a_lower_version_is_stale_and_changes_nothing(
        self, driver: Driver, scope: Scope
    ) -> None:
        model = await apply_all(driver, scope, [upsert("a", version=5, text="newer")])
        assert await statuses(driver, scope, [upsert("a", version=4, text="older")]) == {
            "a": "stale"
        }
        await assert_holds(driver, scope, model)

    async def test_a_higher_version_replaces_all_fields(self, driver: Driver, scope: Scope) -> None:
        old = upsert(
            "a", version=1, session_id="s1", tags=("x",), metadata={"topic": "t"}, expires_at=7
        )
        await apply_all(driver, scope, [old])
        model = await apply_all(driver, scope, [upsert("a", version=2, user_id=None)])
        await assert_holds(driver, scope, model)

    async def test_a_tombstone_beats_an_older_upsert_in_both_orders(
        self, driver: Driver, scope: Scope
    ) -> None:
        await apply_all(driver, scope, [upsert("late", version=1), Delete("early", 2)])
        model = await apply_all(driver, scope, [Delete("late", 2)])
        model.apply([Delete("early", 2)])
        assert await statuses(driver, scope, [upsert("early", version=1)]) == {"early": "stale"}
        await assert_holds(driver, scope, model)

    async def test_a_newer_upsert_beats_a_tombstone_in_both_orders(
        self, driver: Driver, scope: Scope
    ) -> None:
        early, late = upsert("early", version=2), upsert("late", version=2)
        await apply_all(driver, scope, [Delete("late", 1), early])
        model = await apply_all(driver, scope, [late])
        model.apply([early])
        assert await statuses(driver, scope, [Delete("early", 1)]) == {"early": "stale"}
        await assert_holds(driver, scope, model)

    async def test_a_delete_of_an_unknown_id_leaves_a_tombstone(
        self, driver: Driver, scope: Scope
    ) -> None:
        assert await statuses(driver, scope, [Delete("ghost", 7)]) == {"ghost": "applied"}
        assert await scanned(driver, scope) == [Entry("ghost", 7, None)]
        assert await statuses(driver, scope, [upsert("ghost", version=6)]) == {"ghost": "stale"}
        assert await driver.get(scope, ["ghost"]) == {}

    async def test_deletes_order_among_themselves(self, driver: Driver, scope: Scope) -> None:
        await apply_all(driver, scope, [Delete("a", 5)])
        assert await statuses(driver, scope, [Delete("a", 4)]) == {"a": "stale"}
        assert await statuses(driver, scope, [Delete("a", 6)]) == {"a": "applied"}
        assert await scanned(driver, scope) == [Entry("a", 6, None)]

    async def test_every_id_of_a_mixed_batch_has_its_own_outcome(
        self, driver: Driver, scope: Scope
    ) -> None:
        model = await apply_all(
            driver,
            scope,
            [upsert("older", version=1), upsert("newer", version=50), Delete("dead", 50)],
        )
        batch: list[Op] = [
            upsert("older", version=10),
            upsert("newer", version=11),
            upsert("dead", version=12),
            upsert("new", version=13),
            Delete("unknown", 14),
        ]
        assert await statuses(driver, scope, batch) == model.apply(batch)
        await assert_holds(driver, scope, model)

    async def test_a_batch_of_512_is_applied_whole(self, driver: Driver, scope: Scope) -> None:
        ops = upserts(512, users=("ann", "bob", None))
        await apply_all(driver, scope, ops)
        got = await driver.get(scope, [op.id for op in ops])
        assert {op.id: identity(op.memory) for op in ops} == {
            id: identity(memory) for id, memory in got.items()
        }
        assert await driver.count(scope, None, now=0) == 512

    async def test_vectors_of_a_wrong_dimension_fail_alone(
        self, driver: Driver, scope: Scope
    ) -> None:
        held = upsert("held", version=1)
        await apply_all(driver, scope, [held])
        short, long = vector("short", 15), vector("long", 17)
        bad = [upsert("held", version=2, vector=short), upsert("b", version=3, vector=long)]
        good: list[Op] = [upsert("good", version=4), Delete("gone", 5)]
        outcomes = await driver.apply(scope, [*bad, *good])
        for op in bad:
            assert outcomes[op.id].status == "failed"
            error = outcomes[op.id].error
            assert isinstance(error, Permanent)
            assert error.code == "dimension"
        assert {outcomes[op.id].status for op in good} == {"applied"}
        model = Model()
        model.apply([held, *good])
        await assert_holds(driver, scope, model)

    async def test_memories_that_json_cannot_hold_fail_alone(
        self, driver: Driver, scope: Scope
    ) -> None:
        bad = [
            upsert("nan", version=1, metadata={"score": float("nan")}),
            upsert("half a character", version=2, text="\ud83d"),
        ]
        good = upsert("good", version=3)
        outcomes = await driver.apply(scope, [*bad, good])
        for op in bad:
            assert outcomes[op.id].status == "failed"
            assert isinstance(outcomes[op.id].error, Permanent)
        assert outcomes["good"].status == "applied"
        model = Model()
        model.apply([good])
        await assert_holds(driver, scope, model)

    async def test_a_memory_moves_with_its_user(self, driver: Driver, scope: Scope) -> None:
        for version, user in enumerate(("ann", "bob", None, "ann"), start=1):
            model = await apply_all(driver, scope, [upsert("a", version=version, user_id=user)])
            for other in ("ann", "bob"):
                expected = {"a"} if other == user else set()
                assert await found_ids(driver, scope, {"user_id": other}) == expected
            await assert_holds(driver, scope, model)

    async def test_a_moved_memory_can_be_deleted_and_written_again(
        self, driver: Driver, scope: Scope
    ) -> None:
        await apply_all(driver, scope, [upsert("a", version=1, user_id="ann")])
        await apply_all(driver, scope, [upsert("a", version=2, user_id="bob")])
        await apply_all(driver, scope, [Delete("a", 3)])
        assert await found_ids(driver, scope, {"user_id": {"$in": ["ann", "bob"]}}) == set()
        assert await statuses(driver, scope, [upsert("a", version=1)]) == {"a": "stale"}
        model = await apply_all(driver, scope, [upsert("a", version=4, user_id="cyd")])
        await assert_holds(driver, scope, model)

    async def test_a_changed_memory_is_found_by_its_new_fields_only(
        self, driver: Driver, scope: Scope
    ) -> None:
        old: dict[str, Any] = {
            "session_id": "s1",
            "tags": ("x",),
            "metadata": {"topic": "t1", "note": "n1"},
        }
        new: dict[str, Any] = {
            "session_id": "s2",
            "tags": ("y",),
            "metadata": {"topic": "t2", "note": "n2"},
        }
        await apply_all(driver, scope, [upsert("a", version=1, **old)])
        await apply_all(driver, scope, [upsert("a", version=2, **new)])
        for field in ("session_id", "tags", "metadata.topic", "metadata.note"):
            before, after = _filter_values(field)
            assert await found_ids(driver, scope, {field: before}) == set()
            assert await found_ids(driver, scope, {field: after}) == {"a"}

    async def test_a_changed_vector_is_the_one_that_is_searched(
        self, driver: Driver, scope: Scope
    ) -> None:
        far, near = vector_at(AXIS, -0.5, "far"), vector_at(AXIS, 0.9, "near")
        await apply_all(driver, scope, [upsert("a", version=1, vector=far)])
        await apply_all(driver, scope, [upsert("a", version=2, vector=near)])
        (hit,) = await semantic(driver, scope)
        assert abs(hit.score - 0.9) < 1e-3


def _filter_values(field: str) -> tuple[str, str]:
    return {
        "session_id": ("s1", "s2"),
        "tags": ("x", "y"),
        "metadata.topic": ("t1", "t2"),
        "metadata.note": ("n1", "n2"),
    }[field]
