"""Importing NDJSON over HTTP, on a running service."""

from __future__ import annotations

import gzip
import json
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.conftest import Refused
from tests.service import Service

IMPORT = "/v1/memories/import"
NDJSON = {"Content-Type": "application/x-ndjson"}


def send(
    http: httpx.Client,
    key: str,
    body: bytes | Iterator[bytes],
    *,
    gzipped: bool = False,
    **params: Any,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The result lines of an import, and its summary."""
    headers = {"Idempotency-Key": key, **NDJSON}
    if gzipped:
        headers["Content-Encoding"] = "gzip"
    answer = http.post(IMPORT, content=body, headers=headers, params=params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    *results, last = (json.loads(line) for line in answer.text.splitlines())
    return results, last["summary"]


def lines(user: str, count: int) -> bytes:
    return b"".join(
        json.dumps({"text": f"line {n}", "user_id": user}).encode() + b"\n"
        for n in range(1, count + 1)
    )


def stored(http: httpx.Client, summary: dict[str, Any]) -> dict[str, Any]:
    """The import's job once it has ended."""
    job: dict[str, Any] = http.get(f"/v1/jobs/{summary['job']['id']}", params={"wait": 60}).json()
    assert job["status"] == "stored"
    return job


def count(http: httpx.Client, user: str) -> int:
    number: int = http.post("/v1/memories/count", json={"user_id": user}).json()["count"]
    return number


@pytest.mark.parametrize("gzipped", [False, True])
def test_every_line_is_answered_and_stored(http: httpx.Client, user: str, gzipped: bool) -> None:
    body = lines(user, 1200)
    results, summary = send(http, user, gzip.compress(body) if gzipped else body, gzipped=gzipped)
    assert [result["line"] for result in results] == list(range(1, 1201))
    assert len({result["id"] for result in results}) == 1200
    versions = [result["version"] for result in results]
    assert versions == sorted(versions)
    assert (summary["accepted"], summary["refused"]) == (1200, 0)
    job = stored(http, summary)
    assert (job["total"], job["lane"]) == (1200, "bulk")
    assert job["counts"]["redis"] == {
        "total": 1200,
        "stored": 1200,
        "failed": 0,
        "needs_sync": 0,
        "canceled": 0,
    }
    assert count(http, user) == 1200
    memory = http.get(f"/v1/memories/{results[6]['id']}").json()
    assert (memory["text"], memory["version"]) == ("line 7", results[6]["version"])


def test_bad_lines_are_answered_where_they_stand(http: httpx.Client, user: str) -> None:
    good = json.dumps({"text": "good", "user_id": user})
    bad = [
        ("not json canary", "not_json", None),
        ("[]", "invalid", ""),
        ('{"user_id": "canary"}', "invalid", "/text"),
        ('{"text": "x", "id": "\\ud800"}', "invalid", "/id"),
        ('{"text": "x", "text": "canary"}', "not_json", None),
        ('{"text": NaN}', "not_json", None),
        ('{"text": "x", "vector": [1]}', "invalid", "/vector"),
        ("[" * 100_000, "too_deep", None),
    ]
    body = "\n".join([good, *(line for line, _, _ in bad), "", "  ", good])
    results, summary = send(http, user, body.encode())
    assert (summary["accepted"], summary["refused"]) == (2, len(bad))
    assert [result["line"] for result in results] == [*range(1, 10), 12]
    assert {"id", "version"} <= results[0].keys() & results[-1].keys()
    for result, (_, code, pointer) in zip(results[1:-1], bad, strict=True):
        assert result["error"]["code"] == code
        found = [error["pointer"] for error in result["error"].get("errors", [])]
        assert found == ([] if pointer is None else [pointer])
        assert "canary" not in json.dumps(result)
    stored(http, summary)
    assert count(http, user) == 2


def test_same_file_twice_stores_nothing_twice(http: httpx.Client, user: str) -> None:
    body = lines(user, 40)
    first, again = send(http, user, body), send(http, user, body)
    assert [r["id"] for r in first[0]] == [r["id"] for r in again[0]]
    assert first[1]["job"]["id"] == again[1]["job"]["id"]
    stored(http, again[1])
    assert count(http, user) == 40
    other, summary = send(http, f"{user}-other", body)
    stored(http, summary)
    assert not {r["id"] for r in other} & {r["id"] for r in first[0]}
    assert count(http, user) == 80


def test_import_is_resumed_from_a_line(http: httpx.Client, user: str) -> None:
    body = lines(user, 30)
    whole, _ = send(http, user, body)
    rest, summary = send(http, user, body, from_line=11)
    assert [(r["line"], r["id"]) for r in rest] == [(r["line"], r["id"]) for r in whole[10:]]
    tail = b"".join(body.splitlines(keepends=True)[20:])
    part, _ = send(http, user, tail, first_line=21)
    assert [(r["line"], r["id"]) for r in part] == [(r["line"], r["id"]) for r in whole[20:]]
    stored(http, summary)
    assert count(http, user) == 30


def test_lines_may_be_cut_anywhere_and_the_last_needs_no_newline(
    http: httpx.Client, user: str
) -> None:
    body = lines(user, 9).replace(b"\n", b"\r\n").rstrip()
    results, summary = send(http, user, (body[i : i + 7] for i in range(0, len(body), 7)))
    assert (len(results), summary["refused"]) == (9, 0)


def test_gzip_of_several_members_is_read_to_its_end(http: httpx.Client, user: str) -> None:
    body = b"".join(gzip.compress(lines(user, 3)) for _ in range(4))
    results, summary = send(http, user, body, gzipped=True)
    assert (len(results), summary["accepted"]) == (12, 12)


@pytest.mark.parametrize("size", [5, 40, -1])
def test_gzip_that_ends_too_early_is_said(http: httpx.Client, user: str, size: int) -> None:
    _, summary = send(http, user, gzip.compress(lines(user, 50))[:size], gzipped=True)
    assert summary["error"]["code"] == "not_gzip"


def test_body_that_is_no_gzip_is_said(http: httpx.Client, user: str) -> None:
    _, summary = send(http, user, lines(user, 3), gzipped=True)
    assert (summary["error"]["status"], summary["error"]["code"]) == (400, "not_gzip")
    assert summary["job"] is None
    damaged = bytearray(gzip.compress(lines(user, 2000), mtime=0))
    damaged[len(damaged) // 2] ^= 0xFF
    _, summary = send(http, user, bytes(damaged), gzipped=True)
    assert summary["error"]["code"] == "not_gzip"


@pytest.mark.parametrize("filling", [b"\0", b"\n"])
def test_gzip_bomb_is_cut_short(http: httpx.Client, user: str, filling: bytes) -> None:
    bomb = gzip.compress(filling * (32 << 20), 6)
    _, summary = send(http, user, bomb, gzipped=True)
    assert (summary["error"]["status"], summary["error"]["code"]) == (413, "too_large")
    assert summary["accepted"] == 0


@pytest.mark.parametrize("size", [300_000, 5_000_000])
def test_line_that_is_too_long_is_refused_alone(http: httpx.Client, user: str, size: int) -> None:
    huge = json.dumps({"text": "x" * size}).encode()
    results, summary = send(http, user, lines(user, 2) + huge + b"\n" + lines(user, 2))
    assert [result["line"] for result in results] == [1, 2, 3, 4, 5]
    assert results[2]["error"]["code"] == "too_large"
    assert (summary["accepted"], summary["refused"]) == (4, 1)


def test_empty_import_has_no_job(http: httpx.Client, user: str) -> None:
    results, summary = send(http, user, b"\n\n")
    assert results == []
    assert summary == {"accepted": 0, "refused": 0, "job": None}


@pytest.mark.parametrize(
    ("headers", "params", "expected"),
    [
        ({"Idempotency-Key": ""}, {}, (422, None)),
        ({"Idempotency-Key": "k" * 257}, {}, (422, None)),
        ({"Content-Encoding": "br"}, {}, (415, None)),
        ({"Content-Type": "multipart/form-data; boundary=x"}, {}, (415, None)),
        ({"Content-Type": "application/x-www-form-urlencoded"}, {}, (415, None)),
        ({}, {"from_line": "canary"}, (422, "/from_line")),
        ({}, {"from_line": 0}, (422, "/from_line")),
        ({}, {"first_line": -1}, (422, "/first_line")),
        ({}, {"first_line": 10**30}, (422, "/first_line")),
        ({}, {"source": "canary"}, (422, "/source")),
        ({}, {"source": "\ud7ff\0"}, (422, "/source")),
    ],
)
def test_import_that_cannot_begin_is_refused(
    http: httpx.Client,
    refused: Refused,
    headers: dict[str, str],
    params: dict[str, Any],
    expected: tuple[int, str | None],
) -> None:
    user = "import-that-cannot-begin"
    sent = {"Idempotency-Key": user, **NDJSON, **headers}
    answer = http.post(IMPORT, content=lines(user, 1), headers=sent, params=params)
    refused(answer, *expected)
    assert "canary" not in answer.text
    assert count(http, user) == 0


def test_import_without_a_key_is_refused(http: httpx.Client, refused: Refused) -> None:
    refused(http.post(IMPORT, content=b"", headers=NDJSON), 422)


def connected(service: Service, key: str, length: int) -> socket.socket:
    """A connection on which an import of ``length`` bytes has begun."""
    connection = socket.create_connection(("127.0.0.1", service.port), timeout=60)
    head = (
        f"POST {IMPORT} HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: {key}\r\n"
        f"Content-Type: application/x-ndjson\r\nContent-Length: {length}\r\n"
        "Connection: close\r\n\r\n"
    )
    connection.sendall(head.encode())
    return connection


def rest_of(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def test_reader_who_reads_only_at_the_end_gets_everything(service: Service, user: str) -> None:
    """A client that sends 20,000 lines before it reads one must not wait for us, nor we for it."""
    body = lines(user, 20_000)
    with connected(service, user, len(body)) as connection:
        connection.sendall(body)
        answer = rest_of(connection)
    told = [int(number) for number in re.findall(rb'"line":(\d+),"id"', answer)]
    assert told == list(
        range(1, 20_001)
    )  # in order, although several batches are under way at once
    assert b'"accepted":20000,"refused":0' in answer


def test_results_come_while_the_body_is_still_being_sent(service: Service, user: str) -> None:
    parts = [lines(user, 600), lines(user, 1)]
    with connected(service, user, sum(map(len, parts))) as connection:
        connection.sendall(parts[0])
        early = connection.recv(1 << 16)
        while b'"line":512,' not in early:
            early += connection.recv(1 << 16)
        connection.sendall(parts[1])
        answer = early + rest_of(connection)
    assert answer.count(b'"version":') == 601


def test_results_that_nobody_reads_do_not_pile_up(service: Service, user: str) -> None:
    wrong = json.dumps({f"{'field ' * 20}{n}": n for n in range(20)})  # told at length
    body = f"{wrong}\n".encode() * 12_000
    with connected(service, user, len(body)) as connection:
        connection.sendall(body)
        time.sleep(8)  # as a client that is busy elsewhere
        answer = rest_of(connection)
    assert b'"code":"results_unread"' in answer
    resumed = re.search(rb"from_line=(\d+)", answer)
    assert resumed
    assert f'"line":{int(resumed[1]) - 1},'.encode() in answer, "all lines before it are answered"


def test_summary_is_read_by_a_client_that_sends_on_after_the_end(
    service: Service, user: str
) -> None:
    body = b"1\n" * 250_000
    with connected(service, user, 2 * len(body)) as connection:
        connection.sendall(body)
        time.sleep(2)  # it has ended
        connection.sendall(body)
        answer = rest_of(connection)
    assert b'"code":"too_many_refused"' in answer
