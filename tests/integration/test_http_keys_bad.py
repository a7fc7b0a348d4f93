"""Requests on keys that are wrong: each is refused for the field that is guilty, and nothing is stored."""

from __future__ import annotations

import base64
import json
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.integration.conftest import Refused

C = "canary7f3a"
KEYS = "/v1/sources/_/keys"


def deep(levels: int) -> Any:
    return [] if levels == 1 else [deep(levels - 1)]


@pytest.fixture
def namespace(http: httpx.Client) -> Any:
    """Empty at the end too."""
    name = uuid4().hex
    yield name
    listed = http.get(KEYS, params={"namespace": name}).json()
    assert listed == {"keys": [], "cursor": None}


@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
@pytest.mark.parametrize(
    ("key", "status"),
    [
        (f"{C}%00", 422),
        (f"{C}%0A", 422),
        (f"{C}%7F", 422),
        (f"{C}%C2%85", 422),
        (f"{C}%FF", 400),
        (f"{C}%ED%A0%80", 400),
        (C + "x" * 250, 422),
        ("", 422),
    ],
)
def test_key_that_nobody_can_have_is_refused(
    http: httpx.Client, refused: Refused, namespace: str, *, method: str, key: str, status: int
) -> None:
    body = {"value": 1} if method == "PUT" else None
    params = {"namespace": namespace}
    answer = http.request(method, f"{KEYS}/{key}", params=params, json=body)
    refused(answer, status, "/key" if status == 422 else None)
    assert C not in answer.text


@pytest.mark.parametrize(
    ("body", "pointer", "says"),
    [
        ({}, "/value", "required"),
        ({"value": C + "x" * 65536}, "/value", "65536 bytes"),
        ({"value": ["x" * 65533, C]}, "/value", "65536 bytes"),
        ({"value": deep(17)}, "/value", "deeper than 16"),
        ({"value": "a\0b"}, "/value", "NUL"),
        ({"value": {"a": "\ud800"}}, "/value", "surrogate"),
        ({"value": {"\udc00": 1}}, "/value", "surrogate"),
        ({"value": 2**53 + 1}, "/value", "2^53"),
        ({"value": 1, "metadata": {"memrelay.key": C}}, "/metadata", "reserved"),
        ({"value": 1, "metadata": {"a": "x" * 16384}}, "/metadata", "16384 bytes"),
        ({"value": 1, "metadata": []}, "/metadata", "dictionary"),
        ({"value": 1, "tags": ["x"] * 65}, "/tags", "64"),
        ({"value": 1, "tags": ["a\nb"]}, "/tags/0", "control"),
        ({"value": 1, "ttl_ms": -1}, "/ttl_ms", "greater than or equal to 0"),
        ({"value": 1, "ttl_ms": 1.5}, "/ttl_ms", "integer"),
        ({"value": 1, "ttl_ms": "60"}, "/ttl_ms", "integer"),
        ({"value": 1, "ttl_ms": True}, "/ttl_ms", "integer"),
        ({"value": 1, "ttl_ms": 10**13}, "/ttl_ms", "3153600000000"),
        ({"value": 1, "overwrite": 0}, "/overwrite", "boolean"),
        ({"value": 1, "vector": [1.0]}, "/vector", "embeds texts itself"),
        ({"value": 1, "unknown": C}, "/unknown", "not permitted"),
        ({"key": "k", "value": 1}, "/key", "not permitted"),
    ],
)
def test_body_that_is_wrong_names_the_field_and_the_bound(
    http: httpx.Client,
    refused: Refused,
    namespace: str,
    *,
    body: dict[str, Any],
    pointer: str,
    says: str,
) -> None:
    params = {"namespace": namespace}
    headers = {"Content-Type": "application/json"}
    answer = http.put(f"{KEYS}/k", params=params, content=json.dumps(body), headers=headers)
    problem = refused(answer, 422, pointer)
    assert any(says in error["detail"] for error in problem["errors"]), problem
    assert C not in answer.text
    if pointer != "/key":
        item = json.dumps({"namespace": namespace, "store": [{"key": "k"} | body]})
        answer = http.post("/v1/sources/_/batch", content=item, headers=headers)
        refused(answer, 422, f"/store/0{pointer}")


