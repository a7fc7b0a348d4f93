"""Announcing envelopes to the broker from a thread: best effort, never in a request's way."""

from __future__ import annotations

import logging
import queue
import threading
import time

from backends.broker import Publisher
from memrelay.breaker import Breaker

log = logging.getLogger("memrelay.api")
CAPACITY = 1000
ENOUGH = 512
"""Messages in a queue from which on no more are sent: a claim takes along what else waits, so under
steady small writes one for each envelope would pile up for ever."""
LOOK = 0.05
"""Seconds for which a queue's length is believed."""


class Announcer:
    """What is dropped here (broker away, or slower than we accept) the sweeper publishes from ``due``."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._waiting: queue.Queue[tuple[str, int] | None] = queue.Queue(CAPACITY)
        self._lengths: dict[str, tuple[float, int]] = {}
        self._breaker = Breaker(time.monotonic, failures=1, cooldown=1.0, longest=5.0)
        self._thread = threading.Thread(target=self._run, name="announcer", daemon=True)
        self._thread.start()

    def announce(self, queue_name: str, envelope: int) -> None:
        try:
            self._waiting.put_nowait((queue_name, envelope))
        except queue.Full:
            log.debug("the broker is slower than we accept; the sweeper will publish")

    def close(self) -> None:
        """Publish what waits, for at most 5 seconds."""
        self._waiting.put(None)
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            if not self._breaker.allows():
                continue
            try:
                if self._length(item[0]) < ENOUGH:
                    self._publisher.publish(*item)
                self._breaker.succeeded()
            except self._publisher.errors as error:
                self._breaker.failed()
                log.warning("the broker is away, accepting goes on: %s", error)
                self._publisher.reset()
            except Exception:
                # The thread's edge: without it, only sweepers would publish.
                self._breaker.failed()
                log.exception("an announcement failed")
                self._publisher.reset()

    def _length(self, queue_name: str) -> int:
        """Messages in the queue, as of ``LOOK`` seconds ago at most."""
        now = time.monotonic()
        looked_at, length = self._lengths.get(queue_name, (-LOOK, 0))
        if now - looked_at >= LOOK:
            length = self._publisher.waiting(queue_name)
            self._lengths[queue_name] = (now, length)
        return length
