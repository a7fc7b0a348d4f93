"""Every limit of ``/v1/limits``: what is over it is refused as documented, and not kept meanwhile."""

from __future__ import annotations

import gzip
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from api.reading import LINE_BYTES
from tests.service import Service, children

DOC = Path(__file__).parents[2] / "docs" / "operations.md"
ROW = re.compile(r"^\| `([a-z_.]+)` \| ([\d,]+) [^|]*\| (\d{3})\b", re.MULTILINE)
MIB = 1 << 20
AT_ONCE = 20
JSON = {"Content-Type": "application/json"}
type Over = Callable[[httpx.Client, int], int]
"""Sends one more than a limit, and gives the status that refuses it."""


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def negated(depth: int) -> dict[str, Any]:
    node: dict[str, Any] = {"id": "a"}
    for _ in range(depth - 1):
        node = {"$not": node}
    return node


def posted(path: str, body: Callable[[int], Any]) -> Over:
    return lambda http, most: http.post(path, json=body(most + 1)).status_code


def memory(fields: Callable[[int], dict[str, Any]], **body: Any) -> Over:
    return posted("/v1/memories", lambda n: {"memories": [{"text": "x", **fields(n)}], **body})


def value(fields: Callable[[int], dict[str, Any]]) -> Over:
    put = "/v1/sources/default/keys/over-a-limit"
    return lambda http, most: http.put(put, json={"value": 1, **fields(most + 1)}).status_code


def chosen(filter: Callable[[int], dict[str, Any]], path: str = "/v1/memories/count") -> Over:
    return posted(path, lambda n: {"filter": filter(n)})


def padded(path: str) -> Over:
    return lambda http, most: http.post(path, content=b"{}" + b" " * most, headers=JSON).status_code


def imported(http: httpx.Client, body: bytes, **headers: str) -> list[dict[str, Any]]:
    answer = http.post(
        "/v1/memories/import", content=body, headers={"Idempotency-Key": uuid4().hex, **headers}
    )
    assert answer.status_code == 200
    return [json.loads(line) for line in answer.text.splitlines()]


def long_line(http: httpx.Client, most: int) -> int:
    refused, last = imported(http, b'{"text": "x"}'.ljust(most + 1))
    assert last["summary"]["accepted"] == 0
    assert refused["error"]["code"] == "too_large"
    return 413


def bomb(http: httpx.Client, ratio: int) -> int:
    body = gzip.compress(b" " * (8 * MIB))
    assert ratio * len(body) < 8 * MIB
    [last] = imported(http, body, **{"Content-Encoding": "gzip"})
    status: int = last["summary"]["error"]["status"]
    return status


def refused_lines(http: httpx.Client, most: int) -> int:
    """Those after which it ends, and the few thousand that were under way."""
    *told, last = imported(http, b"{}\n" * (3 * most))
    assert most <= len(told) < 2 * most
    assert last["summary"]["from_line"] == len(told) + 1
    status: int = last["summary"]["error"]["status"]
    return status


