"""Changing memories over HTTP: what is given changes, the rest stays, and no change gets lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from memrelay import Memrelay, exits
from memrelay.cli import app as cli
from memrelay.errors import Conflict, NotFound
from memrelay.types import Memory, Upsert, vector_to_bytes
from tests.integration.conftest import Refused, Remember
from tests.oracle import place, scope_of
from tests.service import Service

CREATED_AT = "2026-01-31T12:00:00.000000Z"


def patch(http: httpx.Client, id: str, changes: Any, **options: Any) -> httpx.Response:
    params = options.pop("params", {"wait": "stored", "timeout": "60s"})
    return http.patch(f"/v1/memories/{id}", json=changes, params=params, **options)


def read(http: httpx.Client, id: str, **params: str) -> dict[str, Any]:
    answer = http.get(f"/v1/memories/{id}", params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert answer.headers["etag"] == f'"{found["version"]}"'
    return found


@pytest.fixture
def whole(remember: Remember, user: str) -> dict[str, Any]:
    """A memory that has everything, stored."""
    memory = {
        "id": f"{user}-whole",
        "text": "Ana prefers window seats.",
        "user_id": user,
        "session_id": "s1",
        "tags": ["travel", "seat"],
        "metadata": {"category": "preference", "score": 3, "deep": {"a": 1, "b": [1, None]}},
        "created_at": CREATED_AT,
        "expires_at": "2100-01-01T00:00:00.000000Z",
    }
    remember([memory])
    return memory


def test_what_is_given_changes_and_the_rest_stays(
    http: httpx.Client, whole: dict[str, Any]
) -> None:
    id = whole["id"]
    answer = patch(http, id, {"text": "Ana prefers aisle seats."})
    assert answer.status_code == 200, answer.text
    [told] = answer.json()["memories"]
    assert (told["id"], answer.headers["etag"]) == (id, f'"{told["version"]}"')
    expected = {**whole, "text": "Ana prefers aisle seats.", "source": "default"}
    assert read(http, id) == {**expected, "version": told["version"]}


def test_null_takes_away_and_metadata_is_merged_field_by_field(
    http: httpx.Client, whole: dict[str, Any]
) -> None:
    changes = {
        "session_id": None,
        "expires_at": None,
        "tags": ["seat"],
        "metadata": {"score": None, "new": [None], "deep": {"a": None, "c": {"d": None}}},
    }
    answer = patch(
        http,
        whole["id"],
        changes,
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert answer.status_code == 200, answer.text
    found = read(http, whole["id"])
    assert (found["session_id"], found["expires_at"], found["tags"]) == (None, None, ["seat"])
    assert found["metadata"] == {
        "category": "preference",
        "new": [None],
        "deep": {"b": [1, None], "c": {}},
    }
    patch(http, whole["id"], {"tags": None, "metadata": None, "user_id": None})
    found = read(http, whole["id"])
    assert (found["tags"], found["metadata"], found["user_id"]) == ([], {}, None)
    assert (found["text"], found["created_at"]) == (whole["text"], CREATED_AT)


def test_change_is_made_on_what_was_accepted_last_although_it_is_not_stored(
    http: httpx.Client, user: str
) -> None:
    for n in range(10):
        id = f"{user}-{n}"
        first = http.post("/v1/memories", json={"memories": [{"id": id, "text": "old"}]})
        assert first.status_code == 202
        http.post("/v1/memories", json={"memories": [{"id": id, "text": "new"}]})
        answer = patch(http, id, {"tags": ["tagged"]})
        assert answer.status_code == 200, answer.text
        found = read(http, id)
        assert (found["text"], found["tags"]) == ("new", ["tagged"])


def test_changes_at_once_are_made_on_each_other(http: httpx.Client, whole: dict[str, Any]) -> None:
    def change(n: int) -> int:
        while True:
            answer = patch(http, whole["id"], {"metadata": {f"f{n}": n}}, params={})
            if answer.status_code != 503:
                return answer.status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = set(pool.map(change, range(24)))
    assert statuses == {202}
    patch(http, whole["id"], {"tags": ["last"]})
    found = read(http, whole["id"])["metadata"]
    assert {key: value for key, value in found.items() if key.startswith("f")} == {
        f"f{n}": n for n in range(24)
    }


def test_change_to_another_version_than_the_last_is_refused(
    http: httpx.Client, whole: dict[str, Any], refused: Refused
) -> None:
    stored = read(http, whole["id"])["version"]
    answer = patch(http, whole["id"], {"tags": ["a"]}, headers={"If-Match": f'"{stored}"'})
    assert answer.status_code == 200, answer.text
    stale = patch(http, whole["id"], {"tags": ["b"]}, headers={"If-Match": f'"{stored}"'})
    refused(stale, 412)
    assert read(http, whole["id"])["tags"] == ["a"]
    assert patch(http, whole["id"], {"tags": ["c"]}, headers={"If-Match": "*"}).is_success
    refused(patch(http, whole["id"], {"tags": []}, headers={"If-Match": "5"}), 422, "/If-Match")


def test_version_that_is_not_stored_yet_is_the_one_to_match(
    http: httpx.Client, user: str, refused: Refused
) -> None:
    posted = http.post("/v1/memories", json={"memories": [{"id": user, "text": "one"}]}).json()
    etag = f'"{posted["memories"][0]["version"]}"'
    answer = patch(http, user, {"text": "two"}, params={}, headers={"If-Match": etag})
    assert answer.status_code == 202, answer.text
    refused(patch(http, user, {"text": "three"}, headers={"If-Match": etag}), 412)
    newer = patch(http, user, {"text": "three"}, headers={"If-Match": answer.headers["etag"]})
    assert newer.status_code == 200, newer.text


def test_repeated_change_is_answered_as_the_first(
    http: httpx.Client, whole: dict[str, Any], refused: Refused
) -> None:
    key = {"Idempotency-Key": f"key-{whole['id']}"}
    first = patch(http, whole["id"], {"tags": ["once"]}, headers=key)
    assert first.status_code == 200, first.text
    http.request("DELETE", f"/v1/memories/{whole['id']}", params={"wait": "stored"})
    again = patch(http, whole["id"], {"tags": ["once"]}, headers=key)
    assert (again.status_code, again.json()) == (200, first.json())
    other = patch(http, whole["id"], {"tags": ["other"]}, headers=key)
    assert refused(other, 422)["code"] == "idempotency_key_reused"
    fresh = {"Idempotency-Key": f"fresh-{whole['id']}"}
    refused(patch(http, whole["id"], {"tags": ["once"]}, headers=fresh), 404)


@pytest.mark.parametrize("how", ["id", "user", "purged from reads at once"])
def test_what_is_deleted_is_absent(
    http: httpx.Client, whole: dict[str, Any], refused: Refused, how: str
) -> None:
    """Also where the delete is only accepted: reads leave it out from then on."""
    if how == "id":
        http.post("/v1/memories/delete", json={"ids": [whole["id"]]})
    elif how == "user":
        http.post("/v1/memories/delete", json={"user_id": whole["user_id"]})
    else:
        patch(http, whole["id"], {"tags": ["waits"]}, params={})
        http.post("/v1/memories/delete", json={"filter": {"tags": {"$contains": "waits"}}})
    refused(patch(http, whole["id"], {"tags": ["back"]}), 404)


def test_absent_or_expired_memory_is_not_found(
    http: httpx.Client, remember: Remember, user: str, refused: Refused
) -> None:
    refused(patch(http, f"{user}-absent", {"tags": ["x"]}), 404)
    past = "2020-01-01T00:00:00Z"
    remember([{"id": f"{user}-past", "text": "gone", "expires_at": past}])
    refused(patch(http, f"{user}-past", {"expires_at": None}), 404)


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({}, ""),
        ([], ""),
        ({"text": None}, "/text"),
        ({"text": " "}, "/text"),
        ({"text": 7}, "/text"),
        ({"id": "other"}, "/id"),
        ({"version": 1}, "/version"),
        ({"tags": "travel"}, "/tags"),
        ({"tags": [""]}, "/tags/0"),
        ({"tags": ["x"] * 65}, "/tags"),
        ({"user_id": ""}, "/user_id"),
        ({"session_id": "a\nb"}, "/session_id"),
        ({"metadata": []}, "/metadata"),
        ({"metadata": {"a": 2**60}}, "/metadata"),
        ({"metadata": {"big": "x" * 16_360}}, "/metadata"),
        ({"created_at": "now"}, "/created_at"),
        ({"expires_at": 5}, "/expires_at"),
        ({"vector": [1.0]}, "/vector"),
    ],
)
def test_change_that_cannot_be_is_refused_and_named(
    http: httpx.Client, whole: dict[str, Any], refused: Refused, changes: Any, pointer: str
) -> None:
    refused(patch(http, whole["id"], changes), 422, pointer)
    assert read(http, whole["id"])["tags"] == whole["tags"]


def test_deep_patch_and_other_kinds_are_refused(
    http: httpx.Client, whole: dict[str, Any], refused: Refused
) -> None:
    deep = '{"metadata":' + '{"a":' * 900 + "1" + "}" * 901
    place, json_type = f"/v1/memories/{whole['id']}", {"Content-Type": "application/json"}
    refused(http.patch(place, content=deep, headers=json_type), 422, "/metadata")
    kind = {"Content-Type": "application/json-patch+json"}
    refused(http.patch(place, content="{}", headers=kind), 415)
    refused(http.patch(place, content="{", headers=json_type), 400)


def test_memory_with_a_vector_of_its_callers_keeps_it_as_long_as_its_text(
    http: httpx.Client, remember: Remember, user: str, refused: Refused
) -> None:
    one, two = [1.0] + [0.0] * 7, [0.0] * 7 + [1.0]
    options: Any = {"params": {"source": "vectors", "wait": "stored", "timeout": "60s"}}
    remember([{"id": user, "text": "one", "vector": one}], source="vectors")

    def best(vector: list[float]) -> tuple[str, float]:
        body = {"vector": vector, "source": "vectors", "filter": {"id": user}, "mode": "semantic"}
        [hit] = http.post("/v1/search", json=body).json()["hits"]
        return hit["text"], round(hit["score"], 3)

    assert patch(http, user, {"tags": ["a"]}, **options).status_code == 200
    assert best(one) == ("one", 1.0)
    refused(patch(http, user, {"text": "two"}, **options), 422, "/vector")
    refused(patch(http, user, {"text": "two", "vector": one[:3]}, **options), 422, "/vector")
    refused(patch(http, user, {"vector": None}, **options), 422, "/vector")
    assert patch(http, user, {"text": "two", "vector": two}, **options).status_code == 200
    assert best(two) == ("two", 1.0)


def test_change_without_a_new_text_keeps_the_vector_that_is_stored(
    http: httpx.Client, service: Service, user: str
) -> None:
    """Known by a vector that no model gave it."""
    mark = vector_to_bytes([1.0] + [0.0] * 255)
    held = Memory(id=user, text="what is marked", source="default", created_at=1, version=1)
    stores = {
        "redis": {"type": "redis", "url": service.env["MEMRELAY_DRIVERS__REDIS__URL"]},
        "sqlite": {"type": "sqlite", "path": service.env["MEMRELAY_DRIVERS__SQLITE__PATH"]},
    }
    for store in stores.values():
        place(store, scope_of(), [Upsert(held, mark)])
    assert patch(http, user, {"tags": ["changed"], "text": "what is marked"}).status_code == 200

    def vector(text: str) -> list[float]:
        body = {"query": text, "filter": {"id": user}, "include": ["vector"], "mode": "semantic"}
        [hit] = http.post("/v1/search", json=body).json()["hits"]
        assert hit["tags"] == ["changed"]
        found: list[float] = hit["vector"]
        return found

    assert vector("what is marked") == [1.0] + [0.0] * 255
    assert patch(http, user, {"text": "another text"}).status_code == 200
    assert vector("another text") != [1.0] + [0.0] * 255


def test_memory_is_edited_by_the_client_and_from_the_command_line(
    service: Service, http: httpx.Client, whole: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    id = whole["id"]
    with Memrelay(service.url) as client:
        edited = client.edit(id, {"tags": ["by client"], "metadata": {"score": None}}, wait=60)
        assert edited.job.settled
        assert client.get(id).version == edited.memories[0].version
        with pytest.raises(Conflict):
            client.edit(id, {"tags": []}, if_version=1)
        with pytest.raises(NotFound):
            client.edit(f"{id}-absent", {"tags": []})

    def run(*arguments: str) -> int:
        return cli.run(["edit", id, *arguments, "--url", service.url])

    assert run() == exits.USAGE
    assert run("--unset", "text") == exits.USAGE
    assert run("--tag", "a", "--unset", "tags") == exits.USAGE
    assert run("--text", "late", "--if-version", "1") == exits.FAILED
    changed = ("--text", "by hand", "--metadata", '{"by": "hand"}', "--unset", "session")
    assert run(*changed, "--wait") == exits.OK
    found = read(http, id)
    assert (found["text"], found["session_id"], found["tags"]) == ("by hand", None, ["by client"])
    assert found["metadata"].keys() == {"category", "deep", "by"}
