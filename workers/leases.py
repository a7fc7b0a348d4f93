"""Leases are renewed from a thread, so that a busy event loop does not lose them.

One that could not be renewed in time ends the work that was done under it: a frozen worker that wakes
up writes nothing any more.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from backends.journal import Claim, ThreadJournal
from backends.journal.locks import Locks
from memrelay.errors import MemrelayError

log = logging.getLogger("memrelay.worker")


class LeaseLost(Exception):
    """Somebody else may be working on it by now."""


@dataclass(frozen=True, slots=True)
class _Held:
    claim: Claim
    watch: asyncio.Timeout
    loop: asyncio.AbstractEventLoop


class LeaseKeeper:
    """One thread that renews what the process holds, ``seconds`` long, three times in that time."""

    def __init__(self, journal: ThreadJournal, locks: Locks, *, seconds: float) -> None:
        self._journal = journal
        self._locks = locks
        self._seconds = seconds
        self._held: dict[str, _Held] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
        self._journal.close()

    @asynccontextmanager
    async def hold(self, claim: Claim, taken: float) -> AsyncIterator[None]:
        """``taken``: the loop's time before the claim. Raises ``LeaseLost`` when the lease has run out."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(taken + self._seconds) as watch:
                self._held[claim.token] = _Held(claim, watch, loop)
                try:
                    yield
                finally:
                    del self._held[claim.token]
        except TimeoutError:
            raise LeaseLost from None

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds / 3):
            for held in list(self._held.values()):
                self._renew(held)
            for name, token in list(self._locks.held.items()):
                try:
                    self._journal.renew_lock(name, token)
                except MemrelayError as error:
                    log.warning("a lock could not be renewed: %s", error)

    def _renew(self, held: _Held) -> None:
        asked = held.loop.time()
        claim = held.claim
        try:
            still_ours = self._journal.renew(claim.queue, claim.token, claim.eids)
        except MemrelayError as error:
            log.warning("a lease could not be renewed: %s", error)
            return
        if still_ours:
            held.loop.call_soon_threadsafe(self._extend, held, asked + self._seconds)

    def _extend(self, held: _Held, until: float) -> None:
        if held.claim.token in self._held and not held.watch.expired():
            held.watch.reschedule(until)
