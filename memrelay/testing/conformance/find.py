"""Finding: every live memory that passes a filter, by id, in pages."""

from __future__ import annotations

from collections.abc import Iterable

from memrelay.driver import Driver
from memrelay.filters import matches
from memrelay.testing.conformance.filter_cases import crafted, random_filters
from memrelay.testing.conformance.harness import (
    Conformance,
    apply_all,
    identity,
    parsed,
    statuses,
)
from memrelay.testing.samples import NOW, upsert, upserts
from memrelay.types import Delete, Memory, Op, Scope, Upsert

IDS = (
    "b", "a", "Z", "A", " a", "ä", "a\u0308", "😀", "\uff5e", "\ue000", "a b", "10", "9", "é", "~", "zz",
    "z", "{x}", "日本語", "a" * 256,
)  # fmt: skip


class FindConformance(Conformance):
    """``find``: what deletes by filter, exports and re-embedding stand on."""

    async def test_find_without_a_filter_yields_all_by_code_point(
        self, driver: Driver, scope: Scope
    ) -> None:
        ops = [
            upsert(id, version=n + 1, user_id=("ann", "bob", None)[n % 3])
            for n, id in enumerate(IDS)
        ]
        await apply_all(driver, scope, ops)
        for limit in (1, 3, 10, 20, 512):
            assert _identities(await found(driver, scope, limit=limit)) == _in_order(ops)

    async def test_find_goes_on_above_any_id(self, driver: Driver, scope: Scope) -> None:
        ops = [upsert(id, version=n + 1) for n, id in enumerate(IDS)]
        await apply_all(driver, scope, ops)
        for after in (*IDS, "", "aa", "\U0010ffff"):
            rest = [op for op in ops if op.id > after]
            got = await driver.find(scope, None, after=after)
            assert (after, _identities(got)) == (after, _in_order(rest))

    async def test_find_includes_expired_memories_but_no_tombstones(
        self, driver: Driver, scope: Scope
    ) -> None:
        expired = [upsert(f"e{n}", version=n + 1, expires_at=NOW - n) for n in range(3)]
        dead = [upsert(f"d{n}", version=n + 10) for n in range(3)]
        live = upsert("live", version=20, expires_at=NOW + 1)
        await apply_all(driver, scope, [*expired, *dead, live])
        await apply_all(driver, scope, [Delete(op.id, 30) for op in dead])
        await apply_all(driver, scope, [Delete("never", 31)])
        for raw in (None, {"user_id": "ann"}, {"id": {"$exists": True}}):
            assert _identities(await found(driver, scope, raw)) == _in_order([*expired, live])

    async def test_find_passes_exactly_what_the_filter_passes(
        self, driver: Driver, scope: Scope
    ) -> None:
        ops = crafted()
        await apply_all(driver, scope, ops)
        sizes = set()
        for raw in random_filters(60, seed=11):
            node = parsed(scope, raw)
            expected = [op for op in ops if matches(node, op.memory)]
            got = await found(driver, scope, raw, limit=17)
            assert (raw, _identities(got)) == (raw, _in_order(expected))
            sizes.add(len(expected))
        assert len(sizes) > 5

    async def test_find_fills_its_pages_with_rare_matches(
        self, driver: Driver, scope: Scope
    ) -> None:
        rare = [f"m{n:05d}" for n in range(7, 1500, 100)]
        ops = [
            upsert(op.id, version=op.version, user_id=user, metadata={"note": "rare"})
            if op.id in rare
            else op
            for op, user in zip(upserts(1500), ("ann", "bob", None) * 500, strict=True)
        ]
        await apply_all(driver, scope, ops)
        page = await driver.find(scope, parsed(scope, {"metadata.note": "rare"}), limit=10)
        assert [memory.id for memory in page] == rare[:10]
        assert [m.id for m in await found(driver, scope, {"metadata.note": "rare"})] == rare
        assert len(await found(driver, scope, {"user_id": "ann"}, limit=100)) == 1490

    async def test_find_sees_the_latest_version_only(self, driver: Driver, scope: Scope) -> None:
        await apply_all(driver, scope, [upsert("a", user_id="ann", tags=("x",))])
        moved = upsert("a", version=2, user_id="bob", tags=("y",))
        await apply_all(driver, scope, [moved])
        assert await statuses(driver, scope, [upsert("a", user_id="ann")]) == {"a": "stale"}
        for raw in ({"user_id": "ann"}, {"tags": "x"}):
            assert await found(driver, scope, raw) == []
        for same in (None, {"user_id": "bob"}, {"tags": "y"}):
            assert _identities(await found(driver, scope, same)) == _in_order([moved])

    async def test_find_of_nothing_is_empty(self, driver: Driver, scope: Scope) -> None:
        assert list(await driver.find(scope, None)) == []
        assert list(await driver.find(scope, parsed(scope, {"user_id": "ann"}))) == []

    async def test_deleting_all_that_is_found_leaves_the_others(
        self, driver: Driver, scope: Scope
    ) -> None:
        ops = upserts(90, users=("ann", "bob", None))
        await apply_all(driver, scope, ops)
        raw = {"user_id": "bob", "metadata.score": {"$lt": 60}}
        deletes: list[Op] = [Delete(m.id, m.version) for m in await found(driver, scope, raw)]
        assert len(deletes) == 20
        assert set((await statuses(driver, scope, deletes)).values()) == {"applied"}
        assert await found(driver, scope, raw) == []
        assert await driver.count(scope, None, now=NOW) == 70


async def found(
    driver: Driver, scope: Scope, raw: object = None, *, limit: int = 512
) -> list[Memory]:
    """All memories that pass the filter, read in pages of ``limit``: full ones, and the last."""
    memories: list[Memory] = []
    after: str | None = None
    while True:
        page = await driver.find(scope, parsed(scope, raw), after=after, limit=limit)
        assert len(page) <= limit
        assert after is None or all(memory.id > after for memory in page)
        memories += page
        if len(page) < limit:
            return memories
        after = page[-1].id


def _identities(memories: Iterable[Memory]) -> list[tuple[bytes, int, str]]:
    return [identity(memory) for memory in memories]


def _in_order(ops: Iterable[Upsert]) -> list[tuple[bytes, int, str]]:
    return _identities(sorted((op.memory for op in ops), key=lambda memory: memory.id))
