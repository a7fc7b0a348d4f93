"""kombu's transport for Redis, mended (put in its place by ``backends.broker``)."""

from __future__ import annotations

from typing import Any

from kombu.transport import redis as kombu_redis
from redis.exceptions import ConnectionError as RedisConnectionError


class _Mended:
    """Use after its connection was lost is a connection error.

    In kombu 5.7 it is an AttributeError, which nobody expects: it ended the worker when the broker went
    away under a task that was running, or with messages that were not acknowledged yet.
    """

    connection: Any

    def _connparams(self, asynchronous: bool = False) -> Any:
        if self.connection is None or self.connection.client is None:
            raise RedisConnectionError("the connection was closed")
        return super()._connparams(asynchronous)  # type: ignore[misc]


class Channel(_Mended, kombu_redis.Channel):  # type: ignore[misc]
    pass


class SentinelChannel(_Mended, kombu_redis.SentinelChannel):  # type: ignore[misc]
    pass


class Transport(kombu_redis.Transport):  # type: ignore[misc]
    Channel = Channel


class SentinelTransport(kombu_redis.SentinelTransport):  # type: ignore[misc]
    Channel = SentinelChannel
