"""Writing memories over HTTP and finding them again, on a running service."""

from __future__ import annotations

import json
from functools import partial
from itertools import pairwise
from typing import Any

import httpx
import pytest

from memrelay.testing.model_server import vector_of
from memrelay.types import vector_from_bytes
from tests.integration.conftest import Refused, Remember
from tests.rig import wait_until


def post(http: httpx.Client, path: str, **body: Any) -> dict[str, Any]:
    answer = http.post(path, json=body)
    assert answer.status_code in (200, 202), answer.text
    value: dict[str, Any] = answer.json()
    return value


def found(http: httpx.Client, **search: Any) -> list[str]:
    return [hit["id"] for hit in post(http, "/v1/search", **search)["hits"]]


def count(http: httpx.Client, **selection: Any) -> int:
    number: int = post(http, "/v1/memories/count", **selection)["count"]
    return number


def exactly(value: Any) -> str:
    """JSON that tells 1.0 from 1; keys in one order, for objects have none."""
    return json.dumps(value, sort_keys=True)


def delete(http: httpx.Client, path: str, **body: Any) -> None:
    """By id, or by ids in ``body``; returns when every driver has done it."""
    answer = http.post(path, json=body) if body else http.delete(path)
    assert answer.status_code == 202
    job = http.get(answer.headers["Location"], params={"wait": 60}).json()
    assert job["status"] == "stored"


def test_accepted_memory_is_found_again(http: httpx.Client, user: str) -> None:
    memory = {"text": "Ana prefers a window seat.", "user_id": user, "tags": ["travel"]}
    accepted = http.post("/v1/memories", json={"memories": [memory]})
    assert accepted.status_code == 202

    job = http.get(accepted.headers["Location"], params={"wait": 60}).json()
    assert job["status"] == "stored"
    assert job["counts"] == {
        "redis": {"total": 1, "stored": 1, "failed": 0, "needs_sync": 0, "canceled": 0},
        "sqlite": {"total": 1, "stored": 1, "failed": 0, "needs_sync": 0, "canceled": 0},
    }

    answer = post(http, "/v1/search", query="Where does Ana like to sit?", user_id=user)
    [hit] = answer["hits"]
    assert hit["id"] == accepted.json()["memories"][0]["id"]
    assert hit["text"] == memory["text"]
    assert hit["tags"] == ["travel"]


def test_answer_to_a_write_names_the_job_and_the_version_of_every_memory(
    http: httpx.Client, user: str
) -> None:
    memories = [{"text": f"number {n}", "id": f"{user}/{n}", "user_id": user} for n in range(3)]
    accepted = http.post("/v1/memories", json={"memories": memories, "lane": "bulk"})
    body = accepted.json()
    assert accepted.headers["Location"] == f"/v1/jobs/{body['job']['id']}"
    assert body["job"]["status"] == "accepted"
    assert (body["job"]["total"], body["job"]["lane"]) == (3, "bulk")
    assert [memory["id"] for memory in body["memories"]] == [memory["id"] for memory in memories]
    versions = [memory["version"] for memory in body["memories"]]
    assert all(later == earlier + 1 for earlier, later in pairwise(versions))
    job = http.get(accepted.headers["Location"], params={"wait": 60}).json()
    stored = http.get(f"/v1/memories/{user}/1")
    assert job["lane"] == "bulk"
    assert stored.json()["version"] == versions[1]
    assert stored.headers["ETag"] == f'"{versions[1]}"'


def test_wait_stored_answers_with_outcomes(http: httpx.Client, user: str) -> None:
    answer = http.post(
        "/v1/memories?wait=stored&timeout=60s",
        json={"memories": [{"text": "tea", "user_id": user}]},
    )
    assert answer.status_code == 200
    job = answer.json()["job"]
    assert job["counts"]["redis"] == {
        "total": 1,
        "stored": 1,
        "failed": 0,
        "needs_sync": 0,
        "canceled": 0,
    }
    assert job["errors"] == []
    assert count(http, user_id=user) == 1


def test_repeated_request_with_its_key_is_answered_alike_and_stored_once(
    http: httpx.Client, user: str
) -> None:
    request = {"memories": [{"text": "once", "user_id": user}, {"text": "more", "user_id": user}]}
    first, again = (
        http.post("/v1/memories", json=request, headers={"Idempotency-Key": user}) for _ in "12"
    )
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json() == first.json()
    http.get(first.headers["Location"], params={"wait": 60})
    assert count(http, user_id=user) == 2


def test_key_with_another_body_is_refused(http: httpx.Client, user: str, refused: Refused) -> None:
    for text, status in (("one", 202), ("two", 422)):
        answer = http.post(
            "/v1/memories",
            json={"memories": [{"text": text, "user_id": user}]},
            headers={"Idempotency-Key": user},
        )
        assert answer.status_code == status
    assert refused(answer, 422)["code"] == "idempotency_key_reused"


