"""Servers for every test, started when first asked for and stopped at the end of the session.

``MEMRELAY_TEST_REDIS_URL``, ``MEMRELAY_TEST_POSTGRES_URL``, ``MEMRELAY_TEST_WEAVIATE_URL`` and
``MEMRELAY_TEST_WEAVIATE_GRPC_PORT`` name servers to use instead, ``MEMRELAY_TEST_AUTOMEM_URL`` and ``_TOKEN``
an AutoMem to test beside its double; nothing on those is flushed. A server that cannot be had skips the
test with its reason, and fails it where ``CI`` is set.
"""

from __future__ import annotations

import inspect
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import httpx
import pytest

from deploy.native.postgres import PostgresServer
from deploy.native.rabbitmq import RabbitMQServer
from deploy.native.redis import RedisServer
from deploy.native.server import ServerError
from deploy.native.toxiproxy import ToxiproxyServer
from deploy.native.weaviate import WeaviateServer
from memrelay.embedded import ports
from memrelay.embedded.ports import free_port, free_ports
from tests.servers import (
    AUTOMEMS,
    Automem,
    Weaviate,
    automem_server,
    cannot_be_had,
    postgres_server,
    redis_server,
    weaviate_server,
)

collect_ignore = ["frameworks"]  # they run in environments of their own, started from here
# Requests that say nothing of a timeout have a minute: httpx's five seconds are few on a busy machine.
inspect.signature(httpx.get).parameters["timeout"].default.read = 60.0


def _entered[S](stack: ExitStack, server: AbstractContextManager[S]) -> S:
    try:
        return stack.enter_context(server)
    except ServerError as error:
        cannot_be_had(str(error))


def pytest_configure(config: pytest.Config) -> None:
    """What runs beside one another takes its ports from a range of its own each."""
    worker, workers = (
        os.environ.get("PYTEST_XDIST_WORKER"),
        os.environ.get("PYTEST_XDIST_WORKER_COUNT"),
    )
    if worker is not None and workers is not None:
        every, first = int(workers), int(worker.removeprefix("gw"))
        ports.CANDIDATES = ports.CANDIDATES[first::every]


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As a job in the background of a script inherits it; the tests of Ctrl-C need it as people have it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def _redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ExitStack() as stack:
        yield _entered(stack, redis_server(tmp_path_factory.mktemp("redis")))


@pytest.fixture(scope="session")
def redis_url(_redis: str) -> str:
    """The Redis driver's server. Tests share it: use a namespace or a prefix of your own."""
    return f"{_redis}/0"


@pytest.fixture(scope="session")
def journal_url(_redis: str) -> str:
    """A Redis with an append-only file and ``noeviction``. Shared as ``redis_url`` is."""
    return f"{_redis}/1"


@pytest.fixture(scope="session")
def broker_url(_redis: str) -> str:
    """Celery's broker. Shared as ``redis_url`` is."""
    return f"{_redis}/2"


@pytest.fixture(scope="session")
def weaviate(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Weaviate]:
    """A Weaviate without any collection at first. Shared: use collections or tenants of your own."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with ExitStack() as stack:
        with capture.global_and_fixture_disabled():  # building it takes minutes: let that be seen
            server = _entered(stack, weaviate_server(tmp_path_factory.mktemp("weaviate")))
        yield server


@pytest.fixture(scope="session", params=AUTOMEMS)
def automem(request: pytest.FixtureRequest) -> Iterator[Automem]:
    """AutoMem's double, and a real one if the environment names it. Shared: use tags of your own."""
    with automem_server(request.param) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database with pgvector. Shared: use a namespace or a schema of your own."""
    with ExitStack() as stack:
        yield _entered(stack, postgres_server(tmp_path_factory.mktemp("postgres")))


@pytest.fixture
def redis_server_factory(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., RedisServer]]:
    """Starts native Redis servers for one test to kill, freeze and restart; options as RedisServer's."""
    with ExitStack() as stack:

        def start(**options: Any) -> RedisServer:
            server = RedisServer(tmp_path_factory.mktemp("redis"), free_port(), **options)
            return _entered(stack, server)

        yield start


@pytest.fixture
def weaviate_server_factory(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[], WeaviateServer]]:
    """Starts native Weaviate servers for one test to kill, freeze and restart (2 to 3 s each)."""
    with ExitStack() as stack:

        def start() -> WeaviateServer:
            server = WeaviateServer(tmp_path_factory.mktemp("weaviate"), *free_ports(2))
            return _entered(stack, server)

        yield start


@pytest.fixture
def postgres_server_factory(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[], PostgresServer]]:
    """Starts native PostgreSQL servers for one test to kill, freeze and restart (1 to 2 s each)."""
    with ExitStack() as stack:

        def start() -> PostgresServer:
            server = PostgresServer(tmp_path_factory.mktemp("postgres"), free_port())
            return _entered(stack, server)

        yield start


@pytest.fixture
def rabbitmq_server_factory(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[], RabbitMQServer]]:
    """Starts native RabbitMQ servers for one test to kill, freeze and restart (3 to 4 s each)."""
    with ExitStack() as stack:

        def start() -> RabbitMQServer:
            server = RabbitMQServer(tmp_path_factory.mktemp("rabbitmq"), free_port())
            return _entered(stack, server)

        yield start


@pytest.fixture
def toxiproxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToxiproxyServer]:
    """A toxiproxy for one test, without proxies at first."""
    with ExitStack() as stack:
        server = ToxiproxyServer(tmp_path_factory.mktemp("toxiproxy"), free_port())
        yield _entered(stack, server)
