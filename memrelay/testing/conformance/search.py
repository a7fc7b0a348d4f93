"""Semantic search: exact order, cosine scores, and nothing that should not be seen."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest

from memrelay.driver import Driver
from memrelay.errors import Unsupported
from memrelay.testing.conformance.harness import (
    AXIS,
    FEW_USERS,
    Conformance,
    apply_all,
    assert_ranking,
    found_ids,
    identity,
    parsed,
    semantic,
)
from memrelay.testing.samples import NOW, cosine, upsert, upserts, vector, vector_at
from memrelay.types import Delete, Hit, Op, Scope, Upsert


class SearchConformance(Conformance):
    """``search`` with ``mode="semantic"``."""

    async def test_hits_are_ordered_as_brute_force_orders_them(
        self, driver: Driver, scope: Scope
    ) -> None:
        model = await apply_all(driver, scope, _ladder(300, ("ann",)))
        expected = model.nearest(AXIS)
        for top_k in (1, 10, 200):
            assert_ranking(await semantic(driver, scope, top_k=top_k), expected[:top_k])

    async def test_hits_of_several_users_are_ordered_together(
        self, driver: Driver, scope: Scope
    ) -> None:
        model = await apply_all(driver, scope, _ladder(300, ("ann", "bob", "cyd", None)))
        assert_ranking(await semantic(driver, scope, top_k=100), model.nearest(AXIS)[:100])
        for raw in ({"user_id": "bob"}, {"user_id": {"$in": ["ann", "cyd"]}}, {"tags": "odd"}):
            hits = await semantic(driver, scope, raw, top_k=40)
            assert_ranking(hits, model.nearest(AXIS, parsed(scope, raw))[:40])

    async def test_hits_carry_whole_memories(self, driver: Driver, scope: Scope) -> None:
        ops = {op.id: op for op in upserts(20, users=("ann", None))}
        await apply_all(driver, scope, list(ops.values()))
        for hit in await semantic(driver, scope):
            assert identity(hit.memory) == identity(ops[hit.memory.id].memory)
            assert hit.vector is None

    async def test_scores_reach_both_ends(self, driver: Driver, scope: Scope) -> None:
        ends = [
            upsert("same", vector=vector_at(AXIS, 1, 1)),
            upsert("opposite", vector=vector_at(AXIS, -1, 2)),
        ]
        model = await apply_all(driver, scope, ends)
        assert_ranking(await semantic(driver, scope), model.nearest(AXIS))

    async def test_ties_are_broken_by_id(self, driver: Driver, scope: Scope) -> None:
        ids = ["b", "a", "Z", "ä", "10", "9", "é", "~", "a b"]
        tied: list[Op] = [upsert(id, version=n + 1, vector=AXIS) for n, id in enumerate(ids)]
        await apply_all(driver, scope, tied)
        assert [hit.memory.id for hit in await semantic(driver, scope)] == sorted(ids)

    async def test_ties_at_the_end_of_top_k_are_broken_by_id(
        self, driver: Driver, scope: Scope
    ) -> None:
        tied = vector_at(AXIS, 0.5, "tied")
        ops = [upsert(f"t{n:02d}", version=n + 1, vector=tied) for n in range(40)]
        random.Random(5).shuffle(ops)
        await apply_all(driver, scope, [*ops, upsert("best", vector=AXIS)])
        for top_k in (5, 12, 41):
            ids = [hit.memory.id for hit in await semantic(driver, scope, top_k=top_k)]
            assert ids == ["best", *(f"t{n:02d}" for n in range(top_k - 1))]

    async def test_min_score_is_inclusive(self, driver: Driver, scope: Scope) -> None:
        await apply_all(driver, scope, _ladder(50, ("ann", "bob")))
        for raw in (None, {"tags": "odd"}):
            hits = await semantic(driver, scope, raw)
            assert hits[0].score > 0 > hits[-1].score
            for cut in (0, 7, len(hits) - 1):
                least = hits[cut].score
                kept = await semantic(driver, scope, raw, min_score=least)
                assert _ids(kept) == _ids(hits[: cut + 1])
                above = math.nextafter(least, math.inf)
                assert _ids(await semantic(driver, scope, raw, min_score=above)) == _ids(hits[:cut])

    async def test_min_score_leaves_exactly_what_reaches_it(
        self, driver: Driver, scope: Scope
    ) -> None:
        tied = [upsert(f"t{n:02d}", vector=vector_at(AXIS, 0.5, "tied")) for n in range(30)]
        ends = [upsert(f"end{sign}", vector=vector_at(AXIS, sign, sign)) for sign in (1, -1)]
        model = await apply_all(driver, scope, [*_ladder(60, ("ann", None)), *tied, *ends])
        expected = model.nearest(AXIS)
        for least in (0.9, 0.495, 0, -0.6, -1):
            reach = [pair for pair in expected if pair[1] >= least]
            assert_ranking(await semantic(driver, scope, min_score=least), reach)
            first = await semantic(driver, scope, min_score=least, top_k=5)
            assert_ranking(first, reach[:5])

    async def test_vectors_come_when_they_are_asked_for(self, driver: Driver, scope: Scope) -> None:
        ops = {op.id: op for op in upserts(20, users=("ann", "bob"))}
        await apply_all(driver, scope, list(ops.values()))
        hits = await semantic(driver, scope, include_vector=True)
        assert len(hits) == 20
        for hit in hits:
            assert hit.vector is not None
            assert cosine(hit.vector, ops[hit.memory.id].vector) > 0.999

    async def test_expired_memories_never_appear(self, driver: Driver, scope: Scope) -> None:
        times = {"past": NOW - 1, "now": NOW, "future": NOW + 1, "never": None}
        await apply_all(driver, scope, [upsert(id, expires_at=t) for id, t in times.items()])
        assert await found_ids(driver, scope) == {"future", "never"}
        assert await found_ids(driver, scope, {"user_id": "ann"}) == {"future", "never"}

    async def test_nearer_expired_memories_do_not_crowd_out_live_ones(
        self, driver: Driver, scope: Scope
    ) -> None:
        near = [
            upsert(f"near{n}", vector=vector_at(AXIS, 0.95, n), expires_at=NOW) for n in range(300)
        ]
        far = [upsert(f"far{n}", vector=vector_at(AXIS, 0.1 * n, n)) for n in range(5)]
        model = await apply_all(driver, scope, [*near, *far])
        assert_ranking(await semantic(driver, scope, top_k=5), model.nearest(AXIS))

    async def test_deleted_memories_never_appear(self, driver: Driver, scope: Scope) -> None:
        await apply_all(driver, scope, upserts(20))
        await apply_all(driver, scope, [Delete(f"m{n:05d}", 100) for n in range(0, 20, 2)])
        assert await found_ids(driver, scope) == {f"m{n:05d}" for n in range(1, 20, 2)}

    async def test_an_empty_scope_has_no_hits(self, driver: Driver, scope: Scope) -> None:
        assert list(await semantic(driver, scope)) == []
        assert list(await semantic(driver, scope, {"user_id": "ann"})) == []

    async def test_one_match_in_2000_is_found(self, driver: Driver, scope: Scope) -> None:
        needle = upsert(
            "needle",
            vector=vector_at(AXIS, -0.9, "needle"),
            tags=("rare",),
            metadata={"topic": "needle", "score": -5, "note": "unique"},
        )
        await apply_all(driver, scope, [*upserts(2000), needle])
        for raw in (
            {"tags": "rare"},
            {"metadata.topic": "needle"},
            {"metadata.score": {"$lt": 0}},
            {"metadata.note": "unique"},
            {"id": "needle"},
            {"user_id": "ann", "tags": "rare", "metadata.done": {"$ne": True}},
            {"$not": {"tags": "all"}},
        ):
            hits = await semantic(driver, scope, raw, top_k=10)
            assert (raw, [hit.memory.id for hit in hits]) == (raw, ["needle"])

    async def test_search_over_many_users_is_exact_where_it_is_declared(
        self, driver: Driver, scope: Scope
    ) -> None:
        model = await apply_all(driver, scope, _ladder(600, [f"user{n}" for n in range(300)]))
        try:
            hits = await semantic(driver, scope, top_k=50)
        except Unsupported:
            assert not driver.capabilities.unscoped_search
        else:
            assert_ranking(hits, model.nearest(AXIS)[:50])
        raw = {"user_id": {"$in": [f"user{n}" for n in range(FEW_USERS)]}}
        hits = await semantic(driver, scope, raw, top_k=50)
        assert_ranking(hits, model.nearest(AXIS, parsed(scope, raw)))

    async def test_similar_directions_of_any_length_are_compared_by_angle(
        self, driver: Driver, scope: Scope
    ) -> None:
        ops = [upsert(f"m{n}", vector=vector(f"any {n}")) for n in range(30)]
        model = await apply_all(driver, scope, ops)
        hits = await semantic(driver, scope)
        scores = [score for _, score in model.nearest(AXIS)]
        assert [hit.score for hit in hits] == pytest.approx(scores, abs=1e-3)


def _ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.memory.id for hit in hits]


def _ladder(count: int, users: list[str] | tuple[str | None, ...]) -> list[Upsert]:
    """Memories whose cosines with the query are far enough apart for float32, in random order."""
    rungs = list(range(count))
    random.Random(count).shuffle(rungs)
    return [
        upsert(
            f"m{number:04d}",
            version=number + 1,
            user_id=users[number % len(users)],
            tags=("odd",) if number % 2 else (),
            vector=vector_at(AXIS, 0.98 - 1.9 * rung / count, number),
        )
        for number, rung in enumerate(rungs)
    ]
