"""What stands around a body is bounded: one connection cannot take the API's memory, nor its time."""

from __future__ import annotations

import json
import os
import socket
from http.client import HTTPResponse
from pathlib import Path

import httpx
import pytest

from api.connection import HEAD_BYTES
from tests.service import Service

MIB = 1 << 20
SENT = 64 * MIB
CHUNKED = (
    b"POST /v1/search HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


def answered(service: Service, begin: bytes, more: bytes) -> bytes:
    """What comes back on a connection to which ``more`` is sent for as long as it is taken."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
        try:
            connection.sendall(begin)
            for _ in range(SENT // len(more)):
                connection.sendall(more)
        except OSError:
            pass
        else:
            pytest.fail(f"all of {SENT} bytes were taken")
        try:
            return connection.recv(1 << 16)
        except ConnectionResetError:
            return b""  # the answer was lost with what it did not read


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"GET /", b"a" * MIB),
        (b"GET / HTTP/1.1\r\nX-A: ", b"a" * MIB),
        (b"GET / HTTP/1.1\r\n", b"X-A: 1\r\n" * (MIB // 8)),
        (b"GET / HTTP/1.1\r\nHost: here\r\n", b"a" * MIB),
        (CHUNKED + b"1;", b"a" * MIB),
        (CHUNKED + b"2\r\n{}\r\n0\r\nX-A: ", b"a" * MIB),
        (CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-A: 1\r\n" * (MIB // 8)),
    ],
    ids=["path", "header", "headers", "name", "extension", "trailer", "trailers"],
)
def test_head_without_an_end_ends_its_connection(
    service: Service, begin: bytes, more: bytes
) -> None:
    before = resident(service.api_pid)
    answer = answered(service, begin, more)
    assert not answer or answer.startswith(b"HTTP/1.1 4")
    assert resident(service.api_pid) - before < 8 * MIB
    assert httpx.get(f"{service.url}/healthz").json() == {"status": "ok"}


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_head_over_the_bound_is_a_problem(http: httpx.Client) -> None:
    for headers in ({"X-A": "a" * HEAD_BYTES}, {f"X-{n}": "a" * 1024 for n in range(64)}):
        answer = http.get("/healthz", headers=headers)
        assert answer.status_code == 431
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "head_too_large"
        assert answer.headers["connection"] == "close"


def test_head_below_the_bound_is_read(http: httpx.Client) -> None:
    fits = {f"X-{n}": "a" * 1000 for n in range(60)}
    assert http.get("/healthz", headers=fits).status_code == 200


def test_long_body_in_tiny_chunks_is_read(service: Service) -> None:
    """What is around each of its chunks, 6 bytes for 1, adds up to more than a head may have."""
    body = json.dumps({"query": "seat", "filter": {"tags": "a" * 900}}).encode() + b" " * 20_000
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    assert len(chunks) - len(body) > HEAD_BYTES
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
        connection.sendall(CHUNKED + chunks)
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")


def test_requests_one_after_the_other_are_each_below_the_bound(http: httpx.Client) -> None:
    for _ in range(20):
        assert http.get("/healthz", headers={"X-A": "a" * 30_000}).status_code == 200


@pytest.mark.parametrize(
    "request_line",
    [
        b"POST /v1/memories",
        b"PATCH /v1/memories/an-id",
        b"POST /v1/memories/delete",
        b"POST /v1/search",
        b"PUT /v1/sources/default/keys/k",
        b"POST /v1/sources/default/batch",
    ],
)
def test_body_that_is_announced_too_large_is_refused_before_any_of_it_is_sent(
    service: Service, request_line: bytes
) -> None:
    """Not so of an import, which is read line by line: its bound stands in its summary."""
    head = request_line + b" HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % (1 << 40))
        with HTTPResponse(connection) as answer:
            answer.begin()
            assert (answer.status, json.load(answer)["code"]) == (413, "too_large")


def test_405_names_every_method_of_its_path(http: httpx.Client) -> None:
    answer = http.request("OPTIONS", "/v1/keys")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")
    answer = http.request("OPTIONS", "/v1/memories/an-id")
    assert answer.headers["allow"] == "DELETE, GET, PATCH"
