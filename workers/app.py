"""The Celery application of the workers: ``celery -A workers.app``, or better ``memrelay worker``."""

from __future__ import annotations

import logging
import os
from typing import Any

from celery import signals
from celery.exceptions import Reject

from backends import tracing
from backends.broker import Publisher, create_app
from backends.journal import ThreadJournal
from memrelay.jobs import DELIVER, MAINTAIN, STORE, task_of
from memrelay.settings import load_settings
from workers.deliver import deliver
from workers.maintain import maintain
from workers.room import Room
from workers.sweep import Sweeper

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
log = logging.getLogger("memrelay.worker")
settings = load_settings()
app = create_app(settings)
app.steps["worker"].add(Sweeper)
Sweeper.setup = lambda: (ThreadJournal(settings.journal_url), Publisher(app))

_room: Room | None = None


@app.task(name=DELIVER)  # type: ignore[untyped-decorator]
def deliver_task(*args: object, **named: object) -> int:
    return _run(deliver, _queue(DELIVER, args, named))


@app.task(name=STORE)  # type: ignore[untyped-decorator]
def store_task(*args: object, **named: object) -> int:
    return _run(deliver, _queue(STORE, args, named))


@app.task(name=MAINTAIN)  # type: ignore[untyped-decorator]
def maintain_task(*args: object, **named: object) -> int:
    return _run(maintain, _queue(MAINTAIN, args, named))


def _queue(task: str, args: tuple[object, ...], named: dict[str, object]) -> str:
    """The queue that a message is for. Whoever reaches the broker can send one: what a ``Publisher``
    does not send is rejected, so it is a dead letter on RabbitMQ and gone on Redis."""
    match args:
        case (str(queue), int()) if not named and queue in app.amqp.queues:
            if task_of(queue) == task:
                return queue
    log.warning("refused a forged message for %s", task)
    raise Reject("not sent by memrelay", requeue=False)


def _run(work: Any, queue: str) -> int:
    """The edge of a task: whatever escapes is logged, and the envelope's lease runs out by itself."""
    assert _room is not None, "no room: the process was not initialized"
    try:
        return int(_room.run(work(_room, queue)))
    except Exception:
        log.exception(
            "a task on %s failed; its envelopes are due again when their lease ends", queue
        )
        return 0


@signals.setup_logging.connect  # type: ignore[untyped-decorator]
def _logs_are_ours(**_: Any) -> None:
    """With somebody connected, Celery changes nothing about logging."""


@signals.worker_process_init.connect  # type: ignore[untyped-decorator]
def _enter(**_: Any) -> None:
    global _room  # noqa: PLW0603 - one room for each process, made after the fork
    tracing.start("memrelay-worker")
    _room = Room(settings)


@signals.worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def _leave(**_: Any) -> None:
    if _room is not None:
        _room.close()
    tracing.stop()
