"""Celery comes in here: the one application that API and workers share, and how a message is sent."""

from __future__ import annotations

from typing import Any, NoReturn

from celery import Celery
from kombu import Exchange, Queue
from kombu.exceptions import OperationalError
from kombu.transport import TRANSPORT_ALIASES

from memrelay.jobs import queue_names, task_of
from memrelay.sentinels import sentinels_of, watched
from memrelay.settings import Settings

TRANSPORT_ALIASES["redis"] = TRANSPORT_ALIASES["rediss"] = "backends.transport:Transport"
TRANSPORT_ALIASES["sentinel"] = "backends.transport:SentinelTransport"

KEY_PREFIX = "mrb:"
"""Of everything that the broker keeps in Redis; a queue is the list of its name behind it."""
SENTINEL_SECONDS = 1.0
"""That one of the Sentinels may take to name the master, before the next is asked."""
EXCHANGE = "memrelay"
DEAD_EXCHANGE = "memrelay.dlx"
MESSAGE_DEADLINE = 5.0
"""Seconds after which a broker that says nothing is given up."""
HEARTBEAT = 10
"""Seconds; a worker's connection is taken for dead after two without a sign of life."""

_MAX_LENGTH = 10_000  # far more hints than sweeper and announcers send, see their bounds
_MAX_DEAD = 1000
_DEAD_MS = 7 * 24 * 3600 * 1000


def create_app(settings: Settings) -> Celery:
    """The Celery application. Messages are claim checks, JSON only; no result backend, no ETA."""
    url = settings.broker_url
    broker = sentinels_of(url).kombu_url if watched(url) else url
    app = Celery("memrelay", broker=broker, set_as_current=True)
    app.events.dispatcher_cls = "backends.consumer:Events"
    queues = _queues(settings)
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
        worker_consumer="backends.consumer:Consumer",
        worker_prefetch_multiplier=4,
        worker_disable_rate_limits=True,
        worker_lost_wait=2,
        worker_soft_shutdown_timeout=45,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        worker_send_task_events=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,  # a queue that was deleted, one that is being recovered
        broker_heartbeat=HEARTBEAT,
        **(_amqp_settings() if _is_amqp(url) else _redis_settings(url)),
    )
    return app


def _is_amqp(url: str) -> bool:
    return url.startswith(("amqp:", "amqps:"))


def _redis_settings(url: str) -> dict[str, Any]:
    return {
        "broker_transport_options": {
            **_sentinel_options(url),
            "global_keyprefix": KEY_PREFIX,
            "visibility_timeout": 300,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "priority_steps": [0],
            "socket_timeout": MESSAGE_DEADLINE,
            "socket_connect_timeout": 3,
            "health_check_interval": HEARTBEAT,
        }
    }


def _sentinel_options(url: str) -> dict[str, Any]:
    if not watched(url):
        return {}
    found = sentinels_of(url)
    return {
        "master_name": found.master,
        "sentinel_kwargs": {
            "password": found.sentinel_password,
            "socket_timeout": SENTINEL_SECONDS,
            "socket_connect_timeout": SENTINEL_SECONDS,
        },
    }


def _amqp_settings() -> dict[str, Any]:
    """Queues for events and remote control are durable and expire by themselves when unused.

    Exclusive ones, Celery's default, lock a worker out that comes back before RabbitMQ has noticed
    that its old connection is dead; ones that are neither are deprecated by RabbitMQ.
    """
    return {
        "control_queue_exclusive": False,
        "control_queue_durable": True,
        "event_queue_exclusive": False,
        "event_queue_durable": True,
        # For workers' own connections: without these, declaring a queue waits for ever.
        "broker_transport_options": {
            "read_timeout": MESSAGE_DEADLINE,
            "write_timeout": MESSAGE_DEADLINE,
        },
    }