@pytest.mark.parametrize(
    "body", ['{"value": NaN}', '{"value": 1e999}', '{"value": 1, "value": 2}', '{"value"', "[]"]
)
def test_body_that_is_not_strict_json_is_refused(
    http: httpx.Client, refused: Refused, namespace: str, body: str
) -> None:
    answer = http.put(
        f"{KEYS}/k",
        params={"namespace": namespace},
        content=body,
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code in (400, 422)
    refused(answer, answer.status_code)


@pytest.mark.parametrize(
    "given", ["", "1", '"', '""', "x", 'W/"1"', '"1', '"a"', '"1" "2"', '"1",', "*, *", '*,"1"']
)
def test_if_match_that_is_no_version_is_refused(
    http: httpx.Client, refused: Refused, namespace: str, given: str
) -> None:
    for method, body in (("PUT", {"value": 1}), ("DELETE", None)):
        answer = http.request(
            method,
            f"{KEYS}/k",
            params={"namespace": namespace},
            json=body,
            headers={"If-Match": given},
        )
        refused(answer, 422, "/If-Match")


@pytest.mark.parametrize(
    ("params", "pointer"),
    [
        ({"pattern": ""}, "/pattern"),
        ({"pattern": "x" * 257}, "/pattern"),
        ({"pattern": "a\n"}, "/pattern"),
        ({"pattern": "a\0"}, "/pattern"),
        ({"limit": "0"}, "/limit"),
        ({"limit": "1001"}, "/limit"),
        ({"limit": C}, "/limit"),
        ({"cursor": C}, "/cursor"),
        ({"cursor": ""}, "/cursor"),
        ({"cursor": "%%%"}, "/cursor"),
        ({"cursor": base64.urlsafe_b64encode(b"\xff").decode()}, "/cursor"),
        ({"cursor": base64.urlsafe_b64encode(b"memrelay.key:other:k").decode()}, "/cursor"),
        ({"namespace": "x" * 65}, "/namespace"),
        ({"namespace": "a\nb"}, "/namespace"),
    ],
)
def test_list_that_is_asked_for_wrongly_is_refused(
    http: httpx.Client, refused: Refused, params: dict[str, str], pointer: str
) -> None:
    answer = http.get(KEYS, params={"namespace": "n", **params})
    refused(answer, 422, pointer)
    assert C not in answer.text


@pytest.mark.parametrize(
    ("what", "body", "pointer"),
    [
        ("search", {}, "/query"),
        ("search", {"query": 1}, "/query"),
        ("search", {"query": ""}, "/query"),
        ("search", {"query": "  "}, "/query"),
        ("search", {"query": {"text": C}}, "/query/text"),
        ("search", {"query": {"pattern": ""}}, "/query/pattern"),
        ("search", {"query": {"query": " "}}, "/query/query"),
        ("search", {"query": {"query": "a", "pattern": "b"}}, "/query/pattern"),
        ("search", {"query": {"filter": {}}}, "/query/filter"),
        ("search", {"query": {"filter": {"nothing": 1}}}, "/query/filter/nothing"),
        ("search", {"query": {"query": "a", "filter": {"x": 1}}}, "/query/filter/x"),
        ("search", {"query": "a", "limit": 0}, "/limit"),
        ("search", {"query": "a", "limit": 201}, "/limit"),
        ("search", {"query": "a", "limit": 200, "offset": 1}, "/offset"),
        ("search", {"query": "a", "order_by": C}, "/order_by"),
        ("search", {"query": "a", "namespace": "\n"}, "/namespace"),
        ("count", {"query": {"query": "a"}}, "/query/query"),
        ("count", {"query": "two words"}, "/query/query"),
        ("count", {"query": {"filter": {"x": 1}}}, "/query/filter/x"),
        ("batch", {}, "/store"),
        ("batch", {"store": [{"key": "k", "value": 1}], "delete": ["k"]}, "/store"),
        ("batch", {"store": []}, "/store"),
        ("batch", {"retrieve": [""]}, "/retrieve/0"),
        ("batch", {"delete": ["a\n"]}, "/delete/0"),
        ("batch", {"delete": ["k"] * 1001}, "/delete"),
    ],
)
def test_question_that_is_wrong_names_the_field(
    http: httpx.Client, refused: Refused, what: str, body: dict[str, Any], pointer: str
) -> None:
    answer = http.post(f"/v1/sources/_/{what}", json=body)
    refused(answer, 422, pointer)
    assert C not in answer.text


def test_batch_is_at_most_a_mebibyte(http: httpx.Client, refused: Refused) -> None:
    items = [{"key": f"k{n}", "value": "x" * 60_000} for n in range(20)]
    refused(http.post("/v1/sources/_/batch", json={"store": items}), 413)


@pytest.mark.parametrize(
    "route",
    [
        "GET /keys",
        "GET /keys/k",
        "HEAD /keys/k",
        "DELETE /keys/k",
        "DELETE ?confirm=true",
        "GET ",
    ],
)
def test_source_that_is_not_there_is_not_found(
    http: httpx.Client, refused: Refused, route: str
) -> None:
    method, _, path = route.partition(" ")
    for source in (C, "a%0Ab", "%FF"):
        answer = http.request(method, f"/v1/sources/{source}{path}")
        assert answer.status_code == 404
        if method != "HEAD":
            assert refused(answer, 404)["code"] == "unknown_source"
        assert C not in answer.text


def test_source_that_is_not_there_is_not_found_for_what_has_a_body(
    http: httpx.Client, refused: Refused
) -> None:
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("PUT", "keys/k", {"value": 1}),
        ("POST", "search", {"query": "a"}),
        ("POST", "count", {}),
        ("POST", "batch", {"delete": ["k"]}),
    ]
    for method, path, body in asked:
        answer = http.request(method, f"/v1/sources/nowhere/{path}", json=body)
        assert refused(answer, 404)["code"] == "unknown_source"


def test_wait_says_stored_or_none(http: httpx.Client, refused: Refused, namespace: str) -> None:
    for params, pointer in (
        ({"wait": "embedded"}, "/wait"),
        ({"timeout": "0s"}, "/timeout"),
        ({"timeout": "61s"}, "/timeout"),
    ):
        answer = http.put(f"{KEYS}/k", params={"namespace": namespace, **params}, json={"value": 1})
        refused(answer, 422, pointer)
