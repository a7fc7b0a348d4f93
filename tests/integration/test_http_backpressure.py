"""Bounds of what may wait: 429 and when to come back, and other namespaces go on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest

from memrelay.client import Memrelay
from memrelay.errors import RateLimited
from tests.integration.conftest import Refused
from tests.rig import Rig

BOUND = 1000
MIB = 1 << 20
Clients = tuple[httpx.Client, httpx.Client]


@contextmanager
def two_namespaces(rig: Rig) -> Iterator[Clients]:
    """Two APIs on one journal, ``default`` and ``other``; no worker, so that everything waits."""
    rig.service.start_api()
    other = rig.another(MEMRELAY_NAMESPACE="other")
    other.start_api()
    urls = (rig.service.url, other.url)
    with httpx.Client(base_url=urls[0]) as one, httpx.Client(base_url=urls[1]) as two:
        yield one, two


def add(client: httpx.Client, count: int, *, text: str = "a memory", key: str = "") -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    body = {"memories": [{"text": f"{text} {n}"} for n in range(count)]}
    return client.post("/v1/memories", json=body, headers=headers, timeout=90)


def used(client: httpx.Client) -> dict[str, int]:
    waiting: dict[str, int] = client.get("/v1/usage").json()["waiting"]
    return waiting


def full(refused: Refused, answer: httpx.Response) -> None:
    assert refused(answer, 429)["code"] == "backpressure"
    assert int(answer.headers["retry-after"]) >= 1


def test_full_namespace_is_told_to_wait_and_the_other_goes_on(
    make_rig: Callable[..., Rig], refused: Refused
) -> None:
    limits = {
        "MEMRELAY_NAMESPACE_MEMORIES": str(BOUND),
        "MEMRELAY_JOURNAL_MEMORIES": str(BOUND + 500),
    }
    with two_namespaces(make_rig(env=limits)) as (one, two):
        key = uuid4().hex
        first = add(one, BOUND, key=key)
        assert first.status_code == 202
        full(refused, add(one, 1))
        assert add(one, BOUND, key=key).json() == first.json()  # it is in there already
        assert used(one)["memories"] == BOUND
        assert add(two, 500).status_code == 202
        full(refused, add(two, 1))  # the whole service is full now
        assert used(two)["memories"] == 500
        deleted = one.post("/v1/memories/delete", json={"user_id": "somebody"})
        assert deleted.status_code == 202, "what makes room is never refused"


def test_bytes_are_bounded_too(make_rig: Callable[..., Rig], refused: Refused) -> None:
    limits = {"MEMRELAY_NAMESPACE_BYTES": str(MIB), "MEMRELAY_JOURNAL_BYTES": str(MIB + MIB // 2)}
    with two_namespaces(make_rig(env=limits)) as (one, two):
        long = "x" * 60_000
        assert add(one, 16, text=long).status_code == 202
        full(refused, add(one, 2, text=long))
        assert add(one, 1, text="short").status_code == 202
        assert 16 * 60_000 < used(one)["bytes"] <= MIB
        assert add(two, 10, text=long).status_code == 202
        full(refused, add(two, 2, text=long))


def test_a_namespace_that_writes_too_fast_is_told_for_how_long_to_wait(
    make_rig: Callable[..., Rig], refused: Refused
) -> None:
    with two_namespaces(make_rig(env={"MEMRELAY_NAMESPACE_RATE": "2"})) as (one, two):
        assert add(one, 20).status_code == 202, "ten seconds' worth at once"
        answer = add(one, 20)
        full(refused, answer)
        assert 1 <= int(answer.headers["retry-after"]) <= 10  # less by how long ago the first was
        assert add(two, 20).status_code == 202


def lines(count: int) -> list[str]:
    return [json.dumps({"text": f"line {n}", "user_id": f"u{n % 7}"}) for n in range(1, count + 1)]


@pytest.fixture
def narrow(make_rig: Callable[..., Rig]) -> Rig:
    rig = make_rig(env={"MEMRELAY_NAMESPACE_MEMORIES": str(BOUND)})
    rig.service.start_api()
    return rig


def test_import_that_fills_the_namespace_says_where_to_go_on(narrow: Rig) -> None:
    body = "\n".join(lines(3000))
    headers = {"Idempotency-Key": uuid4().hex, "Content-Type": "application/x-ndjson"}
    with httpx.Client(base_url=narrow.service.url, timeout=90) as client:
        answer = client.post("/v1/memories/import", content=body, headers=headers)
        *told, last = [json.loads(line) for line in answer.text.splitlines()]
        summary = last["summary"]
        assert (summary["error"]["status"], summary["error"]["code"]) == (429, "backpressure")
        assert summary["error"]["retry_after"] >= 1
        assert [line["line"] for line in told] == list(range(1, summary["from_line"]))
        assert summary["accepted"] == len(told)
        assert 0 < len(told) <= used(client)["memories"] <= BOUND

        narrow.service.start_worker()
        narrow.wait_drained(180)
        rest = client.post(
            "/v1/memories/import",
            content=body,
            params={"from_line": summary["from_line"]},
            headers=headers,
        )
        first = json.loads(rest.text.splitlines()[0])
        assert first["line"] == summary["from_line"]


def test_client_imports_all_of_what_the_namespace_takes_bit_by_bit(narrow: Rig) -> None:
    with Memrelay(narrow.service.url, patience=120) as client, ThreadPoolExecutor(1) as pool:
        running = pool.submit(client.import_ndjson, lines(3000))
        narrow.service.start_worker()
        imported = running.result(timeout=240)
        assert (imported.line, imported.refused) == (3000, 0)
        assert imported.accepted == 3000
        narrow.wait_drained(180)
        assert client.count().count == 3000
        job = client.job(imported.job or "")
        assert job.status == "stored"


def test_client_that_is_told_to_wait_gives_up_in_the_end_and_says_so(narrow: Rig) -> None:
    with Memrelay(narrow.service.url, patience=3) as client, pytest.raises(RateLimited) as error:
        client.import_ndjson(lines(3000))
    assert error.value.retry_after is not None
