"""What a search can be asked for, on a running service."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from tests.integration.conftest import Refused, Remember
from tests.rig import wait_until

TEXTS = (
    "The harbour is quiet in winter.",
    "Ana prefers a window seat on trains.",
    "The blue bicycle needs new brakes.",
    "Bread is baked every morning.",
    "Ana plays chess on Sundays.",
)


def search(http: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = http.post("/v1/search", json=body)
    assert answer.status_code == 200, answer.text
    value: dict[str, Any] = answer.json()
    return value


def ids(answer: dict[str, Any]) -> list[str]:
    return [hit["id"] for hit in answer["hits"]]


@pytest.fixture
def five(user: str, remember: Remember) -> Sequence[str]:
    """The ids of five memories of ``user``, in the order of ``TEXTS``."""
    memories = [
        {
            "text": text,
            "id": f"{user}-{n}",
            "user_id": user,
            "session_id": f"s{n % 2}",
            "tags": ["even"] if n % 2 == 0 else ["odd", "not even"],
            "metadata": {"category": "person" if "Ana" in text else "thing", "score": n},
        }
        for n, text in enumerate(TEXTS)
    ]
    remember(memories)
    return [f"{user}-{n}" for n in range(5)]


def test_semantic_search_ranks_by_cosine(
    http: httpx.Client, user: str, five: Sequence[str]
) -> None:
    answer = search(http, query=TEXTS[2], user_id=user, mode="semantic")
    scores = [hit["score"] for hit in answer["hits"]]
    assert sorted(ids(answer)) == sorted(five)
    assert ids(answer)[0] == five[2]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(1.0, abs=1e-5)
    assert all(-1 <= score <= 1 for score in scores)
    assert (answer["mode"], answer["served_by"]) == ("semantic", ["redis"])


def test_keyword_search_finds_only_what_has_the_word(
    http: httpx.Client, user: str, five: Sequence[str]
) -> None:
    answer = search(http, query="ana", user_id=user, mode="keyword")
    assert set(ids(answer)) == {five[1], five[4]}
    assert (answer["mode"], answer["served_by"]) == ("keyword", ["sqlite"])


def test_search_is_hybrid_unless_told_otherwise(
    http: httpx.Client, user: str, five: Sequence[str]
) -> None:
    asked = {"query": "bicycle", "user_id": user}
    wait_until("it to be up to date", lambda: search(http, **asked)["behind"] == 0, 60)
    answer = search(http, **asked)
    assert answer["mode"] == "hybrid"
    assert answer["served_by"] == ["redis", "sqlite"]
    assert answer["fallback"] is False
    assert answer["behind"] == 0
    assert answer["took_ms"] > 0
    assert ids(answer)[0] == five[2]
    assert sorted(ids(answer)) == sorted(five)
    assert all(0 <= hit["score"] <= 1 for hit in answer["hits"])


def test_source_without_keywords_is_searched_by_vectors(
    http: httpx.Client, user: str, remember: Remember, refused: Refused
) -> None:
    remember([{"text": "a lonely lighthouse", "user_id": user}], source="plain")
    assert search(http, query="tower", user_id=user, source="plain")["mode"] == "semantic"
    body = {"query": "tower", "user_id": user, "source": "plain", "mode": "keyword"}
    refused(http.post("/v1/search", json=body), 422, "/mode")


@pytest.mark.parametrize(
    ("include", "present"),
    [
        (None, {"text", "metadata"}),
        ([], set()),
        (["text"], {"text"}),
        (["vector"], {"vector"}),
        (["text", "metadata", "vector"], {"text", "metadata", "vector"}),
    ],
)
def test_include_chooses_the_fields_of_hits(
    http: httpx.Client,
    user: str,
    remember: Remember,
    include: list[str] | None,
    present: set[str],
) -> None:
    remember([{"text": "rain", "user_id": user, "metadata": {"a": 1}}])
    chosen = {} if include is None else {"include": include}
    for mode in ("semantic", "hybrid"):
        [hit] = search(http, query="rain", user_id=user, mode=mode, **chosen)["hits"]
        assert hit.keys() >= {"id", "user_id", "tags", "score", "version", "created_at"}
        assert hit.keys() & {"text", "metadata", "vector"} == present
        if "vector" in present:
            assert sum(x * x for x in hit["vector"]) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("mode", ["semantic", "hybrid"])
def test_pages_by_offset_are_the_whole_list_in_order(
    http: httpx.Client, user: str, five: Sequence[str], mode: str
) -> None:
    whole = ids(search(http, query="Ana", user_id=user, mode=mode))
    pages = [
        ids(search(http, query="Ana", user_id=user, mode=mode, top_k=2, offset=offset))
        for offset in (0, 2, 4, 6)
    ]
    assert [len(page) for page in pages] == [2, 2, 1, 0]
    assert [id for page in pages for id in page] == whole


def test_deep_pages_of_a_hybrid_search_are_of_one_order(
    http: httpx.Client, user: str, remember: Remember
) -> None:
    """What is near in one half is far in the other: scores depend on how deep each was looked into."""
    count = 120
    chance = random.Random(3)
    memories = [
        {
            "id": f"{user}-{n}",
            "text": "harbour " * chance.randrange(1, 60) + "quiet " * n,
            "user_id": user,
            "vector": [1.0, n / count, *[0.0] * 6],
        }
        for n in range(count)
    ]
    remember(memories, source="vectors")
    asked = {"query": "harbour", "vector": [1.0, *[0.0] * 7], "user_id": user, "source": "vectors"}
    whole = ids(search(http, **asked, mode="hybrid", top_k=count - 60, offset=60))
    pages = [
        ids(search(http, **asked, mode="hybrid", top_k=10, offset=offset))
        for offset in range(60, count, 10)
    ]
    assert [id for page in pages for id in page] == whole
    assert len(set(whole)) == count - 60


def test_min_score_leaves_out_what_is_less_alike(
    http: httpx.Client, user: str, five: Sequence[str]
) -> None:
    asked = {"query": TEXTS[3], "user_id": user, "mode": "semantic"}
    scores = [hit["score"] for hit in search(http, **asked)["hits"]]
    border = scores[1]
    kept = [hit["score"] for hit in search(http, **asked, min_score=border)["hits"]]
    assert kept == [score for score in scores if score >= border]
    assert 0 < len(kept) < len(scores)
    assert search(http, **asked, min_score=1.0)["hits"] in ([], search(http, **asked)["hits"][:1])


@pytest.mark.parametrize("driver", ["redis", "sqlite"])
def test_named_driver_serves(
    http: httpx.Client, user: str, five: Sequence[str], driver: str
) -> None:
    answer = search(http, query="Ana", user_id=user, mode="semantic", drivers=[driver])
    assert answer["served_by"] == [driver]
    assert sorted(ids(answer)) == sorted(five)
    assert answer["fallback"] is False


def test_drivers_agree_on_scores(http: httpx.Client, user: str, five: Sequence[str]) -> None:
    by_driver = [
        search(http, query="a quiet morning", user_id=user, mode="semantic", drivers=[driver])
        for driver in ("redis", "sqlite")
    ]
    first, second = ([(hit["id"], hit["score"]) for hit in a["hits"]] for a in by_driver)
    assert [id for id, _ in first] == [id for id, _ in second]
    assert [score for _, score in first] == pytest.approx([s for _, s in second], abs=1e-4)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"metadata.category": "person"}, {1, 4}),
        ({"metadata.score": {"$gte": 3}}, {3, 4}),
        ({"metadata.score": {"$in": [0, 4, 9]}}, {0, 4}),
        ({"tags": "even"}, {0, 2, 4}),
        ({"$or": [{"metadata.score": 0}, {"tags": {"$contains": "odd"}}]}, {0, 1, 3}),
        ({"$not": {"metadata.category": "person"}}, {0, 2, 3}),
        ({"metadata.nothing": {"$exists": False}}, {0, 1, 2, 3, 4}),
        ({"created_at": {"$gt": "2200-01-01T00:00:00Z"}}, set()),
    ],
)
def test_filter_holds_of_every_hit(
    http: httpx.Client,
    user: str,
    five: Sequence[str],
    condition: dict[str, Any],
    expected: set[int],
) -> None:
    for mode in ("semantic", "hybrid"):
        answer = search(http, query="Ana", user_id=user, filter=condition, mode=mode)
        assert set(ids(answer)) == {five[n] for n in expected}


def test_session_and_users_narrow_a_search(
    http: httpx.Client, user: str, five: Sequence[str], remember: Remember
) -> None:
    other = f"{user}-other"
    remember([{"text": "Ana waits.", "id": other, "user_id": other}])
    assert set(ids(search(http, query="Ana", user_id=user, session_id="s1"))) == {five[1], five[3]}
    assert other not in ids(search(http, query="Ana waits.", user_id=user))
    assert set(ids(search(http, query="Ana", user_ids=[user, other]))) == {*five, other}
    assert set(ids(search(http, query="Ana", user_id=other, user_ids=[user, other]))) == {other}


def test_search_after_a_job_sees_what_it_wrote(http: httpx.Client, user: str) -> None:
    for n in range(5):
        memories = [{"text": f"fact {n}", "id": f"{user}-{n}", "user_id": user}]
        job = http.post("/v1/memories", json={"memories": memories}).json()["job"]["id"]
        asked = {"query": f"fact {n}", "user_id": user, "mode": "semantic"}
        answer = search(http, **asked, after_job=job, timeout=60)
        assert f"{user}-{n}" in ids(answer)


@pytest.mark.parametrize(
    "job", ["job_1_1", "job_1_ffffffffff", "job_i00000000000000000000", "job_", "nonsense"]
)
def test_search_after_an_unknown_job_is_not_found(
    http: httpx.Client, refused: Refused, job: str
) -> None:
    refused(http.post("/v1/search", json={"query": "x", "after_job": job}), 404)


@pytest.mark.parametrize(
    "query", ['"', "a OR", "NEAR(", "x* AND -y", "col:val", "{}|()@~", "^", "%"]
)
def test_query_is_text_and_no_language(
    http: httpx.Client, user: str, five: Sequence[str], query: str
) -> None:
    for mode in ("keyword", "hybrid"):
        hits = ids(search(http, query=query, user_id=user, mode=mode))
        assert set(hits) <= set(five)


def test_a_source_whose_callers_bring_vectors_is_searched_by_both(
    http: httpx.Client, user: str, remember: Remember
) -> None:
    near, far = [1.0, *[0.01] * 7], [-1.0, *[0.01] * 7]
    remember(
        [
            {"id": f"{user}-near", "text": "nothing", "user_id": user, "vector": near},
            {"id": f"{user}-far", "text": "the harbour", "user_id": user, "vector": far},
        ],
        source="vectors",
    )
    asked = {"query": "harbour", "vector": near, "user_id": user, "source": "vectors"}
    for weight, best in ((1.0, "near"), (0.0, "far"), (None, "far")):
        given = {} if weight is None else {"vector_weight": weight}
        answer = search(http, **asked, mode="hybrid", **given)
        assert ids(answer)[0] == f"{user}-{best}"
        assert (answer["mode"], answer["served_by"]) == ("hybrid", ["redis", "sqlite"])


def test_search_of_nothing_is_an_empty_answer(http: httpx.Client, user: str) -> None:
    answer = search(http, query="anything", user_id=user)
    assert answer["hits"] == []
    assert answer["served_by"] == ["redis", "sqlite"]
