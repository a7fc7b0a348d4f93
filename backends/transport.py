"""kombu's transport for Redis, mended (put in its place by ``backends.broker``)."""

from __future__ import annotations

from typing import Any

from kombu.transport import redis as kombu_redis
from redis.exceptions import ConnectionError as RedisConnectionError


class Channel(kombu_redis.Channel):  # type: ignore[misc]
    """Use after its connection was lost is a connection error.

    In kombu 5.7 it is an AttributeError, which nobody expects: it ended the worker when the broker went
    away under a task that was running, or with messages that were not acknowledged yet.
    """

    def _connparams(self, asynchronous: bool = False) -> Any:
        if self.connection is None or self.connection.client is None:
            raise RedisConnectionError("the connection was closed")
        return super()._connparams(asynchronous)


class Transport(kombu_redis.Transport):  # type: ignore[misc]
    Channel = Channel
