"""Searches that weigh what is new, on a running service: Redis, with a replica in SQLite."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.integration.conftest import Remember
from tests.integration.test_http_search import ids, search

DAY = 86_400
MANY = 60
WEEK = {"half_life": 7 * DAY}
QUERY = [1.0, *[0.0] * 7]
MODES = ("semantic", "keyword", "hybrid")

type Told = Callable[..., list[str]]


def ago(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()


def alike(cosine: float) -> list[float]:
    """A vector with this cosine to ``QUERY``."""
    return [cosine, math.sqrt(1 - cosine * cosine), *[0.0] * 6]


@pytest.fixture
def told(remember: Remember, user: str) -> Told:
    """Remembers (text, days since) pairs, and gives their ids."""

    def tell(*texts: tuple[str, float]) -> list[str]:
        memories = [
            {"id": f"{user}-{n}", "text": text, "user_id": user, "created_at": ago(days)}
            for n, (text, days) in enumerate(texts)
        ]
        remember(memories)
        return [str(memory["id"]) for memory in memories]

    return tell


@pytest.fixture
def many(remember: Remember, user: str) -> Sequence[str]:
    """Ids of ``vectors`` by descending relevance in every mode; the less relevant, the newer."""
    memories = [
        {
            "id": f"{user}-{n:02d}",
            "text": "harbour " * (MANY - n) + "quiet " * n,
            "user_id": user,
            "vector": alike(0.9 - n / 1000),
            "created_at": ago((MANY - n) * 10),
        }
        for n in range(MANY)
    ]
    remember(memories, source="vectors")
    return [str(memory["id"]) for memory in memories]


def asked(user: str, mode: str) -> dict[str, Any]:
    """A search of ``many``."""
    what: dict[str, Any] = {} if mode == "semantic" else {"query": "harbour"}
    if mode != "keyword":
        what["vector"] = QUERY
    return {**what, "mode": mode, "user_id": user, "source": "vectors"}


@pytest.mark.parametrize("mode", MODES)
def test_of_two_that_say_the_same_the_newer_one_comes_first(
    http: httpx.Client, user: str, told: Told, mode: str
) -> None:
    old, new = told(("Ana moved to Lisbon.", 90), ("Ana moved to Lisbon.", 1))
    query = {"query": "where did Ana move?", "user_id": user, "mode": mode}
    assert ids(search(http, **query)) == [old, new]
    assert ids(search(http, **query, recency=WEEK)) == [new, old]


@pytest.mark.parametrize("mode", MODES)
def test_what_fits_far_better_comes_first_however_old(
    http: httpx.Client, user: str, told: Told, mode: str
) -> None:
    old, new = told(("The blue bicycle has new brakes.", 900), ("A bicycle is not a horse.", 0))
    query = {"query": "brakes of the blue bicycle", "user_id": user, "mode": mode}
    assert ids(search(http, **query, recency=WEEK)) == [old, new]
    assert ids(search(http, **query, recency={**WEEK, "weight": 1.0})) == [new, old]


@pytest.mark.parametrize("driver", ["redis", "sqlite"])
def test_score_is_the_cosine_and_the_age_by_their_weights(
    http: httpx.Client, user: str, remember: Remember, driver: str
) -> None:
    days = {"a": 0.0, "b": 7.0, "c": 14.0, "later": -365.0}
    memories = [
        {
            "id": f"{user}-{id}",
            "text": id,
            "user_id": user,
            "vector": alike(0.5),
            "created_at": ago(age),
        }
        for id, age in days.items()
    ]
    remember(memories, source="vectors")
    query = {**asked(user, "semantic"), "drivers": [driver]}
    hits = search(http, **query, recency={**WEEK, "weight": 0.4})["hits"]
    assert [hit["id"].rpartition("-")[2] for hit in hits] == ["later", "a", "b", "c"]
    expected = [0.6 * 0.5 + 0.4 * part for part in (1, 1, 1 / 2, 1 / 4)]
    assert [hit["score"] for hit in hits] == pytest.approx(expected, abs=1e-3)
    floor = search(http, **query, recency=WEEK, min_score=0.6)
    assert floor["hits"] == []  # though their scores are above it by then
    assert len(search(http, **query, recency=WEEK, min_score=0.45)["hits"]) == 4


@pytest.mark.parametrize("mode", MODES)
def test_relevance_is_the_score_of_the_mode_and_of_keywords_the_share_of_the_best(
    http: httpx.Client, user: str, told: Told, mode: str
) -> None:
    told(("The harbour is quiet.", 9), ("A harbour, a harbour!", 9), ("The blue bicycle.", 9))
    query = {"query": "the quiet harbour", "user_id": user, "mode": mode}
    plain = search(http, **query)["hits"]
    best = plain[0]["score"] if mode == "keyword" else 1.0
    hits = search(http, **query, recency={"half_life": 1, "weight": 0.5})["hits"]
    assert [hit["id"] for hit in hits] == [hit["id"] for hit in plain]
    expected = [0.5 * hit["score"] / best for hit in plain]
    assert [hit["score"] for hit in hits] == pytest.approx(expected)


@pytest.mark.parametrize("mode", MODES)
def test_pages_are_of_one_order_and_new_ones_come_in_from_far_behind(
    http: httpx.Client, user: str, many: Sequence[str], mode: str
) -> None:
    weighed = {**asked(user, mode), "recency": {"half_life": 100 * DAY, "weight": 0.9}}
    whole = search(http, **weighed, top_k=200)["hits"]
    assert [hit["id"] for hit in whole] != many
    assert {hit["id"] for hit in whole} == set(many)
    assert whole[0]["id"] == many[-1]
    pages = [
        hit
        for offset in range(0, MANY, 10)
        for hit in search(http, **weighed, top_k=10, offset=offset)["hits"]
    ]
    assert [hit["id"] for hit in pages] == [hit["id"] for hit in whole]
    scores = [hit["score"] for hit in whole]
    assert [hit["score"] for hit in pages] == pytest.approx(scores, abs=1e-4)
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


@pytest.mark.parametrize("mode", MODES)
def test_without_weight_it_is_the_search_without(
    http: httpx.Client, user: str, many: Sequence[str], mode: str
) -> None:
    query = asked(user, mode)
    plain = search(http, **query)["hits"]
    assert [hit["id"] for hit in plain] == many[:10]
    assert search(http, **query, recency={**WEEK, "weight": 0})["hits"] == plain


@pytest.mark.parametrize("mode", MODES)
def test_what_was_deleted_does_not_come_in(
    http: httpx.Client, user: str, many: Sequence[str], mode: str
) -> None:
    weighed = {**asked(user, mode), "recency": {"half_life": 100 * DAY, "weight": 0.9}}
    assert ids(search(http, **weighed, top_k=1)) == [many[-1]]
    gone = {"ids": many[-20:], "source": "vectors"}
    assert http.post("/v1/memories/delete", json=gone).status_code == 202
    assert set(ids(search(http, **weighed, top_k=200))) == set(many[:-20])
