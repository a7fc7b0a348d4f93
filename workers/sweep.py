"""Sweep: a thread in every worker's parent that puts what is due back among the waiting, and sends
a message where work waits and the broker's queue is empty: nothing else ever publishes twice.

Once a second it also says that its worker is alive, and asks for maintenance unless that was asked for.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar
from uuid import uuid4

from celery import bootsteps

from backends.broker import Publisher
from backends.journal import ThreadJournal
from memrelay.errors import MemrelayError
from memrelay.jobs import MAINTENANCE

log = logging.getLogger("memrelay.sweep")
INTERVAL = 1.0
MESSAGES = 512
"""At most so many are sent at once to a queue that is empty while work waits."""
PUBLISHING_SECONDS = 2.0
"""Of one pass, on a broker that is slow to confirm: the next pass goes on."""


def sweep(journal: ThreadJournal, publisher: Publisher, token: str) -> int:
    """One pass; how many messages it sent for what waits. None while another worker's sweeper is at it."""
    swept = journal.sweep(token)
    if swept is None:
        return 0
    if swept.expired or swept.retried:
        log.info("%d leases ran out, %d retries are due", swept.expired, swept.retried)
    sent = 0
    until = time.monotonic() + PUBLISHING_SECONDS
    if publisher.waiting(MAINTENANCE) == 0:
        publisher.publish(MAINTENANCE, 0)
    for queue, waiting in swept.waiting.items():
        if waiting > 0 and queue not in publisher.queues:
            _warn_of(queue)
        elif waiting > 0 and publisher.waiting(queue) == 0:
            for _ in range(min(waiting, MESSAGES)):
                if time.monotonic() > until:
                    return sent
                publisher.publish(queue, 0)
                sent += 1
    return sent


@functools.cache
def _warn_of(queue: str) -> None:
    """Once: as of a driver that was taken out of the settings too soon."""
    log.warning(
        "work waits in %s, which no driver of the settings has: it stays there until one has", queue
    )


class Sweeper(bootsteps.StartStopStep):  # type: ignore[misc]
    """The thread, started and stopped with the worker. ``setup`` is set before the worker starts."""

    requires: ClassVar[set[str]] = {"celery.worker.components:Pool"}
    setup: ClassVar[Callable[[], tuple[ThreadJournal, Publisher]]]

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._host = socket.gethostname()
        self._queues = sorted(parent.app.amqp.queues.consume_from)
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, parent: Any) -> None:
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)
        self._thread.start()

    def stop(self, parent: Any) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _run(self) -> None:
        journal, publisher = type(self).setup()
        token = uuid4().hex
        while not self._stopped.wait(INTERVAL):
            try:
                journal.beat(self._host, os.getpid(), self._queues)
                sweep(journal, publisher, token)
            except MemrelayError as error:
                log.warning("cannot sweep: %s", error)
            except publisher.errors as error:
                log.warning("cannot publish: %s", error)
                publisher.reset()
            except Exception:
                # The thread's edge: without a sweeper what is due would stay where it is.
                log.exception("a sweep failed")
                publisher.reset()
        with contextlib.suppress(MemrelayError):
            journal.leave(self._host, os.getpid())
