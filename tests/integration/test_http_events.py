"""Jobs as server-sent events: every change until the end, for many at once, in nobody's way."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from api import feeds
from api.feeds import MOST_OF_ONE, Feeds, News
from memrelay import Memrelay, errors
from tests.integration.conftest import Refused, paused_service
from tests.rig import wait_until
from tests.service import Service


@pytest.fixture(scope="module")
def paused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with paused_service(tmp_path_factory.mktemp("events")) as service:
        yield service


@pytest.fixture
def waiting(paused: Service) -> str:
    """The id of a job that waits."""
    body = {"memories": [{"text": "waits"}]}
    id: str = httpx.post(f"{paused.url}/v1/memories", json=body).json()["job"]["id"]
    return id


def cancel(service: Service, id: str) -> None:
    told = httpx.post(f"{service.url}/v1/jobs/cancel", json={"ids": [id]}, timeout=60).json()
    assert told["canceled"] == 1


def events(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    kind = ""
    for line in lines:
        name, _, value = line.partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            yield kind, value if kind else json.loads(value)
        elif not line:
            kind = ""


def test_stored_job_is_told_of_until_its_end(http: httpx.Client) -> None:
    id = http.post("/v1/memories", json={"memories": [{"text": "followed"}]}).json()["job"]["id"]
    answer = http.get(f"/v1/jobs/{id}/events")
    assert answer.headers["content-type"].partition(";")[0] == "text/event-stream"
    *jobs, last = events(iter(answer.text.splitlines()))
    assert last == ("end", "end")
    assert {job["id"] for _, job in jobs} == {id}
    assert jobs[-1][1] == http.get(f"/v1/jobs/{id}").json()
    assert jobs[-1][1]["status"] == "stored"
    again = http.get(f"/v1/jobs/{id}/events", headers={"Last-Event-ID": "7"})
    assert list(events(iter(again.text.splitlines()))) == [jobs[-1], ("end", "end")]


def test_each_change_is_told_at_once(paused: Service, waiting: str) -> None:
    with httpx.stream("GET", f"{paused.url}/v1/jobs/{waiting}/events", timeout=60) as answer:
        told = events(answer.iter_lines())
        assert next(told)[1]["status"] == "accepted"
        cancel(paused, waiting)
        assert next(told)[1]["status"] == "canceled"
        assert list(told) == [("end", "end")]


def test_unknown_job_has_no_events(http: httpx.Client, refused: Refused) -> None:
    for id in ("job_1_1", "nonsense", "job_i00"):
        refused(http.get(f"/v1/jobs/{id}/events"), 404)


def test_who_follows_by_the_client_sees_each_change(paused: Service, waiting: str) -> None:
    with Memrelay(paused.url) as client:
        seen = client.follow_job(waiting)
        assert next(seen).status == "accepted"
        cancel(paused, waiting)
        assert [job.status for job in seen] == ["canceled"]
        with pytest.raises(errors.NotFound):
            next(client.follow_job("job_1_1"))


def test_no_more_may_follow_than_the_process_bears_and_who_leaves_makes_room(
    paused: Service, waiting: str, refused: Refused
) -> None:
    place = f"{paused.url}/v1/jobs/{waiting}/events"
    limits = httpx.Limits(max_connections=None)
    with httpx.Client(timeout=60, limits=limits) as http:
        with ExitStack() as stack:
            followed = []  # kept: a stream that nobody holds is closed
            for _ in range(MOST_OF_ONE):
                followed.append(stack.enter_context(http.stream("GET", place)).iter_lines())
                next(followed[-1])
            with http.stream("GET", place) as full:
                assert full.status_code == 503
                full.read()
                refused(full, 503)
                assert int(full.headers["retry-after"]) > 0

        def has_room() -> bool:
            with http.stream("GET", place) as answer:
                return answer.status_code == 200

        wait_until("room for one more", has_room, 60)
    cancel(paused, waiting)


def test_stop_does_not_wait_for_who_follows_and_the_client_goes_on_after_it(
    paused: Service, waiting: str
) -> None:
    seen: list[str] = []

    def follow() -> None:
        with Memrelay(paused.url, patience=120) as client:
            seen.extend(job.status for job in client.follow_job(waiting))

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    with httpx.stream("GET", f"{paused.url}/v1/jobs/{waiting}/events", timeout=60) as answer:
        told = events(answer.iter_lines())
        assert next(told)[1]["status"] == "accepted"
        paused.stop_api()  # raises if it takes long
        assert list(told) == [], "it did not end: the job has not"
    paused.start_api()
    cancel(paused, waiting)
    follower.join(120)
    assert seen[-1:] == ["canceled"]


async def test_silence_is_filled_with_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "ALIVE_SECONDS", 0.01)
    all_feeds = Feeds()
    stream = all_feeds.follow("key", _one_news, every=0.01)
    assert [await anext(stream) for _ in range(3)] == ["data: news\n\n", ":\n\n", ":\n\n"]
    all_feeds.close()
    assert [part async for part in stream] == []


async def _one_news() -> News:
    await asyncio.sleep(0)
    return News("news")
