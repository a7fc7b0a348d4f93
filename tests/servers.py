"""Where tests get their servers: an address in the environment, Docker, or a native process.

``redis_server``, ``weaviate_server`` and ``postgres_server`` try these in turn. What cannot be had
raises ServerError.
"""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import pytest

from deploy.native.postgres import PostgresServer
from deploy.native.redis import RedisServer
from deploy.native.server import ServerError
from deploy.native.weaviate import WeaviateServer
from memrelay.embedded.ports import free_port, free_ports
from tests.automem_server import AutomemServer

_ROOT = Path(__file__).parent.parent
_DOCKER_INFO_SECONDS = 3
_WEAVIATE_GRPC_PORT = "50051"


@dataclass(frozen=True)
class Weaviate:
    """A Weaviate that is up."""

    url: str
    grpc_port: int


@dataclass(frozen=True)
class Automem:
    """An AutoMem that is up, or its double."""

    url: str
    token: str


def cannot_be_had(reason: str) -> NoReturn:
    """Skips the test with the reason; fails it in CI, where everything must be had."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@contextmanager
def redis_server(directory: Path) -> Iterator[str]:
    """The URL, without a database, of a Redis 8 with an append-only file that never evicts."""
    if given := os.environ.get("MEMRELAY_TEST_REDIS_URL"):
        yield urlsplit(given)._replace(path="").geturl()
    elif docker_answers():
        port = free_port()
        with _composed("redis", {"MEMRELAY_REDIS_PORT": port}):
            yield f"redis://127.0.0.1:{port}"
    else:
        with RedisServer(directory, free_port()) as server:
            yield server.url


@contextmanager
def weaviate_server(directory: Path) -> Iterator[Weaviate]:
    """An empty Weaviate, unless the environment names one."""
    if given := os.environ.get("MEMRELAY_TEST_WEAVIATE_URL"):
        given_grpc = os.environ.get("MEMRELAY_TEST_WEAVIATE_GRPC_PORT", _WEAVIATE_GRPC_PORT)
        yield Weaviate(given, int(given_grpc))
        return
    port, grpc_port = free_ports(2)
    if docker_answers():
        ports = {"MEMRELAY_WEAVIATE_PORT": port, "MEMRELAY_WEAVIATE_GRPC_PORT": grpc_port}
        with _composed("weaviate", ports):
            yield Weaviate(f"http://127.0.0.1:{port}", grpc_port)
    else:
        with WeaviateServer(directory, port, grpc_port) as server:
            yield Weaviate(server.url, server.grpc_port)


AUTOMEMS = ("double", "real") if "MEMRELAY_TEST_AUTOMEM_URL" in os.environ else ("double",)
"""Tests run against all of these; a real AutoMem, which is on no registry, if somebody started one."""


@contextmanager
def automem_server(which: str) -> Iterator[Automem]:
    """The double, or the AutoMem that the environment names."""
    if which == "double":
        with AutomemServer(token="double") as server:
            yield Automem(server.url, "double")
    else:
        token = os.environ.get("MEMRELAY_TEST_AUTOMEM_TOKEN", "")
        yield Automem(os.environ["MEMRELAY_TEST_AUTOMEM_URL"], token)


@contextmanager
def postgres_server(directory: Path) -> Iterator[str]:
    """The URL of a database with pgvector, where we may make schemas."""
    if given := os.environ.get("MEMRELAY_TEST_POSTGRES_URL"):
        yield given
    elif docker_answers():
        port = free_port()
        with _composed("postgres", {"MEMRELAY_POSTGRES_PORT": port}):
            yield f"postgresql://memrelay@127.0.0.1:{port}/memrelay"
    else:
        with PostgresServer(directory, free_port()) as server:
            yield server.url


@functools.cache
def docker_answers() -> bool:
    """Whether a Docker daemon answers within seconds and its client knows ``compose``."""
    try:
        for command in (["docker", "info"], ["docker", "compose", "version"]):
            subprocess.run(command, capture_output=True, check=True, timeout=_DOCKER_INFO_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


@contextmanager
def _composed(service: str, ports: dict[str, int]) -> Iterator[None]:
    """A service of docker-compose.yml in a project of its own, gone with its data afterwards."""
    project = ["docker", "compose", "-p", f"memrelay-test-{service}-{os.getpid()}"]
    environment = os.environ | {name: str(port) for name, port in ports.items()}

    def compose(*words: str) -> None:
        done = subprocess.run(
            [*project, *words],
            cwd=_ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ServerError(f"docker compose {words[0]} {service}: {done.stderr[-2000:]}")

    try:
        compose("up", "--detach", "--wait", service)
        yield
    finally:
        compose("down", "--volumes")
