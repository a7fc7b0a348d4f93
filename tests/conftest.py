"""Servers for every test, started when first asked for and stopped at the end of the session.

``MEMRELAY_TEST_REDIS_URL``, ``MEMRELAY_TEST_WEAVIATE_URL`` and ``MEMRELAY_TEST_WEAVIATE_GRPC_PORT``
name servers to use instead; nothing on those is flushed. A server that cannot be had skips the test
with its reason, and fails it where ``CI`` is set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import pytest

from deploy.native.redis import RedisServer
from deploy.native.server import ServerError
from deploy.native.weaviate import WeaviateServer
from memrelay.embedded.ports import free_port, free_ports
from tests.servers import Weaviate, cannot_be_had, redis_server, weaviate_server


def _entered[S](stack: ExitStack, server: AbstractContextManager[S]) -> S:
    try:
        return stack.enter_context(server)
    except ServerError as error:
        cannot_be_had(str(error))


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
