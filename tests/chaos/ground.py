"""The ground of a campaign: servers of its own, proxies before them, and memrelay set up on all that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deploy.native.postgres import PostgresServer
from deploy.native.rabbitmq import RabbitMQServer
from deploy.native.redis import RedisServer
from deploy.native.server import Server
from deploy.native.toxiproxy import Proxy, ToxiproxyServer
from deploy.native.weaviate import WeaviateServer
from memrelay.embedded.ports import free_port, free_ports
from tests.rig import Rig, SqliteFile

type BrokerKind = Literal["redis", "rabbitmq"]
_WITH_PORT = (RedisServer, RabbitMQServer, PostgresServer, WeaviateServer)
SMALL_BACKLOG = 1500
"""Memories that a driver may miss before it is detached, so that it happens within seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """``stores``: in order, the first is the primary. ``links``: proxies before the servers, to harm what
    passes. ``detach``: drivers are detached soon."""

    broker: BrokerKind
    stores: tuple[str, ...]
    links: bool
    detach: bool


@dataclass(frozen=True, slots=True)
class Ground:
    """``links`` are the proxies before each server, by its name."""

    rig: Rig
    links: Mapping[str, tuple[Proxy, ...]]
    detach: bool


@contextmanager
def ground(directory: Path, setup: Setup) -> Iterator[Ground]:
    """All servers run; memrelay itself is not started. Everything ends with the ``with``."""
    with ExitStack() as stack:

        def redis(name: str = "redis", **options: Any) -> RedisServer:
            return stack.enter_context(RedisServer(_new(directory, name), free_port(), **options))

        journal = redis("journal", appendfsync="always")
        broker: Server
        if setup.broker == "redis":
            broker = redis("broker")
        else:
            broker = stack.enter_context(RabbitMQServer(_new(directory, "broker"), free_port()))
        stores: dict[str, Server | SqliteFile] = {}
        for name in setup.stores:
            kind = name.partition("-")[0]
            if kind == "redis":
                stores[name] = redis(name)
            elif kind == "weaviate":
                place = _new(directory, name)
                stores[name] = stack.enter_context(WeaviateServer(place, *free_ports(2)))
            elif kind == "pgvector":
                place = _new(directory, name)
                stores[name] = stack.enter_context(PostgresServer(place, free_port()))
            else:
                stores[name] = SqliteFile(directory / f"{name}.db")
        servers = {"journal": journal, "broker": broker} | stores
        links = _links(stack, directory, servers) if setup.links else {}
        rig = Rig(
            directory,
            redis,
            stores=stores,
            broker=broker,
            journal=journal,
            detours={name: _detour(servers[name], proxies) for name, proxies in links.items()},
            env=_env(setup),
        )
        stack.callback(rig.close)
        yield Ground(rig, links, setup.detach)


def _env(setup: Setup) -> dict[str, str]:
    """The bulk lane gives way to nobody: what else runs on the machine is no part of the campaign."""
    backlog = {"MEMRELAY_DRIVER_BACKLOG": str(SMALL_BACKLOG)} if setup.detach else {}
    return {"MEMRELAY_BULK_NICENESS": "0"} | backlog


def _links(
    stack: ExitStack, directory: Path, servers: Mapping[str, Server | SqliteFile]
) -> dict[str, tuple[Proxy, ...]]:
    toxiproxy = stack.enter_context(ToxiproxyServer(_new(directory, "toxiproxy"), free_port()))
    return {
        name: tuple(
            toxiproxy.proxy(f"{name}-{number}", port) for number, port in enumerate(_ports(server))
        )
        for name, server in servers.items()
        if isinstance(server, Server)
    }


def _ports(server: Server) -> list[int]:
    """Those that memrelay connects to."""
    assert isinstance(server, _WITH_PORT)
    return [server.port, server.grpc_port] if isinstance(server, WeaviateServer) else [server.port]


def _detour(server: Server | SqliteFile, proxies: tuple[Proxy, ...]) -> str | Mapping[str, Any]:
    assert isinstance(server, _WITH_PORT)
    url = server.url.replace(str(server.port), str(proxies[0].port))
    if isinstance(server, WeaviateServer):
        return {"url": url, "grpc_port": proxies[1].port}
    return url


def _new(directory: Path, name: str) -> Path:
    """A directory that no other server of this campaign has."""
    number = sum(1 for _ in directory.glob(f"{name}*"))
    place = directory / (f"{name}-{number}" if number else name)
    place.mkdir()
    return place
