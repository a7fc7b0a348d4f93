"""Canceling jobs over HTTP, on an API whose worker has not been started: everything waits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from memrelay import exits
from memrelay.cli import app as cli
from memrelay.times import format_time, parse_time
from tests.integration.conftest import SOURCES, Refused, paused_service
from tests.service import Service


@pytest.fixture(scope="module")
def paused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with paused_service(tmp_path_factory.mktemp("paused"), SOURCES) as service:
        yield service


@pytest.fixture
def http(paused: Service) -> Iterator[httpx.Client]:
    """Nothing waits when a test begins."""
    with httpx.Client(base_url=paused.url, timeout=90) as client:
        cancel(client, all=True)
        yield client


def cancel(http: httpx.Client, **where: Any) -> dict[str, Any]:
    answer = http.post("/v1/jobs/cancel", json=where)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def write(http: httpx.Client, *texts: str, key: str = "", **body: Any) -> str:
    headers = {"Idempotency-Key": key} if key else {}
    memories = [{"text": text} for text in texts]
    answer = http.post("/v1/memories", json={"memories": memories, **body}, headers=headers)
    assert answer.status_code == 202, answer.text
    id: str = answer.json()["job"]["id"]
    return id


def job(http: httpx.Client, id: str, **params: Any) -> dict[str, Any]:
    found: dict[str, Any] = http.get(f"/v1/jobs/{id}", params=params).json()
    return found


def test_canceled_job_says_so_and_makes_room(http: httpx.Client) -> None:
    id, other = write(http, "one", "two"), write(http, "another")
    assert cancel(http, ids=[id]) == {"jobs": 1, "canceled": 2, "more": False}
    told = job(http, id)
    assert told["status"] == "canceled"
    assert told["counts"]["redis"] == {
        "total": 2,
        "stored": 0,
        "failed": 0,
        "needs_sync": 0,
        "canceled": 2,
    }
    assert told["ended_at"] is not None
    assert job(http, other)["status"] == "accepted"
    assert http.get("/v1/usage").json()["waiting"]["memories"] == 1
    assert cancel(http, ids=[id, other, "job_1_1", "nonsense"])["canceled"] == 1


def test_waiting_for_a_job_ends_when_it_is_canceled(http: httpx.Client) -> None:
    id = write(http, "waited for")
    cancel(http, ids=[id])
    assert job(http, id, wait=60)["status"] == "canceled"


def test_jobs_are_canceled_by_what_they_are(http: httpx.Client) -> None:
    plain = [write(http, f"plain {n}", source="plain") for n in range(3)]
    default = [write(http, f"default {n}") for n in range(3)]
    [middle] = [job(http, default[1])["accepted_at"]]
    after = format_time(parse_time(middle) + 1000)
    assert cancel(http, source="plain", status="processing")["canceled"] == 0
    assert cancel(http, source="plain", status="accepted")["canceled"] == 3
    assert {job(http, id)["status"] for id in plain} == {"canceled"}
    assert cancel(http, before=middle, source="plain")["canceled"] == 0
    assert cancel(http, before=after, after=after)["canceled"] == 0
    assert cancel(http, after=after, ids=default[:1])["canceled"] == 0
    assert cancel(http, all=True) == {"jobs": 3, "canceled": 3, "more": False}


def test_delete_is_not_canceled(http: httpx.Client) -> None:
    answer = http.post("/v1/memories/delete", json={"ids": ["a", "b"]}).json()
    by_user = http.post("/v1/memories/delete", json={"user_id": "ana"}).json()
    assert cancel(http, all=True)["canceled"] == 0
    for told in (answer, by_user):
        assert job(http, told["job"]["id"])["status"] == "accepted"


def test_import_is_canceled_as_far_as_it_came(http: httpx.Client) -> None:
    lines = "".join(json.dumps({"text": f"line {n}"}) + "\n" for n in range(700))
    answer = http.post(
        "/v1/memories/import",
        content=lines,
        headers={"Idempotency-Key": "an import", "Content-Type": "application/x-ndjson"},
    )
    id = json.loads(answer.text.splitlines()[-1])["summary"]["job"]["id"]
    assert cancel(http, ids=[id])["canceled"] == 700
    assert job(http, id)["status"] == "canceled"


def test_key_that_was_canceled_can_be_written_on_the_condition_that_it_is_not_there(
    http: httpx.Client,
) -> None:
    """The mark of the canceled write must not stand in its way, nor be taken for a value."""
    place, new = "/v1/sources/plain/keys/k?wait=none", {"value": 1, "overwrite": False}
    first = http.put(place, json=new)
    assert first.status_code == 202
    cancel(http, ids=[first.json()["job"]["id"]])
    assert http.put(place, json=new).status_code == 202


def test_repetition_under_the_same_key_is_answered_with_the_canceled_job(
    http: httpx.Client,
) -> None:
    id = write(http, "once", key="cancel-once")
    cancel(http, ids=[id])
    assert write(http, "once", key="cancel-once") == id
    assert job(http, id)["status"] == "canceled"


def test_jobs_are_canceled_from_the_command_line(
    paused: Service, http: httpx.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = [write(http, "one", "two"), write(http, "three")]

    def run(*arguments: str) -> tuple[int, str]:
        status = cli.run([*arguments, "--url", paused.url])
        return status, capsys.readouterr().out

    assert run("jobs", "cancel")[0] == exits.USAGE
    assert run("jobs", "cancel", ids[0], "--all")[0] == exits.USAGE
    assert run("jobs", "cancel", "--status", "stored")[0] == exits.USAGE
    assert run("jobs", "cancel", ids[0]) == (exits.OK, "2 memories of 1 jobs are canceled\n")
    told = run("jobs", "cancel", "--source", "default", "--json")
    assert told == (exits.OK, '{"jobs":1,"canceled":1}\n')
    status, shown = run("jobs", "show", ids[0], "--follow")
    assert status == exits.FAILED
    assert "canceled" in shown
    assert ids[0] in run("jobs", "ls", "--status", "canceled", "--after", "2020-01-01T00:00:00Z")[1]
    assert ids[0] not in run("jobs", "ls", "--before", "2020-01-01T00:00:00Z")[1]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/all"),
        ({"all": True, "source": "default"}, "/all"),
        ({"all": False}, "/all"),
        ({"ids": []}, "/ids"),
        ({"ids": ["x"] * 101}, "/ids"),
        ({"status": "stored"}, "/status"),
        ({"before": "yesterday"}, "/before"),
        ({"after": 1}, "/after"),
        ({"source": "A"}, "/source"),
        ({"force": True}, "/force"),
    ],
)
def test_cancel_without_a_sane_filter_ends_nothing(
    http: httpx.Client, refused: Refused, body: dict[str, Any], pointer: str
) -> None:
    id = write(http, "stays")
    refused(http.post("/v1/jobs/cancel", json=body), 422, pointer)
    assert job(http, id)["status"] == "accepted"


def test_what_was_canceled_is_never_stored(paused: Service, http: httpx.Client) -> None:
    ids = [write(http, f"canceled {n}") for n in range(5)]
    kept = write(http, "kept", "as well")
    for id in ids:
        assert cancel(http, ids=[id])["canceled"] == 1
    paused.start_worker()
    try:
        assert job(http, kept, wait=60)["status"] == "stored"
        found = http.post("/v1/search", json={"query": "canceled"}).json()["hits"]
        assert {hit["text"] for hit in found} == {"kept", "as well"}
        assert {job(http, id)["status"] for id in ids} == {"canceled"}
    finally:
        paused.stop_worker()
