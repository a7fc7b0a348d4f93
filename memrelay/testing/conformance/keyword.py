"""Keyword search, where it is declared."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from memrelay.driver import Driver, Query
from memrelay.errors import Unsupported
from memrelay.testing.conformance.harness import Conformance, apply_all, identity, parsed
from memrelay.testing.samples import NOW, upsert, upserts
from memrelay.types import Delete, Hit, Scope

SYNTAX = (
    '"', "'", "*", "(", ")", "AND", "OR NOT", "a AND", "NEAR(a b)", "text:zebra", "-zebra", "^zebra",
    "zebra*", '"zebra', "{zebra}", "[zebra]", "zebra\\", "zebra;--", "%", "~zebra~2", "@f:{zebra}",
    "😀", "   ", "!?.,",
)  # fmt: skip


class KeywordConformance(Conformance):
    """``search`` with ``mode="keyword"``."""

    async def test_keyword_search_is_there_exactly_if_declared(
        self, driver: Driver, scope: Scope
    ) -> None:
        query = Query(mode="keyword", text="zebra", top_k=5, now=NOW)
        if driver.capabilities.keyword:
            assert list(await driver.search(scope, query)) == []
        else:
            with pytest.raises(Unsupported):
                await driver.search(scope, query)

    async def test_a_rare_word_is_found(self, driver: Driver, scope: Scope) -> None:
        if not driver.capabilities.keyword:
            return
        rare = [
            upsert("once", text="We saw a zebra by the river", user_id="bob"),
            upsert("thrice", text="Zebra, zebra! ZEBRA."),
        ]
        await apply_all(driver, scope, [*upserts(50), *rare])
        hits = await _keyword(driver, scope, "zebra")
        assert [hit.memory.id for hit in hits] == ["thrice", "once"]
        assert hits[0].score > hits[1].score
        assert identity(hits[1].memory) == identity(rare[0].memory)

    async def test_any_of_the_words_will_do_and_rare_ones_count_more(
        self, driver: Driver, scope: Scope
    ) -> None:
        if not driver.capabilities.keyword:
            return
        ops = [upsert(f"common{n}", text="the train leaves at noon today") for n in range(30)]
        await apply_all(driver, scope, [*ops, upsert("rare", text="a zebra leaves at noon today")])
        hits = await _keyword(driver, scope, "zebra train", top_k=100)
        assert hits[0].memory.id == "rare"
        assert len(hits) == 31
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert [hit.memory.id for hit in hits[1:]] == sorted(op.id for op in ops)

    async def test_top_k_and_min_score_bound_keyword_hits(
        self, driver: Driver, scope: Scope
    ) -> None:
        if not driver.capabilities.keyword:
            return
        ops = [upsert(f"m{n}", text="zebra " * (n + 1) + "river " * 10) for n in range(12)]
        await apply_all(driver, scope, [*ops, *upserts(20, prefix="other")])
        hits = await _keyword(driver, scope, "zebra", top_k=100)
        assert len(hits) == 12
        assert await _keyword(driver, scope, "zebra", top_k=4) == hits[:4]
        kept = await _keyword(driver, scope, "zebra", min_score=hits[6].score)
        assert [hit.memory.id for hit in kept][:7] == [hit.memory.id for hit in hits[:7]]
        assert all(hit.score >= hits[6].score for hit in kept)

    async def test_keyword_hits_pass_the_filter_and_are_live(
        self, driver: Driver, scope: Scope
    ) -> None:
        if not driver.capabilities.keyword:
            return
        ops = [
            upsert(
                f"m{n:02d}", text="zebra crossing", user_id=("ann", "bob")[n % 2], tags=(f"t{n}",)
            )
            for n in range(20)
        ]
        hidden = [upsert("expired", text="zebra", expires_at=NOW), upsert("dead", text="zebra")]
        await apply_all(driver, scope, [*ops, *hidden])
        await apply_all(driver, scope, [Delete("dead", 9), upsert("m00", version=9, text="horse")])
        bob = await _keyword(driver, scope, "zebra", {"user_id": "bob"})
        assert {hit.memory.id for hit in bob} == {f"m{n:02d}" for n in range(1, 20, 2)}
        one = await _keyword(driver, scope, "zebra", {"tags": "t7"}, top_k=1)
        assert [hit.memory.id for hit in one] == ["m07"]
        everyone = await _keyword(driver, scope, "zebra")
        assert {hit.memory.id for hit in everyone} == {f"m{n:02d}" for n in range(1, 20)}

    async def test_the_query_text_is_words_and_never_syntax(
        self, driver: Driver, scope: Scope
    ) -> None:
        if not driver.capabilities.keyword:
            return
        await apply_all(driver, scope, [upsert("z", text="zebra"), upsert("h", text="horse text")])
        for text in SYNTAX:
            ids = {hit.memory.id for hit in await _keyword(driver, scope, text)}
            assert (text, "z" in ids) == (text, "zebra" in text)


async def _keyword(
    driver: Driver,
    scope: Scope,
    text: str,
    raw_filter: object = None,
    *,
    top_k: int = 50,
    min_score: float | None = None,
) -> Sequence[Hit]:
    query = Query(
        mode="keyword",
        text=text,
        top_k=top_k,
        now=NOW,
        filter=parsed(scope, raw_filter),
        min_score=min_score,
    )
    return await driver.search(scope, query)
