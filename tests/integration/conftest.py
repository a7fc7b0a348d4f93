"""One running memrelay for every test of the HTTP surface: use ids, users and keys of your own in it.

Sources: ``default`` (Redis, replica in SQLite), ``vectors`` (the same, callers bring 8 dimensions) and
``plain`` (Redis alone, so no keywords).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.service import Service, settings_env

SOURCES = {
    "default": {
        "drivers": ["redis", "sqlite"],
        "filterable": {"category": "string", "score": "number", "done": "boolean"},
    },
    "vectors": {"drivers": ["redis", "sqlite"], "embedding": "external", "dimensions": 8},
    "plain": {"drivers": ["redis"]},
}
PROBLEM = {"type", "title", "status", "code", "detail", "request_id"}

type Remember = Callable[..., dict[str, Any]]
type Refused = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def service(_redis: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("service")
    env = settings_env(
        broker_url=f"{_redis}/6",
        journal_url=f"{_redis}/7",
        redis_url=f"{_redis}/8",
        directory=directory,
    )
    with Service(env | {"MEMRELAY_SOURCES": json.dumps(SOURCES)}, directory) as service:
        yield service


@pytest.fixture(scope="session")
def http(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=30) as client:
        yield client


@pytest.fixture
def user() -> str:
    """A user whom no other test knows; also good as a prefix of ids."""
    return f"user-{uuid4().hex}"


@pytest.fixture
def remember(http: httpx.Client) -> Remember:
    """Adds memories and waits until every driver of their source holds them."""

    def add(memories: Sequence[dict[str, Any]], **body: Any) -> dict[str, Any]:
        answer = http.post("/v1/memories", json={"memories": memories, **body})
        assert answer.status_code == 202, answer.text
        added: dict[str, Any] = answer.json()
        job = http.get(answer.headers["Location"], params={"wait": 20}).json()
        assert job["status"] == "stored", job
        return added

    return add


@pytest.fixture
def refused() -> Refused:
    """Asserts that an answer is an RFC 9457 problem, for the field at ``pointer``; gives its body."""

    def check(answer: httpx.Response, status: int, pointer: str | None = None) -> dict[str, Any]:
        assert answer.status_code == status, answer.text[:1000]
        assert answer.headers["content-type"] == "application/problem+json"
        problem: dict[str, Any] = answer.json()
        assert problem.keys() - {"errors"} == PROBLEM
        assert problem["status"] == status
        assert problem["request_id"] == answer.headers["x-request-id"]
        if pointer is not None:
            assert pointer in [error["pointer"] for error in problem["errors"]], problem
        return problem

    return check
