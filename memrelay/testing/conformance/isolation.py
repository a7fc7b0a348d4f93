"""Isolation: what is in another namespace, source or space does not exist here."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator

import pytest

from memrelay.driver import Driver, Query
from memrelay.testing.conformance.harness import (
    AXIS,
    Conformance,
    Model,
    apply_all,
    assert_holds,
    assert_records,
    fresh_scope,
    identity,
    scanned,
    semantic,
)
from memrelay.testing.samples import NOW, SPACE, upsert, vector
from memrelay.types import Delete, Op, Scope, Space

IDS = ("a", "b", "gone")


class IsolationConformance(Conformance):
    """The same ids everywhere, and never the wrong ones."""

    @pytest.fixture
    async def neighbours(self, driver: Driver, scope: Scope) -> AsyncIterator[list[Scope]]:
        """Scopes that differ from ``scope`` in one thing each."""
        namespace = scope.namespace
        scopes = [
            fresh_scope(),
            dataclasses.replace(scope, namespace=f"{namespace}x"),
            dataclasses.replace(scope, namespace=f"{namespace}:{scope.source}"),
            dataclasses.replace(scope, namespace=namespace.upper()),
            dataclasses.replace(scope, source="default2"),
            dataclasses.replace(scope, source="def"),
            dataclasses.replace(scope, space=Space("memrelay/another", SPACE.dimensions)),
        ]
        for other in scopes:
            await driver.ensure(other)
        yield scopes
        for other in scopes:
            await driver.purge(other)

    async def test_other_namespaces_sources_and_spaces_are_never_seen(
        self, driver: Driver, scope: Scope, neighbours: list[Scope]
    ) -> None:
        models = await _fill(driver, neighbours)
        await assert_holds(driver, scope, Model())
        models |= await _fill(driver, [scope], first=len(neighbours))
        for index, other in enumerate([*neighbours, scope]):
            await assert_holds(driver, other, models[index])
            assert await driver.count(other, None, now=NOW) == 2

    async def test_keyword_search_sees_its_own_scope_only(
        self, driver: Driver, scope: Scope, neighbours: list[Scope]
    ) -> None:
        if not driver.capabilities.keyword:
            return
        await _fill(driver, [*neighbours, scope])
        query = Query(mode="keyword", text="number3", top_k=10, now=NOW)
        for index, other in enumerate([*neighbours, scope]):
            hits = await driver.search(other, query)
            assert {hit.memory.id for hit in hits} == ({"a", "b"} if index == 3 else set())

    async def test_purge_touches_its_own_scope_only(
        self, driver: Driver, scope: Scope, neighbours: list[Scope]
    ) -> None:
        models = await _fill(driver, neighbours)
        await _fill(driver, [scope], first=len(neighbours))
        await driver.purge(scope)
        assert await scanned(driver, scope) == []
        for index, other in enumerate(neighbours):
            await assert_holds(driver, other, models[index])

    async def test_deletes_touch_their_own_scope_only(
        self, driver: Driver, scope: Scope, neighbours: list[Scope]
    ) -> None:
        models = await _fill(driver, neighbours)
        await apply_all(driver, scope, [Delete(id, 10_000) for id in IDS])
        for index, other in enumerate(neighbours):
            await assert_holds(driver, other, models[index])

    async def test_records_and_finds_are_of_their_own_scope_only(
        self, driver: Driver, scope: Scope, neighbours: list[Scope]
    ) -> None:
        scopes = [*neighbours, scope]
        models = await _fill(driver, neighbours)
        assert await driver.records(scope, IDS) == {}
        assert list(await driver.find(scope, None)) == []
        models |= await _fill(driver, [scope], first=len(neighbours))
        for index, other in enumerate(scopes):
            await assert_records(driver, other, models[index])
            held = sorted((op.memory for op in models[index].live()), key=lambda m: m.id)
            found = await driver.find(other, None)
            assert [identity(m) for m in found] == [identity(m) for m in held]

    async def test_expired_and_collect_touch_their_own_scope_only(
        self, driver: Driver, scope: Scope, neighbours: list[Scope]
    ) -> None:
        models = await _fill(driver, neighbours)
        for index, other in enumerate(neighbours):
            over = upsert("over", version=300 + index, expires_at=NOW, source=other.source)
            await apply_all(driver, other, [over])
            models[index].apply([over])
        assert list(await driver.expired(scope, now=NOW)) == []
        assert await driver.collect(scope, before=10_000) == 0
        await apply_all(driver, scope, [upsert("over", expires_at=NOW), Delete("gone", 2)])
        assert list(await driver.expired(scope, now=NOW)) == [Delete("over", 1)]
        assert await driver.collect(scope, before=10_000) == 1
        for index, other in enumerate(neighbours):
            await assert_holds(driver, other, models[index])
            assert list(await driver.expired(other, now=NOW)) == [Delete("over", 300 + index)]

    async def test_a_space_of_another_dimension_is_another_world(
        self, driver: Driver, scope: Scope
    ) -> None:
        wide = dataclasses.replace(scope, space=Space(SPACE.model, 32))
        await driver.ensure(wide)
        narrow = await apply_all(driver, scope, [upsert("a", version=9, text="narrow")])
        op = upsert("a", version=1, text="wide", vector=vector("wide", 32))
        await apply_all(driver, wide, [op])
        await assert_holds(driver, scope, narrow)
        got = await driver.get(wide, ["a"])
        assert identity(got["a"]) == identity(op.memory)
        (hit,) = await semantic(driver, wide, axis=op.vector)
        assert hit.score == pytest.approx(1, abs=1e-3)
        await driver.purge(wide)
        await assert_holds(driver, scope, narrow)

    async def test_the_largest_dimension_works(self, driver: Driver, scope: Scope) -> None:
        dimensions = driver.capabilities.max_dimensions
        largest = dataclasses.replace(scope, space=Space(SPACE.model, dimensions))
        await driver.ensure(largest)
        op = upsert("a", vector=vector("largest", dimensions))
        await apply_all(driver, largest, [op])
        (hit,) = await semantic(driver, largest, axis=op.vector)
        assert hit.score == pytest.approx(1, abs=1e-3)
        await driver.purge(largest)

    async def test_users_see_their_own_memories_only(self, driver: Driver, scope: Scope) -> None:
        users = ("ann", " ann", "ann ", "Ann", "ann:bob", "", None)
        ops: list[Op] = [
            upsert(f"m{n}", version=n + 1, user_id=users[n % len(users)], vector=AXIS)
            for n in range(35)
        ]
        await apply_all(driver, scope, ops)
        for index, user in enumerate(users[:-1]):
            hits = await semantic(driver, scope, {"user_id": user})
            assert [hit.memory.id for hit in hits] == sorted(
                f"m{n}" for n in range(35) if n % len(users) == index
            )


async def _fill(driver: Driver, scopes: list[Scope], first: int = 0) -> dict[int, Model]:
    """The same ids in every scope, with texts and versions of their own."""
    models = {}
    for index, scope in enumerate(scopes, start=first):
        ops: list[Op] = [
            upsert(
                id,
                version=100 + index,
                source=scope.source,
                text=f"number{index}",
                vector=vector(f"{id} {index}"),
            )
            for id in IDS[:2]
        ]
        models[index] = await apply_all(driver, scope, [*ops, Delete(IDS[2], 200 + index)])
    return models
