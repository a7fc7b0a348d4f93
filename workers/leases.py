"""Leases are renewed from a thread, so that a busy event loop does not lose them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from backends.journal import Claim, ThreadJournal
from memrelay.errors import MemrelayError

log = logging.getLogger("memrelay.worker")


class LeaseKeeper:
    """One thread that renews what the process holds, every ``interval`` seconds."""

    def __init__(self, journal: ThreadJournal, *, interval: float) -> None:
        self._journal = journal
        self._interval = interval
        self._held: dict[str, Claim] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
        self._journal.close()

    @contextmanager
    def hold(self, claim: Claim) -> Iterator[None]:
        self._held[claim.token] = claim
        try:
            yield
        finally:
            del self._held[claim.token]

    def _run(self) -> None:
        while not self._stopped.wait(self._interval):
            for claim in list(self._held.values()):
                try:
                    self._journal.renew(claim.queue, claim.token, claim.eids)
                except MemrelayError as error:
                    log.warning("a lease could not be renewed: %s", error)
