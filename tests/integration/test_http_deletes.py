"""Deletes by id, user, session and filter, and purges, as requests and answers on a running service."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.integration.conftest import Refused, Remember


@pytest.fixture
def four(user: str, remember: Remember) -> str:
    """A user with four memories: sessions a and b, scores 0 to 3, tags for the first two."""
    memories = [
        {
            "text": f"memory number {n}",
            "id": f"{user}-{n}",
            "user_id": user,
            "session_id": "ab"[n % 2],
            "tags": ["early"] if n < 2 else [],
            "metadata": {"score": n, "colour": "red" if n == 3 else "blue"},
        }
        for n in range(4)
    ]
    remember(memories)
    return user


def delete(http: httpx.Client, **selection: Any) -> dict[str, Any]:
    """Every driver has done it on return."""
    answer = http.post("/v1/memories/delete", json=selection)
    assert answer.status_code == 202, answer.text
    job = http.get(answer.headers["Location"], params={"wait": 60}).json()
    assert (job["status"], job["counts"]["sqlite"]["stored"]) == ("stored", job["total"])
    accepted: dict[str, Any] = answer.json()
    return accepted


def left(http: httpx.Client, user: str) -> list[int]:
    return [
        n for n in range(4) if http.get(f"/v1/memories/{user}-{n}").status_code == httpx.codes.OK
    ]


@pytest.mark.parametrize(
    ("selection", "stay"),
    [
        ({}, []),
        ({"session_id": "a"}, [1, 3]),
        ({"filter": {"tags": {"$contains": "early"}}}, [2, 3]),
        ({"filter": {"metadata.score": {"$gte": 2}}, "session_id": "b"}, [0, 1, 2]),
        ({"filter": {"$not": {"metadata.colour": "blue"}}}, [0, 1, 2]),
        ({"filter": {"metadata.colour": "green"}}, [0, 1, 2, 3]),
    ],
)
def test_all_that_is_given_must_hold_of_what_is_deleted(
    http: httpx.Client, four: str, selection: dict[str, Any], stay: list[int]
) -> None:
    answer = delete(http, user_id=four, **selection)
    assert left(http, four) == stay
    assert answer["memories"] == []
    assert (answer["job"]["total"], answer["job"]["lane"]) == (1, "bulk")
    assert answer["version"] > 0


def test_filter_alone_selects_among_all_users(http: httpx.Client, four: str) -> None:
    delete(http, filter={"id": {"$in": [f"{four}-1", f"{four}-2"]}})
    assert left(http, four) == [0, 3]


def test_session_alone_selects_among_all_users(http: httpx.Client, remember: Remember) -> None:
    session = f"session-{uuid4().hex}"
    added = remember([{"text": "of a session", "session_id": session}])
    delete(http, session_id=session)
    assert http.get(f"/v1/memories/{added['memories'][0]['id']}").status_code == 404


def test_other_sources_keep_theirs(http: httpx.Client, four: str, remember: Remember) -> None:
    remember([{"text": "elsewhere", "id": f"{four}-0", "user_id": four}], source="plain")
    delete(http, user_id=four)
    assert left(http, four) == []
    assert http.get(f"/v1/memories/{four}-0", params={"source": "plain"}).status_code == 200


def test_delete_by_user_can_be_waited_for(http: httpx.Client, four: str) -> None:
    answer = http.post(
        "/v1/memories/delete",
        params={"wait": "stored", "timeout": "60s"},
        json={"user_id": four},
    )
    assert answer.status_code == 200
    assert answer.json()["job"]["counts"]["redis"]["stored"] == 1


def test_repeated_delete_with_its_key_is_the_same_job_and_spares_what_came_between(
    http: httpx.Client, four: str, remember: Remember, refused: Refused
) -> None:
    headers = {"Idempotency-Key": uuid4().hex}
    first, again = (
        http.post("/v1/memories/delete", json={"user_id": four}, headers=headers).json()
        for _ in range(2)
    )
    assert again == first
    remember([{"text": "written later", "id": f"{four}-1", "user_id": four}])
    assert http.post("/v1/memories/delete", json={"user_id": four}, headers=headers).json() == first
    http.get(f"/v1/jobs/{first['job']['id']}", params={"wait": 60})
    assert left(http, four) == [1]
    other = http.post("/v1/memories/delete", json={"session_id": "a"}, headers=headers)
    assert refused(other, 422)["code"] == "idempotency_key_reused"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/ids"),
        ({"source": "default"}, "/ids"),
        ({"ids": ["a"], "user_id": "b"}, "/ids"),
        ({"ids": ["a"], "filter": {"id": "b"}}, "/ids"),
        ({"ids": []}, "/ids"),
        ({"user_id": ""}, "/user_id"),
        ({"filter": {}}, "/filter"),
        ({"user_id": "u", "filter": {}}, "/filter"),
        ({"filter": {"$and": []}}, "/filter/$and"),
        ({"filter": {"metadata.undeclared": {"$gt": 1}}}, "/filter/metadata.undeclared/$gt"),
        ({"filter": {"metadata.score": {"$gt": "1"}}}, "/filter/metadata.score/$gt"),
        ({"filter": {"text": "a"}}, "/filter/text"),
        ({"filter": "all"}, "/filter"),
        ({"filter": {"id": {"$in": [f"{n:0100}" for n in range(1000)]}}}, "/filter"),
        ({"user_id": "u", "source": "unheard"}, "/source"),
        ({"user_id": "u", "namespace": "other"}, "/namespace"),
    ],
)
def test_what_does_not_say_clearly_what_to_delete_deletes_nothing(
    http: httpx.Client, refused: Refused, body: dict[str, Any], pointer: str
) -> None:
    before = newest_job(http)
    refused(http.post("/v1/memories/delete", json=body), 422, pointer)
    assert newest_job(http) == before


def newest_job(http: httpx.Client) -> str:
    [job] = http.get("/v1/jobs", params={"limit": 1}).json()["jobs"]
    return str(job["id"])


def test_filter_as_deep_as_allowed_can_stand_beside_a_user_or_is_refused(
    http: httpx.Client, four: str, refused: Refused
) -> None:
    def nested(depth: int) -> dict[str, Any]:
        return {"id": f"{four}-0"} if depth == 1 else {"$not": nested(depth - 1)}

    delete(http, filter={"$and": [nested(7), {"user_id": four}]})
    assert left(http, four) == [1, 2, 3]
    body = {"user_id": four, "filter": nested(8)}
    refused(http.post("/v1/memories/delete", json=body), 422, "/filter")


def test_filter_keeps_its_exact_values_on_the_way(http: httpx.Client, remember: Remember) -> None:
    odd = f"ünï-\u202e☃-{uuid4().hex}"
    added = remember(
        [
            {"text": "exact", "metadata": {"label": odd, "score": 2**53}},
            {"text": "nearly", "metadata": {"label": odd, "score": 2**53 - 1}},
        ]
    )
    ids = [memory["id"] for memory in added["memories"]]
    delete(http, filter={"metadata.label": odd, "metadata.score": 2**53})
    assert [http.get(f"/v1/memories/{id}").status_code for id in ids] == [404, 200]


@pytest.mark.parametrize("confirm", ["", "DEFAULT", "default ", "other", 1, None])
def test_purge_needs_the_name_of_the_namespace(
    http: httpx.Client, refused: Refused, confirm: Any
) -> None:
    refused(http.post("/v1/memories/purge", json={"confirm": confirm}), 422, "/confirm")


def test_purge_of_one_source_leaves_the_others(
    http: httpx.Client, user: str, remember: Remember
) -> None:
    remember([{"text": "stays", "id": f"{user}-0", "user_id": user}])
    remember([{"text": "goes", "id": f"{user}-0", "user_id": user}], source="plain")
    headers = {"Idempotency-Key": uuid4().hex}
    body = json.dumps({"confirm": "default", "source": "plain"})
    first, again = (
        http.post(
            "/v1/memories/purge",
            content=body,
            headers=headers | {"Content-Type": "application/json"},
        )
        for _ in range(2)
    )
    assert (first.status_code, first.json()) == (202, again.json())
    [job] = first.json()["jobs"]
    assert (job["source"], job["total"]) == ("plain", 1)
    assert http.get(f"/v1/jobs/{job['id']}", params={"wait": 60}).json()["status"] == "stored"
    assert http.get(f"/v1/memories/{user}-0").status_code == 200
    assert http.get(f"/v1/memories/{user}-0", params={"source": "plain"}).status_code == 404
    assert http.post("/v1/memories/count", json={"source": "plain"}).json()["count"] == 0
