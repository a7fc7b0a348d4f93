"""kombu's transport for Redis, mended (put in its place by ``backends.broker``)."""

from __future__ import annotations

from typing import Any

from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from redis.exceptions import ConnectionError as RedisConnectionError


class QoS(kombu_redis.QoS):  # type: ignore[misc]
    """A message whose acknowledgement fails leaves the prefetch window like one that was acknowledged.

    In kombu 5.7 it stays. When as many had failed as a lane fetches ahead, over connections that broke
    while the one that fetches went on, the lane waited for ever. The broker restores the message when its
    visibility ends; it is a hint, and may come twice.
    """

    def ack(self, delivery_tag: str) -> None:
        try:
            super().ack(delivery_tag)
        finally:
            virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        try:
            super().reject(delivery_tag, requeue=requeue)
        finally:
            virtual.QoS.ack(self, delivery_tag)


class _Mended:
    """Use after its connection was lost is a connection error.

    In kombu 5.7 it is an AttributeError, which nobody expects: it ended the worker when the broker went
    away under a task that was running, or with messages that were not acknowledged yet.
    """

    connection: Any
    QoS = QoS

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
