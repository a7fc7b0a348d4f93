"""Celery comes in here: the one application that API and workers share, and how a message is sent."""

from __future__ import annotations

from typing import Any

from celery import Celery
from kombu import Exchange, Queue
from kombu.exceptions import OperationalError

from memrelay.jobs import queue_names, task_of
from memrelay.settings import Settings

EXCHANGE = "memrelay"
MESSAGE_DEADLINE = 5.0


def create_app(settings: Settings) -> Celery:
    """The Celery application. Messages are claim checks, JSON only; no result backend, no ETA."""
    app = Celery("memrelay", broker=settings.broker_url, set_as_current=True)
    exchange = Exchange(EXCHANGE, type="direct", durable=True)
    queues = [
        Queue(name, exchange, routing_key=name, durable=True)
        for name in queue_names(settings.driver_names)
    ]
    app.conf.update(
        task_queues=queues,
        task_default_queue=queues[0].name,
        task_default_exchange=EXCHANGE,
        task_default_routing_key=queues[0].name,
        task_create_missing_queues=False,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_acks_on_failure_or_timeout=True,
        task_ignore_result=True,
        task_time_limit=150,
        task_soft_time_limit=120,
        task_serializer="json",
        accept_content=["json"],
        worker_concurrency=settings.worker_concurrency,
        worker_prefetch_multiplier=4,
        worker_disable_rate_limits=True,
        worker_lost_wait=2,
        worker_soft_shutdown_timeout=45,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        worker_send_task_events=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_heartbeat=30,
        broker_transport_options=_transport_options(settings.broker_url),
    )
    return app


def _transport_options(url: str) -> dict[str, Any]:
    if url.startswith(("redis:", "rediss:", "unix:")):
        return {
            "global_keyprefix": "mrb:",
            "visibility_timeout": 300,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "priority_steps": [0],
            "socket_timeout": 5,
            "socket_connect_timeout": 3,
            "health_check_interval": 25,
        }
    return {"confirm_publish": True, "confirm_timeout": MESSAGE_DEADLINE}


class Publisher:
    """Sends claim checks over a connection of its own. Not thread-safe: one for each thread.

    Nothing here is retried: a message that fails or is lost is published again from ``due``.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._connection = app.connection_for_write()
        self._producer: Any = None

    def publish(self, queue: str, envelope: int) -> None:
        """One message for one envelope; raises one of ``errors``."""
        self._app.send_task(
            task_of(queue),
            (queue, envelope),
            queue=queue,
            producer=self._ready(),
            retry=False,
            ignore_result=True,
            argsrepr="",
            kwargsrepr="",
        )

    def waiting(self, queue: str) -> int:
        """Messages in the broker's queue that no worker has taken yet.

        Not by a passive declaration: kombu's for Redis finds no queue at all under a key prefix.
        """
        declared = self._app.amqp.queues[queue](self._ready().channel).queue_declare()
        return int(declared.message_count)

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What this transport raises when the broker is away or refuses."""
        connection = self._connection
        return tuple(
            {*connection.connection_errors, *connection.channel_errors, OperationalError, OSError}
        )

    def reset(self) -> None:
        """Forget the connection after an error; the next call makes a new one."""
        self._producer = None
        self._connection.close()
        self._connection = self._app.connection_for_write()

    def _ready(self) -> Any:
        """The producer, over a connection on which all queues are declared."""
        if self._producer is None:
            self._producer = self._connection.Producer(auto_declare=False)
            for queue in self._app.amqp.queues.values():
                queue(self._producer.channel).declare()
        return self._producer