def _queues(settings: Settings) -> list[Queue]:
    exchange = Exchange(EXCHANGE, type="direct", durable=True)
    arguments = _quorum_arguments() if _is_amqp(settings.broker_url) else None
    return [
        Queue(name, exchange, routing_key=name, durable=True, queue_arguments=arguments)
        for name in queue_names(settings.driver_names)
    ]


def _quorum_arguments() -> dict[str, Any]:
    """Nothing is dropped: what is delivered in vain, or rejected, goes to the queue's dead letters."""
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": 10,
        "x-max-length": _MAX_LENGTH,
        "x-overflow": "reject-publish",
        "x-dead-letter-exchange": DEAD_EXCHANGE,
        "x-dead-letter-strategy": "at-least-once",
    }


def dead_queue(queue: Queue) -> Queue:
    """Where RabbitMQ puts what was rejected, or delivered too often: for people to look at.

    Nothing is lost by what is in it, or by its bounds: messages are hints, the journal has the work.
    """
    return Queue(
        f"{queue.name}.dead",
        Exchange(DEAD_EXCHANGE, type="direct", durable=True),
        routing_key=queue.name,
        durable=True,
        queue_arguments={
            "x-queue-type": "quorum",
            "x-max-length": _MAX_DEAD,
            "x-overflow": "drop-head",
            "x-message-ttl": _DEAD_MS,
        },
    )


class Publisher:
    """Sends claim checks over a connection of its own. Not thread-safe: one for each thread.

    Nothing here is retried: a message that fails or is lost is published again from ``due``. No call
    waits much longer than ``MESSAGE_DEADLINE`` for a broker that is frozen or blocks publishers.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._connection = self._connect()
        self._producer: Any = None

    def publish(self, queue: str, envelope: int) -> None:
        """One message for one envelope, confirmed by RabbitMQ; raises one of ``errors``, then ``reset``."""
        self._app.send_task(
            task_of(queue),
            (queue, envelope),
            queue=queue,
            producer=self._ready(),
            retry=False,
            mandatory=True,
            timeout=MESSAGE_DEADLINE,
            confirm_timeout=MESSAGE_DEADLINE,
            ignore_result=True,
            argsrepr="",
            kwargsrepr="",
        )

    @property
    def queues(self) -> frozenset[str]:
        """The names of those that it can publish to."""
        return frozenset(self._app.amqp.queues)

    def waiting(self, queue: str) -> int:
        """Messages in the broker's queue that no worker has taken yet.

        A declaration that is not passive: it brings back a queue that was deleted, and kombu's passive
        one for Redis finds no queue at all under a key prefix.
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
        """Forget the connection after an error; the next call makes a new one.

        It is dropped without a farewell: a confirmation that comes late must not pass for that of
        another message, and a frozen broker would not answer.
        """
        self._producer = None
        self._connection.collect()
        self._connection = self._connect()

    def _connect(self) -> Any:
        """Not connected yet."""
        options = _PUBLISHER_OPTIONS if _is_amqp(self._app.conf.broker_url) else {}
        return self._app.connection_for_write(transport_options=options)

    def _ready(self) -> Any:
        """The producer, over a connection on which all queues are declared."""
        if self._producer is None:
            producer = self._connection.Producer(auto_declare=False)
            for queue in self._app.amqp.queues.values():
                queue(producer.channel).declare()
                if queue.queue_arguments:
                    dead_queue(queue)(producer.channel).declare()
            self._producer = producer
        return self._producer


def _bound(connection: Any) -> None:
    """No read of this AMQP connection waits longer: py-amqp's own timeouts end with a frame's first bytes."""
    connection.sock.settimeout(MESSAGE_DEADLINE)


def _refuse(_: str) -> NoReturn:
    """At an alarm RabbitMQ stops reading from whoever publishes: no need to wait for a timeout."""
    raise OperationalError("the broker takes no messages: a memory or disk alarm")


_PUBLISHER_OPTIONS = {
    "confirm_publish": True,
    "on_open": _bound,
    "on_blocked": _refuse,
    "max_retries": 0,  # of connecting
}
