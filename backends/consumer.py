"""Celery's consumer and events, as our workers run them (put in their places by ``backends.broker``)."""

from __future__ import annotations

from functools import partial
from typing import Any

from celery.events.dispatcher import EventDispatcher
from celery.worker.consumer import Consumer as CeleryConsumer

_DELAYED_DELIVERY = "celery.worker.consumer.delayed_delivery:DelayedDelivery"


class Consumer(CeleryConsumer):  # type: ignore[misc]
    """Back within seconds of the broker, however long that was away; nothing declared for an ETA.

    Celery waits for 2, 4, … 30 seconds between attempts, and beside quorum queues it declares 28 queues
    and exchanges for delayed tasks, at every connection. We have none: a retry is an entry in ``due``.
    """

    class Blueprint(CeleryConsumer.Blueprint):  # type: ignore[misc]
        default_steps = tuple(
            step for step in CeleryConsumer.Blueprint.default_steps if step != _DELAYED_DELIVERY
        )

        def info(self, parent: Any) -> dict[str, Any]:
            """What Flower shows of a worker: without the options of the connection, which have the
            password of the Sentinels. Celery takes out its own password alone."""
            told: dict[str, Any] = super().info(parent)
            if isinstance(told.get("broker"), dict):
                told["broker"] = {**told["broker"], "transport_options": {}}
            return told

    def ensure_connected(self, conn: Any) -> Any:
        conn.ensure_connection = partial(
            conn.ensure_connection, interval_start=1, interval_step=1, interval_max=3
        )
        return super().ensure_connected(conn)


class Events(EventDispatcher):  # type: ignore[misc]
    """An event that cannot be sent is kept for the next connection.

    Celery sends a worker's heartbeats again and again until one is through, in the loop that would
    notice that the connection is dead.
    """

    def send(self, type: str, **fields: Any) -> Any:
        return super().send(type, **{**fields, "retry": False})