OVER: Mapping[str, Over] = {
    "request.head_bytes": lambda http, most: (
        http.get("/healthz", headers={"X-A": "a" * most}).status_code
    ),
    "request.body_bytes": padded("/v1/memories"),
    "request.other_body_bytes": padded("/v1/search"),
    "request.object_keys": posted("/v1/search", lambda n: {f"{k}": k for k in range(n)}),
    "request.memories": posted("/v1/memories", lambda n: {"memories": [{"text": "x"}] * n}),
    "request.import_line_bytes": long_line,
    "request.import_ratio": bomb,
    "request.import_refused": refused_lines,
    "memory.text_bytes": memory(lambda n: {"text": "x" * n}),
    "memory.metadata_bytes": memory(lambda n: {"metadata": {"a": "x" * n}}),
    "memory.metadata_depth": memory(lambda n: {"metadata": {"a": nested(n - 1)}}),
    "memory.id_characters": memory(lambda n: {"id": "x" * n}),
    "memory.tags": memory(lambda n: {"tags": ["x"] * n}),
    "memory.tag_characters": memory(lambda n: {"tags": ["x" * n]}),
    "memory.dimensions": memory(lambda n: {"vector": [1.0] * n}, source="vectors"),
    "key.characters": posted("/v1/sources/_/batch", lambda n: {"retrieve": ["x" * n]}),
    "key.namespace_characters": posted("/v1/sources/_/count", lambda n: {"namespace": "x" * n}),
    "key.pattern_characters": posted(
        "/v1/sources/_/count", lambda n: {"query": {"pattern": "x" * n}}
    ),
    "key.value_bytes": value(lambda n: {"value": "x" * n}),
    "key.value_depth": value(lambda n: {"value": nested(n)}),
    "key.ttl_ms": value(lambda n: {"ttl_ms": n}),
    "key.batch": posted("/v1/sources/_/batch", lambda n: {"retrieve": ["x"] * n}),
    "key.batch_bytes": padded("/v1/sources/_/batch"),
    "search.top_k": posted("/v1/search", lambda n: {"query": "x", "top_k": n}),
    "filter.conditions": chosen(lambda n: {"$or": [{"id": "a"}] * n}),
    "filter.depth": chosen(negated),
    "filter.values": chosen(lambda n: {"id": {"$in": ["a"] * n}}),
    "filter.delete_bytes": chosen(
        lambda n: {"id": {"$in": ["x" * 1000] * (n // 1000 + 1)}}, "/v1/memories/delete"
    ),
}
ELSEWHERE = {
    "request.import_bytes": "a gibibyte is too much for a test; the bomb ends by the same line",
    "waiting.bytes": "test_pressure.py",
    "waiting.memories": "test_pressure.py",
    "waiting.namespace_bytes": "test_pressure.py",
    "waiting.namespace_memories": "test_pressure.py",
    "streams.service": "test_feeds.py",
    "streams.namespace": "test_feeds.py",
}


@pytest.fixture(scope="module")
def limits(http: httpx.Client) -> dict[str, Any]:
    """By dotted name."""
    told = http.get("/v1/limits").json()
    groups = {name: group for name, group in told.items() if isinstance(group, dict)}
    return {
        f"{name}.{field}": most for name, group in groups.items() for field, most in group.items()
    }


@pytest.mark.parametrize("name", OVER)
def test_one_more_than_a_limit_is_refused_as_documented(
    http: httpx.Client, limits: Mapping[str, Any], name: str
) -> None:
    documented = {row: int(status) for row, _, status in ROW.findall(DOC.read_text())}
    assert OVER[name](http, limits[name]) == documented[name]


def test_documented_limits_are_those_of_the_service(limits: Mapping[str, Any]) -> None:
    documented = {
        name: int(most.replace(",", "")) for name, most, _ in ROW.findall(DOC.read_text())
    }
    assert documented.keys() == OVER.keys() | ELSEWHERE.keys()
    assert documented == {name: limits[name] for name in documented}


def resident(service: Service) -> int:
    """Bytes that the API and the process aside hold."""
    pids = (service.api_pid, *children(service.api_pid))
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def growth(service: Service) -> Iterator[list[int]]:
    """Gives, at the end, by how many bytes the API had grown at most."""
    before, found, ended = resident(service), [0], threading.Event()

    def watch() -> None:
        while not ended.is_set():
            found[0] = max(found[0], resident(service) - before)
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        ended.set()
        watcher.join()


def at_once(send: Callable[[], int]) -> set[int]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return {done.result() for done in [pool.submit(send) for _ in range(AT_ONCE)]}


def chunked(service: Service, path: str, body: Callable[[], Iterator[bytes]]) -> int:
    """In chunks: its length is not declared, so it must be counted."""
    with httpx.Client(base_url=service.url, timeout=120) as client:
        return client.post(path, content=body(), headers=JSON).status_code


def test_bodies_over_the_limit_are_not_kept(service: Service, limits: Mapping[str, Any]) -> None:
    most = limits["request.body_bytes"]
    with growth(service) as grown:
        body = lambda: (b" " * MIB for _ in range(most // MIB + 8))  # noqa: E731
        assert at_once(lambda: chunked(service, "/v1/memories", body)) == {413}
        assert at_once(lambda: chunked(service, "/v1/search", body)) == {413}
    assert grown[0] <= 2 * AT_ONCE * most


def test_largest_bodies_of_the_smallest_values_are_not_kept(
    service: Service, limits: Mapping[str, Any]
) -> None:
    """Parsed they are twenty times as large."""
    most = limits["request.body_bytes"]
    begin, end = b'{"memories": [{"text": "x", "metadata": {"a": [', b"1]}}]}"

    def body() -> Iterator[bytes]:
        yield begin
        yield from [b"1," * (MIB // 2)] * (most // MIB - 1)
        yield end

    with growth(service) as grown:
        assert at_once(lambda: chunked(service, "/v1/memories", body)) == {422}
    assert grown[0] <= 2 * AT_ONCE * most


@pytest.mark.parametrize(
    ("filling", "status"),
    [(b"\n", 413), (b" ", 413), (b"x" * LINE_BYTES + b"\n", 413), (b"{}\n", 422)],
    ids=["lines", "spaces", "long", "refused"],
)
def test_bombs_are_not_kept(service: Service, filling: bytes, status: int) -> None:
    packed = gzip.compress(filling * (64 * MIB // len(filling)), 6)

    def send() -> int:
        with httpx.Client(base_url=service.url, timeout=120) as client:
            *_, last = imported(client, packed, **{"Content-Encoding": "gzip"})
        answered: int = last["summary"]["error"]["status"]
        return answered

    with growth(service) as grown:
        assert at_once(send) == {status}
    assert grown[0] <= 2 * 64 * MIB
