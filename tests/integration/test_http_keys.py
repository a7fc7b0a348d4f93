"""Keys over HTTP: values as they were given, conditions, patterns, pages; what is not a key stays apart."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.integration.conftest import Refused, Remember


class Keys:
    """The keys of one namespace that no other test knows."""

    def __init__(self, http: httpx.Client, source: str = "_") -> None:
        self.namespace = uuid4().hex
        self.place = f"/v1/sources/{source}"
        self._http = http

    def call(self, method: str, key: str, body: Any = None, **options: Any) -> httpx.Response:
        params = {"namespace": self.namespace, **options.pop("params", {})}
        path = f"{self.place}/keys/" + "".join(f"%{byte:02X}" for byte in key.encode())
        return self._http.request(method, path, params=params, json=body, **options)

    def put(self, key: str, value: Any, **more: Any) -> dict[str, Any]:
        waits = {"wait": "stored", "timeout": "60s"}
        answer = self.call("PUT", key, {"value": value, **more}, params=waits)
        assert answer.status_code == 200, answer.text
        stored: dict[str, Any] = answer.json()
        return stored

    def get(self, key: str) -> Any:
        answer = self.call("GET", key)
        assert answer.status_code == 200, answer.text
        return answer.json()["value"]

    def page(self, **params: Any) -> dict[str, Any]:
        asked = {"namespace": self.namespace, **params}
        answer = self._http.get(f"{self.place}/keys", params=asked)
        assert answer.status_code == 200, answer.text
        page: dict[str, Any] = answer.json()
        return page

    def post(self, what: str, **body: Any) -> httpx.Response:
        return self._http.post(f"{self.place}/{what}", json={"namespace": self.namespace, **body})

    def search(self, query: Any, **more: Any) -> list[str]:
        answer = self.post("search", query=query, **more)
        assert answer.status_code == 200, answer.text
        return [result["key"] for result in answer.json()["results"]]

    def count(self, query: Any = "*") -> int:
        answer = self.post("count", query=query)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["count"])


@pytest.fixture
def keys(http: httpx.Client) -> Keys:
    return Keys(http)


VALUES = [
    "plain text",
    " padded \n",
    "",
    "   ",
    "{}",
    '"quoted"',
    0,
    -1.5,
    1.0,
    2**53,
    True,
    None,
    [],
    {},
    [1, [2, {"a": None}]],
    {"b": 1, "a": {"é😀": "\u2028"}},
    "x" * 65536,
]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_value_comes_back_exactly_as_it_was_stored(keys: Keys, value: Any) -> None:
    keys.put("k", value)
    answer = keys.call("GET", "k").json()
    assert repr(answer["value"]) == repr(value)


def test_put_can_be_read_when_it_is_answered(keys: Keys) -> None:
    for number in range(20):
        stored = keys.put("k", number, tags=["a"], metadata={"n": number}, ttl_ms=60_000)
        answer = keys.call("GET", "k")
        got = answer.json()
        assert answer.headers["etag"] == f'"{stored["version"]}"'
        assert (got["value"], got["tags"], got["metadata"]) == (number, ["a"], {"n": number})
        assert {name: got[name] for name in ("version", "stored_at", "expires_at", "ttl_ms")} == {
            name: stored[name] for name in ("version", "stored_at", "expires_at", "ttl_ms")
        }
        assert got["ttl_ms"] == 60_000


def test_put_need_not_wait(keys: Keys) -> None:
    answer = keys.call("PUT", "k", {"value": 1}, params={"wait": "none"})
    assert answer.status_code == 202
    assert answer.json()["job"]["status"] == "accepted"
    keys.put("k", 2)
    assert keys.get("k") == 2


def test_head_tells_whether_a_key_exists(keys: Keys) -> None:
    assert keys.call("HEAD", "k").status_code == 404
    keys.put("k", 1)
    answer = keys.call("HEAD", "k")
    assert (answer.status_code, answer.content) == (200, b"")


def test_key_that_is_there_is_not_overwritten_against_ones_will(
    keys: Keys, refused: Refused
) -> None:
    keys.put("k", 1, overwrite=False)
    answer = keys.call("PUT", "k", {"value": 2, "overwrite": False})
    assert refused(answer, 409)["code"] == "exists"
    assert keys.get("k") == 1
    keys.call("DELETE", "k")
    keys.put("k", 3, overwrite=False)
    assert keys.get("k") == 3


def test_key_that_has_expired_can_be_taken_again(keys: Keys) -> None:
    keys.put("k", 1, ttl_ms=1)
    time.sleep(0.01)
    keys.put("k", 2, overwrite=False)
    assert keys.get("k") == 2


def test_update_of_another_version_is_refused(keys: Keys, refused: Refused) -> None:
    tag = keys.call("PUT", "k", {"value": 1}).headers["etag"]
    changed = keys.call("PUT", "k", {"value": 2}, headers={"If-Match": tag})
    assert changed.status_code == 200
    for method, body in (("PUT", {"value": 3}), ("DELETE", None)):
        refused(keys.call(method, "k", body, headers={"If-Match": tag}), 412)
    assert keys.get("k") == 2
    several = f"{tag}, {changed.headers['etag']}"
    assert keys.call("DELETE", "k", headers={"If-Match": several}).status_code == 202
    refused(keys.call("PUT", "k", {"value": 4}, headers={"If-Match": "*"}), 412)
    assert keys.call("HEAD", "k").status_code == 404


def test_condition_holds_against_writes_that_nobody_waited_for(
    keys: Keys, refused: Refused
) -> None:
    """The version of a key is that which was accepted last, stored or not."""
    tag = keys.call("PUT", "k", {"value": 0}).headers["etag"]
    for number in range(1, 20):
        keys.call("PUT", "k", {"value": number}, params={"wait": "none"})
        refused(keys.call("PUT", "k", {"value": -1}, headers={"If-Match": tag}), 412)
        tag = keys.call("GET", "k").headers["etag"]
        assert keys.get("k") == number


def test_of_many_updates_at_once_one_wins(keys: Keys) -> None:
    keys.put("n", 0)

    def add(_: int) -> int:
        tries = 0
        while True:
            tries += 1
            got = keys.call("GET", "n")
            body = {"value": got.json()["value"] + 1}
            headers, waits = {"If-Match": got.headers["etag"]}, {"wait": "stored", "timeout": "60s"}
            answer = keys.call("PUT", "n", body, headers=headers, params=waits)
            if answer.status_code == 200:
                return tries
            assert answer.status_code == 412, answer.text

    with ThreadPoolExecutor(6) as pool:
        tries = list(pool.map(add, range(18)))
    assert keys.get("n") == 18
    assert sum(tries) > 18, "nobody was ever in another's way: this proves nothing"


def test_repeated_request_is_answered_as_the_first_was(keys: Keys, refused: Refused) -> None:
    """Also one whose condition cannot hold any more, because it did."""
    first, second = (
        keys.call(
            "PUT",
            "k",
            {"value": 1, "overwrite": False},
            headers={"Idempotency-Key": keys.namespace},
        )
        for _ in range(2)
    )
    assert (first.status_code, second.status_code) == (200, 200)
    assert second.json()["version"] == first.json()["version"]
    other = keys.call(
        "PUT", "k", {"value": 2, "overwrite": False}, headers={"Idempotency-Key": keys.namespace}
    )
    assert refused(other, 422)["code"] == "idempotency_key_reused"


def test_deleted_key_is_gone_at_once(keys: Keys, refused: Refused) -> None:
    keys.put("k", "something to find")
    keys.put("l", "something else")
    assert keys.call("DELETE", "k").status_code == 202
    refused(keys.call("GET", "k"), 404)
    assert keys.page()["keys"] == ["l"]
    assert keys.count() == 1
    assert keys.search("something to find") == ["l"]
    assert keys.post("batch", retrieve=["k", "l"]).json()["entries"].keys() == {"l"}
    assert keys.call("DELETE", "never there").status_code == 202


def test_expired_key_is_gone(keys: Keys, refused: Refused) -> None:
    keys.put("zero", "x", ttl_ms=0)
    keys.put("soon", "x", ttl_ms=50)
    keys.put("later", "x", ttl_ms=600_000)
    time.sleep(0.06)
    for key in ("zero", "soon"):
        refused(keys.call("GET", key), 404)
    assert keys.page()["keys"] == ["later"]
    assert keys.count() == keys.count("e") == 1


def test_keys_are_listed_in_order_and_by_pattern(keys: Keys) -> None:
    names = ["admin:1", "user:1", "user:10", "user:2", "user", "usér:3", "[x]*", "é", "~", " a b"]
    for key in names:
        keys.put(key, key)
    assert keys.page()["keys"] == sorted(names)
    assert keys.page(pattern="*")["keys"] == sorted(names)
    for pattern, expected in {
        "user:": ["user:1", "user:10", "user:2"],
        "user:*": ["user:1", "user:10", "user:2"],
        "user:?": ["user:1", "user:2"],
        "user*": ["user", "user:1", "user:10", "user:2"],
        "*:1": ["admin:1", "user:1"],
        "*1*": ["admin:1", "user:1", "user:10"],
        "us?r*": ["user", "user:1", "user:10", "user:2", "usér:3"],
        "[x]": ["[x]*"],
        "[x]?": ["[x]*"],
        "USER": [],
        "nothing*": [],
    }.items():
        assert keys.page(pattern=pattern)["keys"] == expected, pattern
        assert keys.count(pattern) == len(expected)
        assert sorted(keys.search({"pattern": pattern}, limit=50)) == expected


def test_pages_follow_each_other(keys: Keys) -> None:
    items = [{"key": f"k{n:03}", "value": n} for n in range(250)]
    assert keys.post("batch", store=items).status_code == 200
    found: list[str] = []
    cursor: dict[str, Any] = {}
    for expected in (100, 100, 50):
        page = keys.page(limit=100, pattern="k*", **cursor)
        assert len(page["keys"]) == expected
        found += page["keys"]
        cursor = {"cursor": page["cursor"]}
    assert page["cursor"] is None
    assert found == [item["key"] for item in items]
    assert keys.page(limit=250)["cursor"] is None
    assert keys.page(limit=3, pattern="24")["keys"] == ["k024", "k124", "k224"]


@pytest.mark.parametrize("length", [200, 230, 256])
def test_long_keys_are_keys_like_others(keys: Keys, length: int) -> None:
    names = [f"long:{'é' * (length - 7)}{n:02}" for n in range(3)]
    for number, key in enumerate(names):
        keys.put(key, number)
    keys.put("other", 0)
    assert [keys.get(key) for key in names] == [0, 1, 2]
    assert sorted(keys.page(pattern="long:*")["keys"]) == names
    assert keys.page(pattern=names[1])["keys"] == [names[1]]
    keys.call("DELETE", names[1])
    assert sorted(keys.page(pattern="long:*")["keys"]) == [names[0], names[2]]


@pytest.mark.parametrize(
    "key", ["a/b", "..", "a b", "50%", "?q=1#f", "é😀", "x" * 256, "keys", '"']
)
def test_key_may_be_any_text_without_control_characters(keys: Keys, key: str) -> None:
    keys.put(key, {"of": key})
    assert keys.get(key) == {"of": key}
    assert keys.page()["keys"] == [key]
    assert keys.call("DELETE", key).json()["key"] == key
    assert keys.page()["keys"] == []


def test_values_are_searched_by_what_they_say(keys: Keys) -> None:
    keys.put("pref:ana", {"likes": "window seats on trains"}, tags=["travel"])
    keys.put("pref:bo", {"likes": "strong coffee in the morning"}, metadata={"category": "food"})
    assert keys.search("where does she like to sit on a train?")[0] == "pref:ana"
    assert keys.search({"query": "espresso coffee"})[0] == "pref:bo"
    assert keys.search("coffee") == ["pref:bo"], "a word that is in no key"
    assert keys.search("pref") == ["pref:ana", "pref:bo"]
    assert keys.search("nowhere") == []
    assert keys.search({"query": "likes", "filter": {"tags": "travel"}}) == ["pref:ana"]
    assert keys.search({"filter": {"metadata.category": "food"}}) == ["pref:bo"]
    assert keys.count({"filter": {"metadata.category": "food"}}) == 1
    assert keys.search({}, order_by="stored_at") == ["pref:ana", "pref:bo"]
    assert keys.search("*", limit=1, offset=1) == ["pref:bo"]
    bare = keys.post("search", query="pref:ana", include_metadata=False).json()
    value = {"likes": "window seats on trains"}
    assert bare == {"results": [{"key": "pref:ana", "value": value}], "complete": True}


def test_batches_store_all_retrieve_what_is_there_and_count_what_they_delete(
    keys: Keys, refused: Refused
) -> None:
    items = [{"key": "a", "value": 1}, {"key": "b", "value": [2], "tags": ["t"]}]
    stored = keys.post("batch", store=items)
    assert stored.status_code == 200
    assert [result["key"] for result in stored.json()["results"]] == ["a", "b"]
    entries = keys.post("batch", retrieve=["b", "missing", "a"]).json()["entries"]
    assert {key: entry["value"] for key, entry in entries.items()} == {"a": 1, "b": [2]}
    again = [{"key": "c", "value": 3}, {"key": "a", "value": 9, "overwrite": False}]
    refused(keys.post("batch", store=again), 409)
    assert keys.page()["keys"] == ["a", "b"], "all or none"
    assert keys.post("batch", delete=["a", "missing", "b"]).json()["deleted"] == 2
    assert keys.page()["keys"] == []


def test_last_of_a_key_twice_in_a_batch_stays(keys: Keys) -> None:
    keys.post("batch", store=[{"key": "a", "value": n} for n in range(3)])
    assert keys.get("a") == 2
    tag = keys.call("GET", "a").headers["etag"]
    assert keys.call("PUT", "a", {"value": 3}, headers={"If-Match": tag}).status_code == 200


def test_namespaces_do_not_see_each_other(http: httpx.Client) -> None:
    one, two = Keys(http), Keys(http)
    two.namespace = f"{one.namespace}:x"
    one.put("x:k", "one's value")
    two.put("k", "two's value")
    assert (one.get("x:k"), two.get("k")) == ("one's value", "two's value")
    assert (one.page()["keys"], two.page()["keys"]) == (["x:k"], ["k"])
    assert (one.count(), two.count()) == (1, 1)
    assert one.search({"query": "value"}) == ["x:k"]
    assert one.search("*") == ["x:k"]
    assert two.post("batch", delete=["x:k"]).json()["deleted"] == 0
    assert one.get("x:k") == "one's value"


def test_clear_deletes_keys_and_nothing_else(
    http: httpx.Client, user: str, remember: Remember, refused: Refused
) -> None:
    """In the source ``plain``, whose keys no other test has."""
    remember([{"text": "a memory", "id": user, "user_id": user}], source="plain")
    one, two = Keys(http, "plain"), Keys(http, "plain")
    for keys in (one, two):
        keys.put("k", 1)
    for wrong in ({}, {"confirm": "yes"}, {"confirm": ""}):
        refused(http.delete("/v1/sources/plain", params=wrong), 422, "/confirm")
    params = {"confirm": "true", "namespace": one.namespace}
    assert http.delete("/v1/sources/plain", params=params).status_code == 202
    assert (one.page()["keys"], two.page()["keys"]) == ([], ["k"])
    one.put("k", 2, overwrite=False)
    assert http.delete("/v1/sources/plain", params={"confirm": "true"}).status_code == 202
    assert (one.page()["keys"], two.page()["keys"]) == ([], [])
    assert http.get(f"/v1/memories/{user}", params={"source": "plain"}).status_code == 200


def test_keys_and_memories_do_not_meet(
    http: httpx.Client, keys: Keys, user: str, remember: Remember
) -> None:
    remember([{"text": "a shared secret of a user", "id": "k", "user_id": user}])
    keys.put("k", "a shared secret in a value")
    assert keys.search({"query": "shared secret"}) == ["k"]
    found = http.post("/v1/search", json={"query": "shared secret", "user_id": user}).json()["hits"]
    assert [hit["text"] for hit in found] == ["a shared secret of a user"]
    assert http.get("/v1/memories/k").json()["text"] == "a shared secret of a user"
    forged = {"id": f"memrelay.key:{keys.namespace}:f", "user_id": f"memrelay.key:{keys.namespace}"}
    remember([{"text": "no key of ours", **forged}])
    assert keys.call("GET", "f").status_code == 404
    assert (keys.page()["keys"], keys.count(), keys.search({"query": "ours"})) == (["k"], 1, ["k"])
    http.delete("/v1/memories/k", params={"wait": "stored"})


def test_sources_say_what_they_are_for(http: httpx.Client, refused: Refused) -> None:
    sources = {source["name"]: source for source in http.get("/v1/sources").json()["sources"]}
    assert sources.keys() == {"default", "vectors", "plain"}
    assert [name for name, source in sources.items() if source["default"]] == ["default"]
    default = sources["default"]
    assert default["drivers"] == [
        {"name": "redis", "type": "redis"},
        {"name": "sqlite", "type": "sqlite"},
    ]
    assert (default["dimensions"], default["embedding"]) == (256, "local/wordllama")
    assert {"semantic_search", "keyword_search", "replication"} <= set(default["capabilities"])
    assert "keyword_search" not in sources["plain"]["capabilities"]
    assert "redis://" not in str(sources)
    assert http.get("/v1/sources/_").json() == default
    assert refused(http.get("/v1/sources/nowhere"), 404)["code"] == "unknown_source"


def test_source_of_vectors_wants_one_with_each_value(http: httpx.Client, refused: Refused) -> None:
    keys = Keys(http, "vectors")
    refused(keys.call("PUT", "k", {"value": 1}), 422, "/vector")
    keys.put("k", {"a": 1}, vector=[1.0] + [0.0] * 7)
    assert keys.get("k") == {"a": 1}
    assert keys.search("k") == ["k"]
