"""Paths, query parameters and headers that are wrong; and what is just within every limit."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from tests.integration.conftest import Refused, Remember
from tests.service import Service

C = "canary7f3a"


@pytest.fixture(autouse=True)
def _nothing_is_accepted(request: pytest.FixtureRequest, http: httpx.Client) -> Iterator[None]:
    def newest() -> list[str]:
        return [job["id"] for job in http.get("/v1/jobs", params={"limit": 1}).json()["jobs"]]

    before = newest()
    yield
    assert "remember" in request.fixturenames or newest() == before


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize(
    ("id", "status"),
    [
        (f"{C}%00", 422),
        (f"{C}%0A", 422),
        (f"{C}%7F", 422),
        (f"{C}%C2%85", 422),
        (f"{C}%FF", 400),
        (f"{C}%ED%A0%80", 400),
        (f"{C}%C0%AF", 400),
        (C + "x" * 290, 422),
        ("%F0%9F%98%80" * 257, 422),
        ("", 422),
    ],
)
def test_id_in_a_path_that_no_memory_can_have_is_refused(
    http: httpx.Client, refused: Refused, method: str, id: str, status: int
) -> None:
    answer = http.request(method, f"/v1/memories/{id}")
    refused(answer, status, "/id" if status == 422 else None)
    assert C not in answer.text


@pytest.mark.parametrize("id", [f"{C}%2F", "%2F", f"{C}%2F..%2F{C}", f"{C}%25%32%46", "x" * 256])
def test_id_in_a_path_that_is_only_odd_is_not_found(
    http: httpx.Client, refused: Refused, id: str
) -> None:
    answer = http.get(f"/v1/memories/{id}")
    refused(answer, 404)
    assert C not in answer.text


@pytest.mark.parametrize("id", [C, f"{C}%00", f"{C}%FF", "job_i%FF", "job_%ED%A0%80", C * 1000])
def test_job_that_cannot_be_is_not_found(http: httpx.Client, refused: Refused, id: str) -> None:
    answer = http.get(f"/v1/jobs/{id}")
    refused(answer, 404)
    assert C not in answer.text


BAD_PARAMETERS: list[tuple[str, Mapping[str, Any], str]] = [
    *(("GET /v1/jobs", {"limit": bad}, "/limit") for bad in (C, "", "1.5", 0, -1, 101, 10**30)),
    *(("GET /v1/jobs", {"cursor": bad}, "/cursor") for bad in (C, "", "job_1_0", "job_-1_1")),
    *(
        ("GET /v1/jobs", {name: bad}, f"/{name}")
        for name in ("before", "after")
        for bad in (C, "", "2026-01-31", "1600-01-01T00:00:00Z", "1795764719254920")
    ),
    *(("GET /v1/jobs", {"status": bad}, "/status") for bad in (C, "", "STORED", "\0")),
    *(
        ("GET /v1/jobs/job_1_1", {"wait": bad}, "/wait")
        for bad in (C, "", -1, 61, "nan", "inf", "1e999", "5s")
    ),
    *(
        (f"DELETE /v1/memories/{C}", {"wait": bad}, "/wait")
        for bad in (C, "", "5", "true", "Stored")
    ),
    *(
        (f"DELETE /v1/memories/{C}", {"wait": "stored", "timeout": bad}, "/timeout")
        for bad in (C, "", "s", "0", "0s", "-1s", "61s", "nan", "infs", "1e999", "5m")
    ),
    *((f"GET /v1/memories/{C}", {"source": bad}, "/source") for bad in (C, "", "\0", "x" * 999)),
    *((f"DELETE /v1/memories/{C}", {"source": bad}, "/source") for bad in (C, "", "\0")),
]


@pytest.mark.parametrize(("route", "params", "pointer"), BAD_PARAMETERS)
def test_wrong_query_parameter_is_named(
    http: httpx.Client, refused: Refused, route: str, params: Any, pointer: str
) -> None:
    method, path = route.split()
    answer = http.request(method, path, params=params)
    refused(answer, 422, pointer)
    assert C not in answer.text


@pytest.mark.parametrize("path", ["/v1/memories", "/v1/memories/delete"])
@pytest.mark.parametrize("params", [{"wait": C}, {"wait": "stored", "timeout": C}])
def test_wrong_wait_of_a_write_refuses_it(
    http: httpx.Client, refused: Refused, path: str, params: dict[str, str]
) -> None:
    body = {"memories": [{"text": C}]} if path == "/v1/memories" else {"ids": [C]}
    answer = http.post(path, json=body, params=params)
    refused(answer, 422)
    assert C not in answer.text


@pytest.mark.parametrize("path", [f"/{C}", "/v1", f"/v1/{C}", "/v2/memories", "/v1/jobs/", "/v1//"])
def test_unknown_path_is_not_found(http: httpx.Client, refused: Refused, path: str) -> None:
    answer = http.get(path)
    refused(answer, 404)
    assert C not in answer.text


def test_path_with_bytes_that_are_no_text_is_not_found(service: Service) -> None:
    request = f"GET /v1/%FF{C}%00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
        connection.sendall(request.encode())
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert C.encode() not in answer


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/memories", "POST"),
        ("GET", "/v1/search", "POST"),
        ("DELETE", "/v1/jobs", "GET"),
        ("POST", "/healthz", "GET"),
        ("TRACE", "/v1/search", "POST"),
    ],
)
def test_wrong_method_is_told_the_right_one(
    http: httpx.Client, refused: Refused, method: str, path: str, allowed: str
) -> None:
    answer = http.request(method, path)
    refused(answer, 405)
    assert answer.headers["allow"] == allowed


def test_idempotency_key_that_is_too_long_is_refused(http: httpx.Client, refused: Refused) -> None:
    answer = http.post(
        "/v1/memories",
        json={"memories": [{"text": C}]},
        headers={"Idempotency-Key": C + "x" * 250},
    )
    refused(answer, 422)
    assert C not in answer.text


def exactly(number: int) -> dict[str, str]:
    """Metadata of so many bytes of JSON."""
    return {"k": "x" * (number - len('{"k": ""}'))}


def nested(depth: int) -> dict[str, Any]:
    """Metadata of so many levels, the object itself counted."""
    value: Any = "inner"
    for _ in range(depth - 1):
        value = [value]
    return {"a": value}


WITHIN: list[dict[str, Any]] = [
    {"text": "x" * 65_536},
    {"text": "é" * 32_768},
    {"text": "\ufeff\u202e\u200b text"},
    {"text": "t", "id": "😀" * 250},
    {"text": "t", "session_id": "s" * 256},
    {"text": "t", "tags": ["t" * 128] * 64},
    {"text": "t", "metadata": exactly(16_384)},
    {"text": "t", "metadata": nested(16)},
    {"text": "t", "metadata": {"k" * 256: [2**53, -(2**53), 1.7e308, 5e-324]}},
    {
        "text": "t",
        "created_at": "1700-01-01T00:00:00Z",
        "expires_at": "2249-12-31T23:59:59.999999Z",
    },
    {"text": "t", "created_at": "2026-01-31T12:00:00.5+14:00"},
    {"text": "t", "id": None, "session_id": None, "created_at": None, "expires_at": None},
]


@pytest.mark.parametrize("memory", WITHIN, ids=range(len(WITHIN)))
def test_memory_just_within_the_limits_is_stored(
    http: httpx.Client, user: str, remember: Remember, memory: dict[str, Any]
) -> None:
    if memory.get("id"):
        memory = {**memory, "id": f"{user[-6:]}{memory['id']}"}
    [added] = remember([{**memory, "user_id": user}])["memories"]
    search = {"query": memory["text"], "user_id": user, "top_k": 200, "filter": {"id": added["id"]}}
    [hit] = http.post("/v1/search", json=search).json()["hits"]
    assert hit["text"] == memory["text"]
    assert hit["metadata"] == memory.get("metadata", {})
    assert hit["tags"] == memory.get("tags", [])


def test_body_just_within_the_limit_is_taken(
    http: httpx.Client, user: str, remember: Remember
) -> None:
    body = json.dumps({"memories": [{"text": "t", "user_id": user}]}).encode()
    padded = body + b" " * ((8 << 20) - len(body))
    answer = http.post("/v1/memories", content=padded, headers={"Content-Type": "application/json"})
    assert answer.status_code == 202
