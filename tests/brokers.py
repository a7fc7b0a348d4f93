"""Both brokers, Redis and RabbitMQ, behind a proxy that can harm them, and what is in their queues."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal, cast

import redis
from kombu import Connection

from backends.broker import Publisher, create_app, dead_queue
from deploy.native.rabbitmq import RabbitMQServer
from deploy.native.redis import RedisServer
from deploy.native.server import Server, ServerError
from deploy.native.toxiproxy import Proxy, ToxiproxyServer
from memrelay.embedded.ports import free_port
from memrelay.settings import Settings, SourceSettings
from tests.servers import cannot_be_had

type Kind = Literal["redis", "rabbitmq"]
KINDS: tuple[Kind, ...] = ("redis", "rabbitmq")
REDIS_PREFIX = "mrb:"


class Broker:
    """A broker of one's own. ``url`` leads through ``proxy``; what is done here goes past it."""

    def __init__(self, server: RedisServer | RabbitMQServer, proxy: Proxy) -> None:
        self.server = server
        self.proxy = proxy
        self.kind = server.name
        self.url = server.url.replace(str(server.port), str(proxy.port))
        self.app = create_app(broker_settings(server.url))

    def publisher(self) -> Publisher:
        """Over the proxy; ``reset`` closes it."""
        return Publisher(create_app(broker_settings(self.url)))

    def send(self, queue: str, body: bytes, headers: dict[str, Any], content_type: str) -> None:
        """A message as anybody who reaches the broker may send it."""
        with self._connected() as connection:
            connection.Producer(auto_declare=False).publish(
                body,
                exchange="",
                routing_key=queue,
                headers=headers,
                content_type=content_type,
                content_encoding="utf-8" if content_type.endswith("json") else "binary",
                correlation_id="forged",
                reply_to="forged",
            )

    def delete(self, queue: str) -> None:
        """The queue with its messages, as an operator's slip of the hand.

        Not one that has just been declared: RabbitMQ 4.0 has no dead letters for any queue any more, and
        declares none, when one is deleted while the worker of its dead letters starts.
        """
        if isinstance(self.server, RedisServer):
            with redis.Redis.from_url(self.server.url) as client:
                client.delete(REDIS_PREFIX + queue)
            return
        time.sleep(1)
        with self._connected() as connection:
            connection.default_channel.queue_delete(queue)

    def empty(self, queue: str) -> None:
        """The queue without its messages."""
        if isinstance(self.server, RedisServer):
            self.delete(queue)
            return
        with self._connected() as connection:
            connection.default_channel.queue_purge(queue)

    def pushed(self) -> int:
        """How often something was pushed to a list of Redis since it started."""
        with redis.Redis.from_url(self.server.url) as client:
            stats = cast(dict[str, Any], client.info("commandstats"))
        return int(stats.get("cmdstat_lpush", {"calls": 0})["calls"])

    def held(self, queue: str) -> tuple[int, int]:
        """How many messages of Redis's wait in a queue, and how many of all are not acknowledged."""
        with redis.Redis.from_url(self.server.url) as client:
            waiting = cast(int, client.llen(REDIS_PREFIX + queue))
            return waiting, cast(int, client.hlen(f"{REDIS_PREFIX}unacked"))

    def dead(self, queue: str) -> int:
        """How many dead letters of a queue RabbitMQ holds."""
        dead = dead_queue(self.app.amqp.queues[queue])
        with self._connected() as connection:
            return int(dead(connection.default_channel).queue_declare().message_count)

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        with self.app.connection_for_write() as connection:
            yield connection


@contextmanager
def broker_of(kind: Kind, directory: Path) -> Iterator[Broker]:
    """Started with its proxy, and stopped; what cannot be had skips the test, and fails it in CI."""
    server: RedisServer | RabbitMQServer
    if kind == "redis":
        server = RedisServer(directory / "broker", free_port())
    else:
        server = RabbitMQServer(directory / "broker", free_port())
    proxies = ToxiproxyServer(directory / "proxies", free_port())
    with ExitStack() as stack:
        for each in (server, proxies):
            _entered(stack, each)
        yield Broker(server, proxies.proxy("broker", server.port))


def _entered(stack: ExitStack, server: Server) -> None:
    try:
        stack.enter_context(server)
    except ServerError as error:
        cannot_be_had(str(error))


def broker_settings(url: str) -> Settings:
    """Of an installation of which only the broker matters."""
    nowhere = "redis://127.0.0.1:1/0"
    return Settings(
        journal_url=nowhere,
        broker_url=url,
        drivers={"redis": {"url": nowhere}},
        sources={"default": SourceSettings(drivers=["redis"])},
    )