def test_last_of_a_repeated_id_wins(http: httpx.Client, user: str, remember: Remember) -> None:
    same = {"id": f"{user}-same", "user_id": user}
    remember([{"text": "first", **same}, {"text": "second", **same}, {"text": "third", **same}])
    assert http.get(f"/v1/memories/{user}-same").json()["text"] == "third"
    assert count(http, user_id=user) == 1


def test_existing_id_is_replaced_whole(http: httpx.Client, user: str, remember: Remember) -> None:
    id = f"{user}-one"
    remember(
        [
            {
                "text": "old wording",
                "id": id,
                "user_id": user,
                "session_id": "s",
                "tags": ["a"],
                "metadata": {"category": "x"},
            }
        ]
    )
    remember([{"text": "new wording", "id": id, "user_id": user}])
    memory = http.get(f"/v1/memories/{id}").json()
    assert memory["text"] == "new wording"
    assert (memory["session_id"], memory["tags"], memory["metadata"]) == (None, [], {})
    for driver in ("redis", "sqlite"):
        search = {"query": "wording", "user_id": user, "mode": "semantic", "drivers": [driver]}
        [hit] = post(http, "/v1/search", **search)["hits"]
        assert hit["text"] == "new wording"


def test_memory_that_moves_to_another_user_leaves_the_first(
    http: httpx.Client, user: str, remember: Remember
) -> None:
    remember([{"text": "a note", "id": f"{user}-n", "user_id": user}])
    remember([{"text": "a note", "id": f"{user}-n", "user_id": f"{user}-other"}])
    assert count(http, user_id=user) == 0
    assert found(http, query="note", user_id=user) == []
    assert found(http, query="note", user_id=f"{user}-other") == [f"{user}-n"]


@pytest.mark.parametrize("by", ["id", "ids"])
def test_deleted_memory_is_gone_everywhere(
    http: httpx.Client, user: str, remember: Remember, refused: Refused, by: str
) -> None:
    remember([{"text": f"walk {n}", "id": f"{user}-{n}", "user_id": user} for n in range(2)])
    if by == "id":
        delete(http, f"/v1/memories/{user}-0")
    else:
        delete(http, "/v1/memories/delete", ids=[f"{user}-0", f"{user}-never-there"])
    refused(http.get(f"/v1/memories/{user}-0"), 404)
    assert count(http, user_id=user) == 1
    for mode in ("semantic", "keyword", "hybrid"):
        for driver in ("redis", "sqlite") if mode == "semantic" else ("sqlite",):
            ids = found(http, query="walk", user_id=user, mode=mode, drivers=[driver])
            assert ids == [f"{user}-1"]


def test_memory_that_was_never_there_is_deleted_without_complaint(
    http: httpx.Client, user: str, refused: Refused
) -> None:
    delete(http, f"/v1/memories/{user}-nobody")
    refused(http.get(f"/v1/memories/{user}-nobody"), 404)


def test_deleted_id_can_be_used_again(http: httpx.Client, user: str, remember: Remember) -> None:
    memory = {"text": "back again", "id": f"{user}-x", "user_id": user}
    remember([memory])
    delete(http, f"/v1/memories/{user}-x")
    remember([memory])
    assert http.get(f"/v1/memories/{user}-x").json()["text"] == "back again"
    assert found(http, query="back", user_id=user) == [f"{user}-x"]


@pytest.mark.parametrize("id", ["a b", "50%", "a/b//c", "?x=1#y", "é😀", "..a", "list", '"', "\\"])
def test_id_may_hold_any_character_that_is_no_control(
    http: httpx.Client, user: str, remember: Remember, id: str
) -> None:
    id = f"{user} {id}"
    remember([{"text": "odd", "id": id, "user_id": user}])
    path = "/v1/memories/" + "".join(f"%{byte:02X}" for byte in id.encode())
    assert http.get(path).json()["id"] == id
    delete(http, path)
    assert http.get(path).status_code == 404


