"""What the client repeats, what it raises, and what it sends, against a server that answers by script."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from memrelay import AsyncMemrelay, Memrelay, errors
from memrelay.embedded.ports import free_port
from tests.unit.scripted import Reply, Scripted, problem

ACCEPTED = {
    "job": {"id": "job_1_1", "status": "accepted", "total": 1},
    "memories": [{"id": "a", "version": 1}],
}


@pytest.fixture
def server() -> Iterator[Scripted]:
    with Scripted() as server:
        yield server


@pytest.fixture
def client(server: Scripted) -> Iterator[Memrelay]:
    with Memrelay(server.url, patience=5) as client:
        yield client


def test_a_write_is_repeated_under_one_key_until_it_is_accepted(
    server: Scripted, client: Memrelay
) -> None:
    server.script(problem(503), problem(429), Reply(202, ACCEPTED))
    assert client.add("Ana likes tea").memories[0].id == "a"
    keys = {request.headers["Idempotency-Key"] for request in server.requests}
    assert len(server.requests) == 3
    assert len(keys) == 1
    assert keys != {""}


def test_two_writes_have_two_keys(server: Scripted, client: Memrelay) -> None:
    server.script(Reply(202, ACCEPTED), Reply(202, ACCEPTED))
    client.add("Ana likes tea")
    client.add("Ana likes tea")
    first, second = (request.headers["Idempotency-Key"] for request in server.requests)
    assert first != second


def test_retry_after_is_honoured(server: Scripted, client: Memrelay) -> None:
    server.script(problem(503, {"Retry-After": "1"}), Reply(202, ACCEPTED))
    began = time.monotonic()
    client.add("Ana likes tea")
    assert time.monotonic() - began >= 1.0


def test_a_retry_after_beyond_our_patience_is_not_waited_for(server: Scripted) -> None:
    server.script(problem(429, {"Retry-After": "60"}))
    began = time.monotonic()
    with Memrelay(server.url, patience=2) as client, pytest.raises(errors.RateLimited) as raised:
        client.count()
    assert raised.value.retry_after == 60
    assert time.monotonic() - began < 2


def test_a_retry_after_may_be_a_date(server: Scripted) -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    server.script(problem(503, {"Retry-After": at}))
    with pytest.raises(errors.ServiceUnavailable) as raised, Memrelay(server.url, patience=0) as m:
        m.count()
    assert raised.value.retry_after == pytest.approx(100, abs=3)


def test_a_connection_that_breaks_is_tried_again(server: Scripted, client: Memrelay) -> None:
    server.script(Reply(0), Reply(202, ACCEPTED))
    client.add("Ana likes tea")
    assert len(server.requests) == 2


def test_a_service_that_comes_back_in_time_is_not_missed(server: Scripted) -> None:
    server.script(*[problem(503)] * 4, Reply(202, ACCEPTED))
    with Memrelay(server.url, patience=10) as client:
        client.add("Ana likes tea")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.InvalidRequest),
        (401, errors.Denied),
        (403, errors.Denied),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (412, errors.Conflict),
        (413, errors.InvalidRequest),
        (415, errors.InvalidRequest),
        (422, errors.InvalidRequest),
        (500, errors.ApiError),
    ],
)
def test_what_is_wrong_is_raised_at_once(
    server: Scripted, client: Memrelay, status: int, kind: type[errors.ApiError]
) -> None:
    server.script(problem(status, errors=[{"pointer": "/query", "detail": "is blank"}]))
    with pytest.raises(kind) as raised:
        client.search("x")
    assert len(server.requests) == 1
    assert raised.value.status == status
    assert raised.value.code == "scripted"
    assert raised.value.errors == [("/query", "is blank")]
    assert str(raised.value) == "As the script says. /query is blank"


def test_nobody_there_is_one_line_with_the_address() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with Memrelay(url, patience=0) as client, pytest.raises(errors.Unavailable) as raised:
        client.count()
    assert url in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("body", [{"hello": "world"}, "<html>"])
def test_a_stranger_on_the_port_is_named_as_such(
    server: Scripted, client: Memrelay, body: Any
) -> None:
    server.script(Reply(200, body))
    with pytest.raises(errors.ApiError, match="does not answer as memrelay") as raised:
        client.count()
    assert raised.value.code == "not_memrelay"


def test_an_error_without_a_problem_tells_its_status(server: Scripted, client: Memrelay) -> None:
    server.script(Reply(404, "<html>"))
    with pytest.raises(errors.NotFound, match=re.escape("(HTTP 404)")):
        client.get("a")


@pytest.mark.parametrize("url", ["localhost:8700", "ftp://host", "http://", "http://[::1"])
def test_an_address_that_is_none_is_a_wrong_setting(url: str) -> None:
    with pytest.raises(errors.ConfigError, match="MEMRELAY_URL"):
        Memrelay(url)


def test_address_and_key_come_from_the_environment(
    server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMRELAY_URL", server.url)
    monkeypatch.setenv("MEMRELAY_API_KEY", "mr_abc")
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    server.script(Reply(200, {"jobs": [], "cursor": None}))
    with Memrelay() as client:
        client.jobs(status="stored")
    assert server.requests[0].headers["Authorization"] == "Bearer mr_abc"
    assert server.requests[0].path == "/v1/jobs?status=stored&limit=20"


@pytest.mark.parametrize(
    ("id", "path"),
    [("a/b c", "a%2Fb%20c"), ("..", "%2E%2E"), ("ä?#%", "%C3%A4%3F%23%25")],
)
def test_an_id_is_one_segment_of_the_path(
    server: Scripted, client: Memrelay, id: str, path: str
) -> None:
    server.script(problem(404))
    with pytest.raises(errors.NotFound):
        client.get(id)
    assert server.requests[0].path == f"/v1/memories/{path}?source=default"


def test_an_empty_id_never_becomes_a_request(server: Scripted, client: Memrelay) -> None:
    with pytest.raises(errors.InvalidInput):
        client.delete("")
    assert server.requests == []


def test_times_are_sent_as_rfc_3339(server: Scripted, client: Memrelay) -> None:
    server.script(Reply(202, ACCEPTED))
    client.add({"text": "x", "created_at": datetime(2026, 1, 31, 12, tzinfo=UTC)})
    (sent,) = json.loads(server.requests[0].body)["memories"]
    assert sent == {"text": "x", "created_at": "2026-01-31T12:00:00+00:00"}


def test_readiness_is_told_whatever_it_is(server: Scripted, client: Memrelay) -> None:
    server.script(Reply(503, {"accept": True, "search": False, "drivers": {"redis": False}}))
    readiness = client.ready()
    assert (readiness.accept, readiness.search) == (True, False)
    assert len(server.requests) == 1


@pytest.mark.parametrize("ending", ["error", "cut"])
def test_an_import_that_ended_early_is_sent_again(
    server: Scripted, client: Memrelay, ending: str
) -> None:
    early = {"accepted": 1, "refused": 0, "job": None}
    broken = early | {"error": {"status": 503, "code": "unavailable", "detail": "journal"}}
    first = Reply(200, json.dumps({"summary": broken}) if ending == "error" else '{"line":1,"id"')
    whole = {"summary": {"accepted": 2, "refused": 0, "job": {"id": "job_i1"}}}
    server.script(first, Reply(200, whole))
    done = client.import_ndjson(['{"text":"a"}', '{"text":"b"}'], idempotency_key="k")
    assert (done.accepted, done.line, done.job) == (2, 2, "job_i1")
    assert [request.headers["Idempotency-Key"] for request in server.requests] == ["k", "k"]


def test_an_import_goes_on_where_a_full_service_stopped_as_long_as_it_gets_on(
    server: Scripted,
) -> None:
    def full(accepted: int, from_line: int) -> Reply:
        error = {"status": 429, "code": "backpressure", "detail": "full", "retry_after": 0.4}
        told = {"accepted": accepted, "refused": 0, "error": error, "from_line": from_line}
        return Reply(200, {"summary": told})

    rest = Reply(200, {"summary": {"accepted": 1, "refused": 0, "job": {"id": "job_i1"}}})
    server.script(full(1, 2), full(1, 3), full(1, 4), rest)
    with Memrelay(server.url, patience=0.6) as client:
        done = client.import_ndjson(['{"text":"a"}'] * 4, idempotency_key="k")
        assert (done.accepted, done.line) == (4, 4)
        starts = [request.path.rpartition("=")[2] for request in server.requests]
        assert starts == ["1", "2", "3", "4"]
        server.script(full(1, 2), full(0, 2), full(0, 2))
        with pytest.raises(errors.RateLimited):
            client.import_ndjson(['{"text":"a"}'] * 4, idempotency_key="l")


def test_an_import_that_cannot_go_on_says_so(server: Scripted, client: Memrelay) -> None:
    error = {"status": 413, "code": "too_large", "detail": "Line 1 is longer."}
    server.script(Reply(200, {"summary": {"accepted": 0, "refused": 0, "error": error}}))
    with pytest.raises(errors.InvalidRequest, match="Line 1 is longer"):
        client.import_ndjson(["{}"])


def test_an_import_is_sent_in_parts_that_go_on_counting(server: Scripted, client: Memrelay) -> None:
    def summary(accepted: int) -> Reply:
        counts = {"accepted": accepted, "refused": 0, "job": {"id": "job_i1"}}
        return Reply(200, {"summary": counts})

    server.script(summary(3000), summary(2))
    told: list[int] = []
    lines = (f'{{"text":"{n}"}}' for n in range(1, 10_003))
    done = client.import_ndjson(
        lines, from_line=7001, idempotency_key="k", progress=lambda p: told.append(p.line)
    )
    assert [request.path for request in server.requests] == [
        f"/v1/memories/import?source=default&first_line={first}&from_line={start}"
        for first, start in ((5001, 7001), (10_001, 10_001))
    ]
    assert [request.body.count(b"\n") for request in server.requests] == [5000, 2]
    assert (done.accepted, done.line) == (3002, 10_002)
    assert told == [7000, 10_000, 10_002]


async def test_the_async_client_does_the_same(server: Scripted) -> None:
    server.script(problem(503), Reply(202, ACCEPTED))
    async with AsyncMemrelay(server.url) as client:
        accepted = await client.add(["Ana likes tea"])
    assert accepted.job.status == "accepted"
    assert not accepted.job.settled


@pytest.mark.parametrize("key", ["mr_canary\n", "mr_canary ", "mr_canary\u00e9", "mr_can\x00ary"])
def test_a_key_that_no_header_carries_is_refused_and_not_quoted(key: str) -> None:
    with pytest.raises(errors.ConfigError, match="MEMRELAY_API_KEY") as caught:
        Memrelay(api_key=key)
    assert "mr_" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://u:canary@127.0.0.1:{port}", "htp://u:can/ary@h", "u:canary@h"]
)
def test_the_login_of_an_address_is_in_no_message(url: str) -> None:
    with (
        pytest.raises((errors.Unavailable, errors.ConfigError)) as caught,
        Memrelay(url.format(port=free_port()), patience=0) as client,
    ):
        client.get("a")
    assert re.search("u:|canary|ary", str(caught.value)) is None


def test_the_login_of_an_address_is_not_in_what_is_said_of_a_stranger(server: Scripted) -> None:
    server.script(Reply(418, {"who": "a teapot"}))
    url = server.url.replace("://", "://u:canary@")
    with (
        pytest.raises(errors.ApiError, match="does not answer as memrelay") as caught,
        Memrelay(url, patience=0) as client,
    ):
        client.get("a")
    assert "canary" not in str(caught.value)
