"""One running memrelay for every test of the HTTP surface: use ids, users and keys of your own in it.

Sources: ``default`` (Redis, replica in SQLite), ``vectors`` (the same, callers bring 8 dimensions) and
``plain`` (Redis alone, so no keywords). Fault tests have a rig of their own each.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI

from api.app import create, open_state
from backends.journal import Journal, ThreadJournal
from deploy.native.rabbitmq import RabbitMQServer
from deploy.native.redis import RedisServer
from deploy.native.server import Server
from memrelay.settings import load_settings
from tests.house import House
from tests.rig import Rig
from tests.servers import redis_server
from tests.service import Service, settings_env, settings_on

SOURCES = {
    "default": {
        "drivers": ["redis", "sqlite"],
        "filterable": {"category": "string", "score": "number", "done": "boolean"},
    },
    "vectors": {"drivers": ["redis", "sqlite"], "embedding": "external", "dimensions": 8},
    "plain": {"drivers": ["redis"]},
}
PROBLEM = {"type", "title", "status", "code", "detail", "request_id"}

ALONE = {
    "test_broker_faults",
    "test_faults",
    "test_faults_network",
    "test_faults_order",
    "test_faults_points",
    "test_faults_postgres",
    "test_faults_stores",
    "test_http_hidden",
    "test_http_members",
    "test_http_reembed",
    "test_keys_faults",
    "test_lanes",
    "test_migrate",
    "test_pgvector_faults",
    "test_reconcile_stores",
    "test_remote_model",
    "test_sentinel",
    "test_sweep",
    "test_weaviate_crash",
}
"""Modules that kill, freeze and flood, and look at how long things take."""

type Remember = Callable[..., dict[str, Any]]
type Opened = Callable[..., AbstractAsyncContextManager[FastAPI]]
type Refused = Callable[..., dict[str, Any]]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.stem in ALONE:
            item.add_marker(pytest.mark.alone)


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
        service.wait_for_worker()
        yield service


@contextmanager
def paused_service(directory: Path, sources: Mapping[str, Any] | None = None) -> Iterator[Service]:
    """An API whose worker has not been started, on a Redis of its own: everything waits."""
    with redis_server(directory / "redis") as url:
        env = settings_on(url, directory)
        if sources is not None:
            env["MEMRELAY_SOURCES"] = json.dumps(sources)
        service = Service(env, directory)
        service.start_api()
        try:
            yield service
        finally:
            service.stop()


@pytest.fixture(scope="session")
def http(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=90) as client:
        yield client


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A service with API keys, and with servers of its own. Shared: use ids and keys of your own."""
    with House(tmp_path_factory.mktemp("house")) as house:
        yield house


@pytest.fixture
def opened(service: Service, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Opens the application of the running service once more, in this process, with other settings."""
    for name, value in service.env.items():
        if name.startswith("MEMRELAY_"):
            monkeypatch.setenv(name, value)

    @asynccontextmanager
    async def open_app(**settings: Any) -> AsyncIterator[FastAPI]:
        async with open_state(load_settings().model_copy(update=settings)) as state:
            yield create(state)

    return open_app


@pytest.fixture
async def journal(journal_url: str) -> AsyncIterator[Journal]:
    """Empty, with short leases."""
    journal = Journal(journal_url, lease_ms=200)
    await journal.client.flushdb()
    yield journal
    await journal.close()


@pytest.fixture
def sweeper(journal_url: str) -> ThreadJournal:
    return ThreadJournal(journal_url, lease_ms=200)


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
        job = http.get(answer.headers["Location"], params={"wait": 60}).json()
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


@pytest.fixture
def make_rig(
    tmp_path: Path, redis_server_factory: Callable[..., RedisServer]
) -> Iterator[Callable[..., Rig]]:
    """Makes a rig that is not started; options as Rig's."""
    with ExitStack() as stack:

        def make(**options: Any) -> Rig:
            rig = Rig(tmp_path, redis_server_factory, **options)
            stack.callback(rig.close)
            return rig

        yield make


@pytest.fixture
def broker(
    request: pytest.FixtureRequest,
    redis_server_factory: Callable[..., RedisServer],
    rabbitmq_server_factory: Callable[[], RabbitMQServer],
) -> Server:
    """The rig's: ``redis``, unless the test says ``rabbitmq``."""
    if getattr(request, "param", "redis") == "rabbitmq":
        return rabbitmq_server_factory()
    return redis_server_factory()


@pytest.fixture
def unstarted(make_rig: Callable[..., Rig], broker: Server) -> Rig:
    """A rig with two Redis stores; a test may change how its service is started."""
    return make_rig(broker=broker)


@pytest.fixture
def rig(unstarted: Rig) -> Rig:
    return unstarted.start()
