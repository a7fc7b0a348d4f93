"""AutoMem as the driver of a running memrelay: API, worker and journal in processes of their own.

On the double alone: the road to a driver is not AutoMem's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.native.redis import RedisServer
from tests.automem_server import AutomemServer
from tests.rig import wait_until
from tests.service import Service


@pytest.fixture
def double() -> Iterator[AutomemServer]:
    with AutomemServer("s3cret-token") as server:
        yield server


@pytest.fixture
def http(
    double: AutomemServer, redis_server_factory: Callable[..., RedisServer], tmp_path: Path
) -> Iterator[httpx.Client]:
    redis = redis_server_factory()
    env = {
        "MEMRELAY_BROKER_URL": f"{redis.url}/0",
        "MEMRELAY_JOURNAL_URL": f"{redis.url}/1",
        "MEMRELAY_DRIVERS__AUTOMEM__URL": double.url,
        "AUTOMEM_API_TOKEN": "s3cret-token",
        "MEMRELAY_SOURCES": json.dumps({"default": {"drivers": ["automem"]}}),
    }
    with (
        Service(env, tmp_path) as service,
        httpx.Client(base_url=service.url, timeout=30) as client,
    ):
        yield client
        assert "s3cret-token" not in service.api_log.read_text() + service.worker_log.read_text()


def test_memories_are_stored_found_and_deleted(double: AutomemServer, http: httpx.Client) -> None:
    texts = {"seat": "Ana prefers window seats.", "tea": "Bo drinks green tea."}
    users = {"seat": "ana", "tea": "bo"}
    memories = [{"id": id, "text": texts[id], "user_id": users[id]} for id in texts]
    _stored(http, http.post("/v1/memories", json={"memories": memories}))
    assert sorted(node.content for node in double.nodes.values()) == sorted(texts.values())
    found = http.post("/v1/search", json={"query": "where does Ana sit?", "user_id": "ana"}).json()
    assert [hit["text"] for hit in found["hits"]] == [texts["seat"]]
    assert found["served_by"] == ["automem"]
    _stored(http, http.post("/v1/memories/delete", json={"user_id": "ana"}))
    assert http.get("/v1/memories/seat").status_code == 404
    assert texts["seat"] not in str([node.properties() for node in double.nodes.values()])


def test_an_automem_that_loses_answers_and_is_away_ends_up_with_each_memory_once(
    double: AutomemServer, http: httpx.Client
) -> None:
    double.lose("POST", times=2)
    double.refuse(503, "GET", times=4)
    memories = [{"id": f"m{n}", "text": f"number {n}", "user_id": "ana"} for n in range(200)]
    answers = [
        http.post("/v1/memories", json={"memories": memories[start : start + 50]})
        for start in range(0, 200, 50)
    ]
    for answer in answers:
        _stored(http, answer)
    wait_until("one row for each memory", lambda: len(double.nodes) == 200, 60)
    assert {node.content for node in double.nodes.values()} == {one["text"] for one in memories}


def _stored(http: httpx.Client, answer: httpx.Response) -> None:
    """Return when the job that ``answer`` names has ended well."""
    assert answer.status_code == 202, answer.text

    def ended() -> bool:
        job: dict[str, Any] = http.get(answer.headers["Location"], params={"wait": 5}).json()
        return bool(job["status"] == "stored")

    wait_until("the job to be stored", ended, 90)