def test_memory_comes_back_as_it_was_given(
    http: httpx.Client, user: str, remember: Remember
) -> None:
    metadata = {
        "float": 0.1,
        "tiny": 5e-324,
        "large": 1.7976931348623157e308,
        "third": 1 / 3,
        "whole": 1.0,
        "exact": 2**53,
        "negative": -(2**53),
        "unicode": "naïve café 😀 \u202eright to left \u2028 e\u0301",
        "escapes": 'quote " backslash \\ slash / tab \t newline \n',
        "empty": {},
        "list": [],
        "nested": {"a": [1, 2.5, None, True, False, {"b": ["c", [[]]]}]},
        "null": None,
    }
    memory = {
        "id": f"{user}-é/😀",
        "text": "  spaces kept, e\u0301 not composed, \n lines too  ",
        "user_id": user,
        "session_id": " padded ",
        "tags": ["b", "a", "b", " a"],
        "metadata": metadata,
        "created_at": "1999-12-31T23:59:59.123456Z",
        "expires_at": "2249-01-01T00:00:00.000001Z",
    }
    remember([memory])
    stored = http.get(f"/v1/memories/{user}-é/😀").json()
    assert {key: stored[key] for key in memory} == memory
    assert exactly(stored["metadata"]) == exactly(metadata)
    for driver in ("redis", "sqlite"):
        search = {"query": "spaces", "user_id": user, "mode": "semantic", "drivers": [driver]}
        [hit] = post(http, "/v1/search", **search)["hits"]
        assert exactly({key: hit[key] for key in memory}) == exactly(memory)


def test_expired_memory_is_hidden(http: httpx.Client, user: str, remember: Remember) -> None:
    past = {"text": "stale bread", "id": f"{user}-past", "expires_at": "2020-01-01T00:00:00Z"}
    future = {"text": "fresh bread", "id": f"{user}-next", "expires_at": "2200-01-01T00:00:00Z"}
    remember([{**past, "user_id": user}, {**future, "user_id": user}])
    assert count(http, user_id=user) == 1
    assert http.get(f"/v1/memories/{user}-past").status_code == 404
    for mode in ("semantic", "keyword", "hybrid"):
        assert found(http, query="bread", user_id=user, mode=mode) == [f"{user}-next"]


def test_count_counts_what_all_conditions_hold_of(
    http: httpx.Client, user: str, remember: Remember
) -> None:
    remember(
        [
            {
                "text": f"item {n}",
                "user_id": user,
                "session_id": f"s{n % 2}",
                "metadata": {"category": "even" if n % 2 == 0 else "odd", "score": n},
            }
            for n in range(6)
        ]
    )
    assert count(http, user_id=user) == 6
    assert count(http, user_id=user, session_id="s1") == 3
    assert count(http, user_id=user, filter={"metadata.score": {"$gte": 4}}) == 2
    both = {"metadata.category": "odd", "metadata.score": {"$lt": 4}}
    assert count(http, user_id=user, filter=both) == 2
    assert count(http, user_ids=[user, f"{user}-nobody"]) == 6
    assert count(http, user_id=f"{user}-nobody") == 0
    counted = partial(post, http, "/v1/memories/count", user_id=user)
    wait_until("it to be up to date", lambda: counted()["behind"] == 0, 60)
    answer = counted()
    assert (answer["served_by"], answer["fallback"], answer["behind"]) == (["redis"], False, 0)


def test_sources_do_not_see_each_other(http: httpx.Client, user: str, remember: Remember) -> None:
    id = f"{user}-both"
    remember([{"text": "in the default source", "id": id, "user_id": user}])
    remember([{"text": "in the plain source", "id": id, "user_id": user}], source="plain")
    assert http.get(f"/v1/memories/{id}").json()["text"] == "in the default source"
    plain = http.get(f"/v1/memories/{id}", params={"source": "plain"}).json()
    assert (plain["text"], plain["source"]) == ("in the plain source", "plain")
    [hit] = post(http, "/v1/search", query="source", user_id=user, source="plain")["hits"]
    assert hit["text"] == "in the plain source"
    delete(http, "/v1/memories/delete", ids=[id], source="plain")
    assert count(http, user_id=user, source="plain") == 0
    assert count(http, user_id=user) == 1


def test_callers_bring_vectors_to_an_external_source(
    http: httpx.Client, user: str, remember: Remember
) -> None:
    vectors = {text: vector_from_bytes(vector_of(text, 8)) for text in ("north", "south")}
    memories = [
        {"text": text, "id": f"{user}-{text}", "user_id": user, "vector": vector}
        for text, vector in vectors.items()
    ]
    remember(memories, source="vectors")
    search = {"vector": vectors["south"], "user_id": user, "source": "vectors"}
    answer = post(http, "/v1/search", **search, include=["vector"])
    first = answer["hits"][0]
    assert (answer["mode"], first["id"]) == ("semantic", f"{user}-south")
    assert first["score"] == pytest.approx(1.0, abs=1e-5)
    assert first["vector"] == pytest.approx(vectors["south"], rel=1e-6)
    assert found(http, query="north", user_id=user, source="vectors", mode="keyword") == [
        f"{user}-north"
    ]


def test_thousand_memories_in_one_request_are_stored(
    http: httpx.Client, user: str, remember: Remember
) -> None:
    remember([{"text": f"memory {n}", "user_id": user} for n in range(1000)])
    assert count(http, user_id=user) == 1000
