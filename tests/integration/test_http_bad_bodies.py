"""Bodies that no route can read: refused as problems, without an echo, and nothing is accepted."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.conftest import Refused

CANARY = "canary7f3a"
MIB = 1 << 20
BODIES: dict[str, dict[str, Any]] = {
    "/v1/memories": {"memories": [{"text": CANARY}]},
    "/v1/memories/count": {"user_id": CANARY},
    "/v1/memories/delete": {"ids": [CANARY]},
    "/v1/search": {"query": CANARY},
}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(params=BODIES)
def path(request: pytest.FixtureRequest) -> str:
    """Each route that takes JSON."""
    route: str = request.param
    return route


@pytest.fixture(autouse=True)
def _nothing_is_accepted(http: httpx.Client) -> Iterator[None]:
    def newest() -> list[str]:
        return [job["id"] for job in http.get("/v1/jobs", params={"limit": 1}).json()["jobs"]]

    before = newest()
    yield
    assert newest() == before


def good(path: str) -> bytes:
    return json.dumps(BODIES[path]).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"canary7f3a",
        b"{'text': 'canary7f3a'}",
        b'{"canary7f3a"',
        b'{"canary7f3a": }',
        b'{"canary7f3a": 1,}',
        b'{"canary7f3a": 01}',
        b'{"canary7f3a": "\x01"}',
        b'{"canary7f3a": "\\x"}',
        b'{"canary7f3a": NaN}',
        b'{"canary7f3a": Infinity}',
        b'{"canary7f3a": -Infinity}',
        b'{"canary7f3a": ' + b"9" * 5000 + b"}",
        b'{"canary7f3a": 1, "canary7f3a": 2}',
        b'{"a": {"canary7f3a": 1, "b": 2, "canary7f3a": 1}}',
        b"\xef\xbb\xbf{}",
        '{"canary7f3a": 1}'.encode("utf-16"),
        b'{"canary7f3a": "\xff"}',
        b'{"canary7f3a": "\xed\xa0\x80"}',
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"canary7f3a":' * 50_000 + b"1" + b"}" * 50_000,
        b"{}{}",
        b"{}\n{}",
        b"// canary7f3a\n{}",
    ],
    ids=lambda body: repr(body[:30]),
)
def test_body_that_is_not_strict_json_is_refused(
    http: httpx.Client, path: str, refused: Refused, body: bytes
) -> None:
    answer = http.post(path, content=body, headers=JSON)
    refused(answer, 400)
    assert CANARY not in answer.text
    assert len(answer.content) < 1000


@pytest.mark.parametrize("body", ["null", "true", "7", "1e999", '"canary7f3a"', "[]", '[{"a": 1}]'])
def test_body_that_is_no_object_is_refused(
    http: httpx.Client, path: str, refused: Refused, body: str
) -> None:
    answer = http.post(path, content=body, headers=JSON)
    [error] = refused(answer, 422, "")["errors"]
    assert error["detail"] == "Input should be an object"
    assert CANARY not in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=canary7f3a"},
        {"Content-Type": "application/jsonp"},
        {"Content-Type": ""},
        {"Content-Type": "canary7f3a\xff"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {"Content-Type": "application/json", "Content-Encoding": "canary7f3a"},
    ],
)
def test_body_of_another_type_is_refused(
    http: httpx.Client, path: str, refused: Refused, headers: dict[str, str]
) -> None:
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    body = gzip.compress(good(path)) if headers.get("Content-Encoding") == "gzip" else good(path)
    answer = http.post(path, content=body, headers=encoded)
    refused(answer, 415)
    assert CANARY not in answer.text


def test_body_over_the_limit_is_refused(http: httpx.Client, path: str, refused: Refused) -> None:
    padded = good(path) + b" " * (8 * MIB + 1 - len(good(path)))
    refused(http.post(path, content=padded, headers=JSON), 413)


def test_body_over_the_limit_in_chunks_is_refused(
    http: httpx.Client, path: str, refused: Refused
) -> None:
    """Chunked: no length is declared, so that the limit must be counted."""
    chunks = (b" " * MIB for _ in range(9))
    answer = http.post(path, content=chunks, headers=JSON)
    assert "content-length" not in answer.request.headers
    refused(answer, 413)


def test_lone_field_that_nobody_knows_is_named(
    http: httpx.Client, path: str, refused: Refused
) -> None:
    body = {**BODIES[path], "namespace": CANARY, "a/b~c": CANARY}
    answer = http.post(path, json=body)
    refused(answer, 422, "/namespace")
    refused(answer, 422, "/a~1b~0c")
    assert CANARY not in answer.text


@pytest.mark.parametrize("key", ["x" * 100_000, "\ud800", "a\0b", "\n"])
def test_field_with_a_name_that_cannot_be_shown_is_refused_all_the_same(
    http: httpx.Client, path: str, refused: Refused, key: str
) -> None:
    body = json.dumps({**BODIES[path], key: CANARY}).encode()
    answer = http.post(path, content=body, headers=JSON)
    refused(answer, 422, "")
    assert CANARY not in answer.text
    assert len(answer.content) < 1000


def test_answer_names_at_most_twenty_fields(http: httpx.Client, refused: Refused) -> None:
    answer = http.post("/v1/memories", json={"memories": [{"text": ""}] * 1000})
    assert len(refused(answer, 422, "/memories/0/text")["errors"]) == 20
